package kore_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/status"
)

// simulate starts a world that is a day old, and the client of its first account.
func simulate(t *testing.T, change func(*koresim.Config), options ...kore.Option) (*koresim.Server, *kore.Client) {
	t.Helper()
	world := koresim.Config{Seed: 1, Start: time.Now().Add(-24 * time.Hour), SegmentsPerDay: 100, RequestsPerMinute: -1}
	change(&world)
	sim, err := koresim.New(world)
	require.NoError(t, err)
	cfg := config()
	account := sim.Accounts()[0]
	cfg.AccountID, cfg.ClientID, cfg.ClientSecret = account.ID, account.ClientID, secret.New(account.ClientSecret)
	cfg.AuthPrefix = world.AuthPrefix
	return sim, newClient(t, cfg, append([]kore.Option{kore.WithTransport(sim.Transport())}, options...)...)
}

// simQuery asks for the last hour.
func simQuery(sim *koresim.Server, e events.Endpoint) kore.Query {
	now := time.Now().Truncate(time.Second)
	q := kore.Query{Endpoint: e, From: now.Add(-time.Hour), To: now, Limit: 20, BotID: sim.Accounts()[0].Bots[0].ID}
	switch {
	case e == events.Conversations:
		q.Offset = 1
	case e.PerAccount():
		q.BotID, q.IID = "", sim.Accounts()[0].Bots[0].ID
	}
	return q
}

// Every profile of the API takes our requests and our tokens, whatever its clock says.
func TestEveryProfileAnswers(t *testing.T) {
	for _, profile := range koresim.Profiles() {
		for _, skew := range []time.Duration{0, 2 * time.Second, -3 * time.Hour, 3 * time.Hour} {
			t.Run(profile.Name+", "+skew.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim, c := simulate(t, func(w *koresim.Config) { w.Profile, w.Skew = profile, skew })
					if _, err := c.Fetch(t.Context(), simQuery(sim, events.Interactions)); err != nil {
						failure, ok := errors.AsType[*kore.Error](err)
						require.True(t, ok)
						require.Equal(t, kore.ReasonClock, failure.Reason, err)
						require.NotZero(t, skew)
					}
					for _, e := range events.Endpoints() {
						page, err := c.Fetch(t.Context(), simQuery(sim, e))
						require.NoError(t, err, e)
						require.Equal(t, byte('{'), page.Body[0])
						got, known := c.Skew()
						require.True(t, known)
						require.InDelta(t, skew.Seconds(), got.Seconds(), 1)
					}
					require.Zero(t, sim.Stats().Replays)
				})
			})
		}
	}
}

// The same over real connections.
func TestEveryProfileAnswersOverHTTP(t *testing.T) {
	for _, profile := range koresim.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			var handler *koresim.Server
			handler, _ = simulate(t, func(w *koresim.Config) { w.Profile, w.AuthPrefix = profile, "Bearer " })
			server := httptest.NewServer(handler)
			defer server.Close()
			account := handler.Accounts()[0]
			c := newClient(t, kore.Config{
				BaseURL: server.URL, AccountID: account.ID, ClientID: account.ClientID, ClientSecret: secret.New(account.ClientSecret),
				AuthPrefix: "Bearer",
			})
			for _, e := range events.Endpoints() {
				_, err := c.Fetch(t.Context(), simQuery(handler, e))
				require.NoError(t, err, e)
			}
		})
	}
}

func TestEveryFaultHasItsClass(t *testing.T) {
	type want struct {
		class  status.Class
		reason kore.Reason
	}
	ok := want{}
	wants := map[koresim.Fault]want{
		koresim.FaultUnauthorized: {status.ClassPermanent, kore.ReasonCredentials},
		koresim.FaultForbidden:    {status.ClassPermanent, kore.ReasonScope},
		koresim.FaultTooMany:      {status.ClassWait, kore.ReasonRateLimited},
		koresim.FaultInternal:     {status.ClassRetry, kore.ReasonServer},
		koresim.FaultBadGateway:   {status.ClassRetry, kore.ReasonServer},
		koresim.FaultUnavailable:  {status.ClassRetry, kore.ReasonServer},
		koresim.FaultTimeout:      {status.ClassRetry, kore.ReasonTimeout},
		koresim.FaultReset:        {status.ClassRetry, kore.ReasonConnection},
		koresim.FaultHalfBody:     {status.ClassRetry, kore.ReasonConnection},
		koresim.FaultHTML:         {status.ClassShape, kore.ReasonHTML},
		koresim.FaultErrors200:    {status.ClassRetry, kore.ReasonServer},
		koresim.FaultEncrypted:    {status.ClassShape, kore.ReasonEncrypted},
		koresim.FaultDropped:      {status.ClassRetry, kore.ReasonConnection},
		koresim.FaultWrongJSON:    {status.ClassShape, kore.ReasonShape},
		koresim.FaultBadRecord:    ok, // for the page's decoder to say
		koresim.FaultSlow:         ok,
		koresim.FaultClock:        ok,
	}
	for _, fault := range koresim.FaultKinds() {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				expected, known := wants[fault]
				require.True(t, known, "a fault without a class")
				sim, c := simulate(t, func(w *koresim.Config) { w.Faults.Hang = time.Hour })
				q := simQuery(sim, events.Interactions)
				for range 2 {
					_, err := c.Fetch(t.Context(), q)
					require.NoError(t, err)
				}
				before, _ := c.Skew()
				var err error

				sim.InjectOnce(fault, q.Endpoint)
				_, err = c.Fetch(t.Context(), q)
				if expected == ok {
					require.NoError(t, err)
				} else {
					failure, is := errors.AsType[*kore.Error](err)
					require.True(t, is, err)
					require.Equal(t, expected, want{failure.Class, failure.Reason}, err)
				}
				_, err = c.Fetch(t.Context(), q)
				require.NoError(t, err, "the next attempt passes")
				after, _ := c.Skew()
				require.InDelta(t, before.Seconds(), after.Seconds(), 1)
			})
		})
	}
}

// A wrong configuration ends in a line that says what to change.
func TestWrongConfigurationAgainstTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := simulate(t, func(w *koresim.Config) { w.Unscoped = []string{koresim.ScopeSmartAssist} })
		_, err := c.Fetch(t.Context(), simQuery(sim, events.Interactions))
		require.NoError(t, err)
		_, err = c.Fetch(t.Context(), simQuery(sim, events.CallDetails))
		require.ErrorContains(t, err, `give the JWT app the API scope "SmartAssist Analytics", publish the app`)

		q := simQuery(sim, events.Conversations)
		q.BotID = "st-unknown"
		_, err = c.Fetch(t.Context(), q)
		require.ErrorContains(t, err, "check bot_id")

		account := sim.Accounts()[0]
		cfg := config()
		cfg.AccountID, cfg.ClientID, cfg.ClientSecret = account.ID, account.ClientID, secret.New("wrong")
		_, err = newClient(t, cfg, kore.WithTransport(sim.Transport())).Fetch(t.Context(), simQuery(sim, events.Interactions))
		require.ErrorContains(t, err, "check auth.client_id and auth.client_secret")
	})
}
