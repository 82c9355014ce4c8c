package kafka_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

var update = flag.Bool("update", false, "write golden files")

// Every byte of every kind of record, without a registry so that nothing depends on one.
func TestGoldenWire(t *testing.T) {
	f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Latest = []string{"feedback"} })
	feedback := &events.Feedback{Header: header("f"), Sentiment: "NEGATIVE", Response: ptr("down"), GivenBy: "AGENT"}
	gone := &events.Feedback{Header: header("g"), Sentiment: "POSITIVE", GivenBy: "AGENT"}
	gone.SupersededBy = ptr("en-f")
	search := &events.Search{Header: header("s")}
	search.BotID = nil
	feed := newFeed()
	feed.Watermark.PublishedTime = eventTime
	feed.Watermark.CompleteUpTo = ptr(eventTime)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{
		Events: []kafka.Outgoing{
			{Event: feedback, Key: "conv-f", Negative: true},
			{Event: search, Key: "conv-s"},
			{Event: gone, Key: "conv-g"},
		},
		Dead: []events.DeadLetter{{
			Stage: "decode", Reason: "no segment id", Endpoint: "interactions", Source: "retail-us", AccountID: "acc1",
			RawBytes: []byte(`{"a":1}`), ObservedTime: eventTime,
		}},
		Feeds: []kafka.Feed{feed},
	}))
	var text strings.Builder
	for _, name := range []string{"search", "feedback", "feedback-negative", "feedback-latest", "watermark", "dead-letter"} {
		for _, r := range f.read(t, "agentassist."+name) {
			fmt.Fprintf(&text, "%s/%d@%d %s key=%s\n", r.Topic, r.Partition, r.Offset, r.Timestamp.Format(time.RFC3339Nano), r.Key)
			for _, k := range sorted(r.Headers) {
				fmt.Fprintf(&text, "  %s: %s\n", k, r.Headers[k])
			}
			text.WriteString(hex.Dump(r.Raw))
		}
	}
	golden(t, "wire.golden", text.String())
}

func TestHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*kafka.Config)
		want   map[string]string
	}{
		"on": {nil, map[string]string{
			"ce_specversion": "1.0", "ce_id": "ev-aaa", "ce_source": "/accounts/acc1/bots/st-1", "ce_type": "agentassist.search.v1",
			"ce_time": "2026-11-20T12:00:00.123Z", "ce_subject": "en-aaa", "ce_revision": "1", "content-type": "application/avro",
		}},
		"off": {func(c *kafka.Config) { c.Headers = false }, map[string]string{}},
		"with schema": {func(c *kafka.Config) { c.DataSchema = "https://schemas.example.com" }, map[string]string{
			"ce_specversion": "1.0", "ce_id": "ev-aaa", "ce_source": "/accounts/acc1/bots/st-1", "ce_type": "agentassist.search.v1",
			"ce_time": "2026-11-20T12:00:00.123Z", "ce_subject": "en-aaa", "ce_revision": "1", "content-type": "application/avro",
			"ce_dataschema": "https://schemas.example.com/" + fingerprint(events.TypeSearch),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*kafka.Config)
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			f := open(t, newCluster(t), nil, changes...)
			require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(1)}))
			require.Equal(t, tt.want, f.read(t, topic)[0].Headers)
		})
	}
}

func TestSourceOfAccountIsEscaped(t *testing.T) {
	f := open(t, newCluster(t), nil)
	batch := searches(1)
	batch[0].Event.Head().AccountID, batch[0].Event.Head().BotID = "a b/c", nil
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: batch}))
	require.Equal(t, "/accounts/a%20b%2Fc", f.read(t, topic)[0].Headers["ce_source"])
}

func TestTimestamps(t *testing.T) {
	for which, want := range map[string]time.Time{
		kafka.TimestampEvent: eventTime, kafka.TimestampObserved: eventTime.Add(5 * time.Second),
	} {
		f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Timestamp = which })
		require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(1)}))
		require.Equal(t, want, f.read(t, topic)[0].Timestamp)
	}
}

