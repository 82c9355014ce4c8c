package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Control is the topic of jobs: the requests to the owners of accounts, and the progress that the owners report. It is compacted, so
// that the last record of each job stays.
type Control struct {
	Topics  *Topics
	connect *connector
	client  *kgo.Client
}

// controlTimeout bounds the writing of a record, and the look-up of the end of the topic.
const controlTimeout = 30 * time.Second

// Control returns the topic of jobs. It must not be used once the publisher is closed.
func (p *Publisher) Control() *Control { return &Control{p.Topics, p.connect, p.client} }

// OpenControl opens the topic of jobs for a command: topics are created or checked, and no schemas are asked for. The caller closes
// the Control.
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

// Close closes the client of a Control that OpenControl returned.
func (c *Control) Close() { c.client.Close() }

// Write writes records one after the other, and returns once Kafka has acknowledged all. A nil value is a tombstone.
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

// Tail calls each for every record from the start of the topic on, as they come, and returns nil when ctx ends. It calls caughtUp once,
// after the last record that was there when Tail began. It makes one call at a time.
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
			return nil // asked to stop
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

// end returns the offset after the last record that is committed or aborted.
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
