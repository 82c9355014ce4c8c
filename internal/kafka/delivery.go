package kafka

import (
	"context"

	"agentassist-poller/internal/events"
)

// A Delivery brings batches to Kafka. It is safe for concurrent use with different batches.
type Delivery interface {
	// Deliver publishes a batch and then commits it. It returns nil only when all of it is in Kafka and Commit has
	// succeeded; on an error, errors.As finds what to do: an error with Retryable() true may be repeated. After one with
	// false, a person has something to do, and the publisher must be opened anew: the client holds on to some of these errors.
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

// A Batch is what is published and recorded as one: the events of a page or of several pages.
type Batch struct {
	// Account names the batch in errors: the source.
	Account string
	// Events are published in order; those of equal key stay in order.
	Events []Outgoing
	Dead   []events.DeadLetter
	// Control are records for the topic of jobs.
	Control []Record
	// Feeds whose offsets move, or whose watermarks are published, with this batch.
	Feeds []*Feed
	// Ended are the keys of watermarks that get a tombstone: of endpoints that are not read any more, which consumers would
	// wait for without end.
	Ended []string
	// Intend writes down what is about to be sent, so that a batch is finished after a crash, by another one with the same
	// records Again. Only a delivery without transactions calls it, once, before it sends anything.
	Intend func(Intent) error
	// Again are the records of a batch that may have been sent, in whole or in part. They stand in place of Events, Dead and
	// Control.
	Again Intent
	// Checkpoint returns what the checkpoint topic is to say of the batch; only a delivery in transactions publishes it. It is
	// called once the feeds hold the offsets after this batch, and again if the batch has to be published again.
	Checkpoint func() ([]Record, error)
	// Commit records the batch on disk. It is called once everything is in Kafka; without transactions, everything but the
	// watermarks. It may be called again.
	Commit func() error
	// Next is the offset after the batch's last record on the checkpoint topic. The delivery fills it in before Commit.
	Next int64

	outbox *outbox // what became of it so far
}

func (b *Batch) checkpoint() ([]Record, error) {
	if b.Checkpoint == nil {
		return nil, nil
	}
	return b.Checkpoint()
}

func (b *Batch) commit() error {
	if b.Commit == nil {
		return nil
	}
	return b.Commit()
}

// A Record is a record of the checkpoint topic or of the topic of jobs. A nil value is a tombstone.
type Record struct{ Key, Value []byte }

// Outgoing is one event on its way.
type Outgoing struct {
	Event events.Event
	// Key decides on the partition. It is the same for all revisions of an entity. An event without one becomes a
	// dead letter.
	Key string
	// Negative events are copied to the topic of negative feedback.
	Negative bool
	// Feed is where the event came from, whose offsets it moves. It may be nil.
	Feed *Feed
}

// A Feed is one endpoint of one bot, or of an account: what a watermark speaks about. The delivery moves its offsets up
// after every batch; the caller keeps it from batch to batch and its offsets in the checkpoint.
type Feed struct {
	// Types are the event types that come from it.
	Types []events.Type
	// Offsets after its last event so far. Nil before the first.
	Offsets Offsets
	// Watermark to publish with this batch, nil for none. The delivery fills in feeds, offsets and published_time.
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

// complete fills in the watermark of a feed: one offset for each partition of each topic that it feeds.
func (f *Feed) complete(t *Topics) {
	w := f.Watermark
	w.Feeds = t.Feeds(f.Types)
	w.Offsets = nil
	for _, topic := range w.Feeds {
		known := f.Offsets[topic]
		for p := range max(len(known), t.Partitions(topic)) {
			next := int64(0)
			if p < len(known) {
				next = known[p]
			}
			w.Offsets = append(w.Offsets, events.WatermarkOffset{Topic: topic, Partition: int64(p), Offset: next})
		}
	}
}
