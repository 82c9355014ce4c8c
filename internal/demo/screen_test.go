package demo

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// The screen counts what consumers see, and computes the figures that a stream processor would.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	names := kafka.NewNames("agentassist")
	sc := newScreen(&demo{out: app.Output{Out: &out}, names: names})
	now := time.Now()
	for _, r := range []struct {
		topic  string
		fields map[string]any
	}{
		{names.Event(events.TypeSuggestionShown), map[string]any{"entity_id": "shown-1"}},
		{names.Event(events.TypeSuggestionShown), map[string]any{"entity_id": "shown-2"}},
		{names.Event(events.TypeSuggestionUsed), map[string]any{"entity_id": "used-1", "parent_entity_id": "shown-1"}},
		{names.Event(events.TypeCoachingTriggered), map[string]any{"entity_id": "nudge-1", "is_adhered": true}},
		{names.Event(events.TypeAgentEngagement), map[string]any{"entity_id": "served-1", "interaction_duration": int64(90)}},
		{names.Negative(), map[string]any{"given_by": "CUSTOMER", "sentiment": events.SentimentNegative, "feedback_type": "CSAT", "comment": "slow"}},
	} {
		sc.record(r.topic, r.fields, now)
	}
	sc.line(&status.Status{State: status.OK})
	require.Regexp(t, `^ +0s +5 events .* adoption 50%  adherence 100%  handle time 90s  1 alerts  ok\n$`, out.String())
	require.Equal(t, "a customer on CSAT: slow", sc.alerts[0].text)
}
