package koresim_test

import (
	"testing"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
	"agentassist-poller/internal/koresim"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 1})
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the route": func(e events.Endpoint) error {
			c.send(c.request(t, e, nil, nil))
			return eventstest.Want(c.s.Stats().Requests[e] == 1, "the server finds no endpoint at its path, or another one")
		},
		"the lag in profiles": func(e events.Endpoint) error {
			for _, p := range koresim.Profiles() {
				if _, ok := p.Latency[e]; !ok {
					return eventstest.Want(false, "profile "+p.Name)
				}
			}
			return nil
		},
	})
}

func TestEveryTypeIsKnown(t *testing.T) {
	eventstest.Types(t, map[string]func(typ events.Type) error{
		"the identity": func(typ events.Type) error {
			all := koresim.Fields{}
			for _, name := range []string{"segment_id", "execution_start_time", "session_id", "coaching_id", "run_id", "request_id", "summary_id", "message_id", "given_by"} {
				all[name] = name
			}
			return eventstest.Want(koresim.KeyOf(typ, all) != "", "the ledger has no key for it")
		},
	})
}
