package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/status"
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
		{Text: "b", Class: status.ClassRetry, Since: now, Count: 1},
		{Text: "b", Class: status.ClassRetry, Since: now.Add(time.Minute), Count: 1},
		{Text: "a", Class: status.ClassRetry, Since: now, Count: 2},
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
