package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
)

// optionsOf are what comes of an account with more settings.
func optionsOf(t *testing.T, more string) poll.Options {
	t.Helper()
	cfg, _, err := Parse(LoadOptions{Path: "test.yaml"}, []byte(`
accounts:
  - {name: a, account_id: a1, auth: {client_id: cs-1, client_secret: x}, bots: [{name: b, bot_id: st-1}]`+more+`}
kafka: {brokers: ["localhost:9092"]}
`))
	require.NoError(t, err)
	return accountOptions(cfg, &cfg.Accounts[0])
}

// What is configured is what is used: no lateness at all is not what observation says.
func TestAllowedLateness(t *testing.T) {
	require.Equal(t, poll.Lateness{Auto: true}, optionsOf(t, "").Lateness)
	require.Equal(t, poll.Lateness{Auto: true}, optionsOf(t, ", allowed_lateness: auto").Lateness)
	require.Equal(t, poll.Lateness{}, optionsOf(t, ", allowed_lateness: 0s").Lateness)
	require.Equal(t, poll.Lateness{Max: 10 * time.Minute}, optionsOf(t, ", allowed_lateness: 10m").Lateness)
}

// Sweeps that somebody configures hold for conversations too, which are read by the day.
func TestSweepsOfConversations(t *testing.T) {
	of := func(sweeps string) []plan.Tier { return optionsOf(t, sweeps).Policy.ConversationTiers }
	require.Equal(t, plan.DefaultPolicy().ConversationTiers, of(""))
	require.Equal(t, []plan.Tier{{Within: 9 * day, Every: 10 * time.Second}},
		of(", sweeps: [{within: 15m, every: 2s}, {within: 9d, every: 10s}]"))
	require.Equal(t, []plan.Tier{{Within: day, Every: time.Minute}}, of(", sweeps: [{within: 1h, every: 1m}]"))
	require.Empty(t, of(", sweeps: []"))
}

// Sweeps follow edits unless somebody configures them.
func TestSweepsFollowEdits(t *testing.T) {
	require.True(t, optionsOf(t, "").Policy.Adapt)
	require.False(t, optionsOf(t, ", sweeps: [{within: 1d, every: 1h}]").Policy.Adapt)
	require.Equal(t, map[events.Type]float64{events.TypeFeedback: 5, events.TypeConversation: 2}, optionsOf(t, "").EditWeights)
	require.Equal(t, map[events.Type]float64{events.TypeFeedback: 9, events.TypeConversation: 2, events.TypeMessage: 0},
		optionsOf(t, ", edit_weights: {feedback: 9, message: 0}").EditWeights)
	_, _, err := Parse(LoadOptions{Path: "test.yaml"}, []byte(`
accounts:
  - {name: a, account_id: a1, auth: {client_id: cs-1, client_secret: x}, bots: [{name: b, bot_id: st-1}], edit_weights: {feedbac: 1, search: -1}}
kafka: {brokers: ["localhost:9092"]}
`))
	require.ErrorContains(t, err, "edit_weights.feedbac: is no event type")
	require.ErrorContains(t, err, "edit_weights.search: -1; want a number from 0 to 100")
}
