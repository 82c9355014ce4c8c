package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/koresim"
)

// consumer reads all topics of a setup from their start, as a service would.
type consumer struct {
	names  kafka.Names
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	records []kafkaread.Record
	next    map[string]map[int32]int64 // offsets up to which records holds all
	err     error
}

// follow starts a consumer that runs until the test ends.
func (s *setup) follow(t *testing.T) *consumer {
	t.Helper()
	decoder := s.platform.decoder(t)
	c := &consumer{names: kafka.NewNames(s.prefix), done: make(chan struct{}), next: map[string]map[int32]int64{}}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(s.platform.list()...), kgo.ConsumeTopics(c.topics()...), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second), kgo.UnknownTopicRetries(-1),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last offset of a partition may belong to one
	)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	c.client, c.cancel = client, cancel
	go func() {
		defer close(c.done)
		c.run(ctx, decoder)
	}()
	t.Cleanup(func() {
		cancel()
		<-c.done
		c.client.Close()
	})
	return c
}

// topics returns all topics that the poller writes to.
func (c *consumer) topics() []string {
	return append(c.eventTopics(), c.names.Watermark(), c.names.DeadLetter())
}

func (c *consumer) eventTopics() []string {
	var out []string
	for _, t := range events.Types() {
		out = append(out, c.names.Event(t))
	}
	return append(out, c.names.Negative())
}

func (c *consumer) run(ctx context.Context, decoder *kafkaread.Decoder) {
	for {
		fetches := c.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		var records []kafkaread.Record
		var failed error
		next := map[string]map[int32]int64{}
		fetches.EachRecord(func(k *kgo.Record) {
			if next[k.Topic] == nil {
				next[k.Topic] = map[int32]int64{}
			}
			next[k.Topic][k.Partition] = k.Offset + 1
			if k.Attrs.IsControl() {
				return
			}
			r := kafkaread.Record{
				Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Key: string(k.Key), Timestamp: k.Timestamp.UTC(),
				Headers: map[string]string{},
			}
			for _, h := range k.Headers {
				r.Headers[h.Key] = string(h.Value)
			}
			if k.Value != nil {
				var err error
				if r.Value, err = decoder.Decode(ctx, k.Value); err != nil && failed == nil {
					failed = fmt.Errorf("%s:%d@%d: %w", k.Topic, k.Partition, k.Offset, err)
				}
			}
			records = append(records, r)
		})
		c.mu.Lock()
		c.records = append(c.records, records...)
		for topic, partitions := range next {
			if c.next[topic] == nil {
				c.next[topic] = map[int32]int64{}
			}
			maps.Copy(c.next[topic], partitions)
		}
		if c.err == nil {
			c.err = failed
		}
		c.mu.Unlock()
	}
}

// read waits until the consumer has read up to the present ends of all topics, and returns all records.
func (c *consumer) read(t *testing.T) []kafkaread.Record {
	t.Helper()
	ends := c.ends(t)
	var out []kafkaread.Record
	eventually(t, waitLimit, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		require.NoError(t, c.err)
		for topic, partitions := range ends {
			for p, end := range partitions {
				if have := c.next[topic][p]; have < end {
					return fmt.Errorf("the consumer has read %s:%d up to %d of %d", topic, p, have, end)
				}
			}
		}
		out = c.records[:len(c.records):len(c.records)]
		return nil
	})
	return out
}

// ends returns the end offsets of all partitions that are not empty. It waits for those that Kafka cannot tell at the moment: without them
// what is there would look as if it were not.
func (c *consumer) ends(t *testing.T, topics ...string) map[string]map[int32]int64 {
	t.Helper()
	if topics == nil {
		topics = c.topics()
	}
	var out map[string]map[int32]int64
	eventually(t, waitLimit, func() (failed error) {
		listed, err := kadm.NewClient(c.client).ListEndOffsets(t.Context(), topics...)
		if err != nil {
			return err
		}
		out = map[string]map[int32]int64{}
		listed.Each(func(o kadm.ListedOffset) {
			if o.Err != nil {
				if !errors.Is(o.Err, kerr.UnknownTopicOrPartition) { // it is not written to, or not yet
					failed = fmt.Errorf("%s:%d: %w", o.Topic, o.Partition, o.Err)
				}
				return
			}
			if o.Offset > 0 {
				if out[o.Topic] == nil {
					out[o.Topic] = map[int32]int64{}
				}
				out[o.Topic][o.Partition] = o.Offset
			}
		})
		return failed
	})
	return out
}

// observed returns the events of one account.
func observed(records []kafkaread.Record, account string) (out []koresim.Observed) {
	for _, r := range records {
		if r.Headers["ce_id"] != "" && r.Field("account_id") == account {
			out = append(out, koresim.Observed{
				Topic: r.Topic, Key: r.Key, Partition: r.Partition, Offset: r.Offset, Headers: r.Headers, Fields: r.Value,
			})
		}
	}
	return out
}

// compare compares the topics with what a centre did. It is settled when everything is there and nothing more will come.
func (c *consumer) compare(t *testing.T, centre *centre) (report *koresim.Report, settled bool) {
	t.Helper()
	now := centre.Now()
	entries, pending := centre.ledger(now)
	records := c.read(t)
	report = koresim.Compare(slices.Values(entries), observed(records, centre.account().ID), koresim.Scope{
		From: centre.start, To: now.Add(time.Hour), Settled: now, Now: centre.Now(),
	})
	return report, report.OK() && pending == 0
}

var errNotYet = errors.New("not yet")

// settled returns an error that says what is missing, what is wrong, or that more will come.
func settled(entries []*koresim.Entry, pending int, observed []koresim.Observed, centre *centre) error {
	now := centre.Now()
	report := koresim.Compare(slices.Values(entries), observed, koresim.Scope{
		From: centre.start, To: now.Add(time.Hour), Settled: now, Now: now,
	})
	if !report.OK() {
		return errors.New(report.String())
	}
	if pending > 0 {
		return fmt.Errorf("%d versions are yet to become visible", pending)
	}
	return nil
}

// settle waits until the topics hold everything that the centres did. It compares whenever nothing has come for a short while, and fails
// when nothing has come for a long one.
func (c *consumer) settle(t *testing.T, centres ...*centre) {
	t.Helper()
	began := time.Now()
	for _, centre := range centres {
		report, settled := c.await(t, centre)
		if !settled {
			require.FailNow(t, "the topics do not agree with the ledger", "%s: %v\n%+v", centre.name, report, report.ByType)
		}
		t.Logf("%s, after %v: %v", centre.name, time.Since(began).Round(time.Second), report)
	}
}

// await is settle for one centre; it returns the outcome instead of failing the test.
func (c *consumer) await(t *testing.T, centre *centre) (report *koresim.Report, settled bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	moved, again := time.Now(), time.Now()
	for seen := -1; ; <-tick.C {
		if n := c.count(); n != seen {
			seen, moved, again = n, time.Now(), time.Now()
			continue
		}
		if began := time.Now(); began.After(again) {
			if report, settled = c.compare(t, centre); settled || began.Sub(moved) > quietLimit {
				return report, settled
			}
			again = time.Now().Add(10 * time.Since(began)) // the machine has other things to do
		}
	}
}

// count returns how many events have come so far.
func (c *consumer) count() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range c.next {
		if topic != c.names.Watermark() && topic != c.names.DeadLetter() {
			for _, next := range partitions {
				n += int(next)
			}
		}
	}
	return n
}

// countOn returns how many offsets of a topic have been read, markers of transactions included.
func (c *consumer) countOn(topic string) (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, next := range c.next[topic] {
		n += next
	}
	return n
}
