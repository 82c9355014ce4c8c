package poll_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// Two hundred bots in one account, five of them busy, within 60 requests a minute. The busy ones stay within two poll
// intervals; the idle ones are polled with what is left, as often as status says; one that wakes up is found through the
// account-wide endpoint long before its next poll is due.
func TestAccountWithTwoHundredBots(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		const bots, busy, sleeper = 200, 5, 150
		warmUp, span := 100*time.Minute, testsize.Pick(40*time.Minute, 4*time.Hour)
		wakes := now.Add(warmUp + 5*time.Minute)
		var mu sync.Mutex
		polled, longest := map[string]time.Time{}, map[string]time.Duration{}
		world := koresim.Config{
			Seed: 31, Start: now.Add(-time.Hour), Bots: bots, BusyBots: busy, SegmentsPerDay: 2_000, RequestsPerMinute: 60,
			Quiet: true, EmailOpen: time.Hour, Track: true, IdlePerDay: 0.2,
			Spikes: []koresim.Spike{{At: wakes, Bot: sleeper, Rows: 3}},
			OnRequest: func(q koresim.Request) {
				if q.Endpoint != events.Interactions {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if last, ok := polled[q.Bot]; ok {
					longest[q.Bot] = max(longest[q.Bot], q.At.Sub(last))
				}
				polled[q.Bot] = q.At
			},
		}
		r := newRig(t, world, func(o *poll.Options) {
			delete(o.Endpoints, events.Conversations)
			delete(o.Endpoints, events.CallDetails)
		})
		r.latency = usual
		r.start()
		r.runFor(warmUp, 10*time.Minute, nil)
		mu.Lock()
		clear(longest)
		mu.Unlock()
		lag, stated := map[string]time.Duration{}, map[string]time.Duration{}
		r.runFor(span, 5*time.Second, func(s status.Account) {
			for _, e := range s.Endpoints {
				require.NotNil(t, e.Lag, "%s of %s", e.Endpoint, e.BotName)
				if e.Endpoint == string(events.Interactions) {
					lag[e.BotID] = max(lag[e.BotID], time.Duration(*e.Lag))
					stated[e.BotID] = max(stated[e.BotID], time.Duration(e.LongestPollInterval))
				}
			}
		})
		r.stop()
		stats := r.sim.Stats()
		require.Zero(t, stats.Violations)
		var worstBusy, worstIdle, statedIdle time.Duration
		for i, b := range r.options.Bots {
			require.LessOrEqual(t, longest[b.ID], stated[b.ID], "longest time between two polls of %s", b.Name)
			if i < busy {
				worstBusy = max(worstBusy, lag[b.ID])
			} else {
				worstIdle, statedIdle = max(worstIdle, longest[b.ID]), max(statedIdle, stated[b.ID])
			}
		}
		found := map[string]time.Duration{} // by segment of the bot that woke
		for e := range r.sim.Ledger(time.Now()) {
			if e.Type != events.TypeSegment || e.BotID != r.options.Bots[sleeper].ID || e.Views[0].Versions[0].Visible.Before(wakes) {
				continue
			}
			visible := e.Views[0].Versions[0].Visible
			at, _ := r.sim.FirstServed(e.Views[0], 0)
			found[visible.Format(time.TimeOnly)] = at.Sub(visible)
		}
		t.Logf("%v requests; busy bots at most %v behind; idle ones polled every %v (stated %v); the one that woke found after %v",
			stats.Requests, worstBusy, worstIdle, statedIdle, found)
		require.LessOrEqual(t, worstBusy, 2*pollIntervals[events.Interactions]+3*time.Second)
		require.GreaterOrEqual(t, len(found), 3)
		for visible, took := range found {
			require.Positive(t, took, visible)
			require.LessOrEqual(t, took, 2*pollIntervals[events.InteractionDetails], visible)
		}
		require.Greater(t, worstIdle, 4*pollIntervals[events.InteractionDetails], "it would have had to wait for its next poll")
		r.compare(koresim.Scope{Settled: time.Now().Add(-min(statedIdle+time.Minute, span))})
	})
}
