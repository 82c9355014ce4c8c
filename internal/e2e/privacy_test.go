package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/schemas"
)

// Two pollers read the same day, one of them under the strict preset. It publishes the same things, and none of the
// personal data that the other one publishes is in anything that it writes: topics, checkpoint, log, metrics, status.
func TestSmallPrivacy(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	world := koresim.Config{Seed: 21, Start: now.Add(-26 * time.Hour), End: now.Add(-20 * time.Hour), SegmentsPerDay: 150, Pace: koresim.Burst, Odd: 0.1, Drift: true}
	p := withoutRegistry(t)
	type side struct {
		*setup
		*consumer
		poller *inProcess
	}
	read := func(name, privacy string) side {
		centre := serve(t, "retail", world)
		_, pending := centre.ledger(now)
		require.Zero(t, pending, "the day must be over")
		s := newSetup(t, p, centre.yaml(quickSettings("1h")))
		s.prefix, s.privacy = name, privacy
		return side{s, s.follow(t), s.startInProcess(t)}
	}
	plain := read("plain", "")
	strict := read("strict", `preset: strict, key: "0123456789abcdef"`)
	var all, concealed map[string]*kafkaread.Record
	eventually(t, 2*waitLimit, func() error {
		for _, s := range []side{plain, strict} {
			for _, a := range s.poller.status(t).Accounts {
				for _, e := range a.Endpoints {
					if e.CompleteUpTo == nil || e.CompleteUpTo.Before(now.Add(-19*time.Hour)) {
						return fmt.Errorf("%s is not read", e.Endpoint)
					}
				}
			}
		}
		all, concealed = plain.lastRevisions(t), strict.lastRevisions(t)
		if len(all) != len(concealed) {
			return fmt.Errorf("%d and %d things", len(all), len(concealed))
		}
		return nil
	})
	require.Greater(t, len(all), 500)
	for id, r := range all {
		other := concealed[id]
		require.NotNil(t, other, "%s %s", r.Topic, id)
		require.Equal(t, r.Key, other.Key)
		require.Equal(t, public(t, r), public(t, other))
	}

	cfg, _, err := app.Parse(app.LoadOptions{Path: "e2e.yaml"}, []byte(strict.yaml()))
	require.NoError(t, err)
	var out, progress bytes.Buffer
	err = app.Audit(t.Context(), cfg, app.Output{Out: &out, Err: &progress, Log: slog.New(slog.DiscardHandler)}, app.AuditOptions{
		From: world.Start.Format(time.RFC3339), To: world.End.Format(time.RFC3339),
	})
	require.NoError(t, err, "%s", &out)

	unreadable := 0
	for _, r := range strict.read(t) {
		if r.Topic == strict.names.DeadLetter() {
			unreadable++
			require.Empty(t, r.Value["raw_bytes"])
			require.Equal(t, true, r.Value["raw_truncated"])
			require.NotEmpty(t, r.Field("raw_hash"))
		}
	}
	require.Positive(t, unreadable)

	texts := newTexts()
	for _, r := range plain.read(t) {
		texts.add(t, &r)
	}
	personal := texts.personal()
	require.Greater(t, len(personal), 300)
	found := func(s side) (in []string) {
		places := written(t, p, s.prefix+".")
		for _, path := range []string{"/", "/status", "/metrics", "/asyncapi.yaml"} {
			places[path] = s.poller.page(t, path)
		}
		s.poller.stop(t)
		var err error
		places["file"], err = os.ReadFile(filepath.Join(s.dir, "poller.db"))
		require.NoError(t, err)
		places["log"] = []byte(s.poller.text())
		for place, content := range places {
			for _, text := range personal {
				if bytes.Contains(content, []byte(text)) {
					in = append(in, fmt.Sprintf("%s: %q", place, text))
				}
			}
		}
		return in
	}
	hits := strings.Join(found(plain), "\n")
	for _, place := range []string{"plain.feedback", "plain.conversation", "plain.checkpoint", "file"} {
		require.Contains(t, hits, place, "the test would not see a leak")
	}
	require.Empty(t, found(strict))
}

// lastRevisions returns the last revision of each thing.
func (c *consumer) lastRevisions(t *testing.T) map[string]*kafkaread.Record {
	last := map[string]*kafkaread.Record{}
	records := c.read(t)
	for i := range records {
		if r := &records[i]; r.Field("entity_id") != "" && r.Topic != c.names.Negative() && r.Topic != c.names.DeadLetter() {
			last[r.Field("entity_id")] = r
		}
	}
	return last
}

