package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
)

func TestDeliver(t *testing.T) {
	f := open(t, newCluster(t), nil)
	feed := newFeed()
	recorded := &recording{}
	recorded.commit = func() error {
		// By now the events are there, and it is known how far. What is declared complete must be recorded first.
		require.Len(t, f.read(t, topic), 50)
		require.Empty(t, f.read(t, f.Topics.Watermark()))
		require.Len(t, recorded.after[topic], 3)
		return nil
	}
	batch := &kafka.Batch{Account: "retail-us", Events: searches(50), Feeds: []kafka.Feed{feed}, Recording: recorded}
	batch.Events[7].Event.Head().Revision = 2
	require.NoError(t, f.Deliver(t.Context(), batch))
	require.Equal(t, 1, recorded.committed)
	require.Nil(t, batch.Feeds[0].Offsets, "it is the caller's")
	require.Len(t, f.read(t, f.Topics.Watermark()), 1)
	for id, n := range eventIDs(f.read(t, topic)) {
		require.Equal(t, 1, n, id)
	}
	require.EqualValues(t, 50, f.counter(t, "poller_kafka_events_published_total"))
	require.EqualValues(t, 1, f.counter(t, "poller_kafka_revisions_published_total"))
	require.EqualValues(t, 1, f.counter(t, "poller_kafka_watermarks_published_total"))
}

// A watermark's offsets are those after the feed's last events, over all partitions of all topics that it feeds.
func TestWatermarkOffsets(t *testing.T) {
	f := open(t, newCluster(t), nil)
	ours, others := newFeed(), newFeed()
	others.Watermark = nil
	negative := &events.Feedback{Header: header("n"), Sentiment: "NEGATIVE"}
	for round := range 3 {
		batch := append(searches(20), kafka.Outgoing{Event: negative, Key: "conv-n", Negative: true})
		ours.Offsets = f.deliver(t, &kafka.Batch{Events: batch, Feeds: []kafka.Feed{ours}})
		// Events of another endpoint lie behind, and are not ours to wait for.
		others.Offsets = f.deliver(t, &kafka.Batch{Events: searches(30), Feeds: []kafka.Feed{others}})

		marks := f.read(t, f.Topics.Watermark())
		require.Len(t, marks, round+1)
		mark := marks[round]
		require.Equal(t, "retail-us/st-1/interactions", mark.Key)
		require.Equal(t, []any{"agentassist.search", "agentassist.feedback", "agentassist.feedback-negative"}, mark.Value["feeds"])
		offsets := mark.Value["offsets"].([]any)
		require.Len(t, offsets, 9)
		for _, o := range offsets {
			o := o.(map[string]any)
			last := int64(0)
			for _, r := range f.read(t, o["topic"].(string)) {
				if int64(r.Partition) == o["partition"] && r.Timestamp.Equal(eventTime) && r.Offset < o["offset"].(int64) {
					last = r.Offset + 1
				}
			}
			require.Equal(t, last, o["offset"], "%v", o)
		}
		// Nothing of ours lies beyond: 20 searches a round before each 30 of the others.
		var sum int64
		for _, next := range ours.Offsets[topic] {
			sum += next
		}
		require.LessOrEqual(t, sum, int64(20*(round+1)+30*round))
	}
	require.Equal(t, kafka.Offsets{"agentassist.feedback": ours.Offsets["agentassist.feedback"],
		"agentassist.feedback-negative": ours.Offsets["agentassist.feedback-negative"], topic: ours.Offsets[topic]}, ours.Offsets)
}

func TestWatermarkOfAccount(t *testing.T) {
	f := open(t, newCluster(t), nil)
	feed := newFeed()
	feed.Watermark.BotID, feed.Watermark.Endpoint = nil, string(events.CallDetails)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Feeds: []kafka.Feed{feed}}))
	require.Equal(t, "retail-us/-/call-details", f.read(t, f.Topics.Watermark())[0].Key)
}

// Partitions added while we run are known from the acks.
func TestOffsetsOfUnknownPartition(t *testing.T) {
	o := kafka.Offsets{}
	o.Raise("t", 4, 7)
	o.Raise("t", 4, 3)
	require.Equal(t, kafka.Offsets{"t": {0, 0, 0, 0, 7}}, o)
}

