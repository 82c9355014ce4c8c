package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/poll/plan"
)

// Sweeps that somebody configures hold for conversations too, which are read by the day.
func TestSweepsOfConversations(t *testing.T) {
	of := func(sweeps string) []plan.Tier {
		cfg, _, err := Parse(LoadOptions{Path: "test.yaml"}, []byte(`
accounts:
  - {name: a, account_id: a1, auth: {client_id: cs-1, client_secret: x}, bots: [{name: b, bot_id: st-1}]`+sweeps+`}
kafka: {brokers: ["localhost:9092"]}
`))
		require.NoError(t, err)
		return accountOptions(cfg, &cfg.Accounts[0]).Policy.ConversationTiers
	}
	require.Equal(t, plan.DefaultPolicy().ConversationTiers, of(""))
	require.Equal(t, []plan.Tier{{Within: 9 * day, Every: 10 * time.Second}},
		of(", sweeps: [{within: 15m, every: 2s}, {within: 9d, every: 10s}]"))
	require.Equal(t, []plan.Tier{{Within: day, Every: time.Minute}}, of(", sweeps: [{within: 1h, every: 1m}]"))
	require.Empty(t, of(", sweeps: []"))
}
