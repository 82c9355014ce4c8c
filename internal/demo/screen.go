package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

// screen is what a person sees of the demo: on a terminal a picture that is drawn again four times a second, elsewhere a
// line every other second. It learns of events as any consumer would, from the topics.
type screen struct {
	d        *demo
	out      io.Writer
	terminal bool
	began    time.Time

	mu       sync.Mutex
	counts   map[events.Type]int
	total    int
	arrivals []time.Time // of the last ten seconds
	first    map[events.Type]map[string]time.Time
	latest   map[string]map[string]any // by entity, of the types that the KPIs are made of
	alerts   []alertLine
	pending  int // edits that are still to come; -1 before the centre has closed
}

// alertLine is one line about a feedback that is or was negative.
type alertLine struct {
	at   time.Time
	text string
	bad  bool
}

const maxAlerts = 6

func newScreen(d *demo) *screen {
	sc := &screen{
		d: d, out: d.out.Out, began: time.Now(), counts: map[events.Type]int{}, pending: -1,
		first: map[events.Type]map[string]time.Time{}, latest: map[string]map[string]any{},
	}
	if d.o.JSON {
		sc.out = io.Discard
	}
	if f, ok := sc.out.(*os.File); ok {
		sc.terminal = term.IsTerminal(int(f.Fd()))
	}
	return sc
}

// record takes one record of a topic.
func (sc *screen) record(topic string, fields map[string]any, now time.Time) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if topic == sc.d.names.Negative() {
		sc.alert(fields, now)
		return
	}
	t := events.Type(strings.TrimPrefix(topic, sc.d.names.Event("")))
	sc.counts[t]++
	sc.total++
	sc.arrivals = append(sc.arrivals, now)
	if sc.first[t] == nil {
		sc.first[t] = map[string]time.Time{}
	}
	if key := koresim.KeyOf(t, fields); sc.first[t][key].IsZero() {
		sc.first[t][key] = now
	}
	switch t {
	case events.TypeCoachingTriggered, events.TypeAgentEngagement, events.TypeSuggestionUsed, events.TypeSuggestionShown:
		fields["type"] = t
		sc.latest[text(fields, "entity_id")] = fields
	}
}

func (sc *screen) alert(fields map[string]any, now time.Time) {
	who := "an agent"
	if agent, ok := fields["agent"].(map[string]any); ok && text(agent, "name") != "" {
		who = text(agent, "name")
	} else if text(fields, "given_by") == "CUSTOMER" {
		who = "a customer"
	}
	a := alertLine{at: now, bad: text(fields, "sentiment") == events.SentimentNegative}
	a.text = fmt.Sprintf("%s on %s", who, orText(text(fields, "target_type"), text(fields, "feedback_type")))
	if comment := text(fields, "comment"); comment != "" {
		a.text += ": " + comment
	}
	if sc.alerts = append(sc.alerts, a); len(sc.alerts) > maxAlerts {
		sc.alerts = sc.alerts[1:]
	}
}

// closing notes how many edits are still to come.
func (sc *screen) closing(pending int, r *Result) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.pending = pending + r.Lost
}

// freshness returns how long 99 of 100 things took from being readable upstream to being read from their topic.
func (sc *screen) freshness(ledger iter.Seq[*koresim.Entry]) time.Duration {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	var took []time.Duration
	for e := range ledger {
		arrived := sc.first[e.Type][e.Key]
		var visible time.Time
		for _, view := range e.Views {
			if len(view.Versions) > 0 && (visible.IsZero() || view.Versions[0].Visible.Before(visible)) {
				visible = view.Versions[0].Visible
			}
		}
		if !arrived.IsZero() && !visible.IsZero() {
			took = append(took, arrived.Sub(visible))
		}
	}
	return quantile(took, 0.99)
}

// run draws until ctx ends.
func (sc *screen) run(ctx context.Context) error {
	every := 2 * time.Second
	if sc.terminal {
		every = 250 * time.Millisecond
		fmt.Fprint(sc.out, "\x1b[?25l\x1b[2J")
		defer fmt.Fprint(sc.out, "\x1b[?25h\n")
	} else if sc.d.app.Addr() != "" {
		fmt.Fprintf(sc.out, "status page: http://%s/\n", sc.d.app.Addr())
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s := sc.d.app.Status()
		sc.mu.Lock()
		if sc.terminal {
			sc.draw(&s)
		} else {
			sc.line(&s)
		}
		sc.mu.Unlock()
	}
}

// line writes the state as one line, for logs and pipes.
func (sc *screen) line(s *status.Status) {
	k := sc.kpis()
	fmt.Fprintf(sc.out, "%4s  %6d events  %5.1f/s  adoption %s  adherence %s  handle time %s  %d alerts  %s\n",
		time.Since(sc.began).Round(time.Second), sc.total, sc.rate(), k.adoption, k.adherence, k.handleTime, len(sc.alerts), sc.stage(s))
}

func (sc *screen) stage(s *status.Status) string {
	switch {
	case sc.pending > 0:
		return fmt.Sprintf("closed; %d edits to come", sc.pending)
	case sc.d.o.Duration > 0 && time.Since(sc.began) > sc.d.o.Duration:
		return "closed; waiting for the last edits"
	}
	return string(s.State)
}