func TestFailedCommitIsReturned(t *testing.T) {
	f := open(t, newCluster(t), nil)
	full := errors.New("disk full")
	recorded := &recording{commit: func() error { return full }}
	batch := &kafka.Batch{Events: searches(5), Recording: recorded}
	require.ErrorIs(t, f.Deliver(t.Context(), batch), full)
	recorded.commit = nil
	require.NoError(t, f.Deliver(t.Context(), batch))
	require.Len(t, f.read(t, topic), 5, "what was acknowledged is not sent again")
}

// Batches of several accounts share partitions. A failure of one is not one of the others.
func TestConcurrentBatches(t *testing.T) {
	f := open(t, newCluster(t), nil)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				feed := newFeed()
				if err := f.Deliver(t.Context(), &kafka.Batch{Events: searches(40), Feeds: []kafka.Feed{feed}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.Len(t, f.read(t, topic), 8*5*40)
	require.Len(t, f.read(t, f.Topics.Watermark()), 40)
}

// What the broker refuses as a batch is sent one by one; what it refuses then is a dead letter, once, and order is kept.
func TestRefusedRecords(t *testing.T) {
	for _, refusal := range []*kerr.Error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord} {
		t.Run(refusal.Message, func(t *testing.T) {
			f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Compression = "none" })
			f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: refusal, Count: -1, When: carries("ev-bad")})
			batch := searches(30)
			batch[10].Event.Head().EventID = "ev-bad"
			negative := &events.Feedback{Header: header("x"), Sentiment: "NEGATIVE"}
			negative.EventID = "ev-bad"
			batch = append(batch, kafka.Outgoing{Event: negative, Key: "conv-x", Negative: true})
			require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: batch}))
			ids := eventIDs(f.read(t, topic))
			require.Len(t, ids, 29)
			for id, n := range ids {
				require.Equal(t, 1, n, id)
			}
			dead := f.read(t, f.Topics.DeadLetter())
			require.Len(t, dead, 2)
			require.Equal(t, "publish", dead[0].Field("stage"))
			require.Contains(t, dead[0].Field("reason"), "topic agentassist.search refuses the record: "+refusal.Message)
			require.Equal(t, "en-kaa", dead[0].Field("entity_id"))
		})
	}
}

// carries reports whether a produce request without compression holds an event.
func carries(id string) func(kmsg.Request) bool {
	return func(r kmsg.Request) bool {
		for _, t := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range t.Partitions {
				if bytes.Contains(p.Records, []byte("ce_id\x0c"+id)) {
					return true
				}
			}
		}
		return false
	}
}

// A watermark that is refused is nothing that a dead letter could mend.
func TestRefusedWatermark(t *testing.T) {
	f := open(t, newCluster(t), nil)
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: f.Topics.Watermark(), Err: kerr.InvalidTimestamp, Count: -1})
	err := f.Deliver(t.Context(), &kafka.Batch{Feeds: []kafka.Feed{newFeed()}})
	require.ErrorContains(t, err, "agentassist.watermark")
	failure := &kafka.RefusedError{}
	require.ErrorAs(t, err, &failure)
	require.False(t, failure.Retryable())
	require.Contains(t, failure.Hint(), "message.timestamp settings of topic agentassist.watermark")
}

// Every error that an operator must act on says what to do.
func TestHint(t *testing.T) {
	for want, err := range map[string]error{
		"set max.message.bytes of topic t to 786944 or more":                       &kafka.RefusedError{Topic: "t", Bytes: 1000, Taken: 500},
		"grant the poller's user Describe, DescribeConfigs and Write on the topic": &kafka.LostError{Err: &kafka.DeliveryError{Err: kerr.TopicAuthorizationFailed}},
		"grant the poller's user Read on it":                                       &kafka.GroupError{Group: "g", Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}},
		"":                                                                         &kafka.DeliveryError{Err: kerr.NotLeaderForPartition},
	} {
		require.Equal(t, want, kafka.Hint(err), "%v", err)
	}
}

