package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Control is the topic of jobs: what is asked of the owners of accounts, and what they say became of it. It is compacted, so
// that the last word on each job stays.
type Control struct {
	Topics  *Topics
	connect *connector
	client  *kgo.Client
}

// controlTimeout bounds the writing of a record, and the looking up of where the topic ends.
const controlTimeout = 30 * time.Second

// Control returns the topic of jobs. It must not be used once the publisher is closed.
func (p *Publisher) Control() *Control { return &Control{p.Topics, p.connect, p.client} }

// OpenControl brings up no more than a command needs that asks for something: topics made or verified, no schemas. The caller
// closes it.
func OpenControl(ctx context.Context, o Options) (*Control, error) {
	connect, err := newConnector(o.Config, o.Log, o.Client...)
	if err != nil {
		return nil, err
	}
	client, err := connect.client(nil)
	if err != nil {
		return nil, err
	}
	topics, err := ensureTopics(ctx, connect, client, o.Types)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &Control{topics, connect, client}, nil
}

// Close ends what OpenControl began.
func (c *Control) Close() { c.client.Close() }

// Write writes a record, and returns once Kafka has it. A nil value is a tombstone.
func (c *Control) Write(ctx context.Context, records ...Record) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	for _, r := range records {
		produced := c.client.ProduceSync(ctx, &kgo.Record{Topic: c.Topics.Control(), Key: r.Key, Value: r.Value})
		if err := produced.FirstErr(); err != nil {
			return &requestError{fmt.Sprintf("write %s to %s", r.Key, c.Topics.Control()), err}
		}
	}
	return nil
}

// Tail tells of every record, from the first that the topic still has, as they come, until ctx ends, which is no error.
// CaughtUp is called once, when all that was there at the beginning has been told. Both are called one at a time.
func (c *Control) Tail(ctx context.Context, each func(key, value []byte), caughtUp func()) error {
	topic := c.Topics.Control()
	end, err := c.end(ctx)
	if err != nil {
		return err
	}
	client, err := newReader(c.connect, topic, 0, kgo.NewOffset().AtStart())
	if err != nil {
		return err
	}
	defer client.Close()
	for next, caught := int64(0), false; ; {
		if !caught && next >= end {
			caught = true
			caughtUp()
		}
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		if err := fetches.Err(); err != nil {
			return &requestError{"read " + topic, err}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				each(r.Key, r.Value)
			}
		})
	}
}

// end is the offset after the last record that is decided.
func (c *Control) end(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	topic := c.Topics.Control()
	end, err := offsetOf(ctx, kadm.NewClient(c.client).ListCommittedOffsets, topic, 0)
	if err != nil {
		return 0, &requestError{"look up the end of " + topic, err}
	}
	return end, nil
}
