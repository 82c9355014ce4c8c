package extract_test

import (
	"testing"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
	"agentassist-poller/internal/extract"
)

func TestEveryEndpointIsKnown(t *testing.T) {
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"the reader of its records": func(e events.Endpoint) error {
			page, err := extract.Decode(extract.Scope{AccountID: account, BotID: bot, Endpoint: e}, []byte(`{"data":[{}]}`))
			if err != nil {
				return err
			}
			return eventstest.Want(len(page.Rows)+len(page.Dead) == 1, "the record is lost")
		},
	})
}