// public returns the texts of an event that are no personal data, by field, without those that say how it was read.
func public(t *testing.T, r *kafkaread.Record) map[string]string {
	out := map[string]string{}
	eachText(t, r, func(path, class, text string) {
		// The endpoint is that which showed the thing last; the queue of feedback depends on which was read first.
		varies := path == "event_id" || path == "endpoint" || strings.HasPrefix(path, "queue.") && strings.Contains(r.Topic, ".feedback")
		if class == "" && !varies {
			out[path] += text
		}
	})
	return out
}

// texts are those of events, by whether they are personal data.
type texts struct {
	private map[string]bool
	public  strings.Builder
}

func newTexts() *texts { return &texts{private: map[string]bool{}} }

func (x *texts) add(t *testing.T, r *kafkaread.Record) {
	eachText(t, r, func(_, class, text string) {
		if class != "" {
			x.private[text] = true
		} else {
			x.public.WriteString(text + "\n")
		}
	})
}

// personal returns the texts that stand in fields with personal data only, and are long enough to be no coincidence.
func (x *texts) personal() (out []string) {
	public := x.public.String()
	for text := range x.private {
		if len(text) >= 8 && !strings.Contains(public, text) {
			out = append(out, text)
		}
	}
	return out
}

// eachText calls f with every text in an event, the path of its field, and the class of personal data that the schema names, if any.
func eachText(t *testing.T, r *kafkaread.Record, f func(path, class, text string)) {
	t.Helper()
	name := r.Topic[strings.LastIndexByte(r.Topic, '.')+1:]
	if name == "feedback-negative" {
		name = string(events.TypeFeedback)
	}
	text, err := schemas.Files.ReadFile(name + ".avsc")
	require.NoError(t, err)
	var schema any
	require.NoError(t, json.Unmarshal(text, &schema))
	records := map[string]map[string]any{}
	var walk func(path, class string, typ, value any)
	walk = func(path, class string, typ, value any) {
		switch typ := typ.(type) {
		case string:
			if s, ok := value.(string); ok {
				f(path, class, s)
			} else if record := records[typ]; record != nil {
				walk(path, class, record, value)
			}
		case []any:
			walk(path, class, typ[len(typ)-1], value)
		case map[string]any:
			switch typ["type"] {
			case "array":
				items, _ := value.([]any)
				if items == nil {
					walk(path, class, typ["items"], nil)
				}
				for _, item := range items {
					walk(path, class, typ["items"], item)
				}
			case "record":
				records[typ["name"].(string)] = typ
				fields, _ := value.(map[string]any)
				for _, field := range typ["fields"].([]any) {
					field := field.(map[string]any)
					name, class := field["name"].(string), ""
					if field["personal"] != nil {
						class = field["personal"].(string)
					}
					walk(strings.TrimPrefix(path+"."+name, "."), class, field["type"], fields[name])
				}
			}
		}
	}
	walk("", "", schema, r.Value)
}

// written returns the keys, values and headers of all records on topics that begin with a prefix, by topic.
func written(t *testing.T, p *platform, prefix string) map[string][]byte {
	out := map[string][]byte{}
	for _, k := range recordsOf(t, p, prefix) {
		out[k.Topic] = append(append(out[k.Topic], k.Key...), k.Value...)
		for _, h := range k.Headers {
			out[k.Topic] = append(out[k.Topic], h.Value...)
		}
	}
	return out
}

// recordsOf returns all records on topics that begin with a prefix, those of a partition in order.
func recordsOf(t *testing.T, p *platform, prefix string) (out []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.list()...), kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+regexp.QuoteMeta(prefix)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	require.NoError(t, err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context())
	require.NoError(t, err)
	require.NoError(t, ends.Error())
	type partition struct {
		topic  string
		number int32
	}
	left := map[partition]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if strings.HasPrefix(o.Topic, prefix) && o.Offset > 0 {
			left[partition{o.Topic, o.Partition}] = o.Offset
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "left: %v", left)
		fetches.EachRecord(func(k *kgo.Record) {
			at := partition{k.Topic, k.Partition}
			if k.Offset+1 >= left[at] {
				delete(left, at)
			}
			if !k.Attrs.IsControl() {
				out = append(out, k)
			}
		})
	}
	return out
}

// page returns the answer of the poller's HTTP server.
func (p *inProcess) page(t *testing.T, path string) []byte {
	t.Helper()
	resp, err := http.Get("http://" + p.app.Addr() + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return body
}
