package tail

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// A line speaks of fields that its schema has, and there is one for every topic.
func TestPartsAreFields(t *testing.T) {
	for _, topic := range Topics() {
		topic = strings.TrimSuffix(topic, "-negative")
		require.NotEmpty(t, parts[topic], topic)
		var schema struct {
			Fields []struct {
				Name string
				Type json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal([]byte(events.Schema(events.Type(topic))), &schema))
		types := map[string]string{}
		for _, f := range schema.Fields {
			types[f.Name] = string(f.Type)
		}
		for _, p := range parts[topic] {
			require.Contains(t, types, p.field, topic)
			require.Equal(t, strings.Contains(types[p.field], `"boolean"`), !strings.Contains(p.format, "%"), "%s.%s: a boolean has no verb, all else has", topic, p.field)
		}
	}
}

// On a terminal the day is left out where it is today's, and a narrow terminal has no column of topics: the content begins early.
func TestShortLine(t *testing.T) {
	now := time.Date(2026, 6, 7, 0, 30, 0, 0, time.FixedZone("", -3600)) // 01:30 UTC
	segment := map[string]any{"event_time": now.Add(-time.Minute), "segment_end_time": now, "conversation_id": "c-1"}
	require.Equal(t, "01:29:00Z segment            ended 01:30:00Z c-1", ShortLine("segment", segment, now, 80))
	require.Equal(t, "01:29:00Z segment ended 01:30:00Z c-1", ShortLine("segment", segment, now, 40))
	require.Equal(t, "2026-06-07T01:29:00Z segment ended 2026-06-07T01:30:00Z c-1", ShortLine("segment", segment, now.Add(24*time.Hour), 40))
	require.Equal(t, "2026-06-07T01:29:00Z segment            ended 2026-06-07T01:30:00Z c-1", Line("segment", segment))
}
