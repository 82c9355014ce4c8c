package koresim

import (
	"iter"
	"reflect"
	"slices"
	"time"

	"agentassist-poller/internal/events"
)

// Fields is a part of an event's fields by their names in the schemas: those whose value is beyond doubt. Times are
// time.Time, whole numbers int64, lists []any, records Fields. What is empty or absent upstream is not in it.
type Fields map[string]any

// Entry is one entity that must become an event, with all its versions, past and future.
type Entry struct {
	Type events.Type
	// Key identifies the thing among those of its type by upstream identifiers, see KeyOf.
	Key string
	// AccountID, BotID and ConversationID are what its events must carry; KafkaKey is the record key of all of them.
	AccountID, BotID, ConversationID, KafkaKey string
	// EventTimes are the acceptable event times, of whichever version. None: any.
	EventTimes []time.Time
	// Views are the rows that show it. Of two rows of one endpoint the later counts.
	Views []View
	// Superseded is when a bot-only session gained a conversation, which ends this entity; zero for never.
	// If it was ever published, it must end with superseded_by.
	Superseded moment
	// TooLarge is set if no record of Kafka's usual size holds its events: none may come.
	TooLarge bool
	// AgentID and QueueName say who served, and in which queue, as the rows that show it name them; empty where none does.
	AgentID, QueueName string
	queues             []string // all that an event of the thing may name
	// Channel is where the conversation took place, as Agent AI names it.
	Channel string
	// Shown is the list that a use of a suggestion comes from, Searched the search behind a use or a list; nil where there is none.
	Shown, Searched *Entry
	of              *summary
}

// View is an entity as one row of one endpoint shows it.
type View struct {
	Endpoint events.Endpoint
	// Row is the row's segmentID, _id or sessionId.
	Row string
	// Anchor is the time by which the server selects the row, once it has ended.
	Anchor   time.Time
	Versions []Version
	// Unreadable is set if nobody can be expected to have read the thing there: it is too large, or its row is, or the row is no row.
	Unreadable bool
	// Gone is when the row stopped showing it; zero for never.
	Gone time.Time
	row  trackKey
}

// Version is one state of an entity. It can be read from Visible on, until the next one.
type Version struct {
	Visible  time.Time
	Fields   Fields
	happened moment
}

// Ledger yields every entity that can be read through some endpoint at now.
func (w *World) Ledger(now time.Time) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for a := range w.accounts {
			for b := range w.accounts[a].Bots {
				for c := range w.contacts(a, b, momentOf(now)) {
					for _, e := range c.entries() {
						if e.first().After(now) {
							continue
						}
						if !yield(e) {
							return
						}
					}
				}
			}
		}
	}
}

// contacts yields all contacts of a bot that have begun.
func (w *World) contacts(account, bot int, now moment) iter.Seq[*contact] {
	return func(yield func(*contact) bool) {
		for slot := int32(0); w.start+moment(slot)*w.slot <= now && (w.stop == 0 || w.start+moment(slot)*w.slot < w.stop); slot++ {
			key := indexKey{int32(account), int32(bot), slot}
			for i, o := range w.index(key).outlines {
				if o.session > now {
					break
				}
				if !yield(w.contact(contactRef{key, int32(i)})) {
					return
				}
			}
		}
	}
}

// first returns when the thing could first be read.
func (e *Entry) first() time.Time {
	first := e.Views[0].Versions[0].Visible
	for _, v := range e.Views[1:] {
		if v.Versions[0].Visible.Before(first) {
			first = v.Versions[0].Visible
		}
	}
	return first
}

// place is a row that shows a thing.
type place struct {
	endpoint events.Endpoint
	n        int // segment, else -1
	// appears is the moment of the world at which the row shows up, anchor what selects it in the end.
	appears, anchor moment
	lag             moment
}

func (c *contact) segmentPlace(s *segment) place {
	p, e := c.world.cfg.Profile, events.Interactions
	anchor := s.span.start
	if p.FilterOnEnd[e] {
		anchor = s.span.end
	}
	return place{e, s.n, p.appears(e, s.span.began, s.span.end), anchor, p.lag(e, lagKey(c.outline.key, s.n))}
}

func (c *contact) recordPlace() place {
	p, e := c.world.cfg.Profile, events.Conversations
	return place{e, -1, c.outline.transfer, c.outline.transfer, p.lag(e, lagKey(c.outline.key, -1))}
}

func (c *contact) outcomePlaces() (places []place) {
	p, o := c.world.cfg.Profile, &c.outline
	for _, e := range []events.Endpoint{events.InteractionDetails, events.CallDetails} {
		anchor := o.session.second()
		if p.FilterOnEnd[e] {
			anchor = o.end.second()
		}
		places = append(places, place{e, -1, p.appears(e, o.session, o.end), anchor, p.lag(e, lagKey(c.outline.key, -1))})
	}
	return places
}

func (c *contact) rowID(p place) string {
	segment := ""
	if p.n >= 0 {
		segment = c.segments[p.n].id
	}
	return events.ForEach(segment, c.recordID, c.sessionID, c.sessionID)[p.endpoint.Index()]
}

