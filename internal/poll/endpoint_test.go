package poll

import (
	"testing"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the pass": func(e events.Endpoint) error {
			u, err := newUnit(e, "st-1", time.Minute, &progress{Start: epoch})
			if err != nil {
				return err
			}
			u.zone, u.bots = &pass.Bounds{Known: true}, []string{"st-1"}
			for kind := range plan.KindCount {
				w := plan.Work{Kind: kind, From: epoch, To: epoch.Add(time.Hour), Refs: []plan.HotRef{{ID: "c-1", Start: epoch}}}
				q := u.begin(w, epoch.Add(time.Hour)).Query()
				if err := q.Check(); err != nil {
					return err
				}
				if q.Endpoint != e {
					return eventstest.Want(false, "it asks "+string(q.Endpoint))
				}
			}
			return nil
		},
	})
}
