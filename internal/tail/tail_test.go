package tail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/tail"
)

var noon = time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC)

func pointer[T any](v T) *T { return &v }

// publish starts a broker with two feedbacks a minute apart and a search, and returns how to read it.
func publish(t *testing.T) tail.Options {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "aa.feedback", "aa.search"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	defer client.Close()
	header := func(at time.Time, revision int64, conversation, agent string) events.Header {
		return events.Header{
			EventID: "1", EntityID: "2", Revision: revision, EventTime: at, ObservedTime: at, ChangedBefore: at, Source: "eu",
			ConversationID: &conversation, Agent: &events.Agent{AgentID: pointer("a-" + agent), Name: &agent},
		}
	}
	for _, e := range []events.Event{
		&events.Feedback{Header: header(noon, 1, "c-1", "Jo"), Sentiment: "NEGATIVE", GivenBy: "AGENT", CommentText: pointer("too\nlong\x1b[2J")},
		&events.Feedback{Header: header(noon.Add(time.Minute), 2, "c-2", "Ann"), Sentiment: "POSITIVE", GivenBy: "AGENT"},
		&events.Search{Header: header(noon, 1, "c-1", "Jo"), SearchPhrase: pointer("lost card")},
	} {
		print := events.Fingerprint(e.EventType())
		value, err := events.AppendAvro(append([]byte{0xC3, 0x01}, print[:]...), e)
		require.NoError(t, err)
		record := &kgo.Record{Topic: "aa." + string(e.EventType()), Value: value, Timestamp: e.Head().EventTime}
		require.NoError(t, client.ProduceSync(t.Context(), record).FirstErr())
	}
	o := tail.Options{Kafka: kafka.DefaultConfig(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	o.Kafka.Brokers, o.Kafka.TopicPrefix = cluster.ListenAddrs(), "aa"
	return o
}

func TestRun(t *testing.T) {
	const (
		negative = `2026-06-07T12:00:00Z feedback           NEGATIVE by AGENT "too long [2J" Jo c-1`
		positive = `2026-06-07T12:01:00Z feedback           revision 2 POSITIVE by AGENT Ann c-2`
		search   = `2026-06-07T12:00:00Z search             "lost card" Jo c-1`
	)
	base := publish(t)
	for name, tt := range map[string]struct {
		change func(*tail.Options)
		want   []string
	}{
		"all that exist":  {func(o *tail.Options) { o.Topics = nil }, []string{negative, positive, search}},
		"one topic":       {func(o *tail.Options) {}, []string{negative, positive}},
		"two topics":      {func(o *tail.Options) { o.Topics = append(o.Topics, "search") }, []string{negative, positive, search}},
		"since":           {func(o *tail.Options) { o.Since = noon.Add(time.Second) }, []string{positive}},
		"since the end":   {func(o *tail.Options) { o.Since = noon.Add(time.Hour) }, nil},
		"count":           {func(o *tail.Options) { o.Count = 1 }, []string{negative}},
		"conversation":    {func(o *tail.Options) { o.Filter.Conversation = "c-2" }, []string{positive}},
		"agent's id":      {func(o *tail.Options) { o.Filter.Agent = "A-jo" }, []string{negative}},
		"agent's name":    {func(o *tail.Options) { o.Filter.Agent = "an" }, []string{positive}},
		"sentiment":       {func(o *tail.Options) { o.Filter.Sentiment = "negative" }, []string{negative}},
		"another account": {func(o *tail.Options) { o.Filter.Source = "us" }, nil},
		"narrow":          {func(o *tail.Options) { o.Width, o.Count = 30, 1 }, []string{"2026-06-07T12:00:00Z feedback…"}},
		"coloured":        {func(o *tail.Options) { o.Color, o.Count = true, 1 }, []string{"\x1b[31m" + negative + "\x1b[0m"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := base
			o.Topics = []string{"feedback"}
			tt.change(&o)
			var out bytes.Buffer
			require.NoError(t, tail.Run(t.Context(), &out, o))
			require.ElementsMatch(t, tt.want, strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }))
		})
	}
}

func TestRunJSON(t *testing.T) {
	o := publish(t)
	o.Topics, o.JSON = []string{"search"}, true
	var out bytes.Buffer
	require.NoError(t, tail.Run(t.Context(), &out, o))
	var got struct {
		Topic             string
		Partition, Offset int
		Value             map[string]any
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, "aa.search", got.Topic)
	require.Equal(t, "lost card", got.Value["search_phrase"])
	require.Equal(t, "2026-06-07T12:00:00Z", got.Value["event_time"])
}

// Follow shows what is there, and what comes, until it is stopped.
func TestRunFollows(t *testing.T) {
	o := publish(t)
	o.Topics, o.Follow = []string{"feedback", "message"}, true // there is no topic of messages
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- tail.Run(ctx, write, o) }()
	line := make([]byte, 1<<10)
	for range 2 {
		n, err := read.Read(line)
		require.NoError(t, err)
		require.Contains(t, string(line[:n]), "feedback")
	}
	cancel()
	require.NoError(t, <-done)
}

func TestRunSaysThatNoBrokerAnswers(t *testing.T) {
	o := tail.Options{Kafka: kafka.DefaultConfig(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	o.Kafka.Brokers = []string{"127.0.0.1:1"}
	require.ErrorContains(t, tail.Run(t.Context(), io.Discard, o), "reach Kafka at 127.0.0.1:1")
}

func TestValidate(t *testing.T) {
	require.NoError(t, (&tail.Options{Topics: tail.Topics()}).Validate())
	require.ErrorContains(t, (&tail.Options{Topics: []string{"feedbak"}}).Validate(), `there is no topic "feedbak"; want one of`)
}