// view evaluates a thing at each of the moments when it may have changed, as a place shows it. fields returns nil while
// the thing is not there yet.
func (c *contact) view(p place, changes []moment, fields func(t moment) Fields) (View, bool) {
	v := View{Endpoint: p.endpoint, Row: c.rowID(p), Anchor: p.anchor.Time(), row: trackKey{p.endpoint, c.ref, int8(max(p.n, 0))}}
	slices.Sort(changes)
	for _, at := range slices.Compact(changes) {
		at = max(at, p.appears)
		f := fields(at)
		if f == nil {
			continue
		}
		f.prune()
		n := len(v.Versions)
		if n > 0 && reflect.DeepEqual(v.Versions[n-1].Fields, f) {
			continue
		}
		version := Version{(at + p.lag).Time(), f, at}
		if n > 0 && v.Versions[n-1].happened == at {
			v.Versions[n-1] = version
			continue
		}
		v.Versions = append(v.Versions, version)
	}
	return v, len(v.Versions) > 0
}

// part is a view of something that happened in a segment or a conversation: it has the session, from when that is recorded.
func (c *contact) part(p place, changes []moment, fields func(t moment) Fields) (View, bool) {
	var session func(moment) string
	var joined moment
	if p.endpoint == events.Interactions {
		session, joined = c.segments[p.n].sessionAt, c.segments[p.n].joined
	} else {
		joined = c.outline.end
		session = func(t moment) string {
			if t < joined {
				return ""
			}
			return c.backendSession
		}
	}
	if joined > slices.Min(changes) {
		changes = append(changes, joined)
	}
	return c.view(p, changes, func(t moment) Fields {
		f := fields(t)
		if f != nil {
			f["session_id"] = session(t)
		}
		return f
	})
}

// prune removes what is empty, also inside of records and lists of records.
func (f Fields) prune() {
	for k, v := range f {
		switch v := v.(type) {
		case nil:
			delete(f, k)
		case string:
			if v == "" {
				delete(f, k)
			}
		case []any:
			if len(v) == 0 {
				delete(f, k)
			}
			for _, e := range v {
				if r, ok := e.(Fields); ok {
					r.prune()
				}
			}
		case time.Time:
			if v.IsZero() {
				delete(f, k)
			}
		case Fields:
			v.prune()
		}
	}
}

// known returns m as a field value: nothing before it has happened.
func known(m, t moment) any {
	if m.happened(t) {
		return m.Time()
	}
	return nil
}

func listOf(vs []string) any {
	out := make([]any, len(vs))
	for i, v := range vs {
		out[i] = v
	}
	return out
}

// entry begins an entry; identity are the fields that KeyOf looks at.
func (c *contact) entry(t events.Type, identity Fields, times ...moment) *Entry {
	e := &Entry{
		Type: t, Key: KeyOf(t, identity), AccountID: c.account.ID, BotID: c.bot.ID,
		ConversationID: c.conversationID, KafkaKey: c.conversationID, Channel: assistNames[c.outline.channel],
	}
	for _, m := range times {
		if m != 0 {
			e.EventTimes = append(e.EventTimes, m.Time())
		}
	}
	return e
}

func (e *Entry) add(v View, ok bool) {
	if ok {
		e.Views = append(e.Views, v)
	}
}

// entries returns everything about a contact that must become an event.
func (c *contact) entries() (list []*Entry) {
	for _, s := range c.segments {
		list = append(list, c.segmentEntry(s))
		list = append(list, c.actionEntries(s)...)
		for _, n := range s.nudges {
			list = append(list, c.nudgeEntry(s, n))
		}
		for _, a := range s.activities {
			list = append(list, c.agenticEntries(s, a)...)
		}
	}
	list = append(list, c.runEntries()...)
	for _, q := range c.searches {
		list = append(list, c.agenticEntries(c.askedIn(q), q)...)
	}
	for _, m := range c.summaries() {
		list = append(list, c.summaryEntries(m)...)
	}
	list = append(list, c.conversationEntries()...)
	c.locate(list)
	list = append(list, c.outcomeEntries()...)
	c.mark(list)
	return slices.DeleteFunc(list, func(e *Entry) bool { return len(e.Views) == 0 })
}

// locate says of what happened in segments who served, and in which queue: as the last segment that shows it says. Feedback that no segment
// shows is put down to the queue of its agent's last segment.
func (c *contact) locate(list []*Entry) {
	for _, e := range list {
		if e.Type == events.TypeFeedback {
			for _, s := range c.segments {
				if s.agent.id == e.AgentID {
					e.QueueName = s.queue.name
					e.queues = append(e.queues, s.queue.name)
				}
			}
		}
		for _, v := range e.Views {
			for _, s := range c.segments {
				if v.Endpoint == events.Interactions && v.Row == s.id {
					e.QueueName = s.queue.name
					e.queues = append(e.queues, s.queue.name)
					if e.Type != events.TypeFeedback || e.AgentID == "" {
						e.AgentID = s.agent.id
					}
				}
			}
		}
	}
}

// changes returns the moments at which a row shows something new.
func (c *contact) changes(e events.Endpoint, n int) (at []moment) {
	row := trackKey{e, c.ref, int8(n)}
	for _, entry := range c.entries() {
		for _, v := range entry.Views {
			if v.row == row {
				for _, version := range v.Versions {
					at = append(at, version.happened)
				}
			}
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}