// Every error code that a produce request can be answered with either passes by itself, or ends in an error that says
// whether to try again, or in a dead letter. In no case is anything lost or written twice.
func TestEveryProduceError(t *testing.T) {
	fatal := map[*kerr.Error]bool{
		kerr.TopicAuthorizationFailed: true, kerr.ClusterAuthorizationFailed: true, kerr.GroupAuthorizationFailed: true, kerr.InconsistentGroupProtocol: true,
		kerr.TransactionalIDAuthorizationFailed: true, kerr.SaslAuthenticationFailed: true, kerr.UnsupportedSaslMechanism: true,
		kerr.IllegalSaslState: true, kerr.SecurityDisabled: true, kerr.InvalidTopicException: true, kerr.InvalidRequiredAcks: true,
		kerr.PolicyViolation: true, kerr.UnsupportedVersion: true, kerr.UnsupportedForMessageFormat: true,
		kerr.UnsupportedCompressionType: true, kerr.InvalidConfig: true, kerr.InvalidReplicationFactor: true,
		kerr.InvalidPartitions: true, kerr.ProducerFenced: true, kerr.InvalidTransactionTimeout: true,
	}
	for code := int16(-1); code < 140; code++ {
		fault, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(code))
		if !ok || code == 0 || (fault == kerr.UnknownServerError && code != -1) {
			continue
		}
		if fault == kerr.DuplicateSequenceNumber {
			continue // it says that the records are there: a broker that lies about that cannot be helped
		}
		t.Run(fault.Message, func(t *testing.T) {
			t.Parallel()
			f := open(t, newCluster(t), fast())
			f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: fault})
			batch := &kafka.Batch{Events: searches(10)}
			for {
				err := f.Deliver(t.Context(), batch)
				if err == nil {
					break
				}
				failure := &kafka.DeliveryError{}
				require.ErrorAs(t, err, &failure)
				require.ErrorIs(t, err, fault)
				require.Equal(t, !fatal[fault], failure.Retryable(), err)
				if fatal[fault] {
					require.Contains(t, err.Error(), "; ", "says what to do")
				}
			}
			ids := eventIDs(f.read(t, topic))
			require.Len(t, ids, 10)
			for id, n := range ids {
				require.Equal(t, 1, n, id)
			}
		})
	}
}

// fast are client options that retry without delay.
func fast() []kgo.Opt {
	return []kgo.Opt{
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
	}
}

// For ten minutes nothing is answered, or everything is answered with an error that may mean either: attempts fail, each within
// its time, and in the end everything is there once.
func TestBrokerGoneForMinutes(t *testing.T) {
	for name, fault := range map[string]*kerr.Error{
		"not leader":                kerr.NotLeaderForPartition,
		"written, answered as lost": kerr.RequestTimedOut,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := openVirtual(t, acknowledged)
				broken := f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: fault, Count: -1})
				feed := newFeed()
				recorded := &recording{}
				batch := &kafka.Batch{
					Account: "retail-us", Events: searches(20), Feeds: []kafka.Feed{feed}, Recording: recorded,
				}
				start := time.Now()
				var attempts int
				for time.Since(start) < 10*time.Minute {
					attempt := time.Now()
					err := f.Deliver(t.Context(), batch)
					require.LessOrEqual(t, time.Since(attempt), f.config.DeliveryTimeout)
					failure := &kafka.DeliveryError{}
					require.ErrorAs(t, err, &failure)
					require.True(t, failure.Retryable())
					require.ErrorContains(t, err, "deliver to Kafka for account retail-us: 20 of 20 records are not acknowledged yet")
					attempts++
				}
				require.InDelta(t, 10*time.Minute/f.config.DeliveryTimeout, attempts, 1)
				require.Zero(t, recorded.committed)
				require.Nil(t, recorded.after)
				broken.Remove()
				require.NoError(t, f.Deliver(t.Context(), batch))
				require.Equal(t, 1, recorded.committed)
				ids := eventIDs(f.read(t, topic))
				require.Len(t, ids, 20)
				for id, n := range ids {
					require.Equal(t, 1, n, id)
				}
				require.Len(t, f.read(t, f.Topics.Watermark()), 1)
				closeVirtual(t, f)
			})
		})
	}
}

// When its context ends, Deliver returns at once; what was sent is waited for by the next attempt.
func TestContextEndsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openVirtual(t, acknowledged)
		f.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			f.cluster.SleepControl(func() { time.Sleep(10 * time.Second) })
			return nil, nil, false
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		batch := &kafka.Batch{Events: searches(5)}
		err := f.Deliver(ctx, batch)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, f.Deliver(t.Context(), batch))
		require.Len(t, f.read(t, topic), 5)
		closeVirtual(t, f)
	})
}

