package koresim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// settle looks for the events of one entry and checks them.
func (c *comparison) settle(e *Entry) {
	views := c.enabled(e)
	if len(views) == 0 {
		return
	}
	due := slices.ContainsFunc(views, c.due) && !c.takenBack(views)
	if due && e.Superseded == 0 {
		c.report.Expected++
		n := c.report.ByType[e.Type]
		n.Expected++
		c.report.ByType[e.Type] = n
	}
	g := c.claim(e, views)
	if g == nil {
		if due && e.Superseded == 0 {
			c.lost("%s %s of %s", e.Type, e.Key, e.KafkaKey)
		}
		return
	}
	if due && e.Superseded == 0 {
		c.report.Found++
		n := c.report.ByType[e.Type]
		n.Found++
		c.report.ByType[e.Type] = n
	}
	if e.TooLarge {
		c.wrong("%s: it is too large to be published", g)
		return
	}
	c.checkHeader(e, g)
	why := ""
	for i, o := range g.events {
		if superseding(o) {
			continue
		}
		if why = c.ever(views, o.Fields); why != "" {
			c.wrong("%s: revision %d never was: %s", g, i+1, why)
		}
	}
	c.measure(e, views, g)
	if why == "" { // else what is wrong with the last one is already said
		c.checkLast(e, views, g)
	}
}

// takenBack reports whether the entry is feedback that was gone from every row by the time that the row must have been read: who reads no
// earlier has nothing to publish.
func (c *comparison) takenBack(views []View) bool {
	read := c.scope.FirstRead
	if read.IsZero() {
		read = c.scope.Now
	}
	return !slices.ContainsFunc(views, func(v View) bool {
		n := max(c.settledVersion(v), v.versionAt(read))
		return c.due(v) && v.Versions[n].Fields["sentiment"] != withdrawn
	})
}

// enabled returns the views through which the entry could have been seen.
func (c *comparison) enabled(e *Entry) (views []View) {
	for _, v := range e.Views {
		if len(c.scope.Endpoints) > 0 && !slices.Contains(c.scope.Endpoints, v.Endpoint) {
			continue
		}
		if !v.Versions[0].Visible.After(c.scope.Now) {
			views = append(views, v)
		}
	}
	return views
}

// due reports whether a view must have been read.
func (c *comparison) due(v View) bool {
	return !v.Unreadable && !v.Anchor.Before(c.scope.From) && !v.Anchor.After(c.scope.To) && !v.Versions[0].Visible.After(c.scope.settled(v.Endpoint))
}

// claim takes the group of events that are about the entry. Of twins it takes the one whose last event fits, if any.
func (c *comparison) claim(e *Entry, views []View) *group {
	var best *group
	for _, g := range c.groups[string(e.Type)+" "+e.Key] {
		if g.matched {
			continue
		}
		if best == nil || c.ever(views, g.last()) == "" && c.ever(views, best.last()) != "" {
			best = g
		}
	}
	if best != nil {
		best.matched = true
	}
	return best
}

func (c *comparison) checkHeader(e *Entry, g *group) {
	for _, o := range g.events {
		if o.Key != e.KafkaKey {
			c.wrong("%s: key %q, not %q", g, o.Key, e.KafkaKey)
		}
		for name, want := range map[string]string{"account_id": e.AccountID, "bot_id": e.BotID, "conversation_id": e.ConversationID} {
			if got := text(unwrap(o.Fields[name])); got != want {
				c.wrong("%s: %s %q, not %q", g, name, got, want)
			}
		}
	}
	for _, o := range g.events {
		if name := text(unwrap(Fields(o.Fields).get("queue.queue_name"))); len(e.queues) > 0 && name != "" && !slices.Contains(e.queues, name) {
			c.wrong("%s: queue %q, not one of %q", g, name, e.queues)
		}
	}
	last := g.last()
	if strings.HasPrefix(text(unwrap(last["event_time_basis"])), "clamped:") {
		return // the server's clock was behind: the time is not upstream's
	}
	for _, name := range ownTimes[e.Type] {
		if own := unwrap(last[name]); !empty(own) && !same(own, last["event_time"]) {
			c.wrong("%s: event_time %v by %v, but %s is %v", g, last["event_time"], last["event_time_basis"], name, own)
			return
		}
	}
	if len(e.EventTimes) == 0 {
		return
	}
	for _, t := range e.EventTimes {
		if same(t, last["event_time"]) {
			return
		}
	}
	c.wrong("%s: event_time %v by %v, not %v", g, last["event_time"], last["event_time_basis"], e.EventTimes)
}

