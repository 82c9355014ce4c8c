package explain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkaread"
)

// Holdings are what topics hold of conversations.
type Holdings struct {
	// Conversations and Sessions are the ids that they were found to have, in order.
	Conversations, Sessions []string
	Things                  []*Holding
	// Records are those on topics that Kafka deletes from by age only, dead letters among them.
	Records []HeldRecord
}

// A Holding is an entity.
type Holding struct {
	Type      events.Type
	ID        string
	AccountID string
	Latest    string // the topic of latest revisions that has it; empty for none
}

// A HeldRecord is a record on a topic.
type HeldRecord struct {
	Topic     string
	Timestamp time.Time
}

// finder looks for conversations.
type finder struct {
	wanted func(events.Type, map[string]any) bool
	latest map[string]events.Type // topics of latest revisions
	main   map[string]events.Type // topics of events
	// Records of the conversations have one of ids as that of their conversation or session, or one of sessions and no conversation.
	ids, sessions map[string]bool
	found         Holdings
	conversations map[string]bool
	inSessions    map[string]bool
	things        map[string]*Holding
}

// HasID reports whether an event or a dead letter has an id, of whichever kind.
func HasID(fields map[string]any, id string) bool {
	return slices.ContainsFunc([]string{"conversation_id", "session_id", "segment_id", "entity_id", "event_id"}, func(name string) bool {
		return fields[name] == id
	})
}

// Find looks for the conversations of the events and dead letters that are wanted, on all topics below the prefix that hold such, whatever the
// configuration says of types and copies. A dead letter comes without a type. Of Options only Kafka, Registry and Log count.
func Find(ctx context.Context, o Options, wanted func(events.Type, map[string]any) bool) (*Holdings, error) {
	e, err := newExplanation(ctx, o)
	if err != nil {
		return nil, err
	}
	f := &finder{
		wanted: wanted, latest: map[string]events.Type{}, main: map[string]events.Type{}, ids: map[string]bool{}, sessions: map[string]bool{},
		conversations: map[string]bool{}, inSessions: map[string]bool{}, things: map[string]*Holding{},
	}
	for _, t := range events.Types() {
		f.latest[e.names.Latest(t)], f.main[e.names.Event(t)] = t, t
	}
	f.main[e.names.Negative()] = events.TypeFeedback
	topics, err := e.reader.Topics(ctx, o.Kafka.TopicPrefix+".")
	if err != nil {
		return nil, err
	}
	topics = slices.DeleteFunc(topics, func(name string) bool {
		return f.main[name] == "" && f.latest[name] == "" && name != e.names.DeadLetter()
	})
	for _, pass := range []func(*kafkaread.Record) error{f.learn, f.take} {
		if err := e.reader.Each(ctx, pass, topics...); err != nil {
			return nil, fmt.Errorf("read topics %s.*: %w", o.Kafka.TopicPrefix, err)
		}
	}
	f.found.Conversations, f.found.Sessions = slices.Sorted(maps.Keys(f.conversations)), slices.Sorted(maps.Keys(f.inSessions))
	slices.SortFunc(f.found.Things, func(a, b *Holding) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID)) })
	return &f.found, nil
}

// learn takes in the ids of a record that is wanted.
func (f *finder) learn(r *kafkaread.Record) error {
	if r.Value == nil || !f.wanted(f.typeOf(r), r.Value) {
		return nil
	}
	if id := cmp.Or(r.Field("conversation_id"), r.Field("session_id")); id != "" {
		f.ids[id] = true
	}
	if session := r.Field("session_id"); session != "" {
		f.sessions[session] = true
	}
	return nil
}

// typeOf returns the type of an event, and nothing for a dead letter.
func (f *finder) typeOf(r *kafkaread.Record) events.Type {
	return cmp.Or(f.main[r.Topic], f.latest[r.Topic])
}

// take takes in a record if it is of one of the conversations.
func (f *finder) take(r *kafkaread.Record) error {
	if r.Value == nil { // a tombstone
		if thing := f.things[r.Key]; thing != nil && thing.Latest == r.Topic {
			thing.Latest = ""
		}
		return nil
	}
	conversation, session := r.Field("conversation_id"), r.Field("session_id")
	if mine := f.ids[conversation] || f.ids[session] || conversation == "" && f.sessions[session]; !mine {
		return nil
	}
	if conversation != "" {
		f.conversations[strings.Clone(conversation)] = true
	}
	if session != "" {
		f.inSessions[strings.Clone(session)] = true
	}
	if f.latest[r.Topic] == "" {
		f.found.Records = append(f.found.Records, HeldRecord{strings.Clone(r.Topic), r.Timestamp})
	}
	t := f.typeOf(r)
	if t == "" {
		return nil
	}
	thing := f.things[r.Field("entity_id")]
	if thing == nil {
		thing = &Holding{Type: t, ID: r.Field("entity_id"), AccountID: r.Field("account_id")}
		f.things[thing.ID], f.found.Things = thing, append(f.found.Things, thing)
	}
	if f.latest[r.Topic] != "" {
		thing.Latest = r.Topic
	}
	return nil
}
