package kore_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
	"agentassist-poller/internal/kore"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	asked := map[string]events.Endpoint{}
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the request": func(e events.Endpoint) error {
			c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				if other, ok := asked[r.URL.Path]; ok && other != e {
					return nil, fmt.Errorf("it is that of %s", other)
				}
				asked[r.URL.Path] = e
				return reply(200, emptyPage), nil
			})))
			q := query()
			q.Endpoint = e
			if e.Known() {
				q.Offset, q.Limit = e.Spec().Takes.FirstOffset, e.Spec().Takes.Limit
			}
			_, err := c.Fetch(t.Context(), q)
			return err
		},
		"the timeout": func(e events.Endpoint) error {
			cfg := config()
			cfg.Timeouts = map[events.Endpoint]time.Duration{e: time.Minute}
			return eventstest.Want(len(cfg.Validate()) == 0, "it cannot be configured")
		},
	})
	require.Len(t, asked, events.EndpointCount)
}
