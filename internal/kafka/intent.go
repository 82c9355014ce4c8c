package kafka

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// An Intent is what is about to be sent of a batch, for the caller to write down (as JSON): its records, but for those of the
// watermarks. Sent again, they are the same to the byte.
type Intent []intended

type intended struct {
	Topic     string             `json:"topic"` // without the prefix
	Key       []byte             `json:"key"`
	Value     []byte             `json:"value"` // null: a tombstone
	Headers   []kgo.RecordHeader `json:"headers,omitempty"`
	Timestamp time.Time          `json:"timestamp,omitzero"`
	Type      events.Type        `json:"type,omitempty"` // of the event that it carries
	Feed      bool               `json:"feed,omitempty"` // it moves the offsets of the batch's first feed
}

// intent returns what the outbox is about to send.
func (e *Encoder) intent(o *outbox) Intent {
	out := make(Intent, 0, len(o.letters))
	for _, l := range o.letters {
		r := intended{
			Topic: strings.TrimPrefix(l.record.Topic, e.topics.of("")), Key: l.record.Key, Value: l.record.Value,
			Headers: l.record.Headers, Timestamp: l.record.Timestamp, Feed: l.feed != nil,
		}
		if l.event != nil {
			r.Type = l.event.Event.EventType()
		}
		out = append(out, r)
	}
	return out
}

// again makes the outbox of a batch that was intended. Records for topics that are not written to any more are left out.
func (e *Encoder) again(b *Batch) *outbox {
	o := &outbox{}
	for _, r := range b.Again {
		name := e.topics.of(r.Topic)
		if !slices.ContainsFunc(e.topics.specs, func(s topicSpec) bool { return s.name == name }) {
			continue
		}
		l := &letter{record: kgo.Record{Topic: name, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}}
		l.size = sizeOf(&l.record)
		if r.Feed && len(b.Feeds) > 0 {
			l.feed = b.Feeds[0]
		}
		if event := events.New(r.Type); event != nil {
			// Another release may have written it: what cannot be decoded lacks only what a dead letter would say of it.
			_ = events.DecodeAvro(r.Type, body(r.Value), event)
			l.event = &Outgoing{Event: event}
			if name == e.topics.Event(r.Type) {
				l.typ = r.Type
			}
		}
		o.add(l)
	}
	return o
}

// body returns a value without what names its schema, nil if it is too short to have one.
func body(value []byte) []byte {
	const confluent, singleObject = 5, 10
	skip := confluent
	if len(value) > 0 && value[0] == 0xC3 {
		skip = singleObject
	}
	if len(value) < skip {
		return nil
	}
	return value[skip:]
}
