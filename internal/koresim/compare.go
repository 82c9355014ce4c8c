package koresim

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// Observed is a record as a consumer read it from a topic. Fields is the decoded Avro value: times as time.Time or
// milliseconds, records as maps, unions bare or with their branch.
type Observed struct {
	Topic     string
	Key       string
	Partition int32
	Offset    int64
	Headers   map[string]string
	Fields    map[string]any
}

func (o *Observed) revision() int64 { return int64(number64(unwrap(o.Fields["revision"]))) }

// Scope says which part of the ledger must be in the topics.
type Scope struct {
	// Endpoints that the poller reads, Types that it publishes. Empty: all.
	Endpoints []events.Endpoint
	Types     []events.Type
	// From and To bound the rows that must have been read, by Anchor. What is outside may be there, but must be right.
	From, To time.Time
	// Whatever was readable by Settled must have been published. Whatever was not readable by Now cannot have been.
	Settled, Now time.Time
	// SettledBy overrides Settled for endpoints whose sweeps take longer.
	SettledBy map[events.Endpoint]time.Time
	// By FirstRead everything had been read for the first time: who reads later finds nothing of feedback that was taken back before.
	// Zero: Now, as what was readable at Settled may have been read at any time since.
	FirstRead time.Time
}

func (s *Scope) settled(e events.Endpoint) time.Time {
	if t, ok := s.SettledBy[e]; ok {
		return t
	}
	return s.Settled
}

// Delay is how long after it was readable a version was published.
type Delay struct {
	Type     events.Type
	Endpoint events.Endpoint
	First    bool // version of the thing, else an edit
	Visible  time.Time
	Delay    time.Duration // until observed_time
}

// Count is about one type.
type Count struct{ Expected, Found, Events int }

// Report is the outcome of a comparison. The poller is right if Lost, Repeated and Wrong are empty.
type Report struct {
	// Expected counts the entities of the ledger, Found those of them in the topics, Events the records on the event topics.
	Expected, Found, Events int
	// Lost are entities or last versions, Repeated are events, Wrong is what never happened or breaks a promise.
	Lost, Repeated, Wrong []string
	ByType                map[events.Type]Count
	// Delays of all versions that could be told apart: those of things that only one endpoint shows, and first ones.
	Delays []Delay
}

// OK reports whether nothing is lost, repeated or wrong.
func (r *Report) OK() bool { return len(r.Lost)+len(r.Repeated)+len(r.Wrong) == 0 }

// String is a summary with a few examples of each fault.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "expected %d found %d events %d lost %d repeated %d wrong %d", r.Expected, r.Found, r.Events, len(r.Lost), len(r.Repeated), len(r.Wrong))
	for _, l := range []struct {
		name string
		list []string
	}{{"lost", r.Lost}, {"repeated", r.Repeated}, {"wrong", r.Wrong}} {
		for _, s := range l.list[:min(len(l.list), 5)] {
			fmt.Fprintf(&b, "\n  %s: %s", l.name, s)
		}
	}
	return b.String()
}

// Compare recomputes what must have been published and compares it with what a consumer read from the beginning of all
// topics. Intermediate versions may be missing; the last one may not.
func Compare(ledger iter.Seq[*Entry], observed []Observed, scope Scope) *Report {
	c := &comparison{scope: scope, report: &Report{ByType: map[events.Type]Count{}}, groups: map[string][]*group{}}
	c.collect(observed)
	c.checkNegatives(observed)
	for e := range ledger {
		if len(scope.Types) == 0 || slices.Contains(scope.Types, e.Type) {
			c.settle(e)
		}
	}
	for _, list := range c.groups {
		for _, g := range list {
			if !g.matched {
				c.wrong("%s: no such thing: %s", g, g.key)
			}
		}
	}
	slices.Sort(c.report.Wrong)
	slices.Sort(c.report.Lost)
	slices.Sort(c.report.Repeated)
	return c.report
}

// group are the events of one entity, by revision.
type group struct {
	kind    events.Type
	entity  string
	key     string
	events  []*Observed
	matched bool
}

func (g *group) String() string {
	last := g.events[len(g.events)-1]
	return fmt.Sprintf("%s %s r%d (%s:%d@%d)", g.kind, g.entity, last.revision(), last.Topic, last.Partition, last.Offset)
}

func (g *group) last() Fields { return g.events[len(g.events)-1].Fields }

type comparison struct {
	scope  Scope
	report *Report
	groups map[string][]*group // by type and natural key
}

// finding returns a sentence of the report. It cuts what is too long to be read: values can have megabytes.
func finding(format string, args []any) string {
	const most = 2000
	s := fmt.Sprintf(format, args...)
	return s[:min(len(s), most)]
}

func (c *comparison) wrong(format string, args ...any) {
	c.report.Wrong = append(c.report.Wrong, finding(format, args))
}

func (c *comparison) lost(format string, args ...any) {
	c.report.Lost = append(c.report.Lost, finding(format, args))
}

func (c *comparison) repeated(format string, args ...any) {
	c.report.Repeated = append(c.report.Repeated, finding(format, args))
}

// typeOf returns the event type that a topic carries, if it is an event topic.
func typeOf(topic string) (events.Type, bool) {
	t := events.Type(topic[strings.LastIndexByte(topic, '.')+1:])
	return t, slices.Contains(events.Types(), t)
}

