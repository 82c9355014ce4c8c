package kore_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/status"
)

// What the API refuses of the selected fields, or of filters, is left out, and the rest is asked for.
func TestLeavesOutWhatIsRefused(t *testing.T) {
	const documented = "[skills, customerinfo, userleveltags, sessionleveltags]"
	for name, c := range map[string]struct {
		query   kore.Query
		refuses []string
		says    string // one verb for what is refused
		sent    []string
		left    []string
		tries   int
	}{
		"names what it refuses": {
			refuses: []string{"snoozeinfo"}, says: "selectedFields: %q is not allowed",
			sent: []string{"skills", "customerinfo", "userleveltags", "sessionleveltags", "campaigninfo"}, left: []string{"snoozeinfo"}, tries: 1,
		},
		"names what it accepts": {
			refuses: []string{"snoozeinfo", "campaigninfo"}, says: "selectedFields must be one of " + documented,
			sent: kore.DefaultFields(), left: []string{"campaigninfo", "snoozeinfo"}, tries: 2,
		},
		"names only the list": {
			refuses: []string{"campaigninfo"}, says: "invalid selectedFields",
			sent: kore.DefaultFields(), left: []string{"campaigninfo", "snoozeinfo"}, tries: 1,
		},
		"refuses all": {
			refuses: []string{"skills", "customerinfo"}, says: "selectedFields is not allowed",
			left: []string{"skills", "customerinfo", "userleveltags", "sessionleveltags", "campaigninfo", "snoozeinfo"}, tries: 2,
		},
		"filters": {
			query:   kore.Query{Endpoint: events.Interactions, BotID: "st-1", Limit: 1, Channels: []string{"chat"}, Agents: []string{"a-1"}},
			refuses: []string{"channels"}, says: "%q is not allowed", sent: []string{"agentIds"}, left: []string{"channels"}, tries: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := c.query
			if q.Endpoint == "" {
				q = kore.Query{Endpoint: events.InteractionDetails, IID: "st-1", Limit: 1}
			}
			q.From, q.To = query().From, query().To
			var sent []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body map[string]any
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				sent = nil
				if fields, ok := body["selectedFields"].([]any); ok {
					for _, f := range fields {
						sent = append(sent, f.(string))
					}
				} else {
					for _, name := range []string{"channels", "agentIds"} {
						if body[name] != nil {
							sent = append(sent, name)
						}
					}
				}
				for _, f := range c.refuses {
					if slices.Contains(sent, f) {
						text := c.says
						if slices.Contains([]byte(text), '%') {
							text = fmt.Sprintf(text, f)
						}
						w.WriteHeader(http.StatusBadRequest)
						fmt.Fprintf(w, `{"errors":[{"msg":%q,"code":400}]}`, text)
						return
					}
				}
				io.WriteString(w, emptyPage)
			}))
			defer server.Close()
			cfg := config()
			cfg.BaseURL = server.URL
			cfg.Fields = map[events.Endpoint][]string{events.InteractionDetails: append(kore.DefaultFields(), "campaigninfo", "snoozeinfo")}
			client := newClient(t, cfg)
			var left []string
			for range c.tries {
				_, err := client.Fetch(t.Context(), q)
				var failure *kore.Error
				require.ErrorAs(t, err, &failure)
				require.Equal(t, kore.ReasonOption, failure.Reason, err)
				require.Equal(t, status.ClassRetry, failure.Class)
				require.Contains(t, failure.Hint, "asked without")
				left = failure.LeftOut
			}
			_, err := client.Fetch(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, c.sent, sent)
			require.Equal(t, c.left, left)
		})
	}
}

// A refusal that names nothing of an option stays what it is.
func TestRefusalOfSomethingElse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"errors":[{"msg":"iId is required","code":400}]}`)
	}))
	defer server.Close()
	cfg := config()
	cfg.BaseURL = server.URL
	q := kore.Query{Endpoint: events.CallDetails, From: query().From, To: query().To, Limit: 1}
	_, err := newClient(t, cfg).Fetch(t.Context(), q)
	var failure *kore.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, kore.ReasonRejected, failure.Reason)
	require.Equal(t, status.ClassPermanent, failure.Class)
}
