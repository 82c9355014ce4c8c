package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
)

// The examples, each started as its README says, end with what the ledger says of a day whose late edits can be read only once its windows are
// closed.
func TestKafkaExamples(t *testing.T) {
	t.Parallel()
	p := apache(t)
	programs := buildExamples(t)
	now := time.Now().UTC().Truncate(time.Hour)
	evening := now.AddDate(0, 0, -4)
	var over atomic.Bool
	centre := serve(t, "day", koresim.Config{
		Seed: 15, Start: evening.AddDate(0, 0, -1), End: evening, SegmentsPerDay: 150, EmailOpen: 6 * time.Hour, LateEdits: 0.3,
		Readable: func() time.Time {
			if over.Load() {
				return now
			}
			return evening
		},
	})
	entries, pending := centre.ledger(now)
	require.Zero(t, pending, "the day must be over")
	all := day(entries)
	s := newSetup(t, p, centre.yaml(quickSettings("2s")))
	names := kafka.NewNames(s.prefix)
	run := s.startInProcess(t)
	figures := followFigures(t, p, s.prefix+".kpis")
	eventually(t, waitLimit, func() error { return complete(run, t, evening) }) // so that no window is closed while it is read

	noon := evening.Add(-12 * time.Hour)
	slow := slowEndpoint(t, p, names.Watermark(), evening.AddDate(0, 0, -1), noon)
	where := []string{"--brokers", p.broker, "--registry", p.registry}
	stream := startExample(t, "mvn", "-q", "-B", "-f", "../../examples/kpi-stream", "compile", "exec:java",
		"-Dexec.args="+strings.Join(append(where, "--prefix", s.prefix+".", "--output", s.prefix+".kpis"), " "))
	alerts := serveWebhook(t)
	alerting := startExample(t, filepath.Join(programs, "alerting"), append(where, "--topic", names.Negative(), "--group", s.prefix+".alerts",
		"--webhook", alerts.URL, "--state", filepath.Join(t.TempDir(), "alerts.json"))...)
	board := startExample(t, filepath.Join(programs, "feedback-board"), append(where, "--topic", names.Event(events.TypeFeedback), "--listen", "127.0.0.1:0")...)

	await := func(what func() error) {
		t.Helper()
		eventually(t, waitLimit, func() error {
			select {
			case <-stream.done:
				require.FailNow(t, "kpi-stream has ended", stream.tail(20))
			default:
			}
			figures.read(t)
			return what()
		})
	}
	await(func() error {
		if len(figures.keys) == 0 {
			return errNotYet
		}
		return nil
	})
	ended := time.Now()
	slow.say(t, nil)
	await(func() error { return figures.agree(all.asOf(evening)) })
	for key, revisions := range figures.keys {
		require.False(t, revisions[0].To.After(noon) && revisions[0].at.Before(ended), "%s was closed before all endpoints were complete", key)
	}
	require.Empty(t, figures.corrected(), "windows were closed before they were complete")
	over.Store(true)
	await(func() error { return figures.agree(all) })
	t.Logf("%d figures, %d of them corrected", len(figures.keys), len(figures.corrected()))
	require.NotEmpty(t, figures.corrected(), "no late edit changed a figure")

	bad := slices.DeleteFunc(all.of(events.TypeFeedback), func(e *koresim.Entry) bool { return !negative(e) })
	eventually(t, waitLimit, func() error { return alerts.agree(len(bad)) })
	alerting.stop(t)
	eventually(t, waitLimit, func() error { return boardAgrees(board, all.thumbs()) })
	board.stop(t)
}

