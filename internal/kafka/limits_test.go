package kafka_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// The largest of everything that the delivery makes itself fits into what brokers take by default, whatever it is about.
func TestLargestRecords(t *testing.T) {
	for _, delivery := range []string{kafka.AtLeastOnce, kafka.ExactlyOnce} {
		t.Run(delivery, func(t *testing.T) {
			f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Delivery = delivery })
			if delivery == kafka.ExactlyOnce {
				f.takeOver(t)
			}
			long, all := strings.Repeat("ä", 400_000), noise(5<<20)
			feed := newFeed()
			feed.Watermark.Basis = strings.Repeat("x", bound.ID)
			for range 128 {
				feed.Watermark.Gaps = append(feed.Watermark.Gaps, events.WatermarkGap{From: eventTime, To: eventTime, Reason: "not read yet"})
			}
			huge := &events.Search{Header: header("huge"), SearchPhrase: ptr(string(noise(2 << 20)))}
			huge.ConversationID, huge.SessionID, huge.SegmentID, huge.BotID, huge.EntityID = &long, &long, &long, &long, long
			largest := &events.Search{Header: header("largest"), SearchPhrase: ptr(string(noise(998_000)))}
			require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{
				Dead: []events.DeadLetter{{
					Stage: long, Reason: long, Endpoint: long, Source: long, AccountID: long, BotID: &long, ConversationID: &long,
					SessionID: &long, SegmentID: &long, EventType: &long, EntityID: &long, RawBytes: all, ObservedTime: eventTime,
				}},
				Events: []kafka.Outgoing{{Event: huge, Key: long}, {Event: largest, Key: "c"}},
				Feeds:  []kafka.Feed{feed},
			}))
			dead := f.read(t, f.Topics.DeadLetter())
			require.Len(t, dead, 2)
			for _, d := range dead {
				require.Less(t, len(d.Key)+len(d.Raw), bound.Record/2)
				require.Equal(t, d.Field("raw_hash"), d.Key, "an id that was cut is no key")
				require.Len(t, d.Field("conversation_id"), bound.ID)
				require.Len(t, d.Value["raw_bytes"], bound.DeadRaw)
			}
			require.Len(t, f.read(t, f.Topics.Event(events.TypeSearch)), 1)
			require.Len(t, f.read(t, f.Topics.Watermark()), 1)
		})
	}
}

// noise does not compress.
func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[rnd.IntN(64)]
	}
	return b
}

// lower sets what topics take, while a poller runs.
func (f *fixture) lower(t *testing.T, bytes int, topics ...string) {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(f.config.Brokers...)}, f.client...)...)
	require.NoError(t, err)
	defer client.Close()
	value := strconv.Itoa(bytes)
	_, err = kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}}, topics...)
	require.NoError(t, err)
}

// sized returns n events of a conversation, of which every fifth has many bytes.
func sized(n, large int) (all []kafka.Outgoing) {
	for i := range n {
		e := &events.Search{Header: header(fmt.Sprint(i))}
		if i%5 == 3 {
			e.SearchPhrase = ptr(string(noise(large)))
		}
		all = append(all, kafka.Outgoing{Event: e, Key: "same"})
	}
	return all
}

