package demo

import (
	"bytes"
	"cmp"
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
	"unicode/utf8"

	"golang.org/x/term"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/tail"
)

// screen is what a person sees of the demo: on a terminal a picture that fits it and is drawn four times a second, elsewhere a line every
// other second. It learns of events as any consumer would, from the topics.
type screen struct {
	d        *demo
	out      io.Writer
	terminal *os.File // nil if the output is no terminal that can be drawn on
	color    bool
	began    time.Time

	mu       sync.Mutex
	counts   map[events.Type]int
	total    int
	arrivals []time.Time // of the last ten seconds
	first    map[events.Type]map[string]time.Time
	latest   map[string]map[string]any // by entity, of the types that the KPIs are made of
	events   []shown                   // the last ones
	feedback []shown                   // the last ones that are or were negative
	negative int                       // how many of them there were
	stopping bool                      // the topics are compared with the ledger
}

// shown is a record that has a line.
type shown struct {
	topic  string // without the prefix
	fields map[string]any
	color  string
}

// most is how many of the last records are kept: more than a terminal has lines.
const most = 200

func newScreen(d *demo) *screen {
	sc := &screen{
		d: d, out: d.out.Out, began: time.Now(), counts: map[events.Type]int{}, color: os.Getenv("NO_COLOR") == "",
		first: map[events.Type]map[string]time.Time{}, latest: map[string]map[string]any{},
	}
	if d.o.JSON {
		sc.out = io.Discard
	}
	if os.Getenv("TERM") != "dumb" {
		sc.terminal = app.Terminal(sc.out)
	}
	return sc
}

// record takes one record of a topic.
func (sc *screen) record(topic string, fields map[string]any, now time.Time) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	name := strings.TrimPrefix(topic, sc.d.names.Event(""))
	if topic == sc.d.names.Negative() {
		sc.negative++
		color := red
		if text(fields, "sentiment") != events.SentimentNegative {
			color = green
		}
		sc.feedback = keep(sc.feedback, shown{"feedback", fields, color})
		return
	}
	t := events.Type(name)
	sc.events = keep(sc.events, shown{name, fields, ""})
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

func keep(records []shown, r shown) []shown {
	records = append(records, r)
	return records[max(0, len(records)-most):]
}

// stop notes that the topics are compared with the ledger.
func (sc *screen) stop() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.stopping = true
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
	if sc.terminal != nil {
		every = 250 * time.Millisecond
		fmt.Fprint(sc.out, "\x1b[?25l\x1b[2J")
		defer fmt.Fprint(sc.out, "\x1b[?25h\n")
	} else {
		fmt.Fprintf(sc.out, "%s; Ctrl-C stops it, and compares what it did with the topics\nstatus page: %s\nin another terminal: %s\n",
			title, cmp.Or(sc.d.statusPage(), "none"), sc.d.tailCommand())
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
		if sc.terminal != nil {
			sc.draw(&s)
		} else {
			sc.line(&s)
		}
		sc.mu.Unlock()
	}
}

// line writes the state as one line, for logs and pipes.
func (sc *screen) line(s *status.Status) {
	fmt.Fprintf(sc.out, "%4s  %6d records  %5.1f/s  %s  %s\n", time.Since(sc.began).Round(time.Second), sc.total, sc.rate(), sc.kpis(), sc.stage(s))
}

func (sc *screen) stage(s *status.Status) string {
	if sc.stopping {
		return "stopping: up to 90 s for what was readable then"
	}
	return string(s.State)
}

// rate is the number of records a second over the last ten seconds.
func (sc *screen) rate() float64 {
	cut := time.Now().Add(-10 * time.Second)
	sc.arrivals = slices.DeleteFunc(sc.arrivals, func(t time.Time) bool { return t.Before(cut) })
	return float64(len(sc.arrivals)) / min(10, max(1, time.Since(sc.began).Seconds()))
}