// ownTimes are the times that things have of their own, which come before any time around them.
var ownTimes = map[events.Type][]string{
	events.TypeSearch:            {"execution_start_time"},
	events.TypeSuggestionShown:   {"display_time"},
	events.TypeSuggestionUsed:    {"used_time", "dialog_start_time"},
	events.TypeCoachingTriggered: {"triggered_at"},
	events.TypePlaybookStep:      {"adhered_at"},
	events.TypeAgenticRequest:    {"requested_at"},
}

func superseding(o *Observed) bool { return !empty(unwrap(o.Fields["superseded_by"])) }

// ever returns "" if an event says what could be read at some time, else what is odd about it. Through one endpoint that
// is one of the versions; what two endpoints show may be combined in any way.
func (c *comparison) ever(views []View, f Fields) string {
	if !shared(views) {
		var whys []string
		for _, v := range views {
			for _, version := range v.Versions {
				if version.Visible.After(c.scope.Now) {
					break
				}
				why := differs(version.Fields, f)
				if why == "" {
					return ""
				}
				whys = append(whys, why)
			}
		}
		if len(whys) == 0 {
			return "no version was readable"
		}
		return strings.Join(whys, "; or ") // the version that was meant is one of them
	}
	return combined(views, f, func(v View, _ int, version Version) bool { return !version.Visible.After(c.scope.Now) })
}

func shared(views []View) bool {
	return slices.ContainsFunc(views, func(v View) bool { return v.Endpoint != views[0].Endpoint })
}

// differs returns the first field in which an event is not as a version, or "".
func differs(want, got Fields) string {
	for _, k := range sortedKeys(want) {
		if !same(want[k], got[k]) {
			return fmt.Sprintf("%s is %v, was %v", k, unwrap(got[k]), want[k])
		}
	}
	return ""
}

