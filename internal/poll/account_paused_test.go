package poll_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// A paused account asks for nothing and declares nothing complete, whenever it was paused. What was on its way is published. Resumed, it
// goes on where it was: nothing is lost, and nothing comes twice.
func TestPausedAccount(t *testing.T) {
	testsize.Slow(t)
	inBubble(t, func(t *testing.T) {
		world := small(8)
		world.SegmentsPerDay, world.RequestsPerMinute, world.End = 100, 30, now.Add(2*time.Hour)
		r := newRig(t, world, quickSweeps)
		r.options.RequestsPerMinute, r.latency = 30, usual
		r.start()
		state := func() status.Account {
			s, _ := r.account.Status()
			return s
		}
		asked := func() int64 { return r.sim.Stats().ByAccount[r.options.AccountID] }
		onItsWay := false
		for i, runs := range []time.Duration{time.Second, 2 * time.Second, 10*time.Minute + 1500*time.Millisecond, 21 * time.Minute} {
			time.Sleep(runs)
			r.account.Pause(time.Now())
			s := state()
			since := s.Paused.Since
			onItsWay = onItsWay || s.Paused.InFlight > 0
			require.NoError(t, r.account.Ready(), "there is nothing to wait for")
			for s.Paused.InFlight > 0 {
				time.Sleep(time.Second)
				s = state()
			}
			requests, marks := asked(), r.topics.marks
			r.runFor(20*time.Minute, time.Minute, func(s status.Account) {
				require.NoError(t, r.account.Alive())
				for _, e := range s.Endpoints {
					require.Equal(t, status.Waiting, e.State)
					require.Equal(t, status.WaitPaused, e.Waiting.Reason)
					require.Equal(t, "somebody paused the account; poller admin resume test lets it go on", e.Waiting.Text)
					require.Equal(t, since, e.Waiting.Since)
				}
			})
			r.account.Pause(time.Now())
			require.Equal(t, &status.Pause{Since: since}, state().Paused, "it was paused already")
			require.Equal(t, requests, asked(), "pause %d", i)
			require.Equal(t, marks, r.topics.marks, "pause %d", i)
			r.account.Resume()
			require.Nil(t, state().Paused)
			time.Sleep(time.Minute) // the budget may have to be waited for
			require.Greater(t, asked(), requests)
		}
		require.True(t, onItsWay)
		r.caughtUp(time.Hour)
		r.runFor(45*time.Minute, time.Minute, nil)
		r.compare(koresim.Scope{Settled: time.Now().Add(-30 * time.Minute)})
		require.Zero(t, r.sim.Stats().Violations)
	})
}

// An endpoint that failed when its account was paused waits like the others, and still says what it failed with.
func TestPausedWhileFailing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		world := small(1)
		world.SegmentsPerDay, world.Unscoped = 20, []string{koresim.ScopeSmartAssist}
		r := newRig(t, world, nil)
		r.start()
		time.Sleep(10 * time.Minute)
		failing := func() (n int) {
			s, _ := r.account.Status()
			for _, e := range s.Endpoints {
				if e.State == status.Failing {
					n++
				}
			}
			return n
		}
		require.Equal(t, 2, failing())
		r.account.Pause(time.Now())
		time.Sleep(2 * time.Minute)
		require.Zero(t, failing())
		s, _ := r.account.Status()
		failed := 0
		for _, e := range s.Endpoints {
			require.True(t, e.Up(time.Now()))
			if e.LastError != nil {
				failed++
				require.Equal(t, s.Paused.Since, *e.LastFailing)
			}
		}
		require.Equal(t, 2, failed)
		r.account.Resume()
		time.Sleep(10 * time.Minute)
		require.Equal(t, 2, failing())
	})
}
