package app

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// What an audit could not tell is said before a request is spent on it.
func TestAuditIsRefused(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", newBroker(t), "")
	audit := func(ago time.Duration) error {
		var out, errs bytes.Buffer
		err := Audit(t.Context(), cfg, Output{Out: &out, Err: &errs}, AuditOptions{From: time.Now().Add(-ago).UTC().Format(time.RFC3339)})
		require.Empty(t, errs.String())
		return err
	}
	require.ErrorContains(t, audit(time.Hour), "audit: topic agentassist.search does not exist; check kafka.topic_prefix, or see poller topics plan")
	cfg.Kafka.Topics.Retention = 2 * time.Hour
	_, err := kafka.EnsureTopics(t.Context(), kafka.Options{Config: cfg.Kafka, Types: cfg.Events.Types(), Log: quiet.Log})
	require.NoError(t, err)
	require.NotContains(t, cfg.Events.Types(), events.TypeMessage, "its topic does not exist, and is not missed")
	err = audit(3 * time.Hour)
	require.ErrorContains(t, err, "topic agentassist.search keeps records for 2h0m0s: earlier events are gone from it, and would all be missing; audit from ")
	require.Equal(t, ExitUsage, ExitCode(err))
}
