package poll_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// warm makes a rig whose account has read all history of the world, with no budget to keep to, and then goes on within the
// budget of 60 requests a minute.
func warm(t *testing.T, world koresim.Config, change func(*poll.Options)) *rig {
	t.Helper()
	limit := world.RequestsPerMinute
	world.RequestsPerMinute = -1
	r := newRig(t, world, change)
	r.options.RequestsPerMinute = 60_000
	r.latency = func(events.Endpoint) time.Duration { return 20 * time.Millisecond }
	r.start()
	r.caughtUp(time.Hour)
	r.stop()
	r.world.RequestsPerMinute = limit
	r.serve()
	r.options.RequestsPerMinute = limit
	r.latency = usual
	time.Sleep(time.Minute)
	r.start()
	return r
}

// 10,000 segments a day on all four endpoints within 60 requests a minute: the budget holds, new rows come within two poll
// intervals, nothing is lost, and every edit is seen as soon as status says.
func TestAccountTenThousandADay(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		history, span := testsize.Pick(3*time.Hour, 4*timeline.Day), testsize.Pick(20*time.Minute, 6*time.Hour)
		world := koresim.Config{
			Seed: 11, Start: now.Add(-history), Bots: 1, SegmentsPerDay: 10_000, RequestsPerMinute: 60, Track: true,
			EmailOpen: 6 * time.Hour,
		}
		r := warm(t, world, nil)
		began := time.Now()
		stated := map[string][]time.Duration{}
		lag := map[string]time.Duration{}
		r.runFor(span, 10*time.Second, func(s status.Account) {
			for _, e := range s.Endpoints {
				if stated[e.Endpoint] == nil {
					stated[e.Endpoint] = make([]time.Duration, len(e.Sweeps))
				}
				for k, w := range e.Sweeps {
					stated[e.Endpoint][k] = max(stated[e.Endpoint][k], time.Duration(w.Actual))
				}
				require.NotNil(t, e.Lag, e.Endpoint)
				if time.Since(began) > 2*time.Minute {
					lag[e.Endpoint] = max(lag[e.Endpoint], time.Duration(*e.Lag))
				}
			}
		})
		r.stop()
		stats := r.sim.Stats()
		require.Zero(t, stats.Violations)
		require.LessOrEqual(t, stats.MaxPerMinute, 60)
		t.Logf("requests %v, at most %d a minute; lag %v, stated %v", stats.Requests, stats.MaxPerMinute, lag, stated)
		require.LessOrEqual(t, lag["interactions"], 2*pollIntervals[events.Interactions]+time.Second+2*time.Second)
		seen := r.seenWithin(began, stated)
		t.Logf("worst of stated by tier: %v", seen)
	})
}

// seenWithin checks of every version that became visible since began that it was served within what was stated of its tier, and
// returns by endpoint and tier the worst part of that time that was needed.
func (r *rig) seenWithin(began time.Time, stated map[string][]time.Duration) map[string][]float64 {
	r.t.Helper()
	worst, broken := map[string][]float64{}, 0
	end := time.Now()
	for e := range r.sim.Ledger(end) {
		for _, v := range e.Views {
			tiers := r.options.Policy.Tiers
			if v.Endpoint == events.Conversations {
				tiers = r.options.Policy.ConversationTiers
			}
			name := string(v.Endpoint)
			if worst[name] == nil {
				worst[name] = make([]float64, len(tiers))
			}
			for n, version := range v.Versions {
				k := tierOf(tiers, version.Visible.Sub(v.Anchor))
				if k < 0 || stated[name] == nil {
					continue
				}
				allowed := stated[name][k]
				if version.Visible.Before(began) || version.Visible.After(end.Add(-allowed)) || n+1 < len(v.Versions) && v.Versions[n+1].Visible.Sub(version.Visible) < allowed {
					continue
				}
				if !v.Gone.IsZero() && v.Gone.Sub(version.Visible) < allowed {
					continue
				}
				served, ok := r.sim.FirstServed(v, n)
				if !ok {
					served = end
				}
				took := served.Sub(version.Visible)
				worst[name][k] = math.Max(worst[name][k], took.Seconds()/allowed.Seconds())
				if took > allowed {
					if broken++; broken <= 10 {
						r.t.Errorf("%s %s of row %s (%v): version %d was readable at %v and served after %v (%t), stated was %v",
							v.Endpoint, e.Type, v.Row, v.Anchor, n, version.Visible, took, ok, allowed)
					}
				}
			}
		}
	}
	if broken > 0 {
		r.t.Errorf("%d versions were seen later than stated", broken)
	}
	return worst
}

