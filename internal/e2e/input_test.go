package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

// Whatever is wrong with the API or the settings leads to one clear line that says what to change, and to a red status. Nothing that could
// not be read counts as read, and the other endpoints go on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	p := withoutRegistry(t)
	all := events.Endpoints()
	perBot := []events.Endpoint{events.Interactions, events.Conversations}
	tests := []struct {
		name   string
		sim    koresim.Config
		change func(yaml string, c *centre) string // of the configuration
		fault  koresim.Fault                       // of every answer of the endpoints that fail
		fails  []events.Endpoint
		hint   string
	}{
		{
			name: "wrong secret",
			change: func(yaml string, c *centre) string {
				return strings.Replace(yaml, c.account().ClientSecret, "wrong", 1)
			},
			fails: all, hint: "check auth.client_id and auth.client_secret",
		},
		{
			name: "wrong bot",
			change: func(yaml string, c *centre) string {
				return strings.Replace(yaml, c.account().Bots[0].ID, "st-wrong", 1)
			},
			fails: perBot, hint: "check bot_id and account_id",
		},
		{
			name:  "missing scope",
			sim:   koresim.Config{Unscoped: []string{koresim.ScopeSmartAssist}},
			fails: []events.Endpoint{events.InteractionDetails, events.CallDetails}, hint: `give the JWT app the API scope "SmartAssist Analytics"`,
		},
		{
			name:  "encrypted payload",
			fault: koresim.FaultEncrypted, fails: all[:1], hint: "Enforce Request and Response Payload Encryption",
		},
		{
			name:  "HTML from a proxy",
			fault: koresim.FaultHTML, fails: all[1:2], hint: "check base_url, and any proxy",
		},
		{
			name:  "JSON of another shape",
			fault: koresim.FaultWrongJSON, fails: all[:1], hint: "check that base_url is the address of the API",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now().UTC().Truncate(time.Second)
			test.sim.Seed, test.sim.Start, test.sim.Bots = 31, now.Add(-10*time.Minute), 2
			test.sim.Pace, test.sim.SegmentsPerDay = koresim.Burst, 20_000
			c := serve(t, "centre", test.sim)
			for _, e := range test.fails {
				for range 100 {
					if test.fault != "" {
						c.InjectOnce(test.fault, e)
					}
				}
			}
			yaml := c.yaml(quickSettings("1h"))
			if test.change != nil {
				yaml = test.change(yaml, c)
			}
			s := newSetup(t, p, yaml)
			s.prefix = strings.ReplaceAll(s.prefix, " ", "-")
			run := s.startInProcess(t)

			failing := func(e status.Endpoint) bool {
				for _, name := range test.fails {
					if string(name) == e.Endpoint && (test.name != "wrong bot" || e.BotID == "st-wrong") {
						return true
					}
				}
				return false
			}
			eventually(t, waitLimit, func() error {
				st := run.status(t)
				if !st.State.Red() {
					return fmt.Errorf("the state is %s", st.State)
				}
				for _, e := range st.Accounts[0].Endpoints {
					switch {
					case failing(e):
						if !e.State.Red() || e.LastError == nil || !strings.Contains(e.LastError.Hint, test.hint) {
							return fmt.Errorf("%s is %s: %+v", e.Endpoint, e.State, e.LastError)
						}
						if e.ReadThrough != nil || e.CompleteUpTo != nil || e.Rows > 0 {
							return fmt.Errorf("%s advances: %+v", e.Endpoint, e)
						}
					case e.State != status.OK || e.ReadThrough == nil || e.Rows == 0:
						return fmt.Errorf("%s should go on, and is %s with %d rows: %+v", e.Endpoint, e.State, e.Rows, e.LastError)
					}
				}
				return nil
			})
			said := map[string]int{}
			for _, e := range run.warnings() {
				switch {
				case !strings.Contains(e.Text, `"read failed"`): // the world contradicts itself, whatever fails
				case test.name == "wrong bot" && events.Endpoint(e.Endpoint).PerAccount():
					// It named the wrong bot first, was refused, and goes on in the name of another.
					require.Contains(t, e.Text, "st-wrong")
				default:
					require.Contains(t, e.Text, strings.ReplaceAll(test.hint, `"`, `\"`), "the line says what to change")
					said[e.Endpoint]++
				}
				require.NotContains(t, e.Text, c.account().ClientSecret)
			}
			for _, e := range test.fails {
				units := 1
				if !e.PerAccount() && test.name != "wrong bot" {
					units = 2 // bots
				}
				require.Equal(t, units, said[string(e)], "one line for %s of each bot: %v", e, said)
			}
			run.stop(t)
		})
	}
}
