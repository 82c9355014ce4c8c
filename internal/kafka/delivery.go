package kafka

import (
	"context"
	"slices"
	"time"

	"agentassist-poller/internal/events"
)

// A Delivery brings batches to Kafka. It is safe for concurrent use with different batches.
type Delivery interface {
	// Deliver publishes a batch and records it. It returns nil only when all of it is in Kafka and its Recording has
	// committed; on an error, errors.As finds what to do: an error with Retryable() true may be repeated. After one with
	// false, a person has something to do, and the publisher must be opened again: the client holds on to some of these errors.
	//
	// Repeating means calling Deliver with the same *Batch, unchanged: what Kafka has acknowledged is not sent again,
	// and what is still on its way is waited for. Of a batch that was given up, nobody knows what is in Kafka.
	//
	// ctx bounds the waiting, not the sending: when it ends, Deliver returns at once, and records that were handed to
	// the client may still arrive, until Close.
	Deliver(ctx context.Context, b *Batch) error

	// Close waits for what is on its way, but no longer than ctx, drops the rest and closes the client. Deliver must
	// not be called any more.
	Close(ctx context.Context) error
}

// A Batch is what is published and recorded as one: the events of a page or of several pages. The delivery changes nothing in it
// that the caller can see.
type Batch struct {
	// Account names the batch in errors: the source.
	Account string
	// Events are published in order; those of equal key stay in order. They come from the first of Feeds.
	Events []Outgoing
	Dead   []events.DeadLetter
	// Control are records for the topic of jobs.
	Control []Record
	// Feeds are where the events come from, and what else has a watermark to publish.
	Feeds []Feed
	// Tombstones delete what topics of latest revisions hold of entities.
	Tombstones []Tombstone
	// Ended are the keys of watermarks that get a tombstone: of endpoints that are not read any more, which consumers would
	// wait for without end.
	Ended []string
	// Again are the records of a batch that may have been sent, in whole or in part. They stand in place of Events, Dead and
	// Control.
	Again Intent
	// Recording is what is recorded with the batch; nil for nothing.
	Recording Recording

	outbox *outbox // what became of it so far
}

// Undelivered returns the events of a delivered batch that could not be published, each as the dead letter that it became.
func (b *Batch) Undelivered() (dead []*events.DeadLetter) {
	if b.outbox == nil {
		return nil
	}
	for _, l := range b.outbox.letters {
		if l.instead {
			dead = append(dead, l.dead)
		}
	}
	return dead
}

// A Recording is what is recorded with a batch. The delivery calls its methods one at a time, from within Deliver, in the order in
// which they stand here. Each may be called again if Deliver is.
type Recording interface {
	// Intend writes down what is about to be sent, so that a batch is finished after a crash, by another one with the same
	// records Again. Only a delivery without transactions calls it, once, before it sends anything, and only for a batch that
	// has events or dead letters and is not published again.
	Intend(Intent) error
	// Prepare says that Kafka has acknowledged the events. After them, the offsets of the first feed are these; they belong to
	// the Recording from then on.
	Prepare(after Offsets) error
	// Records returns what the checkpoint topic is to say of the batch, in records of at most so many bytes, key and value, where
	// that is possible. Only a delivery in transactions calls it.
	Records(most int) ([]Record, error)
	// Commit records the batch on disk. In transactions everything is in Kafka by then, and next is the offset after the last
	// of Records; without them next is 0, and everything is in Kafka but the watermarks.
	Commit(next int64) error
}

// recording returns what to tell, which may be nobody.
func (b *Batch) recording() Recording {
	if b.Recording == nil {
		return noRecording{}
	}
	return b.Recording
}

type noRecording struct{}

func (noRecording) Intend(Intent) error           { return nil }
func (noRecording) Prepare(Offsets) error         { return nil }
func (noRecording) Records(int) ([]Record, error) { return nil, nil }
func (noRecording) Commit(int64) error            { return nil }

// A Record is a record of the checkpoint topic or of the topic of jobs. A nil value is a tombstone.
type Record struct{ Key, Value []byte }

// A Tombstone has a compacted topic forget a key.
type Tombstone struct{ Topic, Key string }

// Outgoing is one event on its way.
type Outgoing struct {
	Event events.Event
	// Key decides on the partition. It is the same for all revisions of an entity. An event without one becomes a
	// dead letter.
	Key string
	// Negative events are copied to the topic of negative feedback.
	Negative bool
}

// A Feed is one endpoint of one bot, or of an account: what a watermark speaks about.
type Feed struct {
	// Types are the event types that come from it.
	Types []events.Type
	// Offsets after its last event before this batch; nil before the first.
	Offsets Offsets
	// Watermark to publish with this batch, nil for none, without feeds, offsets and published_time.
	Watermark *events.Watermark
}

// Offsets are the next offsets by topic and partition. Partitions beyond the end count as 0.
type Offsets map[string][]int64

// Raise moves the offset of a partition up to next. It never goes back.
func (o Offsets) Raise(topic string, partition int32, next int64) {
	for len(o[topic]) <= int(partition) {
		o[topic] = append(o[topic], 0)
	}
	o[topic][partition] = max(o[topic][partition], next)
}

// clone returns offsets that can be raised without changing o.
func (o Offsets) clone() Offsets {
	out := make(Offsets, len(o))
	for topic, next := range o {
		out[topic] = slices.Clone(next)
	}
	return out
}

// watermark returns the watermark of a feed as it is published when its offsets are these: one for each partition of each topic that
// it feeds.
func (f *Feed) watermark(t *Topics, offsets Offsets) *events.Watermark {
	w := *f.Watermark
	w.Feeds, w.Offsets = t.Feeds(f.Types), nil
	for _, topic := range w.Feeds {
		known := offsets[topic]
		for p := range max(len(known), t.Partitions(topic)) {
			next := int64(0)
			if p < len(known) {
				next = known[p]
			}
			w.Offsets = append(w.Offsets, events.WatermarkOffset{Topic: topic, Partition: int64(p), Offset: next})
		}
	}
	if w.PublishedTime.IsZero() {
		w.PublishedTime = time.Now().UTC().Truncate(time.Millisecond)
	}
	return &w
}