// startExample starts a program that runs until the test ends, unless it is stopped before.
func startExample(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), logs: logs{done: make(chan struct{})}}
	p.cmd.Stdout, p.cmd.Stderr = &p.logs, &p.logs
	p.cmd.Env = append(noSettings(), "MAVEN_OPTS=-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1") // it does not live long
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.tail(25))
		}
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// buildExamples returns the directory with the examples in Go.
func buildExamples(t *testing.T) string {
	t.Helper()
	dir := t.TempDir() + "/"
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "agentassist-poller/examples/alerting", "agentassist-poller/examples/feedback-board").CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// webhook is where alerts are posted to.
type webhook struct {
	*httptest.Server
	mu   sync.Mutex
	open map[string]bool // by entity: whether there was no all-clear since its alert
	idle []string        // messages that say nothing new
}

var alerted = regexp.MustCompile(`(?s)^(👎|✅) .*\nFeedback: ([0-9a-f]{32})$`)

func serveWebhook(t *testing.T) *webhook {
	w := &webhook{open: map[string]bool{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ Text string }
		err := json.NewDecoder(r.Body).Decode(&message)
		m := alerted.FindStringSubmatch(message.Text)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil || m == nil || w.open[m[2]] == (m[1] == "👎") {
			w.idle = append(w.idle, fmt.Sprint(message.Text, err))
			return
		}
		w.open[m[2]] = m[1] == "👎"
	}))
	t.Cleanup(w.Close)
	return w
}

// agree returns an error unless there are so many alerts without an all-clear.
func (w *webhook) agree(want int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	open := 0
	for _, is := range w.open {
		if is {
			open++
		}
	}
	if open != want || want == 0 || len(w.idle) > 0 {
		return fmt.Errorf("%d of %d alerts are open, want %d; messages that say nothing new: %q", open, len(w.open), want, w.idle)
	}
	return nil
}

// asOf returns what could be read of it at a time.
func (d day) asOf(at time.Time) (out day) {
	then := map[*koresim.Entry]*koresim.Entry{}
	for _, e := range d {
		known := *e
		known.Views = nil
		for _, v := range e.Views {
			v.Versions = slices.DeleteFunc(slices.Clone(v.Versions), func(v koresim.Version) bool { return v.Visible.After(at) })
			if len(v.Versions) > 0 {
				known.Views = append(known.Views, v)
			}
		}
		if known.Views != nil {
			then[e] = &known
			out = append(out, &known)
		}
	}
	for _, e := range out {
		e.Shown = then[e.Shown]
	}
	return out
}

// thumbs are the verdicts of agents that hold in the end.
func (d day) thumbs() []*koresim.Entry {
	return slices.DeleteFunc(d.of(events.TypeFeedback), func(e *koresim.Entry) bool {
		f := final(e)
		return f["given_by"] != "AGENT" || f["sentiment"] != "NEGATIVE" && f["sentiment"] != "POSITIVE"
	})
}

func negative(e *koresim.Entry) bool { return final(e)["sentiment"] == "NEGATIVE" }

type verdicts struct{ Positive, Negative int }

// boardAgrees returns an error unless the board answers with these thumbs.
func boardAgrees(board *process, thumbs []*koresim.Entry) error {
	want, got := map[string]verdicts{}, map[string]verdicts{}
	for _, e := range thumbs {
		v := want[e.AgentID]
		if negative(e) {
			v.Negative++
		} else {
			v.Positive++
		}
		want[e.AgentID] = v
	}
	resp, err := http.Get(strings.TrimSpace(board.text()))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return err
	}
	if len(want) == 0 || !reflect.DeepEqual(want, got) {
		return fmt.Errorf("the board says %v, want %v", got, want)
	}
	return nil
}

// figure is what kpi-stream publishes.
type figure struct {
	Queue                            string
	To                               time.Time
	Revision                         int
	Lists, Adopted, Thumbs, Negative int
	at                               time.Time // when it was published
}

// published are the figures by window and queue, in the order in which they came.
type published struct {
	client *kgo.Client
	keys   map[string][]figure
}

func followFigures(t *testing.T, p *platform, topic string) *published {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(p.list()...), kgo.ConsumeTopics(topic), kgo.UnknownTopicRetries(-1), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.MetadataMaxAge(time.Second), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return &published{client: client, keys: map[string][]figure{}}
}

