package app_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	reference, err := os.ReadFile("../../docs/reference-config.yaml")
	require.NoError(t, err)
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the section of the configuration": func(e events.Endpoint) error {
			section := fmt.Sprintf("account_id: a-1\n    endpoints: {%s: {enabled: true, poll_interval: 77s}}", e)
			c, _, err := app.Parse(app.LoadOptions{}, []byte(strings.Replace(good, "account_id: 6798834e4e94062f75aaaaaa", section, 1)))
			if err != nil {
				return err
			}
			s := c.Accounts[0].Endpoints.Of(e)
			return eventstest.Want(s.Enabled && s.PollInterval.Seconds() == 77 && s.Timeout > 0, "another section is its own")
		},
		"the defaults": func(e events.Endpoint) error {
			c, _, err := app.Parse(app.LoadOptions{}, []byte(good))
			if err != nil {
				return err
			}
			return eventstest.Want(c.Accounts[0].Endpoints.Of(e).PollInterval > 0, "it has no poll interval")
		},
		"docs/reference-config.yaml": func(e events.Endpoint) error {
			return eventstest.Want(strings.Contains(string(reference), " "+string(e)+": {"), "it has no section")
		},
	})
}

func TestEveryTypeIsKnown(t *testing.T) {
	eventstest.Types(t, map[string]func(typ events.Type) error{
		"the switch in the configuration": func(typ events.Type) error {
			src := good
			if !typ.OnByDefault() {
				src += fmt.Sprintf("events: {%s: {enabled: true}}\n", typ)
			}
			c, _, err := app.Parse(app.LoadOptions{}, []byte(src))
			if err != nil {
				return err
			}
			return eventstest.Want(slices.Contains(c.Events.Types(), typ), "it cannot be switched on")
		},
	})
	c, _ := parse(t, good)
	require.NotContains(t, c.Events.Types(), events.TypeMessage)
}
