package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
)

const shardPartition = 7

func transactional(c *kafka.Config) { c.Delivery = kafka.ExactlyOnce }

// takeOver makes the fixture the owner of a partition.
func (f *fixture) takeOver(t *testing.T) *kafka.Shard {
	t.Helper()
	shard, err := f.TakeOver(t.Context(), shardPartition)
	require.NoError(t, err)
	t.Cleanup(func() { _ = shard.Close(t.Context()) })
	f.delivery = shard
	return shard
}

// journaled returns a batch of events and of a record on the checkpoint topic that holds the offsets of its feed.
func journaled(feed kafka.Feed, name string, all []kafka.Outgoing) *kafka.Batch {
	r := &recording{}
	r.records = func() ([]kafka.Record, error) {
		return []kafka.Record{{Key: []byte("d/" + name), Value: []byte(fmt.Sprint(r.after))}, {Key: []byte("m/acc1")}}, nil
	}
	return &kafka.Batch{Account: "retail-us", Events: all, Feeds: []kafka.Feed{feed}, Recording: r}
}

// replayed returns what a replay of the partition brings, in order.
func replayed(t *testing.T, shard *kafka.Shard, from int64) (keys []string, last int64) {
	t.Helper()
	require.NoError(t, shard.Replay(t.Context(), from, func(key, value []byte, next int64) error {
		keys, last = append(keys, string(key)), next
		require.Equal(t, string(key) == "m/acc1", value == nil)
		return nil
	}))
	return keys, last
}

// Events, watermark and checkpoint appear together, before the disk is told.
func TestTransaction(t *testing.T) {
	f := open(t, newCluster(t), nil, transactional)
	shard := f.takeOver(t)
	require.Zero(t, shard.End)
	feed := newFeed()
	batch := journaled(feed, "1", searches(50))
	first := recordingOf(batch)
	first.commit = func() error {
		require.Len(t, f.read(t, topic), 50)
		require.Len(t, f.read(t, f.Topics.Watermark()), 1)
		require.Len(t, first.after[topic], 3)
		return nil
	}
	require.NoError(t, f.Deliver(t.Context(), batch))
	require.Equal(t, 1, first.committed)
	require.EqualValues(t, 50, f.counter(t, "poller_kafka_events_published_total"))
	require.EqualValues(t, 1, f.counter(t, "poller_kafka_watermarks_published_total"))

	second := journaled(feed, "2", nil)
	require.NoError(t, f.Deliver(t.Context(), second))
	next := f.takeOver(t)
	keys, last := replayed(t, next, next.Start)
	require.Equal(t, []string{"d/1", "m/acc1", "d/2", "m/acc1"}, keys)
	require.Equal(t, recordingOf(second).next, last)
	keys, _ = replayed(t, next, first.next)
	require.Equal(t, []string{"d/2", "m/acc1"}, keys, "from where the first batch ended")
}

// Who is taken over can publish nothing more, whatever it had begun.
func TestTransactionOfFencedOwner(t *testing.T) {
	cluster := newCluster(t)
	old, young := open(t, cluster, nil, transactional), open(t, cluster, nil, transactional)
	feed := newFeed()
	old.takeOver(t)
	require.NoError(t, old.Deliver(t.Context(), journaled(feed, "1", searches(5))))
	batch := journaled(feed, "2", searches(7)[5:])
	written := recordingOf(batch).records
	recordingOf(batch).records = func() ([]kafka.Record, error) {
		young.takeOver(t) // in the midst of the transaction
		return written()
	}
	err := old.Deliver(t.Context(), batch)
	lost, ok := errors.AsType[*kafka.LostError](err)
	require.True(t, ok, "%v", err)
	require.True(t, lost.Fenced, "%v", err)
	require.Equal(t, err, old.Deliver(t.Context(), journaled(feed, "3", nil)), "it is over")

	again := newFeed()
	require.NoError(t, young.Deliver(t.Context(), journaled(again, "2", searches(7)[5:])))
	for id, n := range eventIDs(young.read(t, topic)) {
		require.Equal(t, 1, n, id)
	}
	require.Len(t, young.read(t, topic), 7)
}

// An epoch that Kafka calls old means that the partition must be taken over again, not that anybody else has: Kafka says the same
// of a transaction that it has timed out, and has been seen to say it to an owner of two seconds.
func TestTransactionOfOldEpochWithoutAnotherOwner(t *testing.T) {
	f := open(t, newCluster(t), fast(), transactional)
	f.takeOver(t)
	feed := newFeed()
	require.NoError(t, f.Deliver(t.Context(), journaled(feed, "1", searches(5))))
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidProducerEpoch, Count: 1})
	lost, ok := errors.AsType[*kafka.LostError](f.Deliver(t.Context(), journaled(feed, "2", searches(7)[5:])))
	require.True(t, ok)
	require.False(t, lost.Fenced, "%v", lost)
	f.takeOver(t)
	require.NoError(t, f.Deliver(t.Context(), journaled(feed, "2", searches(7)[5:])))
	require.Len(t, f.read(t, topic), 7)
}

