package kafka_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
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

// A batch is recorded as an intent before any of it is sent. After a crash the same records are sent again and move the same offsets,
// and no second intent is recorded.
func TestIntent(t *testing.T) {
	latest := func(c *kafka.Config) { c.Latest = []string{"feedback"} }
	f := open(t, newCluster(t), nil, latest)
	topics := []string{topic, f.Topics.Event(events.TypeFeedback), f.Topics.Negative(), f.Topics.Latest(events.TypeFeedback), f.Topics.DeadLetter()}
	feed := newFeed()
	gone := "somebody else"
	superseded := &events.Feedback{Header: header("s")}
	superseded.SupersededBy = &gone
	var written []byte
	full := errors.New("disk full")
	recorded := &recording{
		intend: func(i kafka.Intent) error {
			require.Empty(t, f.read(t, topics...))
			if full != nil {
				return full
			}
			require.Nil(t, written)
			written = i.AppendBinary(nil)
			return nil
		},
		commit: func() error { return full },
	}
	batch := &kafka.Batch{
		Events: append(searches(5),
			kafka.Outgoing{Event: &events.Feedback{Header: header("n"), Sentiment: "NEGATIVE"}, Key: "conv-n", Negative: true},
			kafka.Outgoing{Event: superseded, Key: "conv-s"},
			kafka.Outgoing{Event: &events.Feedback{Header: header("keyless")}}),
		Dead:  []events.DeadLetter{{Stage: "decode", RawBytes: []byte("}"), ObservedTime: eventTime}},
		Feeds: []kafka.Feed{{Types: feed.Types}}, Recording: recorded,
	}
	require.ErrorIs(t, f.Deliver(t.Context(), batch), full)
	require.Empty(t, f.read(t, topics...))
	full = nil
	recorded.commit = func() error { return errors.New("killed") }
	require.ErrorContains(t, f.Deliver(t.Context(), batch), "killed")
	require.ErrorContains(t, f.Deliver(t.Context(), batch), "killed")
	before := f.read(t, topics...)
	require.Len(t, before, 5+2+1+2+2)

	again, err := kafka.ParseIntent(written)
	require.NoError(t, err)
	other := &recording{intend: func(kafka.Intent) error { return errors.New("it is written down already") }}
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Again: again, Feeds: []kafka.Feed{{Types: feed.Types}}, Recording: other}))
	require.Equal(t, 1, other.committed)
	byTopic := map[string][][2]kafkaread.Record{}
	for _, twice := range pairs(t, f.read(t, topics...)) {
		first, second := twice[0], twice[1]
		byTopic[first.Topic] = append(byTopic[first.Topic], twice)
		second.Offset = first.Offset
		require.Equal(t, first, second)
	}
	require.Len(t, byTopic, len(topics))
	for topic, offsets := range recorded.after {
		for partition, next := range offsets {
			n := int64(0)
			for _, twice := range byTopic[topic] {
				if int(twice[0].Partition) == partition {
					n++
				}
			}
			if n > 0 {
				require.Equal(t, next+n, other.after[topic][partition], "%s:%d", topic, partition)
			}
		}
	}
	require.NotContains(t, other.after, f.Topics.Latest(events.TypeFeedback))
	require.NotContains(t, other.after, f.Topics.DeadLetter())
	require.EqualValues(t, 2, f.counter(t, "poller_kafka_negative_feedback_published_total"), "each time once, without the compacted topic")
}

// pairs returns the first and the second copy of each record.
func pairs(t *testing.T, records []kafkaread.Record) (out [][2]kafkaread.Record) {
	t.Helper()
	open := map[string]kafkaread.Record{}
	for _, r := range records {
		id := strings.Join([]string{r.Topic, r.Key, string(r.Raw)}, "\x00")
		if first, ok := open[id]; ok {
			out = append(out, [2]kafkaread.Record{first, r})
			delete(open, id)
		} else {
			open[id] = r
		}
	}
	require.Empty(t, open)
	return out
}

// A record that is sent again and refused becomes a dead letter, as it would have the first time, even if another release wrote it.
// Records for topics that are switched off do not hold up the others.
func TestIntentRefused(t *testing.T) {
	f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Compression = "none" })
	var again kafka.Intent
	batch := &kafka.Batch{Events: searches(4), Recording: &recording{intend: func(i kafka.Intent) error {
		again = i
		return errors.New("killed")
	}}}
	batch.Events[2].Event.Head().EventID = "ev-bad"
	require.Error(t, f.Deliver(t.Context(), batch))
	again = append(again,
		kafka.Intended{
			Topic: "search", Type: events.TypeSearch, Key: []byte("k"), Value: []byte{0, 0, 0, 0, 1},
			Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("ev-bad")}},
		},
		kafka.Intended{Topic: "message", Type: events.TypeMessage, Key: []byte("k"), Value: []byte{0}},
		kafka.Intended{Topic: "tea", Type: "tea"})
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: -1, When: carries("ev-bad")})
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Again: again}))
	require.Len(t, f.read(t, topic), 3)
	dead := f.read(t, f.Topics.DeadLetter())
	require.Len(t, dead, 2)
	entities := []string{dead[0].Field("entity_id"), dead[1].Field("entity_id")}
	require.ElementsMatch(t, []string{"en-caa", ""}, entities)
	for _, d := range dead {
		require.Equal(t, "search", d.Field("event_type"))
		require.Contains(t, d.Field("reason"), "refuses the record")
	}
}

// TestEarlierIntentIsRead holds intents to the bytes in testdata, which an earlier build wrote: the same records give the same
// bytes, and the earlier bytes the same records. Another version gets a file of its own.
func TestEarlierIntentIsRead(t *testing.T) {
	intent := kafka.Intent{
		{Topic: "search", Type: events.TypeSearch, Feed: true, Key: []byte("k"), Value: []byte{0, 0, 0, 0, 1}, Timestamp: eventTime},
		{Topic: "feedback-latest", Type: events.TypeFeedback, Key: []byte("k"), Timestamp: eventTime, Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("x")}, {Key: "ce_type", Value: []byte("feedback")}}},
		{Topic: "dead-letter", Key: []byte{}, Value: []byte{0xC3, 1}, Timestamp: time.UnixMilli(-62135596800000).UTC()},
	}
	written := intent.AppendBinary(nil)
	golden(t, "intent-1.golden", hex.Dump(written))
	read, err := kafka.ParseIntent(written)
	require.NoError(t, err)
	require.Equal(t, intent, read)
}

// Whatever the damage, an intent that can be read can be sent, and has the same form when it is written again.
func FuzzParseIntent(f *testing.F) {
	fixture := open(f, newCluster(f), nil)
	encoder := kafka.NewEncoder(fixture.config, fixture.Topics, kafka.SchemasFor(f, fixture.Topics))
	whole := kafka.Intent{
		{Topic: "search", Type: events.TypeSearch, Key: []byte("k"), Value: []byte{0, 0, 0, 0, 1}, Timestamp: eventTime},
		{Topic: "feedback-latest", Key: []byte("k"), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("x")}}},
		{Topic: "dead-letter", Feed: true, Value: []byte{0xC3, 1}},
	}.AppendBinary(nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Fuzz(func(t *testing.T, written []byte) {
		i, err := kafka.ParseIntent(written)
		if err != nil {
			return
		}
		again, err := kafka.ParseIntent(i.AppendBinary(nil))
		require.NoError(t, err)
		require.Equal(t, i, again)
		require.LessOrEqual(t, kafka.Encode(encoder, &kafka.Batch{Again: i, Feeds: []kafka.Feed{{}}}), len(i))
	})
}
