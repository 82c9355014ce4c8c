package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkaread"
)

// latest switches compacted topics on: of types that have many revisions, and of one whose entities can be superseded.
const latest = "  latest: [feedback, conversation, segment]\n"

// checkLatest compares the compacted topics with the event topics: of each entity the last revision is left, or nothing if another entity
// superseded it. Nothing of aborted transactions is left.
func (c *consumer) checkLatest(t *testing.T, s *setup) {
	t.Helper()
	reader := kafkaread.NewReader(s.platform.decoder(t), kgo.SeedBrokers(s.platform.list()...))
	all := c.read(t)
	ended := 0
	for _, typ := range []events.Type{events.TypeFeedback, events.TypeConversation, events.TypeSegment} {
		want, published := map[string]string{}, 0
		for i := range all {
			if r := &all[i]; r.Topic == c.names.Event(typ) {
				published++
				want[r.Field("entity_id")] = r.Field("event_id")
				if r.Field("superseded_by") != "" {
					want[r.Field("entity_id")] = ""
				}
			}
		}
		records, err := reader.All(t.Context(), c.names.Latest(typ))
		require.NoError(t, err)
		require.Len(t, records, published, "%s: a record for each event", typ)
		have := map[string]string{}
		for i := range records {
			r := &records[i]
			have[r.Key] = r.Field("event_id")
			if r.Value == nil {
				ended++
				continue
			}
			require.Equal(t, r.Key, r.Field("entity_id"))
		}
		require.Equal(t, want, have, typ)
	}
	t.Logf("%d things were replaced by others", ended)
}
