package app

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

// demoView is what a person sees of the demo: on a terminal a picture that is drawn again four times a second, elsewhere a
// line every other second. It learns of events as any consumer would, from the topics.
type demoView struct {
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
	alerts   []demoAlert
	pending  int // edits that are still to come; -1 before the centre has closed
}

// demoAlert is one line about a feedback that is or was negative.
type demoAlert struct {
	at   time.Time
	text string
	bad  bool
}

const maxAlerts = 6

func newDemoView(d *demo) *demoView {
	v := &demoView{
		d: d, out: d.out.Out, began: time.Now(), counts: map[events.Type]int{}, pending: -1,
		first: map[events.Type]map[string]time.Time{}, latest: map[string]map[string]any{},
	}
	if d.o.JSON {
		v.out = io.Discard
	}
	if f, ok := v.out.(*os.File); ok {
		v.terminal = term.IsTerminal(int(f.Fd()))
	}
	return v
}

// saw takes one record.
func (v *demoView) saw(topic string, fields map[string]any, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if topic == v.d.names.Negative() {
		v.alert(fields, now)
		return
	}
	t := events.Type(strings.TrimPrefix(topic, v.d.names.Event("")))
	v.counts[t]++
	v.total++
	v.arrivals = append(v.arrivals, now)
	if v.first[t] == nil {
		v.first[t] = map[string]time.Time{}
	}
	if key := koresim.KeyOf(t, fields); v.first[t][key].IsZero() {
		v.first[t][key] = now
	}
	switch t {
	case events.TypeCoachingTriggered, events.TypeAgentEngagement, events.TypeSuggestionUsed, events.TypeSuggestionShown:
		fields["type"] = t
		v.latest[text(fields, "entity_id")] = fields
	}
}

func (v *demoView) alert(fields map[string]any, now time.Time) {
	who := "an agent"
	if agent, ok := fields["agent"].(map[string]any); ok && text(agent, "name") != "" {
		who = text(agent, "name")
	} else if text(fields, "given_by") == "CUSTOMER" {
		who = "a customer"
	}
	a := demoAlert{at: now, bad: text(fields, "sentiment") == events.SentimentNegative}
	a.text = fmt.Sprintf("%s on %s", who, orText(text(fields, "target_type"), text(fields, "feedback_type")))
	if comment := text(fields, "comment"); comment != "" {
		a.text += ": " + comment
	}
	if v.alerts = append(v.alerts, a); len(v.alerts) > maxAlerts {
		v.alerts = v.alerts[1:]
	}
}

// closing notes how many edits are still to come.
func (v *demoView) closing(pending int, r *DemoResult) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pending = pending + r.Lost
}

// freshness returns how long 99 of 100 things took from being readable upstream to being read from their topic.
func (v *demoView) freshness(ledger iter.Seq[*koresim.Entry]) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	var took []time.Duration
	for e := range ledger {
		arrived := v.first[e.Type][e.Key]
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

// run shows the view until ctx ends.
func (v *demoView) run(ctx context.Context) error {
	every := 2 * time.Second
	if v.terminal {
		every = 250 * time.Millisecond
		fmt.Fprint(v.out, "\x1b[?25l\x1b[2J")
		defer fmt.Fprint(v.out, "\x1b[?25h\n")
	} else if v.d.app.Addr() != "" {
		fmt.Fprintf(v.out, "status page: http://%s/\n", v.d.app.Addr())
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s := v.d.app.Status()
		v.mu.Lock()
		if v.terminal {
			v.draw(&s)
		} else {
			v.line(&s)
		}
		v.mu.Unlock()
	}
}

// line writes the state as one line, for logs and pipes.
func (v *demoView) line(s *status.Status) {
	k := v.kpis()
	fmt.Fprintf(v.out, "%4s  %6d events  %5.1f/s  adoption %s  adherence %s  handle time %s  %d alerts  %s\n",
		time.Since(v.began).Round(time.Second), v.total, v.rate(), k.adoption, k.adherence, k.handleTime, len(v.alerts), v.stage(s))
}

func (v *demoView) stage(s *status.Status) string {
	switch {
	case v.pending > 0:
		return fmt.Sprintf("closed; %d edits to come", v.pending)
	case v.d.o.Duration > 0 && time.Since(v.began) > v.d.o.Duration:
		return "closed; waiting for the last edits"
	}
	return string(s.State)
}

// rate is the number of events a second over the last ten seconds.
func (v *demoView) rate() float64 {
	cut := time.Now().Add(-10 * time.Second)
	v.arrivals = slices.DeleteFunc(v.arrivals, func(t time.Time) bool { return t.Before(cut) })
	return float64(len(v.arrivals)) / min(10, max(1, time.Since(v.began).Seconds()))
}

type demoKPIs struct{ adoption, adherence, handleTime string }

// kpis are three figures as a stream processor would compute them from the topics.
func (v *demoView) kpis() demoKPIs {
	var shown, used, nudges, adhered, served, seconds float64
	taken := map[string]bool{} // what something was used of
	for _, f := range v.latest {
		if f["type"] == events.TypeSuggestionUsed {
			taken[text(f, "parent_entity_id")] = true
		}
	}
	for id, f := range v.latest {
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
	k := demoKPIs{"-", "-", "-"}
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

// The colours of the terminal view.
const (
	bold, dim, red, green, plain = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
)

// draw paints the whole picture anew, in one write.
func (v *demoView) draw(s *status.Status) {
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	row := func(format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\x1b[K\n")
	}
	k := v.kpis()
	row(" %sagentassist-poller%s  a simulated contact centre, read and published for real", bold, plain)
	where := ""
	if v.d.app.Addr() != "" {
		where = "http://" + v.d.app.Addr() + "/"
	}
	row(" %s%s  %s  Kafka at %s%s", dim, time.Since(v.began).Round(time.Second), where, v.d.broker.ListenAddrs()[0], plain)
	row("")
	row(" %d events  %.1f/s   %s", v.total, v.rate(), v.stage(s))
	row("")
	most := 1
	for n := range maps.Values(v.counts) {
		most = max(most, n)
	}
	for _, t := range events.Types() {
		row("  %-19s %6d %s%s%s", t, v.counts[t], green, strings.Repeat("▇", v.counts[t]*36/most), plain)
	}
	row("")
	row(" %ssuggestions taken%s %s   %scoaching adhered to%s %s   %saverage handle time%s %s",
		dim, plain, k.adoption, dim, plain, k.adherence, dim, plain, k.handleTime)
	row("")
	row(" %snegative feedback%s", bold, plain)
	for i := range maxAlerts {
		if i >= len(v.alerts) {
			row("")
			continue
		}
		a := v.alerts[len(v.alerts)-1-i]
		mark := red + "▼" + plain
		if !a.bad {
			mark = green + "▲" + plain
		}
		row("  %s %s %s", mark, a.at.Format(time.TimeOnly), clip(a.text, 90))
	}
	row("")
	v.drawAccounts(&b, s, row)
	b.WriteString("\x1b[J")
	io.WriteString(v.out, b.String())
}

func (v *demoView) drawAccounts(b *bytes.Buffer, s *status.Status, row func(string, ...any)) {
	row(" %sendpoint                    behind   complete up to   looks every%s", bold, plain)
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
		used := make([]string, 0, len(a.Budget.Lanes))
		for _, l := range a.Budget.Lanes {
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
