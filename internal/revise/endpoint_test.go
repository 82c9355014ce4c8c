package revise

import (
	"testing"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the codes of stored observations": func(e events.Endpoint) error {
			s, err := decodeState((&state{revision: 1, recipe: 1, observations: []observation{{place: place{endpoint: e}, recipe: 1}}}).encode())
			if err != nil {
				return err
			}
			return eventstest.Want(s.observations[0].endpoint == e, "another comes back")
		},
	})
}
