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
