package tail

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// A line speaks of fields that its schema has, and there is one for every topic.
func TestPartsAreFields(t *testing.T) {
	for _, topic := range Topics() {
		topic = strings.TrimSuffix(topic, "-negative")
		require.NotEmpty(t, parts[topic], topic)
		var schema struct{ Fields []struct{ Name string } }
		require.NoError(t, json.Unmarshal([]byte(events.Schema(events.Type(topic))), &schema))
		var names []string
		for _, f := range schema.Fields {
			names = append(names, f.Name)
		}
		for _, p := range parts[topic] {
			require.Contains(t, names, p.field, topic)
		}
	}
}
