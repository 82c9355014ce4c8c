package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka/kafkaread"
)

// A version that was published and not recorded shows by its number, which comes again, or by a copy that is all there is of it.
func TestRenumber(t *testing.T) {
	record := func(topic, entity, event string, revision int64) kafkaread.Record {
		return kafkaread.Record{Topic: topic, Value: map[string]any{"entity_id": entity, "event_id": event, "revision": revision}}
	}
	records := []kafkaread.Record{
		record("x.feedback", "known", "a1", 1), record("x.feedback", "known", "a2", 2),
		record("x.feedback", "changed", "b1", 1), record("x.feedback", "changed", "b2", 1), record("x.feedback", "changed", "b3", 2),
		record("x.feedback", "halved", "c1", 1),
		record("x.feedback", "gap", "d1", 1), record("x.feedback", "gap", "d3", 3),
		record("x.feedback-negative", "known", "a2", 2), record("x.feedback-negative", "halved", "c0", 1),
	}
	require.Equal(t, map[string]bool{"b1": true, "c0": true}, renumber(records))
	var revisions []any
	for _, r := range append(records[2:5:5], records[6:8]...) {
		revisions = append(revisions, r.Value["revision"])
	}
	require.Equal(t, []any{int64(1), int64(2), int64(3), int64(1), int64(3)}, revisions, "a gap stays one")
}
