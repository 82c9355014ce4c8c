package poll_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// small is a world in which little happens.
func small(seed uint64) koresim.Config {
	return koresim.Config{
		Seed: seed, Start: now.Add(-2 * time.Hour), Bots: 1, SegmentsPerDay: 600, RequestsPerMinute: 120, EmailOpen: time.Hour,
	}
}

func quickSweeps(o *poll.Options) {
	o.Policy.Tiers, o.Policy.ConversationTiers = quickTiers, quickTiers
}

// Stopped and started at any moment, with as much to do as the budget allows: the server's minute is never broken. Left alone
// then, with more budget than its slow endpoint can use, the account catches up on all of it.
func TestAccountSurvivesBeingKilled(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := small(21)
		world.Start, world.RequestsPerMinute = now.Add(-timeline.Day), 30
		r := newRig(t, world, quickSweeps)
		r.options.RequestsPerMinute = 30
		r.latency = usual
		for i := range testsize.Pick(60, 200) {
			r.start()
			r.runFor(time.Duration(7+i%13)*time.Second+time.Duration(i*37%1000)*time.Millisecond, time.Minute, nil)
			r.stop()
		}
		stats := r.sim.Stats()
		t.Logf("%d requests, at most %d a minute", stats.ByAccount[r.options.AccountID], stats.MaxPerMinute)
		require.Zero(t, stats.Violations)
		require.Greater(t, stats.MaxPerMinute, 15, "the budget was put to use")
		r.world.RequestsPerMinute, r.options.RequestsPerMinute = 600, 600
		r.serve()
		time.Sleep(time.Minute)
		r.start()
		r.caughtUp(10 * time.Minute)
		r.runFor(30*time.Minute, time.Minute, nil)
		r.compare(koresim.Scope{Settled: time.Now().Add(-20 * time.Minute)})
	})
}

// Killed without transactions, with a batch published in whole, in part or not at all, the account finishes that batch before it reads
// anything: what comes twice is the same, and what has changed meanwhile comes after it, with the next revision.
func TestAccountFinishesTheBatchInHand(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := small(28)
		world.LateEdits = 0.5
		r := newRig(t, world, quickSweeps)
		r.latency = usual
		kills := testsize.Pick(60, 300)
		r.killAtRandom(28, kills, 8, 2*time.Minute)
		r.start()
		r.caughtUp(20 * time.Minute)
		r.runFor(30*time.Minute, time.Minute, nil)
		r.compare(koresim.Scope{Settled: time.Now().Add(-20 * time.Minute)})
		published := len(r.topics.records)
		require.Greater(t, published, len(r.topics.observed()), "some came twice")
		t.Logf("%d kills, %d records, %d of them repeated", kills, published, published-len(r.topics.observed()))
	})
}

// A second run over the same time publishes nothing, whatever was learned by the first.
func TestAccountStartedAgainPublishesNothing(t *testing.T) {
	testsize.Slow(t)
	for _, profile := range koresim.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				world := small(22)
				world.Profile, world.SegmentsPerDay, world.End, world.Bots = profile, 300, now, 2
				r := newRig(t, world, func(o *poll.Options) {
					o.Policy.Tiers = []plan.Tier{{Within: 7 * timeline.Day, Every: 2 * time.Hour}}
					o.Policy.ConversationTiers = o.Policy.Tiers
					for e := range o.Endpoints {
						o.Endpoints[e] = poll.EndpointOptions{PollInterval: 20 * time.Minute}
					}
				})
				r.start()
				r.runFor(30*time.Hour, time.Hour, nil) // edits come up to a day later
				r.compare(koresim.Scope{Settled: time.Now().Add(-5 * time.Hour)})
				r.stop()
				published := r.topics.published()
				r.start()
				r.runFor(30*time.Minute, time.Minute, nil)
				require.Equal(t, published, r.topics.published())
				r.stop()
			})
		})
	}
}

// The API is away for hours: all that happened is caught up.
func TestAccountCatchesUpAfterAnOutage(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		r := newRig(t, small(23), quickSweeps)
		r.latency = usual
		r.start()
		r.runFor(20*time.Minute, time.Minute, nil)
		r.sim.SetFaults(koresim.Faults{Rate: 1, Kinds: []koresim.Fault{koresim.FaultUnavailable, koresim.FaultReset}})
		var red bool
		r.runFor(5*time.Hour, time.Minute, func(s status.Account) {
			for _, e := range s.Endpoints {
				red = red || e.State == status.Failing && e.LastError != nil
			}
		})
		require.True(t, red)
		away := r.sim.Stats().ByAccount[r.options.AccountID]
		r.sim.SetFaults(koresim.Faults{})
		back := time.Now()
		r.caughtUp(time.Hour)
		t.Logf("caught up after %v; %d requests by the end of the outage", time.Since(back), away)
		r.runFor(30*time.Minute, time.Minute, nil)
		r.compare(koresim.Scope{Settled: time.Now().Add(-20 * time.Minute)})
	})
}