func tierOf(tiers []plan.Tier, age time.Duration) int {
	for k, t := range tiers {
		if age <= t.Within {
			return k
		}
	}
	return -1
}

// The first read of history takes hardly more requests than it must, whatever `offset` counts and in whatever order rows come.
func TestAccountFirstRead(t *testing.T) {
	testsize.Slow(t)
	newestFirst := map[events.Endpoint]bool{events.InteractionDetails: true, events.CallDetails: true}
	for name, profile := range map[string]koresim.Profile{
		"pages":             {Descending: newestFirst},
		"records":           {Descending: newestFirst, OffsetInRecords: true},
		"records ascending": {OffsetInRecords: true},
		"records per list":  {Descending: newestFirst, OffsetInRecords: true, LimitPerList: true},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && strings.Contains(name, " ") {
				t.Skip("at full size only")
			}
			t.Parallel()
			profile.Name = name
			inBubble(t, func(t *testing.T) { firstRead(t, profile) })
		})
	}
}

func firstRead(t *testing.T, profile koresim.Profile) {
	const days = 10
	perDay := testsize.Pick(1_000, 10_000)
	world := koresim.Config{
		Seed: 3, Start: now.Add(-days * timeline.Day), End: now.Add(-2 * time.Hour), Bots: 1, SegmentsPerDay: perDay, Quiet: true,
		RequestsPerMinute: -1, EmailOpen: time.Hour, Profile: profile,
	}
	r := newRig(t, world, func(o *poll.Options) {
		delete(o.Endpoints, events.Conversations)
		o.RequestsPerMinute = 60_000
	})
	r.latency = func(events.Endpoint) time.Duration { return 30 * time.Millisecond }
	r.start()
	r.caughtUp(30 * time.Minute)
	r.stop()
	records := map[events.Endpoint]int{}
	for e := range r.sim.Ledger(now) {
		for _, v := range e.Views {
			if e.Type == events.TypeSegment || e.Type == events.TypeConversation && v.Gone.IsZero() {
				records[v.Endpoint]++
			}
		}
	}
	requests := r.sim.Stats().Requests
	for e, most := range map[events.Endpoint]float64{events.Interactions: 1.05, events.InteractionDetails: 1.3, events.CallDetails: 1.3} {
		fewest := (records[e] + 99) / 100
		t.Logf("%s: %d records, %d requests, %.3f times the fewest", e, records[e], requests[e], float64(requests[e])/float64(fewest))
		require.LessOrEqual(t, float64(requests[e]), most*float64(fewest), e)
	}
	require.GreaterOrEqual(t, records[events.Interactions], 9*perDay)
	if !testing.Short() {
		r.compare(koresim.Scope{Settled: now})
	}
}

// A year of history at low volume.
func TestAccountReadsAYear(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := koresim.Config{
			Seed: 4, Start: now.Add(-365 * timeline.Day), End: now.Add(-3 * time.Hour), Bots: 1, SegmentsPerDay: testsize.Pick(3, 40),
			RequestsPerMinute: 600, EmailOpen: time.Hour,
		}
		r := newRig(t, world, func(o *poll.Options) { o.Retention = 400 * timeline.Day })
		r.start()
		r.caughtUp(6 * time.Hour)
		r.runFor(time.Hour, time.Hour, nil)
		report := r.compare(koresim.Scope{Settled: now})
		t.Logf("%s; requests %v", report, r.sim.Stats().Requests)
		require.Zero(t, r.sim.Stats().Violations)
		published := r.topics.published()
		r.stop()
		r.start()
		r.runFor(2*time.Hour, time.Hour, nil)
		require.Equal(t, published, r.topics.published(), "read again, nothing has changed")
	})
}
