package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// A problem is counted while it lasts, and gone when it is over.
func TestProblems(t *testing.T) {
	var p problems
	log := slog.New(slog.DiscardHandler)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	a, b := fmt.Errorf("a"), fmt.Errorf("b")
	require.Empty(t, p.list())
	p.set(log, "kafka", []error{a}, now)
	p.set(log, "group", []error{b}, now)
	p.set(log, "kafka", []error{b, a}, now.Add(time.Minute))
	require.Equal(t, []status.Error{
		{Text: "b", About: "Kafka", Class: status.ClassRetry, Since: now, Count: 1},
		{Text: "b", About: "Kafka", Class: status.ClassRetry, Since: now.Add(time.Minute), Count: 1},
		{Text: "a", About: "Kafka", Class: status.ClassRetry, Since: now, Count: 2},
	}, p.list())
	p.set(log, "kafka", nil, now)
	p.set(log, "group", nil, now)
	require.Empty(t, p.list())
}

// answers is an API that answers every request alike.
type answers string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	header := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}
	return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(strings.NewReader(string(a))), ContentLength: int64(len(a)), Request: r}, nil
}

// Partitions that somebody adds are in the status within a minute, in red, and the poller goes on.
func TestChangedTopicIsRedWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster, err := kfake.NewCluster(kfake.Ports(9092), kfake.ListenFn(network.Listen))
		require.NoError(t, err)
		defer cluster.Close()
		cfg, _, err := Parse(LoadOptions{}, []byte(fmt.Sprintf(`
accounts:
  - {name: acme, base_url: "http://api.test", account_id: a1, auth: {client_id: cs-1, client_secret: s}, bots: [{bot_id: st-1}],
     endpoints: {conversations: {enabled: false}, interaction-details: {enabled: false}}}
kafka: {brokers: [%q], topics: {partitions: 3}, group: ""}
checkpoint: {path: %q}
server: {listen: ""}
`, cluster.ListenAddrs()[0], filepath.Join(t.TempDir(), "poller.db"))))
		require.NoError(t, err)
		dial := kgo.Dialer(network.DialContext)
		a, err := New(cfg, Options{
			Log: slog.New(slog.DiscardHandler), KafkaClient: []kgo.Opt{dial}, Transport: answers(`{"numResults":0,"hasMore":false,"data":[]}`),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(time.Minute)
		require.NoError(t, a.ready())
		require.Empty(t, a.Status().Problems)
		require.Equal(t, status.OK, a.Status().State)

		client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), dial)
		require.NoError(t, err)
		_, err = kadm.NewClient(client).UpdatePartitions(t.Context(), 6, "agentassist.segment")
		require.NoError(t, err)
		client.Close()
		time.Sleep(time.Minute)
		s := a.Status()
		require.Equal(t, status.Failing, s.State)
		require.Equal(t, status.OK, s.Delivery.State)
		require.Len(t, s.Problems, 1)
		require.Contains(t, s.Problems[0].Text, "6 in agentassist.segment; keys are placed over the first 3 of each, as before")
		require.Equal(t, status.ClassPermanent, s.Problems[0].Class)
		require.NoError(t, a.ready(), "it reads and delivers")
		cancel()
		require.NoError(t, <-done)
	})
}

// A topic that takes less than before, while the poller runs, is in the status with what it takes and what is wanted. Where the poller
// can go on without what is refused, it does. Where it cannot, the delivery is red, counts, says what to set, and goes on once that is set.
func TestTopicTakesLess(t *testing.T) {
	testsize.Slow(t)
	for _, c := range []struct {
		topic   string
		bytes   int
		refused string // of what the delivery says; empty: it goes on
		problem string
	}{
		{"agentassist.watermark", 300, "topic agentassist.watermark refuses record \"retail/", "want at least 786944"},
		{"agentassist.checkpoint", 300, "topic agentassist.checkpoint refuses record \"", "want at least 786944"},
		{"agentassist.segment", 20_000, "", "want at least 1000512 as at start: larger events become dead letters"},
	} {
		t.Run(c.topic, func(t *testing.T) {
			inBubble(t, koresim.Config{}, func(s *stage) {
				a, _ := s.run("one")
				time.Sleep(time.Minute)
				require.Equal(s, status.OK, a.Status().State, a.Status())
				s.takes(c.topic, c.bytes)
				lowered := time.Now()
				time.Sleep(3 * time.Minute)
				now := a.Status()
				require.Equal(s, status.Failing, now.State)
				require.Len(s, now.Problems, 1)
				require.Contains(s, now.Problems[0].Text, fmt.Sprintf("topic %s has max.message.bytes=%d; %s", c.topic, c.bytes, c.problem))
				if c.refused == "" {
					require.Equal(s, status.OK, now.Delivery.State)
				} else {
					require.Equal(s, status.Failing, now.Delivery.State)
					e := now.Delivery.LastError
					require.Contains(s, e.Text, c.refused)
					require.Regexp(s, fmt.Sprintf(`of \d+ bytes, .*max.message.bytes of the topic is %d`, c.bytes), e.Text)
					require.Equal(s, fmt.Sprintf("set max.message.bytes of topic %s to 786944 or more", c.topic), e.Hint)
					require.Equal(s, status.ClassPermanent, e.Class)
					require.Greater(s, e.Count, 3)
					require.WithinDuration(s, lowered, e.Since, time.Minute)
				}
				s.takes(c.topic, 1<<20)
				time.Sleep(2 * time.Minute)
				now = a.Status()
				require.Equal(s, status.OK, now.State)
				require.Nil(s, now.Delivery.LastError)
				require.True(s, now.Delivery.LastAck.After(lowered.Add(3*time.Minute)))
			})
		})
	}
}

// takes sets how large the batches are that a topic takes.
func (s *stage) takes(topic string, bytes int) {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.Dialer(s.network.DialContext))
	require.NoError(s, err)
	defer client.Close()
	value := strconv.Itoa(bytes)
	_, err = kadm.NewClient(client).AlterTopicConfigs(s.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}}, topic)
	require.NoError(s, err)
}
