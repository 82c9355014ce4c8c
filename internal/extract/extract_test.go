package extract_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

var update = flag.Bool("update", false, "write golden files")

// pages are the sample responses of the API's documentation; testdata/README.md says what was repaired in them.
var pages = map[string]events.Endpoint{
	"raw-data-v2":            events.Interactions,
	"raw-data-v2-earlier":    events.Interactions,
	"aaconversation":         events.Conversations,
	"interaction-details-v2": events.InteractionDetails,
	"call-details-v1":        events.CallDetails,
}

const account, bot = "acc-1", "st-1"

func scope(endpoint events.Endpoint) extract.Scope {
	s := extract.Scope{Source: "test", AccountID: account, Endpoint: endpoint}
	if !endpoint.PerAccount() {
		s.BotID = bot
	}
	return s
}

func decode(t testing.TB, endpoint events.Endpoint, body string) *extract.Page {
	t.Helper()
	page, err := extract.Decode(scope(endpoint), []byte(body))
	require.NoError(t, err)
	return page
}

func readPage(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	require.NoError(t, err)
	return string(body)
}

// TestPages decodes the documentation's sample responses. The golden files were reviewed by eye: every value of a sample is in
// them, or in testdata/fields.txt with the reason why not.
func TestPages(t *testing.T) {
	for name, endpoint := range pages {
		t.Run(name, func(t *testing.T) {
			page := decode(t, endpoint, readPage(t, name))
			require.Empty(t, page.Dead)
			require.Empty(t, page.Drift)
			golden(t, name, render(t, page))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".json")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// observation is how golden files show one.
type observation struct {
	Type       events.Type  `json:"type"`
	Anchor     string       `json:"anchor"`
	Shared     string       `json:"shared_within,omitempty"`
	Merged     bool         `json:"merged,omitempty"`
	Home       string       `json:"home,omitempty"`
	Parent     string       `json:"parent,omitempty"`
	Named      string       `json:"named,omitempty"`
	Rank       int64        `json:"rank,omitempty"`
	Supersedes string       `json:"supersedes,omitempty"`
	Event      events.Event `json:"event"`
}

func render(t *testing.T, page *extract.Page) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	for _, row := range page.Rows {
		observations := row.Observations
		row.Observations, row.Unsaid = nil, nil
		require.NoError(t, enc.Encode(row))
		for _, s := range observations {
			g := observation{Type: s.Event.EventType(), Anchor: s.Anchor.Format("2006-01-02T15:04:05.000Z07:00"), Merged: s.Merged, Home: s.Home, Parent: s.Parent, Named: s.Named, Rank: s.Rank, Supersedes: s.Supersedes, Event: s.Event}
			if s.Shared {
				g.Shared = s.Slack.String()
				if s.Slack == events.Anywhere {
					g.Shared = "anywhere"
				}
			}
			require.NoError(t, enc.Encode(g))
		}
	}
	row := *page
	row.Rows = nil
	require.NoError(t, enc.Encode(row))
	return out.Bytes()
}