// A topic that takes less than the configuration says, from the start or from a moment on, costs the events that are too large: each
// becomes a dead letter, which fits even if the topic of dead letters takes less as well. All others arrive, once and mostly in order.
func TestTopicsThatTakeLess(t *testing.T) {
	const less = 20_000
	for _, delivery := range []string{kafka.AtLeastOnce, kafka.ExactlyOnce} {
		for _, when := range []string{"from the start", "while it runs"} {
			for _, events := range []int{less, 3 * less} { // what a large one has: the second is larger than what a dead letter may quote
				t.Run(fmt.Sprint(delivery, " ", when, " ", events), func(t *testing.T) {
					cluster := newCluster(t)
					configure := func(c *kafka.Config) { c.Delivery, c.Topics.Partitions = delivery, 1 }
					f := open(t, cluster, fast(), configure)
					lower := func() { f.lower(t, less, topic, f.Topics.DeadLetter()) }
					if when == "from the start" {
						lower()
						f = open(t, cluster, fast(), configure)
					}
					if delivery == kafka.ExactlyOnce {
						f.takeOver(t)
					}
					require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(1, 0)}))
					if when != "from the start" {
						lower()
					}
					var refused atomic.Int64
					f.countRefused(&refused)
					batch := &kafka.Batch{Events: sized(50, events)}
					require.NoError(t, f.Deliver(t.Context(), batch))
					require.Len(t, batch.Undelivered(), 10)
					// Without transactions, what was in a refused request may come after what was in the next.
					ordered := delivery == kafka.ExactlyOnce || when == "from the start"
					f.checkSized(t, 1+40, 10, ordered)
					before := refused.Load()
					require.Equal(t, when == "from the start", before == 0, "what is known at the start costs nothing")
					require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(50, events)}))
					require.Equal(t, before, refused.Load(), "what was learned costs nothing")
					f.checkSized(t, 1+80, 20, ordered)
				})
			}
		}
	}
}

// countRefused counts the requests that are refused for their size.
func (f *fixture) countRefused(n *atomic.Int64) {
	f.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.cluster.KeepControl()
		for _, topic := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				if len(p.Records) > 20_000 {
					n.Add(1)
				}
			}
		}
		return nil, nil, false
	})
}

func (f *fixture) checkSized(t *testing.T, published, dead int, ordered bool) {
	t.Helper()
	records := f.read(t, topic)
	require.Len(t, records, published)
	var ids []int
	for _, r := range records[1:] {
		id, err := strconv.Atoi(strings.TrimPrefix(r.Field("event_id"), "ev-"))
		require.NoError(t, err)
		ids = append(ids, id)
	}
	for batch := range slices.Chunk(ids, 40) {
		if !ordered {
			slices.Sort(batch)
		}
		for i, id := range batch[1:] {
			require.Less(t, batch[i], id, "once, and in order")
		}
	}
	letters := f.read(t, f.Topics.DeadLetter())
	require.Len(t, letters, dead)
	for _, l := range letters {
		require.Regexp(t, "20000", l.Field("reason"))
		require.Equal(t, "publish", l.Field("stage"))
		require.Equal(t, "conv-"+strings.TrimPrefix(l.Field("entity_id"), "en-"), l.Key)
	}
}

// Many records that are small enough and together are not arrive all the same.
func TestSumThatIsTooMuch(t *testing.T) {
	for _, delivery := range []string{kafka.AtLeastOnce, kafka.ExactlyOnce} {
		t.Run(delivery, func(t *testing.T) {
			f := open(t, newCluster(t), fast(), func(c *kafka.Config) { c.Delivery, c.Topics.Partitions, c.Compression = delivery, 1, "none" })
			if delivery == kafka.ExactlyOnce {
				f.takeOver(t)
			}
			require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(1, 0)}))
			f.lower(t, 20_000, topic)
			for range 2 {
				require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(40, 6_000)}))
			}
			require.Len(t, f.read(t, topic), 81)
			require.Empty(t, f.read(t, f.Topics.DeadLetter()))
		})
	}
}