// What the broker refuses is found in transactions that are aborted, and becomes a dead letter in the one that is not.
func TestTransactionWithRefusedRecords(t *testing.T) {
	f := open(t, newCluster(t), fast(), transactional, func(c *kafka.Config) { c.Compression = "none" })
	f.takeOver(t)
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: -1, When: carries("ev-bad")})
	feed := newFeed()
	batch := journaled(feed, "1", searches(20))
	for _, i := range []int{3, 11} {
		batch.Events[i].Event.Head().EventID = "ev-bad"
	}
	require.NoError(t, f.Deliver(t.Context(), batch))
	ids := eventIDs(f.read(t, topic))
	require.Len(t, ids, 18)
	for id, n := range ids {
		require.Equal(t, 1, n, id)
	}
	require.Len(t, f.read(t, f.Topics.DeadLetter()), 2)
	require.Len(t, f.read(t, f.Topics.Watermark()), 1)
	require.EqualValues(t, 18, f.counter(t, "poller_kafka_events_published_total"))
	keys, _ := replayed(t, f.takeOver(t), 0)
	require.Equal(t, []string{"d/1", "m/acc1"}, keys)
}

// However many records are refused, each costs a request or two, and the transaction that stays does not take longer for them.
func TestTransactionWithManyRefusedRecords(t *testing.T) {
	f := open(t, newCluster(t), fast(), transactional, func(c *kafka.Config) { c.Compression = "none" })
	f.takeOver(t)
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: -1, When: carries("ev-bad")})
	var sent atomic.Int64
	f.cluster.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		if r.Key() == int16(kmsg.Produce) {
			sent.Add(1)
		}
		f.cluster.KeepControl()
		return nil, nil, false
	})
	feed := newFeed()
	batch := journaled(feed, "1", searches(40))
	for i := range 20 {
		batch.Events[2*i].Event.Head().EventID = "ev-bad"
	}
	require.NoError(t, f.Deliver(t.Context(), batch))
	require.Len(t, f.read(t, topic), 20)
	require.Len(t, f.read(t, f.Topics.DeadLetter()), 20)
	require.LessOrEqual(t, sent.Load(), int64(40+20+20), "one for each that was refused with others, one for each that was not, and few more")
}

// When nobody knows whether a transaction has ended, taking over tells: it has, or it has not, as a whole.
func TestTransactionWithUnknownOutcome(t *testing.T) {
	for name, ended := range map[string]bool{"ended": true, "not ended": false} {
		t.Run(name, func(t *testing.T) {
			network := &endless{ended: ended}
			f := open(t, newCluster(t), append(fast(), kgo.Dialer(network.dial)), transactional)
			f.takeOver(t)
			network.broken.Store(true)
			feed := newFeed()
			batch := journaled(feed, "1", searches(20))
			recordingOf(batch).commit = func() error { t.Error("recorded, although nobody knows"); return nil }
			_, lost := errors.AsType[*kafka.LostError](f.Deliver(t.Context(), batch))
			require.True(t, lost)
			network.broken.Store(false)
			keys, _ := replayed(t, f.takeOver(t), 0)
			n := len(f.read(t, topic))
			if ended {
				require.Equal(t, []string{"d/1", "m/acc1"}, keys)
				require.Equal(t, 20, n)
			} else {
				require.Empty(t, keys)
				require.Zero(t, n)
			}
		})
	}
}

// endless is a network on which, while it is broken, connections die over the end of a transaction: when it was asked for, or
// when it is answered.
type endless struct {
	ended  bool
	broken atomic.Bool
}

func (n *endless) dial(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, host)
	return &endlessConn{Conn: conn, network: n}, err
}

type endlessConn struct {
	net.Conn
	network *endless
	mu      sync.Mutex // held while a request goes out: what is answered after it sees that it was asked
	asked   bool
}

func (c *endlessConn) Write(b []byte) (int, error) {
	const length = 4
	if !c.network.broken.Load() || len(b) <= length+2 || kmsg.Key(binary.BigEndian.Uint16(b[length:])) != kmsg.EndTxn {
		return c.Conn.Write(b)
	}
	if !c.network.ended {
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = true
	return c.Conn.Write(b)
}

func (c *endlessConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return n, err
}

// A disk that does not take what Kafka has leaves the owner behind: it must begin anew, not go on.
func TestTransactionNotRecordedOnDisk(t *testing.T) {
	f := open(t, newCluster(t), nil, transactional)
	f.takeOver(t)
	feed, full := newFeed(), errors.New("no space left on device")
	batch := journaled(feed, "1", searches(3))
	recordingOf(batch).commit = func() error { return full }
	err := f.Deliver(t.Context(), batch)
	require.ErrorIs(t, err, full)
	_, lost := errors.AsType[*kafka.LostError](err)
	require.True(t, lost)
	keys, _ := replayed(t, f.takeOver(t), 0)
	require.Equal(t, []string{"d/1", "m/acc1"}, keys)
}

// An owner whose record is not there, though the transaction that wrote it was called committed, is none.
func TestOwnerThatCouldNotSign(t *testing.T) {
	f := open(t, newCluster(t), fast(), transactional)
	commits := false
	f.cluster.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		r.(*kmsg.EndTxnRequest).Commit, commits = commits, true
		return nil, nil, false
	})
	err := f.takeOver(t).Replay(t.Context(), 0, func([]byte, []byte, int64) error { return nil })
	_, lost := errors.AsType[*kafka.LostError](err)
	require.True(t, lost, "%v", err)
	replayed(t, f.takeOver(t), 0)
}
