package extract

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// day is how far the anchors of one thing lie apart at most where earlier builds took them from times: two endpoints may disagree
// about the day.
const day = 24 * time.Hour

// A moment is a time and the upstream field it came from.
type moment struct {
	time  time.Time
	basis string
}

func (m moment) known() bool { return !m.time.IsZero() }

// or returns m, or the moment of the field if m is unknown.
func (m moment) or(t *time.Time, basis string) moment {
	if m.known() || t == nil {
		return m
	}
	return moment{*t, basis}
}

// orOf returns m, or the nearest thing's moment if m is unknown.
func (m moment) orOf(nearest moment) moment {
	if m.known() {
		return m
	}
	return nearest
}

// A collector collects the observations of one row. The fields that they have in common are set once the whole row was read.
type collector struct {
	scope  Scope
	bot    string        // enters identity
	head   events.Header // what the record says about all that is in it
	at     moment        // of the record
	anchor time.Time
	fixed  bool   // the anchor follows from the record's id
	home   string // the entity beside which is remembered what only this record shows; empty for none
	parent string // the record's id
	rank   int64  // of the record among those that may show the same things
	twins  map[string]int
	out    []events.Observation
	unsaid []events.Observation
}

// begin starts a row that was read completely. parent is what identifies the row; id, which may be the same, may tell when it was made.
func (s *collector) begin(bot string, at moment, parent, id string, head events.Header) {
	head.AccountID, head.Source, head.Endpoint = s.scope.AccountID, s.scope.Source, string(s.scope.Endpoint)
	if bot != "" {
		head.BotID = &bot
	}
	s.bot, s.at, s.head, s.home, s.parent = bot, at, head, "", parent
	if s.anchor, s.fixed = madeAt(id); !s.fixed {
		s.anchor = at.time
	}
	s.rank = events.Rank(s.anchor, nil)
	if s.twins == nil {
		s.twins = map[string]int{}
	}
	clear(s.twins)
	s.out, s.unsaid = s.out[:0], s.unsaid[:0]
}

// id returns the id of a thing that upstream identifies: listed twice, it is one thing.
func (s *collector) id(t events.Type, parts ...string) string {
	return events.EntityID(s.scope.AccountID, s.bot, t, parts...)
}

// entity returns the id of a thing that has none upstream. Things of one record that are equal in all that identifies them are told apart
// by their order, which is why they are asked for in the order that inOrder gives them.
func (s *collector) entity(t events.Type, parts ...string) string {
	id := s.id(t, parts...)
	n := s.twins[id]
	s.twins[id] = n + 1
	if n == 0 {
		return id
	}
	return s.id(t, append(parts, "twin", strconv.Itoa(n))...)
}

// observe adds an observation. An agent or a queue that is already in the header takes precedence over the row's.
func (s *collector) observe(e events.Event, id string, at moment) *events.Observation {
	h := e.Head()
	agent, queue := h.Agent, h.Queue
	*h = s.head
	if agent != nil {
		h.Agent = agent
	}
	if queue != nil {
		h.Queue = queue
	}
	at = at.orOf(s.at)
	h.EntityID, h.EventTime, h.EventTimeBasis = id, at.time, at.basis
	out := &s.out
	if events.Withdrawn(e) {
		out = &s.unsaid
	}
	*out = append(*out, events.Observation{Event: e, Endpoint: s.scope.Endpoint, Row: s.at.time, Anchor: s.anchor, Home: s.home})
	return &(*out)[len(*out)-1]
}

// findable marks a thing that must be found whatever became of its time: other records show it as well, or its time may be
// corrected. Where the anchor may be taken for granted, nothing else has to be looked through.
func (s *collector) findable(seen *events.Observation, fixed bool) {
	seen.Shared, seen.Slack, seen.Home = true, events.Anywhere, ""
	if fixed {
		seen.Slack = day
	}
}

// beside marks a thing that is remembered where the one is that it belongs to.
func beside(seen *events.Observation, home string, anchor time.Time) {
	seen.Anchor, seen.Shared, seen.Slack, seen.Home = anchor, true, day, home
}

// spans marks a thing that other records may show as well: the segment that follows, another document of the conversation.
func (s *collector) spans(seen *events.Observation) *events.Observation {
	seen.Parent, seen.Rank = s.parent, s.rank
	return seen
}

// madeAt returns the time that an id of a record tells, if it is the id of an object in upstream's database: 24 hex digits, of
// which the first eight are the second in which the object was made. That time cannot move, unlike those in the record.
func madeAt(id string) (time.Time, bool) {
	const size, digits = 24, 8
	if len(id) != size || strings.Trim(id, "0123456789abcdefABCDEF") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(id[:digits], 16, 64)
	t := time.Unix(seconds, 0).UTC()
	// Before and after, 24 digits are something else.
	return t, err == nil && t.Year() >= 2009 && t.Year() < 2060
}

// inOrder sorts siblings by times that never change, those without the first of these times last, and those that it does not tell apart by
// the next. Siblings of the same times are sorted by their content, so that twins have the same order whatever order upstream lists them in.
func inOrder[T any](siblings []T, content func(T) []events.Event, at ...func(T) *time.Time) []T {
	slices.SortStableFunc(siblings, func(a, b T) int {
		for _, at := range at {
			ta, tb := at(a), at(b)
			switch {
			case ta == nil && tb != nil:
				return 1
			case ta != nil && tb == nil:
				return -1
			case ta != nil && !ta.Equal(*tb):
				return ta.Compare(*tb)
			}
		}
		return bytes.Compare(appendContents(nil, content(a)), appendContents(nil, content(b)))
	})
	return siblings
}

func appendContents(dst []byte, list []events.Event) []byte {
	for _, e := range list {
		dst = e.AppendContent(dst, events.Recipe())
	}
	return dst
}

// together returns the events that there are.
func together(list ...events.Event) []events.Event {
	return slices.DeleteFunc(list, func(e events.Event) bool { return reflect.ValueOf(e).IsNil() })
}

// stamp writes a time as a part of an identity.
func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// or returns what p points to, or the zero value.
func or[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// first returns the first pointer that is not nil.
func first[T any](ps ...*T) *T { return cmp.Or(ps...) }