// Close waits for what is on its way, and no longer than it may.
func TestClose(t *testing.T) {
	for name, tt := range map[string]struct {
		limit time.Duration
		want  int
	}{"long enough": {time.Minute, 5}, "too short": {time.Second, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := openVirtual(t, acknowledged)
				broken := f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.Error(t, f.Deliver(ctx, &kafka.Batch{Events: searches(5)}))
				start := time.Now()
				time.AfterFunc(10*time.Second, broken.Remove)
				ctx, cancel = context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				err := f.Close(ctx)
				require.Equal(t, tt.want == 0, err != nil, err)
				require.LessOrEqual(t, time.Since(start), tt.limit)
				time.Sleep(time.Minute)
				require.Len(t, f.read(t, topic), tt.want)
				f.cluster.Close()
			})
		})
	}
}

// openVirtual brings up a publisher over a network in memory, so that hours pass at once.
func openVirtual(t *testing.T, change func(*kafka.Config), client ...kgo.Opt) *fixture {
	t.Helper()
	network := new(virtualNetwork)
	cluster, err := kfake.NewCluster(kfake.Ports(9092, 9093, 9094), kfake.ListenFn(network.Listen))
	require.NoError(t, err)
	f := &fixture{t: t, cluster: cluster, config: configFor(cluster), network: network}
	change(&f.config)
	client = append(client, kgo.Dialer(network.dial))
	f.client = client
	f.Publisher, err = kafka.Open(t.Context(), kafka.Options{
		Config: f.config, Types: types, Log: slog.New(slog.DiscardHandler), Client: client,
	})
	require.NoError(t, err)
	f.delivery = f.AtLeastOnce
	f.reader = readerOf(f.config, kafkaread.NewDecoder(nil), client...)
	return f
}

// virtualNetwork is a network in memory. While it is away nothing gets through.
type virtualNetwork struct {
	kfake.VirtualNetwork
	away atomic.Bool
}

func (n *virtualNetwork) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if n.away.Load() {
		return nil, syscall.ECONNREFUSED
	}
	conn, err := n.DialContext(ctx, network, host)
	return &virtualConn{conn, n}, err
}

type virtualConn struct {
	net.Conn
	network *virtualNetwork
}

func (c *virtualConn) Write(b []byte) (int, error) {
	if c.network.away.Load() {
		return 0, errors.Join(syscall.EPIPE, c.Close())
	}
	return c.Conn.Write(b)
}

// closeVirtual leaves no goroutine behind in the bubble.
func closeVirtual(t *testing.T, f *fixture) {
	t.Helper()
	require.NoError(t, f.Close(t.Context()))
	f.cluster.Close()
}

func acknowledged(c *kafka.Config) { c.Delivery = kafka.AtLeastOnce }

func TestTopicDeletedAtRunTime(t *testing.T) {
	f := open(t, newCluster(t), fast())
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(3)}))
	require.NoError(t, f.cluster.DeleteTopic(topic))
	err := f.Deliver(t.Context(), &kafka.Batch{Events: searches(3)})
	failure := &kafka.DeliveryError{}
	require.ErrorAs(t, err, &failure)
	require.False(t, failure.Retryable(), err)
	require.ErrorContains(t, err, topic)
	require.ErrorContains(t, err, "set kafka.topics.create: true")
}

// Before the first record the broker gives a producer id, or does not.
func TestNoProducerID(t *testing.T) {
	f := open(t, newCluster(t), fast())
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed})
	err := f.Deliver(t.Context(), &kafka.Batch{Events: searches(3)})
	failure := &kafka.DeliveryError{}
	require.ErrorAs(t, err, &failure)
	require.False(t, failure.Retryable())
	require.ErrorContains(t, err, "grant the poller's user IdempotentWrite on the cluster")
	require.Empty(t, f.read(t, topic))
}

func TestNothingIsSentForAnEndedContext(t *testing.T) {
	f := open(t, newCluster(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, f.Deliver(ctx, &kafka.Batch{Events: searches(3)}), context.Canceled)
	require.Empty(t, f.read(t, topic))
}

func TestDeliveryErrorWords(t *testing.T) {
	err := &kafka.DeliveryError{Account: "a", Topic: "t", Failed: 2, Delivered: 3, Class: kafka.Fatal, Err: kerr.TopicAuthorizationFailed}
	require.Equal(t, fmt.Sprintf("deliver to Kafka for account a: 2 of 5 records failed, first on topic t: %v; grant the poller's user Describe, DescribeConfigs and Write on the topic", kerr.TopicAuthorizationFailed), err.Error())
}