// What cannot become a record becomes a dead letter, and holds up nothing.
func TestUndeliverableEvents(t *testing.T) {
	f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.MaxRecordBytes = 64 << 10 })
	large := &events.Feedback{Header: header("large"), CommentText: ptr(strings.Repeat("x", 100<<10)), Sentiment: "NEGATIVE"}
	timeless := &events.Search{Header: header("timeless")}
	timeless.EventTime = time.Time{}
	batch := searches(2)
	batch = append(batch,
		kafka.Outgoing{Event: large, Key: "conv-large", Negative: true},
		kafka.Outgoing{Event: timeless, Key: "conv-timeless"},
		kafka.Outgoing{Event: &events.Search{Header: header("keyless")}},
		kafka.Outgoing{Event: &events.Message{Header: header("off")}, Key: "conv-off"},
	)
	b := &kafka.Batch{Events: batch}
	require.NoError(t, f.Deliver(t.Context(), b))
	require.NoError(t, f.Deliver(t.Context(), b), "again")
	require.Len(t, f.read(t, "agentassist.search", "agentassist.feedback", "agentassist.feedback-negative"), 2)

	dead := f.read(t, "agentassist.dead-letter")
	require.Len(t, dead, 4)
	require.Equal(t, "publish", dead[0].Field("stage"))
	require.Regexp(t, `^a record of 10\d{4} bytes is larger than kafka.max_record_bytes 65536$`, dead[0].Field("reason"))
	require.Equal(t, "conv-large", dead[0].Key)
	require.Equal(t, "en-large", dead[0].Field("entity_id"))
	require.Len(t, dead[0].Value["raw_bytes"], 32<<10)
	require.Equal(t, true, dead[0].Value["raw_truncated"])
	for i, reason := range []string{"no event time", "no conversation, session or segment", "switched off"} {
		require.Equal(t, "encode", dead[i+1].Field("stage"))
		require.Contains(t, dead[i+1].Field("reason"), reason)
		require.Contains(t, string(dead[i+1].Value["raw_bytes"].([]byte)), `"entity_id":"en-`)
	}
}

func TestDeadLetters(t *testing.T) {
	f := open(t, newCluster(t), nil)
	raw := []byte(strings.Repeat("0123456789abcdef", 32<<10)) // half a MiB
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Dead: []events.DeadLetter{
		{Stage: "decode", RawBytes: raw, ObservedTime: eventTime},
		{Stage: "map", RawBytes: []byte("short"), ConversationID: ptr("c1"), ObservedTime: eventTime},
	}}))
	dead := f.read(t, f.Topics.DeadLetter())
	require.Len(t, dead, 2)
	require.Equal(t, kafka.RawHash(raw), dead[0].Key)
	require.Equal(t, kafka.RawHash(raw), dead[0].Field("raw_hash"))
	require.Len(t, dead[0].Value["raw_bytes"], 256<<10)
	require.Equal(t, true, dead[0].Value["raw_truncated"])
	require.Equal(t, eventTime, dead[0].Timestamp)
	require.Equal(t, "c1", dead[1].Key)
	require.Equal(t, []byte("short"), dead[1].Value["raw_bytes"])
	require.Equal(t, false, dead[1].Value["raw_truncated"])
}

// The fingerprint is what another implementation makes of the schema.
func TestSingleObjectFingerprint(t *testing.T) {
	f := open(t, newCluster(t), nil)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(1)}))
	schema := avro.MustParse(events.Schema(events.TypeSearch))
	var fields map[string]any
	_, err := schema.DecodeSingleObject(f.read(t, topic)[0].Raw, &fields)
	require.NoError(t, err)
	require.Equal(t, "ev-aaa", fields["event_id"])
}

func fingerprint(t events.Type) string {
	f := events.Fingerprint(t)
	return hex.EncodeToString(f[:])
}

func sorted(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func BenchmarkEncode(b *testing.B) {
	f := open(b, newCluster(b), nil)
	encoder := kafka.NewEncoder(f.config, f.Topics, kafka.SchemasFor(b, f.Topics))
	batch := searches(1000)
	b.ReportAllocs()
	for b.Loop() {
		kafka.Encode(encoder, &kafka.Batch{Events: batch})
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}