// Records of the checkpoint are made smaller where the topic takes less. One that cannot be is held, with both numbers, until
// somebody raises the setting; meanwhile nobody takes anything over, and nothing of the batch is there.
func TestCheckpointThatTakesLess(t *testing.T) {
	f := open(t, newCluster(t), fast(), transactional, func(c *kafka.Config) { c.Compression = "none" })
	f.takeOver(t)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(1)}))
	f.lower(t, 50_000, f.Topics.Checkpoint())
	const progress = 30_000
	var asked []int
	batch := func(name string, progress int) *kafka.Batch {
		r := &divided{name: name, progress: progress, asked: &asked}
		return &kafka.Batch{Account: "retail-us", Events: searches(8), Feeds: []kafka.Feed{newFeed()}, Recording: r}
	}
	require.NoError(t, f.Deliver(t.Context(), batch("1", progress)))
	require.Len(t, f.read(t, topic), 9)
	require.Equal(t, []int{1<<20 - 512, 50_000 - 512}, slices.Compact(asked), "first as usual, then as many as the topic takes")

	held := batch("2", 60_000)
	for range 3 {
		err := f.Deliver(t.Context(), held)
		refused, ok := errors.AsType[*kafka.RefusedError](err)
		require.True(t, ok, "%v", err)
		require.False(t, refused.Retryable())
		require.ErrorContains(t, err, "topic agentassist.checkpoint refuses record \"p/2\" of 60")
		require.ErrorContains(t, err, "max.message.bytes of the topic is 50000")
		require.ErrorContains(t, err, "set max.message.bytes of topic agentassist.checkpoint to 786944 or more")
	}
	require.Len(t, f.read(t, topic), 9, "nothing of the batch that is held")
	f.lower(t, 1<<20, f.Topics.Checkpoint())
	require.NoError(t, f.Deliver(t.Context(), held), "by the same owner")
	require.Len(t, f.read(t, topic), 17)
	var there []string
	_, err := f.Inspect(t.Context(), shardPartition, 0, func(key, _ []byte, _ int64) error {
		if key[0] == 'p' {
			there = append(there, string(key))
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"p/1", "p/2"}, there)
}

// divided is a recording of a megabyte that can be divided, and of progress that cannot.
type divided struct {
	recording
	name     string
	progress int
	asked    *[]int
}

func (d *divided) Records(most int) (records []kafka.Record, err error) {
	*d.asked = append(*d.asked, most)
	for i, left := 0, 1<<20; left > 0; i++ {
		n := min(left, most-200)
		left -= n
		records = append(records, kafka.Record{Key: fmt.Appendf(nil, "d/%s/%d", d.name, i), Value: noise(n)})
	}
	return append(records, kafka.Record{Key: []byte("p/" + d.name), Value: noise(d.progress)}), nil
}

// A limit that was lowered and is raised again is noticed by the next check.
func TestLimitIsRaisedAgain(t *testing.T) {
	f := open(t, newCluster(t), fast(), func(c *kafka.Config) { c.Topics.Partitions = 1 })
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(1, 0)}))
	f.lower(t, 20_000, topic)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(5, 100_000)}))
	require.Len(t, f.read(t, topic), 1+4)
	f.lower(t, 1<<20, topic)
	require.Empty(t, f.Check(t.Context()))
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: sized(5, 100_000)}))
	require.Len(t, f.read(t, topic), 1+4+5)
}

// Partitions that are too many for the offsets of a watermark are refused at the start.
func TestOffsetsThatNoWatermarkHolds(t *testing.T) {
	require.NoError(t, kafka.CheckOffsets("agentassist", 1000))
	require.NoError(t, kafka.CheckOffsets(strings.Repeat("p", 200), 100))
	require.ErrorContains(t, kafka.CheckOffsets(strings.Repeat("p", 200), 1000), "or a shorter kafka.topic_prefix")
}

// A dead letter that the caller has made of an event of its own is no event of the batch that could not be delivered.
func TestUndeliveredAreOfTheBatch(t *testing.T) {
	for _, delivery := range []string{kafka.ExactlyOnce, kafka.AtLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			f := open(t, newCluster(t), fast(), func(c *kafka.Config) { c.Delivery = delivery })
			if delivery == kafka.ExactlyOnce {
				f.takeOver(t)
			}
			batch := &kafka.Batch{Events: searches(2), Dead: []events.DeadLetter{kafka.DeadLetterOf(searches(1)[0], kafka.StagePublish, "too large")}}
			batch.Events[1].Key = "" // it has nowhere to go
			require.NoError(t, f.Deliver(t.Context(), batch))
			require.Len(t, batch.Undelivered(), 1)
			require.Equal(t, "encode", batch.Undelivered()[0].Stage)
		})
	}
}
