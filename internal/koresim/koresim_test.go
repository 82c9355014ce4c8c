package koresim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

var start = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// client asks a simulator as a careful client would. Its zero fields are filled in by newClient.
type client struct {
	t       testing.TB
	s       *koresim.Server
	account *koresim.Account
	now     time.Time
	tokens  int
}

// newClient returns a simulator whose clock stands where the client says.
func newClient(t *testing.T, cfg koresim.Config) *client {
	t.Helper()
	c := &client{t: t, now: start}
	if cfg.Start.IsZero() {
		cfg.Start = start
	}
	if cfg.RequestsPerMinute == 0 {
		cfg.RequestsPerMinute = -1
	}
	if cfg.Clock == nil {
		cfg.Clock = func() time.Time { return c.now }
	}
	s, err := koresim.New(cfg)
	require.NoError(t, err)
	c.s, c.account = s, s.Accounts()[0]
	return c
}

// profiles are the ways of the API to play: all of them, or with -short two that differ.
func profiles() []koresim.Profile {
	if testing.Short() {
		return koresim.Profiles()[:2]
	}
	return koresim.Profiles()
}

func (c *client) token() string {
	c.tokens++
	return koresim.Token(c.account.ClientSecret, map[string]any{
		"appId": c.account.ClientID, "jti": fmt.Sprint("t", c.tokens), "exp": c.s.Now().Add(time.Minute).Unix(),
	})
}

func (c *client) request(t testing.TB, e events.Endpoint, query url.Values, body any) *http.Request {
	method, content := http.MethodPost, []byte(nil)
	if e == events.Interactions && body == nil {
		method = http.MethodGet
	} else {
		content, _ = json.Marshal(body)
	}
	target := "http://kore.invalid" + c.account.Path(e, c.account.Bots[0].ID) + "?" + query.Encode()
	r, err := http.NewRequestWithContext(t.Context(), method, target, bytes.NewReader(content))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("auth", c.token())
	r.Header.Set("accountId", c.account.ID)
	r.Header.Set("iId", c.account.Bots[0].ID)
	return r
}

func (c *client) send(r *http.Request) (int, http.Header, []byte) {
	c.t.Helper()
	resp, err := c.s.Transport().RoundTrip(r)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp.StatusCode, resp.Header, b
}

type page struct {
	NumResults               int
	HasMore                  *bool
	Data, Results            []map[string]any
	Skip, Limit              int
	TotalPages, TotalResults any
}

func (c *client) get(r *http.Request) page {
	c.t.Helper()
	status, _, b := c.send(r)
	require.Equal(c.t, http.StatusOK, status, string(b))
	var p page
	require.NoError(c.t, json.Unmarshal(b, &p), string(b))
	return p
}

const seconds = "2006-01-02T15:04:05"

func window(from, to time.Time, offset, limit int) url.Values {
	return url.Values{
		"from": {from.Format(seconds)}, "to": {to.Format(seconds)}, "includeAgenticData": {"true"},
		"offset": {fmt.Sprint(offset)}, "limit": {fmt.Sprint(limit)},
	}
}

func (c *client) requestTo(t testing.TB, bot int, query url.Values) *http.Request {
	r := c.request(t, events.Interactions, query, nil)
	r.URL.Path = c.account.Path(events.Interactions, c.account.Bots[bot].ID)
	return r
}

func (c *client) interactions(bot int, from, to time.Time, offset, limit int) page {
	c.t.Helper()
	return c.get(c.requestTo(c.t, bot, window(from, to, offset, limit)))
}

func (c *client) conversations(bot int, from, to time.Time, number, limit int, more map[string]any) page {
	c.t.Helper()
	body := map[string]any{
		"from": from.Format(time.DateOnly), "to": to.Format(time.DateOnly), "page": number, "limit": limit,
		"includeHistory": true, "includeAgenticHistory": true, "includeFeedback": true, "includeSummary": true,
	}
	for k, v := range more {
		body[k] = v
	}
	r := c.request(c.t, events.Conversations, nil, body)
	r.URL.Path = c.account.Path(events.Conversations, c.account.Bots[bot].ID)
	return c.get(r)
}

func (c *client) outcomes(e events.Endpoint, iid int, from, to time.Time, offset, limit int) page {
	c.t.Helper()
	r := c.request(c.t, e, url.Values{"offset": {fmt.Sprint(offset)}, "limit": {fmt.Sprint(limit)}}, map[string]any{
		"startDate": from.Format(time.DateTime), "endDate": to.Format(time.DateTime), "timeZoneOffset": 0,
		"selectedFields": []string{"skills", "customerinfo", "userleveltags", "sessionleveltags"},
	})
	r.Header.Set("iId", c.account.Bots[iid].ID)
	return c.get(r)
}

func TestAllEndpointsServeRows(t *testing.T) {
	for _, p := range profiles() {
		t.Run(p.Name, func(t *testing.T) {
			c := newClient(t, koresim.Config{Seed: 1, Profile: p, SegmentsPerDay: 500})
			c.now = start.Add(30 * time.Hour)
			// The last hours may be shifted by the profile's zone: read a day around them.
			from, to := start.Add(24*time.Hour), start.Add(40*time.Hour)
			require.NotEmpty(t, c.interactions(0, from, to, 0, 100).Data)
			require.NotEmpty(t, c.conversations(0, start, to, 1, 20, nil).Results)
			require.NotEmpty(t, c.outcomes(events.InteractionDetails, 0, from, to, 0, 100).Data)
			require.NotEmpty(t, c.outcomes(events.CallDetails, 0, from, to, 0, 100).Data)
		})
	}
}