// kpis are figures as a stream processor would compute them from the topics. Conversations of the demo take seconds.
func (sc *screen) kpis() string {
	var shown, used, nudges, adhered, served, seconds float64
	taken := map[string]bool{} // what something was used of
	for _, f := range sc.latest {
		if f["type"] == events.TypeSuggestionUsed && events.Accepted(text(f, "usage")) {
			taken[text(f, "shown_entity_id")] = true
		}
	}
	for id, f := range sc.latest {
		switch f["type"] {
		case events.TypeSuggestionShown:
			shown++
			if taken[id] {
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
	figure := func(format string, part, of float64) string {
		if of == 0 {
			return "-"
		}
		return fmt.Sprintf(format, part/of)
	}
	return fmt.Sprintf("suggestions used %s  coaching followed %s  avg handle time %s  negative %d",
		figure("%.0f%%", 100*used, shown), figure("%.0f%%", 100*adhered, nudges), figure("%.0f s", seconds, served), sc.negative)
}

// The colours of the terminal.
const (
	bold, dim, red, green, yellow, plain = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
)

// draw paints the whole picture in one write: as many lines as the terminal has.
func (sc *screen) draw(s *status.Status) {
	width, height, err := term.GetSize(int(sc.terminal.Fd()))
	if err != nil || width < 20 || height < 10 {
		width, height = 80, 24
	}
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	for i, row := range sc.picture(s, width, height) {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(fit(row, width, sc.color) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, _ = b.WriteTo(sc.out) // there is nobody else to tell
}

// title says what the demo is, and how fast its time passes: without that, its handle times look wrong.
const title = "a simulated contact centre whose conversations take seconds"

// picture returns the rows of the view, at most height of them. What must be read as a whole is wrapped, and the rest is for fit to cut.
func (sc *screen) picture(s *status.Status, width, height int) []string {
	var head []string
	paint := func(color string, rows ...string) {
		for _, row := range rows {
			head = append(head, " "+color+row+plain)
		}
	}
	paint("", bold+"agentassist-poller"+plain+"  "+title)
	if height >= 18 { // else the events need the room
		paint(dim, wrap(fmt.Sprintf("%s  Ctrl-C: stop, and compare  %s", time.Since(sc.began).Round(time.Second), sc.d.statusPage()), width-1)...)
		command := wrap("try: "+sc.d.tailCommand(), width-3)
		paint(dim, strings.Split(strings.Join(command, " \\\n"), "\n")...) // so that it can be copied
	}
	paint("", wrap(fmt.Sprintf("%d records  %.1f/s  %s", sc.total, sc.rate(), sc.stage(s)), width-1)...)
	paint("", wrap(sc.kpis(), width-1)...)
	foot := sc.endpoints(s)
	room := height - len(head) - len(foot) - 3 // titles, and a line that stays empty
	if room < 4 && len(foot) > 0 {
		room += len(foot) - 1
		foot = foot[len(foot)-1:]
	}
	if room >= 27 { // a large terminal
		bars := sc.bars()
		head, room = append(head, bars...), room-len(bars)
	}
	negatives := min(max(room/3, 1), 6)
	rows := append(head, " "+bold+"events"+plain)
	rows = append(rows, last(sc.events, room-negatives, width)...)
	rows = append(rows, " "+bold+"negative feedback"+plain+dim+", and its all-clear"+plain)
	rows = append(rows, last(sc.feedback, negatives, width)...)
	rows = append(rows, foot...)
	return rows[:min(len(rows), height)]
}

// wrap breaks a text at spaces, so that no row has more characters than the width unless a word has. Words that two spaces part from the
// next stay together if they can.
func wrap(text string, width int) (rows []string) {
	row := ""
	for group := range strings.SplitSeq(strings.TrimSpace(text), "  ") {
		words := []string{group}
		if utf8.RuneCountInString(group) > width {
			words = strings.Fields(group)
		}
		for i, word := range words {
			gap := "  "
			if i > 0 {
				gap = " "
			}
			switch {
			case row == "":
				row = word
			case utf8.RuneCountInString(row+gap+word) <= width:
				row += gap + word
			default:
				rows, row = append(rows, row), word
			}
		}
	}
	return append(rows, row)
}

// last returns the lines of the last n records, and empty ones if there are fewer.
func last(records []shown, n, width int) []string {
	out := make([]string, max(n, 0))
	now := time.Now()
	for i := range out {
		if at := len(records) - len(out) + i; at >= 0 {
			r := records[at]
			out[i] = " " + r.color + tail.ShortLine(r.topic, r.fields, now, width) + plain
		}
	}
	return out
}

// bars show how many records there are of each type.
func (sc *screen) bars() (rows []string) {
	longest := 1
	for n := range maps.Values(sc.counts) {
		longest = max(longest, n)
	}
	for _, t := range events.Types() {
		rows = append(rows, fmt.Sprintf("  %-19s %6d %s%s%s", t, sc.counts[t], green, strings.Repeat("▇", sc.counts[t]*36/longest), plain))
	}
	return rows
}

// endpoints show how far each endpoint was read, and what the budget is spent on.
func (sc *screen) endpoints(s *status.Status) (rows []string) {
	for _, a := range s.Accounts {
		rows = append(rows, fmt.Sprintf(" %s%-21s %7s  complete up to%s", bold, "endpoint", "behind", plain))
		for _, e := range a.Endpoints {
			lag, complete := "-", "-"
			if e.Lag != nil {
				lag = time.Duration(*e.Lag).Round(100 * time.Millisecond).String()
			}
			if e.CompleteUpTo != nil {
				complete = e.CompleteUpTo.UTC().Format("15:04:05Z")
			}
			mark := green + "●" + plain
			switch {
			case e.State.Red():
				mark = red + "●" + plain
			case e.State != status.OK:
				mark = yellow + "●" + plain
			}
			row := fmt.Sprintf(" %s %-19s %7s  %9s", mark, strings.TrimSpace(e.Endpoint+" "+e.BotName), lag, complete)
			if e.LastError != nil {
				row += "  " + red + e.LastError.Text + plain
			}
			rows = append(rows, row)
		}
		used := make([]string, 0, len(a.Budget.PriorityClasses))
		for _, l := range a.Budget.PriorityClasses {
			used = append(used, fmt.Sprintf("%s %d", l.Name, l.Used))
		}
		rows = append(rows, fmt.Sprintf(" %d of %d requests a minute: %s", a.Budget.Used, a.Budget.Limit, strings.Join(used, ", ")))
	}
	return rows
}

// fit cuts a row to the width of the terminal. Colours take no room, and are left out if they are not wanted.
func fit(row string, width int, color bool) string {
	var b strings.Builder
	coloring := false
	for _, r := range row {
		switch {
		case r == '\x1b':
			coloring = true
		case !coloring && width == 0:
			continue
		case !coloring:
			width--
		}
		if !coloring || color {
			b.WriteRune(r)
		}
		coloring = coloring && r != 'm'
	}
	return b.String()
}

func text(fields map[string]any, name string) string {
	s, _ := fields[name].(string)
	return s
}
