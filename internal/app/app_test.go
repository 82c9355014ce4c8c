package app

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// A start that Kafka would not keep is refused, but only before anything was read: else no poller could be restarted once
// its start is older than retention.
func TestStartCountsOnlyOnce(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	config := kafka.DefaultConfig()
	config.Brokers = cluster.ListenAddrs()
	topics, err := kafka.EnsureTopics(t.Context(), kafka.Options{Config: config, Types: events.Types(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)

	now := time.Now()
	account := func(start time.Time) *Account { return &Account{AccountID: "a1", Start: Start{Time: start}} }
	require.NoError(t, checkStart(account(now.AddDate(0, 0, -20)), false, topics, now))
	refused := &kafka.RetentionError{}
	require.ErrorAs(t, checkStart(account(now.AddDate(0, 0, -40)), false, topics, now), &refused)
	require.NoError(t, checkStart(account(now.AddDate(0, 0, -40)), true, topics, now))
}
