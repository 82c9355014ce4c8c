package app

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// The description of the topics has what is configured of them, and says nothing of where things are and who may read them.
func TestTopicsAreDescribed(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", "broker.internal.example:9092", "127.0.0.1:0")
	cfg.Kafka.TopicPrefix, cfg.Kafka.Latest = "retail.aa", []string{"feedback"}
	cfg.Kafka.SASL.Username = "kafka-user"
	cfg.SchemaRegistry.URL = (&url.URL{Scheme: "http", Host: "registry.internal.example", User: url.User("registry-user")}).String()
	a, err := New(cfg, quiet)
	require.NoError(t, err)
	defer a.Close()
	answer := httptest.NewRecorder()
	a.http.server.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/asyncapi.yaml", nil))
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, "application/yaml", answer.Header().Get("Content-Type"))
	text := answer.Body.String()
	for _, address := range []string{"search", "feedback-negative", "feedback-latest", "watermark", "checkpoint"} {
		require.Contains(t, text, "address: retail.aa."+address+"\n")
	}
	for _, off := range []string{"message", "search-latest"} {
		require.NotContains(t, text, "address: retail.aa."+off+"\n")
	}
	require.Contains(t, text, "schemaIdLocation: payload")
	for _, hidden := range []string{"internal.example", "-user", "127.0.0.1", "cs-1", "st-1"} {
		require.NotContains(t, text, hidden)
	}
}

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
