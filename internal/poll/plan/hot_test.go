package plan_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/poll/timeline/timelinetest"
	"agentassist-poller/internal/testsize"
)

// What the back-off of hot rows costs and brings where sweeps are short of requests: one bot with 10,000 rows a day on each of the four
// endpoints, 60 requests a minute. Rows take some minutes, few of them an hour, and are edited while they are open, soon after their end, and
// later. Sweeps are left more. Rows that are open or ended a moment ago, when most feedback is given, wait no longer than without it, those that
// ended up to 16 minutes ago at most two thirds longer.
func TestSimulationOfHotRows(t *testing.T) {
	testsize.Slow(t)
	for seed := range testsize.Pick[uint64](1, 2) {
		without, with := playHotRows(t, seed, false), playHotRows(t, seed, true)
		for _, e := range events.Endpoints() {
			var sums [2]time.Duration // of edits up to 16 minutes after the end
			for k, age := range hotAges {
				a, b := without.took[e][k], with.took[e][k]
				t.Logf("%-20s edited %v: mean %4.0f s, p99 %v; with back-off %4.0f s, %v (%d)", e, age,
					mean(a), a[len(a)*99/100].Round(time.Second), mean(b), b[len(b)*99/100].Round(time.Second), len(a))
				if age.to <= 2*time.Minute {
					require.LessOrEqual(t, mean(b), mean(a)*1.1+5, "seed %d: %s, edited %v", seed, e, age)
				}
				if age.from >= 0 && age.to <= 16*time.Minute {
					for i := range a {
						sums[0], sums[1] = sums[0]+a[i], sums[1]+b[i]
					}
				}
			}
			require.LessOrEqual(t, float64(sums[1]), float64(sums[0])*5/3, "seed %d: %s", seed, e)
		}
		hot, sweep := with.requests[plan.KindHot], with.requests[plan.KindSweep]
		t.Logf("hot requests a minute %.1f, with back-off %.1f; of sweeps %.1f, %.1f",
			without.requests[plan.KindHot], hot, without.requests[plan.KindSweep], sweep)
		require.Less(t, hot, without.requests[plan.KindHot], "seed %d", seed)
		require.Greater(t, sweep, without.requests[plan.KindSweep]*1.1, "seed %d", seed)
	}
}

// hotAge is how long after the end of a row an edit is made, negative before.
type hotAge struct{ from, to time.Duration }

func (a hotAge) String() string { return fmt.Sprintf("%v to %v after the end", a.from, a.to) }

var hotAges = []hotAge{
	{-8 * time.Minute, 0},
	{0, 2 * time.Minute},
	{2 * time.Minute, 8 * time.Minute},
	{8 * time.Minute, 16 * time.Minute},
	{16 * time.Minute, 30 * time.Minute},
	{30 * time.Minute, 2 * time.Hour},
	{2 * time.Hour, timeline.Day},
	{timeline.Day, 6 * timeline.Day},
}

type hotPlayed struct {
	took     map[events.Endpoint][][]time.Duration // from edit to read, by hotAges, ascending
	requests map[plan.Kind]float64                 // a minute
}

func playHotRows(t *testing.T, seed uint64, backOff bool) hotPlayed {
	now := base.Add(7*timeline.Day + 9*time.Hour)
	length := testsize.Pick(15*time.Minute, 40*time.Hour)
	end := now.Add(length)
	s := newSimulation(t, seed, now)
	s.policy.Concurrency = map[events.Endpoint]int{events.Conversations: 2}
	s.policy.BackOff = backOff
	for _, e := range events.Endpoints() {
		bot := "st-1"
		if e.PerAccount() {
			bot = ""
		}
		u := s.add(e, bot, base, end, 10_000)
		u.talk = func(start time.Time) time.Duration {
			rnd := rand.New(rand.NewPCG(seed, uint64(start.UnixNano())))
			return time.Duration(math.Exp(rnd.NormFloat64()*0.8) * float64(8*time.Minute))
		}
		u.Read.Mark(base, now, now)
		for d := base; d.Before(now); d = d.Add(time.Hour) {
			span := timeline.Span{From: d, To: timeline.Earlier(d.Add(time.Hour), now)}
			u.Density.Observe(span, timelinetest.Within(u.rows, span))
		}
		s.noteHot(u, timelinetest.Within(u.rows, timeline.Span{From: base, To: now}))
		u.LastPoll = now
		edits := rand.New(rand.NewPCG(seed, 2))
		for _, start := range u.rows {
			ended := u.end(start)
			for _, age := range hotAges {
				made := ended.Add(age.from + time.Duration(edits.Int64N(int64(age.to-age.from))))
				if made.After(start) && made.After(now.Add(length/8)) && made.Before(now.Add(length*5/8)) {
					u.edits = append(u.edits, simEdit{start: start, made: made})
				}
			}
		}
	}
	s.run(end, time.Minute, nil)
	s.checkBudget()
	out := hotPlayed{took: map[events.Endpoint][][]time.Duration{}, requests: map[plan.Kind]float64{}}
	for _, u := range s.units {
		took := make([][]time.Duration, len(hotAges))
		for _, e := range u.edits {
			k := slices.IndexFunc(hotAges, func(a hotAge) bool { return e.made.Sub(u.end(e.start)) < a.to })
			took[k] = append(took[k], cmp.Or(e.seen, s.now).Sub(e.made)) // at least so long, if it was not seen
		}
		for _, of := range took {
			slices.Sort(of)
		}
		out.took[u.Endpoint] = took
		for kind, n := range s.requests {
			out.requests[kind] += float64(n[u.Endpoint]) / length.Minutes()
		}
	}
	return out
}
