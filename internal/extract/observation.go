package extract

import (
	"cmp"
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
	rank   int64  // of segments among those of one conversation
	twins  map[string]int
	out    []events.Observation
}

// begin starts a row that was read completely. Its id may tell when it was made.
func (s *collector) begin(bot string, at moment, id string, head events.Header) {
	head.AccountID, head.Source, head.Endpoint = s.scope.AccountID, s.scope.Source, string(s.scope.Endpoint)
	if bot != "" {
		head.BotID = &bot
	}
	s.bot, s.at, s.head, s.home = bot, at, head, ""
	if s.anchor, s.fixed = madeAt(id); !s.fixed {
		s.anchor = at.time
	}
	if s.twins == nil {
		s.twins = map[string]int{}
	}
	clear(s.twins)
	s.out = s.out[:0]
}

// entity returns the id of a thing. Things of one record that are equal in all that identifies them are told apart by
// their order, which is why they are asked for in the order of their immutable times.
func (s *collector) entity(t events.Type, parts ...string) string {
	id := events.EntityID(s.scope.AccountID, s.bot, t, parts...)
	n := s.twins[id]
	s.twins[id] = n + 1
	if n == 0 {
		return id
	}
	return events.EntityID(s.scope.AccountID, s.bot, t, append(parts, "twin", strconv.Itoa(n))...)
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
	s.out = append(s.out, events.Observation{Event: e, Endpoint: s.scope.Endpoint, Row: s.at.time, Anchor: s.anchor, Home: s.home})
	return &s.out[len(s.out)-1]
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

// inOrder sorts siblings by a time that never changes, the ones without it last and as they were.
func inOrder[T any](siblings []T, at func(T) *time.Time) []T {
	slices.SortStableFunc(siblings, func(a, b T) int {
		switch ta, tb := at(a), at(b); {
		case ta == nil && tb == nil:
			return 0
		case ta == nil:
			return 1
		case tb == nil:
			return -1
		default:
			return ta.Compare(*tb)
		}
	})
	return siblings
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
