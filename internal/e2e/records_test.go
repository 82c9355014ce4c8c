package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/kafka/kafkaread"
)

// tooLarge are the reasons of dead letters for what koresim.Config.TooLarge makes large.
var tooLarge = regexp.MustCompile(`^(conversationI[Dd]|convId) has 4\d{5} bytes; want at most|^the answer with this row alone is too large; |^a record of \d{7} bytes is larger than `)

// countTooLarge counts the dead letters of what is too large.
func countTooLarge(t *testing.T, c *consumer) (n int) {
	t.Helper()
	for _, r := range c.read(t) {
		if r.Topic == c.names.DeadLetter() && tooLarge.MatchString(r.Field("reason")) {
			n++
		}
	}
	return n
}

// checkRecords checks what a consumer relies on besides the content of events: keys, partitions, headers, times, dead letters
// and watermarks.
func checkRecords(t *testing.T, c *consumer) {
	t.Helper()
	records := c.read(t)
	wrong := 0
	check := func(ok bool, r *kafkaread.Record, format string, args ...any) {
		if !ok {
			if wrong++; wrong <= 10 {
				t.Errorf("%s:%d@%d: %s", r.Topic, r.Partition, r.Offset, fmt.Sprintf(format, args...))
			}
		}
	}
	// Partitioned as the Java client does.
	java := kgo.StickyKeyPartitioner(nil).ForTopic("any")
	hashes := map[string]bool{}
	var marks, events []kafkaread.Record
	for i := range records {
		r := &records[i]
		switch r.Topic {
		case c.names.Watermark():
			if r.Value == nil { // of an account-wide endpoint that is read by the bot
				check(strings.Contains(r.Key, "/-/"), r, "the watermark of %s ends", r.Key)
				continue
			}
			marks = append(marks, *r)
			bot := r.Field("bot_id")
			if bot == "" {
				bot = "-"
			}
			check(r.Key == r.Field("source")+"/"+bot+"/"+r.Field("endpoint"), r, "watermark has key %s", r.Key)
			continue
		case c.names.DeadLetter():
			raw, _ := r.Value["raw_bytes"].([]byte)
			fault := strings.Contains(string(raw), "lost in migration") || tooLarge.MatchString(r.Field("reason"))
			check(fault, r, "a dead letter without fault: %s", r.Field("reason"))
			once := r.Field("account_id") + r.Field("raw_hash")
			check(!hashes[once], r, "a dead letter that came before")
			hashes[once] = true
			continue
		}
		events = append(events, *r)
		key := r.Field("conversation_id")
		for _, name := range []string{"session_id", "segment_id"} {
			if key == "" {
				key = r.Field(name)
			}
		}
		// A session that gained a conversation keeps the key that its first version had.
		revision, _ := r.Value["revision"].(int64)
		check(r.Key == key || revision > 1, r, "key %q; want %q", r.Key, key)
		check(r.Partition == int32(java.Partition(&kgo.Record{Key: []byte(r.Key)}, 3)), r, "wrong partition for key %q", r.Key)
		when, _ := r.Value["event_time"].(time.Time)
		check(r.Timestamp.Equal(when), r, "timestamp %v; want %v", r.Timestamp, when)
		source := "/accounts/" + r.Field("account_id")
		if bot := r.Field("bot_id"); bot != "" {
			source += "/bots/" + bot
		}
		typ := r.Topic[strings.LastIndexByte(r.Topic, '.')+1:]
		if r.Topic == c.names.Negative() {
			typ = "feedback"
		}
		for name, want := range map[string]string{
			"ce_specversion": "1.0", "ce_id": r.Field("event_id"), "ce_source": source, "ce_type": "agentassist." + typ + ".v1",
			"ce_time": when.UTC().Format("2006-01-02T15:04:05.000Z07:00"), "ce_subject": r.Field("entity_id"),
			"content-type": "application/avro", "ce_revision": strconv.FormatInt(revision, 10), "ce_sentiment": r.Field("sentiment"),
		} {
			check(r.Headers[name] == want, r, "header %s is %q; want %q", name, r.Headers[name], want)
		}
		check(r.Value["replay"] == false, r, "marked as a replay")
	}
	require.Zero(t, wrong, "%d records are not as promised", wrong)
	checkWatermarks(t, c, marks, events)
}