// read reads what has come.
func (p *published) read(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	p.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
		f := figure{at: r.Timestamp}
		require.NoError(t, json.Unmarshal(r.Value, &f))
		before := p.keys[string(r.Key)]
		require.Equal(t, len(before)+1, f.Revision, "%s after %+v", r.Key, before)
		if len(before) > 0 {
			require.NotEqual(t, before[len(before)-1].numbers(), f.numbers(), "%s: a correction that changes nothing", r.Key)
		}
		p.keys[string(r.Key)] = append(before, f)
	})
}

// agree returns an error unless all windows together hold what happened.
func (p *published) agree(d day) error {
	queues, thumbs := map[string]figure{}, figure{}
	for _, revisions := range p.keys {
		f := revisions[len(revisions)-1]
		q := queues[f.Queue]
		q.Lists, q.Adopted = q.Lists+f.Lists, q.Adopted+f.Adopted
		queues[f.Queue] = q
		thumbs.Thumbs, thumbs.Negative = thumbs.Thumbs+f.Thumbs, thumbs.Negative+f.Negative
	}
	var got rows
	for name, q := range queues {
		if q.Lists > 0 {
			got.add(name, q.Lists, q.Adopted, float64(q.Adopted)/float64(q.Lists))
		}
	}
	got.add("thumbs", thumbs.Thumbs, thumbs.Negative, float64(thumbs.Negative)/float64(thumbs.Thumbs))
	used := d.lists()
	want := slices.Concat(
		share(d.of(events.TypeSuggestionShown), byQueue, func(e *koresim.Entry) bool { return used[e] }),
		share(d.thumbs(), func(*koresim.Entry) string { return "thumbs" }, negative), // not by queue: the ledger knows queues that the rows do not name
	)
	if !slices.Equal(want.rounded(), got.rounded()) {
		return fmt.Errorf("kpi-stream says %q, want %q", got.rounded(), want.rounded())
	}
	return nil
}

func (f figure) numbers() [4]int { return [4]int{f.Lists, f.Adopted, f.Thumbs, f.Negative} }

// corrected are the windows and queues that have corrections.
func (p *published) corrected() (keys []string) {
	for key, revisions := range p.keys {
		if len(revisions) > 1 {
			keys = append(keys, key)
		}
	}
	return keys
}

// watermarks says of an endpoint that does not exist how far it is.
type watermarks struct {
	client *kgo.Client
	topic  string
}

// slowEndpoint is complete up to a time only, and feeds what interactions does. Its watermark is one of the poller's, changed.
func slowEndpoint(t *testing.T, p *platform, topic string, from, upTo time.Time) *watermarks {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.list()...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	w := &watermarks{client, topic}
	var value []byte
	eventually(t, waitLimit, func() error {
		client.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			if strings.HasSuffix(string(r.Key), "/"+string(events.Interactions)) {
				value = r.Value
			}
		})
		if value == nil {
			return errNotYet
		}
		return nil
	})
	registry, err := sr.NewClient(sr.URLs(p.registry))
	require.NoError(t, err)
	id, body, err := new(sr.ConfluentHeader).DecodeID(value)
	require.NoError(t, err)
	text, err := registry.SchemaByID(t.Context(), id)
	require.NoError(t, err)
	schema, err := avro.Parse(text.Schema)
	require.NoError(t, err)
	var fields map[string]any
	_, err = schema.Decode(body, &fields)
	require.NoError(t, err)
	fields["complete_from"], fields["complete_up_to"] = from, upTo
	changed, err := schema.AppendEncode(slices.Clone(value[:len(value)-len(body)]), fields)
	require.NoError(t, err)
	w.say(t, changed)
	return w
}

// say publishes a watermark; nil says that it has ended.
func (w *watermarks) say(t *testing.T, value []byte) {
	t.Helper()
	require.NoError(t, w.client.ProduceSync(t.Context(), &kgo.Record{Topic: w.topic, Key: []byte("slow/-/interactions"), Value: value}).FirstErr())
}
