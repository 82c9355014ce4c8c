package app

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/status"
)

// A process that is well says so when all that it reads is complete up to some time, and every hour after that. Other accounts are for the
// instances that read them to speak of.
func TestHealth(t *testing.T) {
	now := time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) *time.Time { at := now.Add(time.Duration(minutes) * time.Minute); return &at }
	well := func() *status.Status {
		return &status.Status{
			State: status.OK, Delivery: status.Delivery{Published: 40},
			Accounts: []status.Account{
				{Read: true, Budget: status.Budget{Used: 20, Limit: 60}, Endpoints: []status.Endpoint{{CompleteUpTo: at(-5), Rows: 7}, {CompleteUpTo: at(-9), Rows: 5}}},
				{Read: true, Budget: status.Budget{Used: 1, Limit: 30}, Endpoints: []status.Endpoint{{CompleteUpTo: at(-6)}}},
				{Budget: status.Budget{Limit: 60}, Endpoints: []status.Endpoint{{}}},
			},
		}
	}
	const line = `level=INFO msg="all is well" accounts=2 endpoints=3 complete_up_to=2026-06-07T11:51:00.000Z rows_read=12 published=40 requests_last_minute=21 requests_per_minute=90` + "\n"
	for name, tt := range map[string]struct {
		told   time.Time
		change func(*status.Status)
		want   string
	}{
		"complete for the first time": {want: line},
		"told a moment ago":           {told: now.Add(-59 * time.Minute)},
		"told an hour ago":            {told: now.Add(-time.Hour), want: line},
		"not complete yet":            {change: func(s *status.Status) { s.Accounts[0].Endpoints[1].CompleteUpTo = nil }},
		"failing":                     {change: func(s *status.Status) { s.State = status.Failing }},
		"nothing is read here":        {change: func(s *status.Status) { s.Accounts = s.Accounts[2:] }},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			s, h := well(), health{told: tt.told}
			if tt.change != nil {
				tt.change(s)
			}
			if h.due(now) {
				h.tell(log, s, now)
			}
			require.Equal(t, tt.want, out.String())
			require.Equal(t, tt.want != "", h.told.Equal(now))
		})
	}
}

// A run of three hours whose first watermarks come after seven minutes says three times that it is well.
func TestHealthIsToldHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			tellHealth(ctx, slog.New(slog.NewTextHandler(&out, nil)), func() status.Status {
				e := status.Endpoint{}
				if now := time.Now(); now.Sub(began) > 7*time.Minute {
					e.CompleteUpTo = &now
				}
				return status.Status{State: status.OK, Accounts: []status.Account{{Read: true, Endpoints: []status.Endpoint{e}}}}
			})
		}()
		time.Sleep(3 * time.Hour)
		cancel()
		<-done
		require.Equal(t, 3, strings.Count(out.String(), "all is well"), out.String())
	})
}