// rate is the number of events a second over the last ten seconds.
func (sc *screen) rate() float64 {
	cut := time.Now().Add(-10 * time.Second)
	sc.arrivals = slices.DeleteFunc(sc.arrivals, func(t time.Time) bool { return t.Before(cut) })
	return float64(len(sc.arrivals)) / min(10, max(1, time.Since(sc.began).Seconds()))
}

type figures struct{ adoption, adherence, handleTime string }

// kpis are three figures as a stream processor would compute them from the topics.
func (sc *screen) kpis() figures {
	var shown, used, nudges, adhered, served, seconds float64
	taken := map[string]bool{} // what something was used of
	for _, f := range sc.latest {
		if f["type"] == events.TypeSuggestionUsed {
			taken[text(f, "parent_entity_id")] = true
		}
	}
	for id, f := range sc.latest {
		switch f["type"] {
		case events.TypeSuggestionShown:
			shown++
			if taken[orText(text(f, "search_entity_id"), id)] {
				used++
			}
		case events.TypeCoachingTriggered:
			if f["is_adhered"] != nil {
				nudges++
				if f["is_adhered"] == true {
					adhered++
				}
			}
		case events.TypeAgentEngagement:
			if d, ok := f["interaction_duration"].(int64); ok {
				served++
				seconds += float64(d)
			}
		}
	}
	k := figures{"-", "-", "-"}
	if shown > 0 {
		k.adoption = fmt.Sprintf("%.0f%%", 100*used/shown)
	}
	if nudges > 0 {
		k.adherence = fmt.Sprintf("%.0f%%", 100*adhered/nudges)
	}
	if served > 0 {
		k.handleTime = fmt.Sprintf("%.0fs", seconds/served)
	}
	return k
}

// The colours of the terminal.
const (
	bold, dim, red, green, plain = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
)

// draw paints the whole picture anew, in one write.
func (sc *screen) draw(s *status.Status) {
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	row := func(format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\x1b[K\n")
	}
	k := sc.kpis()
	row(" %sagentassist-poller%s  a simulated contact centre, read and published for real", bold, plain)
	where := ""
	if sc.d.app.Addr() != "" {
		where = "http://" + sc.d.app.Addr() + "/"
	}
	row(" %s%s  %s  Kafka at %s%s", dim, time.Since(sc.began).Round(time.Second), where, sc.d.broker.ListenAddrs()[0], plain)
	row("")
	row(" %d events  %.1f/s   %s", sc.total, sc.rate(), sc.stage(s))
	row("")
	most := 1
	for n := range maps.Values(sc.counts) {
		most = max(most, n)
	}
	for _, t := range events.Types() {
		row("  %-19s %6d %s%s%s", t, sc.counts[t], green, strings.Repeat("▇", sc.counts[t]*36/most), plain)
	}
	row("")
	row(" %ssuggestions taken%s %s   %scoaching adhered to%s %s   %saverage handle time%s %s",
		dim, plain, k.adoption, dim, plain, k.adherence, dim, plain, k.handleTime)
	row("")
	row(" %snegative feedback%s", bold, plain)
	for i := range maxAlerts {
		if i >= len(sc.alerts) {
			row("")
			continue
		}
		a := sc.alerts[len(sc.alerts)-1-i]
		mark := red + "▼" + plain
		if !a.bad {
			mark = green + "▲" + plain
		}
		row("  %s %s %s", mark, a.at.Format(time.TimeOnly), clip(a.text, 90))
	}
	row("")
	sc.drawAccounts(&b, s, row)
	b.WriteString("\x1b[J")
	io.WriteString(sc.out, b.String())
}

func (sc *screen) drawAccounts(b *bytes.Buffer, s *status.Status, row func(string, ...any)) {
	row(" %sendpoint                    behind   complete up to   polls every%s", bold, plain)
	for _, a := range s.Accounts {
		for _, e := range a.Endpoints {
			lag, complete := "-", "-"
			if e.Lag != nil {
				lag = time.Duration(*e.Lag).Round(100 * time.Millisecond).String()
			}
			if e.CompleteUpTo != nil {
				complete = e.CompleteUpTo.Format(time.TimeOnly)
			}
			mark := green + "●" + plain
			if e.State.Red() {
				mark = red + "●" + plain
			}
			row("  %s %-24s %7s   %14s   %11s", mark, strings.TrimSpace(e.Endpoint+" "+e.BotName), lag, complete,
				time.Duration(e.PollIntervalActual).Round(100*time.Millisecond))
			if e.LastError != nil {
				row("    %s%s%s", red, clip(e.LastError.Text, 100), plain)
			}
		}
		row("")
		used := make([]string, 0, len(a.Budget.PriorityClasses))
		for _, l := range a.Budget.PriorityClasses {
			used = append(used, fmt.Sprintf("%s %d", l.Name, l.Used))
		}
		row(" %srequests in the last minute%s %d of %d  (%s)", dim, plain, a.Budget.Used, a.Budget.Limit, strings.Join(used, ", "))
	}
}

func text(fields map[string]any, name string) string {
	s, _ := fields[name].(string)
	return s
}

func orText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func clip(s string, n int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