// collect groups the events by entity and checks each group in itself.
func (c *comparison) collect(observed []Observed) {
	ids := map[string]bool{}
	entities := map[string]*group{}
	for i := range observed {
		o := &observed[i]
		kind, ok := typeOf(o.Topic)
		if !ok {
			continue
		}
		c.report.Events++
		n := c.report.ByType[kind]
		n.Events++
		c.report.ByType[kind] = n
		id, entity := text(unwrap(o.Fields["event_id"])), text(unwrap(o.Fields["entity_id"]))
		if ids[id] {
			c.repeated("event_id %s on %s:%d@%d", id, o.Topic, o.Partition, o.Offset)
			continue
		}
		ids[id] = true
		g := entities[string(kind)+entity]
		if g == nil {
			g = &group{kind: kind, entity: entity}
			entities[string(kind)+entity] = g
		}
		g.events = append(g.events, o)
	}
	for _, g := range entities {
		c.checkGroup(g)
		g.key = KeyOf(g.kind, g.last())
		k := string(g.kind) + " " + g.key
		c.groups[k] = append(c.groups[k], g)
	}
}

// knowsMore reports whether an event of something that happened in a segment knows the session, agent or queue that the one before did not.
func knowsMore(kind events.Type, now, before Fields) bool {
	switch kind {
	case events.TypeSegment, events.TypeConversation, events.TypeAgentEngagement, events.TypeMessage:
		return false
	}
	for _, path := range []string{"session_id", "agent.agent_id", "queue.queue_id"} {
		if empty(unwrap(before.get(path))) && !empty(unwrap(now.get(path))) {
			return true
		}
	}
	return false
}

// checkGroup checks revisions, order, key and that each event differs from the one before.
func (c *comparison) checkGroup(g *group) {
	slices.SortStableFunc(g.events, func(a, b *Observed) int { return cmp.Compare(a.revision(), b.revision()) })
	for i, o := range g.events {
		if o.revision() != int64(i+1) {
			c.wrong("%s: revision %d where %d was due", g, o.revision(), i+1)
			break
		}
		if i == 0 {
			continue
		}
		before := g.events[i-1]
		if o.Key != before.Key || o.Partition != before.Partition {
			c.wrong("%s: key or partition changed from %q:%d to %q:%d", g, before.Key, before.Partition, o.Key, o.Partition)
		} else if o.Offset < before.Offset {
			c.wrong("%s: revision %d is before revision %d", g, o.revision(), before.revision())
		}
		if reflect.DeepEqual(content(g.kind, o.Fields), content(g.kind, before.Fields)) && !knowsMore(g.kind, o.Fields, before.Fields) {
			c.repeated("%s: revision %d says the same as the one before", g, o.revision())
		}
	}
}

// surroundings are fields that are not content: what differs only in them is no new version.
var surroundings = []string{
	"event_id", "entity_id", "revision", "event_time", "event_time_basis", "changed_after", "changed_before", "observed_time",
	"late", "replay", "endpoint", "source", "account_id", "bot_id", "conversation_id", "session_id", "segment_id", "channel",
	"agent", "queue",
	// Derived, or only for display.
	"sentiment", "scale", "target_text", "target_text_truncated", "target_query", "link", "target_name", "target_entity_id", "parent_entity_id", "search_entity_id", "agent_first_name", "agent_last_name",
	"participant_name", "phrases_suggested", "phrases_accepted", "phrases_entered", "corrections_presented", "corrections_accepted",
	"is_ext_ad", "mb_user_id", "assist_session_ids", "search_session_ids", "meta_info", "bot_only",
}

// contentHeaders are the header fields that are content of some types.
var contentHeaders = map[events.Type][]string{
	events.TypeSegment:         {"conversation_id", "session_id", "channel", "agent", "queue"},
	events.TypeConversation:    {"bot_id", "channel"},
	events.TypeAgentEngagement: {"agent", "queue"},
	events.TypeSearch:          {"corrections_presented", "corrections_accepted"},
}

func content(t events.Type, f map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range f {
		if v != nil && (!slices.Contains(surroundings, k) || slices.Contains(contentHeaders[t], k)) {
			out[k] = v
		}
	}
	return out
}

// checkNegatives checks the copies on feedback-negative: every negative feedback and every later revision of it, once.
func (c *comparison) checkNegatives(observed []Observed) {
	copies := map[string]int{}
	for i := range observed {
		if strings.HasSuffix(observed[i].Topic, ".feedback-negative") {
			copies[text(unwrap(observed[i].Fields["event_id"]))]++
		}
	}
	for _, list := range c.groups {
		for _, g := range list {
			if g.kind != events.TypeFeedback {
				continue
			}
			once := false
			for _, o := range g.events {
				id := text(unwrap(o.Fields["event_id"]))
				once = once || unwrap(o.Fields["sentiment"]) == "NEGATIVE"
				switch n := copies[id]; {
				case once && n == 0:
					c.lost("%s: revision %d is not on feedback-negative", g, o.revision())
				case once && n > 1:
					c.repeated("%s: revision %d is %d times on feedback-negative", g, o.revision(), n)
				case !once && n > 0:
					c.wrong("%s: revision %d has no place on feedback-negative", g, o.revision())
				}
				delete(copies, id)
			}
		}
	}
	for id := range copies {
		c.wrong("feedback-negative: event %s is not on the feedback topic", id)
	}
}