func sortedKeys(f Fields) []string {
	keys := make([]string, 0, len(f))
	for k := range f {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// combined checks each field of an event against what any of the allowed versions has.
func combined(views []View, f Fields, allowed func(v View, n int, version Version) bool) string {
	candidates := map[string][]any{}
	for _, v := range views {
		for n, version := range v.Versions {
			if allowed(v, n, version) {
				for k, value := range version.Fields {
					candidates[k] = append(candidates[k], value)
				}
			}
		}
	}
	// A field may also be empty if some view had it so, or had it not at all.
	for k, values := range candidates {
		if slices.ContainsFunc(values, func(v any) bool { return same(v, f[k]) }) {
			continue
		}
		if empty(unwrap(f[k])) && slices.ContainsFunc(views, func(v View) bool {
			for n, version := range v.Versions {
				if _, has := version.Fields[k]; !has && allowed(v, n, version) {
					return true
				}
			}
			return false
		}) {
			continue
		}
		return fmt.Sprintf("%s is %v, was one of %v", k, unwrap(f[k]), values)
	}
	return ""
}

// measure notes how late versions were published.
func (c *comparison) measure(e *Entry, views []View, g *group) {
	note := func(o *Observed, v View, n int) {
		if at, ok := timeOf(o.Fields["observed_time"]); ok {
			visible := v.Versions[n].Visible
			c.report.Delays = append(c.report.Delays, Delay{e.Type, v.Endpoint, n == 0, visible, at.Sub(visible)})
		}
	}
	if slices.ContainsFunc(views, func(v View) bool { return v.Unreadable }) {
		return
	}
	if len(views) > 1 {
		first := slices.MinFunc(views, func(a, b View) int { return a.Versions[0].Visible.Compare(b.Versions[0].Visible) })
		note(g.events[0], first, 0)
		return
	}
	n := 0
	for _, o := range g.events {
		for n < len(views[0].Versions) && differs(views[0].Versions[n].Fields, o.Fields) != "" {
			n++
		}
		if n == len(views[0].Versions) {
			return
		}
		note(o, views[0], n)
		n++
	}
}

// checkLast checks that the last event says what could last be read.
func (c *comparison) checkLast(e *Entry, views []View, g *group) {
	last := g.events[len(g.events)-1]
	if e.Superseded != 0 {
		c.checkSuperseded(e, views, g)
		return
	}
	if superseding(last) {
		c.wrong("%s: superseded, and is not", g)
		return
	}
	required := slices.DeleteFunc(slices.Clone(views), func(v View) bool { return !c.due(v) })
	if len(required) == 0 {
		return
	}
	if !shared(views) {
		// Of several rows the last one counts, or any later.
		need := required[len(required)-1]
		var why string
		for _, v := range views[slices.IndexFunc(views, func(v View) bool { return v.row == need.row }):] {
			from := 0
			if v.row == need.row {
				from = c.settledVersion(v)
			}
			for _, version := range v.Versions[from:] {
				if why = differs(version.Fields, last.Fields); why == "" {
					return
				}
			}
		}
		c.lost("%s: last version: %s", g, why)
		return
	}
	if why := c.sharedLast(views, required, last.Fields); why != "" {
		c.lost("%s: last version: %s", g, why)
	}
}

// settledVersion returns the version that was readable when everything had to be settled.
func (c *comparison) settledVersion(v View) int { return v.versionAt(c.scope.settled(v.Endpoint)) }

// versionAt returns the last version that was readable at a time, the first one if there was none.
func (v View) versionAt(t time.Time) (n int) {
	for i, version := range v.Versions {
		if !version.Visible.After(t) {
			n = i
		}
	}
	return n
}

// sharedLast checks each field that the views which had to be read to their end have: it must be as one of them has it.
func (c *comparison) sharedLast(views, required []View, f Fields) string {
	fields := map[string]bool{}
	for _, v := range required {
		settled := v.Versions[c.settledVersion(v)].Fields
		for k := range settled {
			// A row that was read for the first time after the feedback was taken back adds nothing to it: it never showed it.
			fields[k] = fields[k] || settled["sentiment"] != withdrawn || !slices.ContainsFunc(required, func(other View) bool {
				_, has := other.Versions[c.settledVersion(other)].Fields[k]
				return !has
			})
		}
	}
	for k, needed := range fields {
		ok := !needed
		var wants []any
		for _, v := range views {
			from := 0 // a view that need not have been read to its end may have been read at any time
			due := slices.ContainsFunc(required, func(r View) bool { return r.row == v.row })
			if due {
				from = c.settledVersion(v)
			}
			_, had := v.Versions[from].Fields[k]
			for _, version := range v.Versions[from:] {
				if version.Visible.After(c.scope.Now) {
					break
				}
				if value, has := version.Fields[k]; has {
					wants = append(wants, value)
					ok = ok || same(value, f[k])
				} else if due && had { // it may have been read already that the field is gone
					ok = ok || empty(unwrap(f[k]))
				}
			}
		}
		if !ok {
			return fmt.Sprintf("%s is %v, not one of %v", k, unwrap(f[k]), wants)
		}
	}
	return ""
}

// checkSuperseded checks a bot-only session that gained a conversation: if it was published, it must say so in the end.
func (c *comparison) checkSuperseded(e *Entry, views []View, g *group) {
	for i, o := range g.events {
		if superseding(o) && i+1 < len(g.events) {
			c.wrong("%s: goes on after it was superseded", g)
		}
	}
	gone := slices.ContainsFunc(views, func(v View) bool {
		return c.due(v) && !v.Gone.IsZero() && !v.Gone.After(c.scope.settled(v.Endpoint)) && !e.never(v)
	})
	if gone && !superseding(g.events[len(g.events)-1]) {
		c.lost("%s: superseded_by", g)
	}
}

// never reports whether a view was replaced before it had to be read.
func (e *Entry) never(v View) bool { return v.Gone.Sub(v.Versions[0].Visible) < time.Millisecond }