// watermark is a watermark record.
type watermark struct {
	*kafkaread.Record
	complete, published time.Time
	feeds               []string
	offsets             map[string]int64 // by topic:partition
}

func watermarkOf(r *kafkaread.Record) watermark {
	m := watermark{Record: r, offsets: map[string]int64{}}
	m.complete, _ = r.Value["complete_up_to"].(time.Time)
	m.published, _ = r.Value["published_time"].(time.Time)
	for _, f := range r.Value["feeds"].([]any) {
		m.feeds = append(m.feeds, f.(string))
	}
	for _, o := range r.Value["offsets"].([]any) {
		o := o.(map[string]any)
		m.offsets[place(o["topic"].(string), o["partition"].(int64))] = o["offset"].(int64)
	}
	return m
}

func place(topic string, partition int64) string { return fmt.Sprintf("%s:%d", topic, partition) }

// checkWatermarks checks that watermarks never go back, that they have all partitions of all topics that they feed, and that they are true:
// an event after their offsets is later than their time, or is marked as late.
func checkWatermarks(t *testing.T, c *consumer, records, events []kafkaread.Record) {
	t.Helper()
	ends := c.ends(t)
	byKey := map[string][]watermark{}
	for i := range records {
		r := &records[i]
		m := watermarkOf(r)
		require.Contains(t, m.feeds, c.names.Negative(), r.Key)
		for _, f := range m.feeds {
			require.Contains(t, c.eventTopics(), f)
			for p := range int64(3) {
				offset, ok := m.offsets[place(f, p)]
				require.True(t, ok, "%s: without %s:%d", r.Key, f, p)
				require.LessOrEqual(t, offset, ends[f][int32(p)], "%s: beyond the end of %s:%d", r.Key, f, p)
			}
		}
		require.Len(t, m.offsets, 3*len(m.feeds), "%s: offsets of all partitions of all feeds", r.Key)
		if before := byKey[r.Key]; len(before) > 0 {
			last := before[len(before)-1]
			require.False(t, m.complete.Before(last.complete), "%s went back from %v to %v", r.Key, last.complete, m.complete)
			for at, offset := range last.offsets {
				require.GreaterOrEqual(t, m.offsets[at], offset, "%s: offset of %s went back", r.Key, at)
			}
		}
		byKey[r.Key] = append(byKey[r.Key], m)
	}
	endpoints := map[string]bool{}
	for key, marks := range byKey {
		endpoints[key[strings.LastIndexByte(key, '/')+1:]] = true
		require.True(t, marks[0].complete.IsZero(), "%s: the first watermark comes before anything was read", key)
	}
	require.Len(t, endpoints, 4)
	lies := 0
	for i := range events {
		e := &events[i]
		revision, _ := e.Value["revision"].(int64)
		if revision != 1 || e.Value["late"] == true || e.Topic == c.names.Negative() {
			continue
		}
		when, _ := e.Value["event_time"].(time.Time)
		for _, bot := range []string{e.Field("bot_id"), "-"} {
			marks := byKey[e.Field("source")+"/"+bot+"/"+e.Field("endpoint")]
			// The last one that declares an end before this event.
			n, _ := slices.BinarySearchFunc(marks, e.Offset, func(m watermark, offset int64) int {
				if m.offsets[place(e.Topic, int64(e.Partition))] <= offset {
					return -1
				}
				return 1
			})
			if n > 0 && marks[n-1].complete.After(when) && !when.Before(from(marks[n-1])) {
				if lies++; lies <= 5 {
					t.Errorf("%s:%d@%d of %v by %s came after it had been declared complete up to %v, and is not late",
						e.Topic, e.Partition, e.Offset, when, e.Field("endpoint"), marks[n-1].complete)
				}
			}
		}
	}
	require.Zero(t, lies, "events came after the watermark that closed their time")
}

func from(m watermark) time.Time {
	t, _ := m.Value["complete_from"].(time.Time)
	return t
}
