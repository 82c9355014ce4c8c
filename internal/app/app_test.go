package app

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// A start that Kafka would not keep is refused, but only before anything was read: else no poller could be restarted once
// its start is older than retention.
func TestStartCountsOnlyOnce(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	topics, err := kafka.EnsureTopics(t.Context(), client, kafka.DefaultConfig(), events.Types())
	require.NoError(t, err)
	store, err := checkpoint.Open(filepath.Join(t.TempDir(), "poller.db"), checkpoint.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })

	now := time.Now()
	a := &App{store: store}
	account := func(start time.Time) *Account { return &Account{AccountID: "a1", Start: Start{Time: start}} }
	require.NoError(t, a.checkStart(account(now.AddDate(0, 0, -20)), topics, now))
	refused := &kafka.RetentionError{}
	require.ErrorAs(t, a.checkStart(account(now.AddDate(0, 0, -40)), topics, now), &refused)

	require.NoError(t, store.Commit(checkpoint.Changes{
		Account: "a1", Seen: now, Progress: map[string][]byte{"interactions/st-1": {1}},
	}))
	require.NoError(t, a.checkStart(account(now.AddDate(0, 0, -40)), topics, now))
}
