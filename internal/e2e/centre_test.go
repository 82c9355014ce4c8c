package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// perMinute is a budget that never makes a test wait.
const perMinute = 6000

// centre is a simulated contact centre behind a socket: one account.
type centre struct {
	*koresim.Server
	name  string
	url   string
	start time.Time // when the first contact begins
	limit int       // of requests per minute

	// over caches the ledger once nothing more will happen: it is expensive to compute.
	over []*koresim.Entry
}

// serve starts a centre that runs until the test ends.
func serve(t *testing.T, name string, cfg koresim.Config) *centre {
	t.Helper()
	if cfg.RequestsPerMinute == 0 {
		cfg.RequestsPerMinute = perMinute
	}
	if cfg.InFlight == nil { // what the poller does unless it is configured otherwise
		cfg.InFlight = map[events.Endpoint]int{events.Conversations: 2}
	}
	server, err := koresim.New(cfg)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &centre{Server: server, name: name, url: "http://" + listener.Addr().String(), start: cfg.Start, limit: cfg.RequestsPerMinute}
}

func (c *centre) account() *koresim.Account { return c.Accounts()[0] }

// ledger returns what must have been published by now, and how many versions will become visible later.
func (c *centre) ledger(now time.Time) (entries []*koresim.Entry, pending int) {
	if c.over != nil {
		return c.over, 0
	}
	for e := range c.Ledger(now.Add(24 * time.Hour)) {
		visible := false
		for _, v := range e.Views {
			for _, version := range v.Versions {
				if version.Visible.After(now) {
					pending++
				} else {
					visible = true
				}
			}
		}
		if visible {
			entries = append(entries, e)
		}
	}
	if pending == 0 {
		c.over = entries
	}
	return entries, pending
}

// things returns how many entities of a type there are.
func (c *centre) things(t events.Type) (n int) {
	entries, _ := c.ledger(c.Now())
	for _, e := range entries {
		if e.Type == t {
			n++
		}
	}
	return n
}

// yaml is the account in a configuration that reads the centre.
func (c *centre) yaml(more string) string {
	a := c.account()
	var bots strings.Builder
	for _, b := range a.Bots {
		fmt.Fprintf(&bots, "      - {name: %s, bot_id: %s}\n", b.Name, b.ID)
	}
	return fmt.Sprintf(`  - name: %s
    base_url: %s
    account_id: %s
    auth: {client_id: %s, client_secret: %s}
    requests_per_minute: %d
    start: %s
    bots:
%s%s`, c.name, c.url, a.ID, a.ClientID, a.ClientSecret, c.limit, c.start.Format(time.RFC3339), bots.String(), more)
}

// checkRequests fails the test if the client broke a rule of the API: its budget, its ranges, its number of requests in flight.
func (c *centre) checkRequests(t *testing.T) {
	t.Helper()
	c.checkRequestsBeside(t, 0)
}

// checkRequestsBeside is checkRequests where so many requests may have met one of another poller that was in flight when it was taken over.
func (c *centre) checkRequestsBeside(t *testing.T, inFlight int) {
	t.Helper()
	stats := c.Stats()
	require.Zero(t, stats.Violations, "%s: requests beyond the budget", c.name)
	require.Zero(t, stats.Replays, "%s: tokens that came twice", c.name)
	require.LessOrEqual(t, stats.Crowded, int64(inFlight), "%s: more requests of one account at one endpoint at the same time than configured: %v",
		c.name, stats.MaxInFlight)
	for reason, n := range stats.Refused {
		if reason == "path" { // the port was another test's before, a registry's perhaps, whose clients still ask
			continue
		}
		most := int64(0)
		if reason == "conversationIds" { // which form is taken is found out by trying, once for each bot
			most = int64(2 * len(c.account().Bots))
		}
		require.LessOrEqual(t, n, most, "%s: requests refused for %s", c.name, reason)
	}
}