// Our clock is hours off, or answers say so of the server's: nothing is lost, and nothing is called complete too early.
func TestAccountWithWrongClocks(t *testing.T) {
	testsize.Slow(t)
	clock := koresim.Faults{Rate: 0.3, Kinds: []koresim.Fault{koresim.FaultClock}}
	for name, test := range map[string]struct {
		ahead  time.Duration // the world's clock of ours
		change func(r *rig)
	}{
		"first date": {change: func(r *rig) { r.sim.InjectOnce(koresim.FaultClock, "") }},
		"second date": {change: func(r *rig) {
			r.sim.InjectOnce(koresim.FaultNone, "")
			r.sim.InjectOnce(koresim.FaultClock, "")
		}},
		"some dates":  {change: func(r *rig) { r.sim.SetFaults(clock) }},
		"ours behind": {ahead: 90 * time.Minute},
		"ours ahead":  {ahead: -3 * time.Hour},
		"ours ahead, from now on": {ahead: -3 * time.Hour, change: func(r *rig) {
			r.options.Start = func(now time.Time) time.Time { return now }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				world := small(24)
				world.SegmentsPerDay = testsize.Pick(300, world.SegmentsPerDay)
				world.Start = world.Start.Add(test.ahead)
				world.Clock = func() time.Time { return time.Now().Add(test.ahead) }
				r := newRig(t, world, quickSweeps)
				if test.change != nil {
					test.change(r)
				}
				r.latency = usual
				from := r.sim.Now()
				r.start()
				r.runFor(testsize.Pick(40*time.Minute, time.Hour), time.Minute, nil)
				r.compare(koresim.Scope{From: from.Add(time.Second), Settled: r.sim.Now().Add(-20 * time.Minute)})
				s, _ := r.account.Status()
				for _, e := range s.Endpoints {
					require.NotNil(t, e.CompleteUpTo, e.Endpoint)
				}
			})
		})
	}
}

// Kafka is away: what was read is held, status tells, and no request is spent; then all goes on.
func TestAccountHoldsWhatCannotBeDelivered(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		r := newRig(t, small(26), quickSweeps)
		r.latency = usual
		r.start()
		r.runFor(10*time.Minute, time.Minute, nil)
		until := time.Now().Add(time.Hour)
		r.topics.fail = func() error {
			if time.Now().Before(until) {
				return errors.New("no broker answers")
			}
			return nil
		}
		time.Sleep(2 * time.Minute)
		before := r.sim.Stats().ByAccount[r.options.AccountID]
		time.Sleep(55 * time.Minute)
		require.Equal(t, before, r.sim.Stats().ByAccount[r.options.AccountID])
		_, delivered := r.account.Status()
		require.NotNil(t, delivered.LastError)
		require.Positive(t, delivered.LastError.Count)
		time.Sleep(time.Until(until))
		r.caughtUp(20 * time.Minute)
		r.runFor(30*time.Minute, time.Minute, nil)
		r.compare(koresim.Scope{Settled: time.Now().Add(-20 * time.Minute)})
	})
}

// A process that was stopped while another one took the account over learns of that before its first request.
func TestAccountAsksNothingOnceItIsOwnedByAnother(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		var stopped, fenced atomic.Bool
		r := newRig(t, small(24), quickSweeps)
		r.options.Lease = lease{confirmed: func() bool { return !stopped.Load() }}
		r.topics.fail = func() error {
			if fenced.Load() {
				return &kafka.LostError{Fenced: true, Err: errors.New("old epoch")}
			}
			stopped.Store(false)
			return nil
		}
		r.start()
		r.runFor(5*time.Minute, time.Minute, nil)
		requests := func() int64 { return r.sim.Stats().ByAccount[r.options.AccountID] }
		before := requests()
		stopped.Store(true)
		r.runFor(time.Minute, time.Minute, nil)
		require.Greater(t, requests(), before, "a delivery has shown that the account is still ours")
		r.stop()

		r.start()
		r.runFor(time.Minute, time.Minute, nil)
		before = requests()
		fenced.Store(true)
		stopped.Store(true)
		time.Sleep(time.Minute)
		require.Equal(t, before, requests())
		lost, ok := errors.AsType[*kafka.LostError](<-r.done)
		require.True(t, ok && lost.Fenced)
		r.stop = func() {}
	})
}
