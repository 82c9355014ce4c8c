package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// TestAdaptedSweeps plays edits to rows of an account with one bot, all four endpoints and 60 requests a minute, and compares fixed tiers and
// hot rows that do not back off with what the plan makes of two weeks of edits: how long edits take to be seen, and how many requests an event
// takes. TestSimulationConfirmsStatedAges shows that an account can keep to these periods, TestSimulationOfHotRows what the back-off does to one.
//
// What is played is the row, not the account: its reads follow from the periods of the plan. Polls are left out.
func TestAdaptedSweeps(t *testing.T) {
	// At least so many times shorter than by tiers: the mean, and the slowest hundredth.
	type ratios struct{ mean, p99 float64 }
	want := map[events.Endpoint]map[float64]map[string]ratios{
		events.Interactions: {
			1_000:  {"fast": {1.2, 2.5}, "slow": {1.9, 1.7}, "two-humped": {4.5, 4.5}},
			10_000: {"fast": {1.3, 3}, "slow": {2.7, 2.4}, "two-humped": {7, 7}},
			// A row is hot for longer, so that of more rows the second sweep comes when they are in the second tier.
			50_000: {"fast": {0.8, 0.2}, "slow": {3.5, 2.2}, "two-humped": {9, 5}},
		},
		// Only whole days can be read: edits within a day leave nothing to choose, but hot rows that back off leave more to sweeps. At 50,000 a
		// day rows are read twice within reach, which says little about when they were edited.
		events.Conversations: {
			1_000:  {"fast": {0.95, 0.95}, "slow": {1.8, 2.4}, "two-humped": {3, 4.5}},
			10_000: {"fast": {2.2, 1.8}, "slow": {4, 4.2}, "two-humped": {6, 7}},
			50_000: {"fast": {1.2, 0.8}, "slow": {1.5, 2.4}, "two-humped": {2.8, 2.2}},
		},
	}
	for _, perDay := range []float64{1_000, 10_000, 50_000} {
		units := simAccount(perDay)
		policy := DefaultPolicy()
		policy.Concurrency = map[events.Endpoint]int{events.Conversations: 2}
		policy.BackOff = false
		fixed := Derive(units, simNow, policy)
		policy.Adapt, policy.BackOff = true, true
		for i, u := range units {
			if want[u.Endpoint] == nil {
				continue
			}
			for _, name := range []string{"fast", "slow", "two-humped"} {
				rnd := rand.New(rand.NewPCG(uint64(perDay), uint64(i)))
				draw := simEdits[name]
				tiers := readingOf(u, &fixed.Units[i])
				before := tiers.play(draw, 4000, rnd, nil)

				u.Edits = timeline.Edits{}
				at := simNow
				for range 14 {
					r := readingOf(u, &Derive(units, simNow, policy).Units[i])
					at = at.Add(timeline.Day)
					r.play(draw, 300, rnd, func(before, seen time.Duration) {
						if seen > simHot { // else it was hot
							u.Edits.Observe(at.Add(-seen), at.Add(-seen+before), at, 1)
						}
					})
				}
				p := Derive(units, simNow, policy)
				adapted := readingOf(u, &p.Units[i])
				after := adapted.play(draw, 4000, rnd, nil)
				got := ratios{before.mean / after.mean, before.p99 / after.p99}
				t.Logf("| `%s` | %.0f | %s | %v | %v | %.2f | %v | %v | %.2f | %.1f | %.1f |", u.Endpoint, perDay, name,
					round(before.mean), round(before.p99), fixed.perEvent(u, perDay), round(after.mean), round(after.p99), p.perEvent(u, perDay),
					got.mean, got.p99)
				require.InDelta(t, fixed.perEvent(u, perDay), p.perEvent(u, perDay), 0.01, "what hot rows leave goes to sweeps")
				least := want[u.Endpoint][perDay][name]
				require.GreaterOrEqual(t, got.mean, least.mean, "%s, %.0f a day, %s: mean", u.Endpoint, perDay, name)
				require.GreaterOrEqual(t, got.p99, least.p99, "%s, %.0f a day, %s: slowest hundredth", u.Endpoint, perDay, name)
				for k, s := range p.Units[i].Tiers {
					slowest := fixed.Units[i].Tiers[len(fixed.Units[i].Tiers)-1]
					require.LessOrEqual(t, s.Every, slowest.Every, "no tier of %s is read less often than the oldest: tier %d", u.Endpoint, k)
				}
			}
		}
	}
}

// Where no edits were seen, or hardly any, and during the first read, sweeps are exactly those of the tiers.
func TestTiersHoldUntilEditsWereSeen(t *testing.T) {
	policy := DefaultPolicy()
	units := simAccount(10_000)
	tiers := Derive(units, simNow, policy)
	policy.Adapt = true
	derive := func(edits int, change func(*Unit)) *Plan {
		for _, u := range units {
			u.Edits, u.FirstRead = timeline.Edits{}, false
			for range edits {
				u.Edits.Observe(simNow.Add(-3*timeline.Day), simNow.Add(-time.Hour), simNow, 1)
			}
			change(u)
		}
		p := Derive(units, simNow, policy)
		p.policy.Adapt = false // else equal plans would not be
		return p
	}
	unchanged := func(*Unit) {}
	require.Equal(t, tiers, derive(0, unchanged), "no edit was seen")
	require.Equal(t, tiers, derive(enoughEdits, unchanged), "not enough were seen")
	require.Equal(t, tiers, derive(10_000, func(u *Unit) { u.FirstRead = true }), "the first read is not over")
	require.NotEqual(t, tiers, derive(enoughEdits+1, unchanged))
	late := simNow.Add(-8 * timeline.Day)
	require.Equal(t, tiers, derive(0, func(u *Unit) {
		for range 2 * enoughEdits {
			u.Edits.Observe(late.Add(-3*timeline.Day), late.Add(-time.Hour), late, 1)
		}
	}), "none were seen for a week")
}

// Sweeps that follow edits leave to all other work what it has with the tiers: no class is granted less, nothing is due later, and no more
// of the budget is kept for sweeps. That is so for any edits, and whichever units have seen any.
func TestOnlySweepsPayForFollowingEdits(t *testing.T) {
	const rounding = 1 + 1e-9
	followed := 0
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		units := simAccount(math.Pow(10, 1+4*rnd.Float64()))
		for _, u := range units {
			u.FirstRead = rnd.IntN(4) == 0
			if rnd.IntN(3) == 0 { // time that is a gap
				u.Read = &timeline.Set{}
				u.Read.Mark(simNow.Add(-times(7*timeline.Day, rnd.Float64())), simNow, simNow)
			}
			for range rnd.IntN(4) {
				age := times(time.Hour, math.Pow(200, rnd.Float64()))
				for range rnd.IntN(500) {
					u.Edits.Observe(simNow.Add(-age), simNow.Add(-times(age, rnd.Float64())), simNow, 1)
				}
			}
		}
		policy := DefaultPolicy()
		policy.PerMinute = 10 + 200*rnd.Float64()
		tiers := Derive(units, simNow, policy)
		policy.Adapt = true
		p := Derive(units, simNow, policy)
		for c := range classCount {
			for i := range events.Endpoints() {
				if c == classSweep {
					require.LessOrEqual(t, p.demands[c][i], tiers.demands[c][i]*rounding, "seed %d", seed)
				} else {
					require.GreaterOrEqual(t, p.grants[c][i]*rounding, tiers.grants[c][i], "seed %d", seed)
				}
			}
		}
		for priority, perMinute := range p.Demand() {
			if Priority(priority) == PrioritySweep {
				require.LessOrEqual(t, perMinute, tiers.Demand()[priority]*rounding, "seed %d", seed)
			}
		}
		for i, u := range units {
			is, was := &p.Units[i], &tiers.Units[i]
			require.LessOrEqual(t, float64(is.Poll), float64(was.Poll)*rounding, "seed %d", seed)
			require.LessOrEqual(t, float64(is.Hot), float64(was.Hot)*rounding, "seed %d", seed)
			require.LessOrEqual(t, float64(is.LongestPollInterval), float64(was.LongestPollInterval)*rounding, "seed %d", seed)
			if is.group > 0 {
				followed++
				require.False(t, u.FirstRead)
			}
		}
	}
	require.Greater(t, followed, 50, "hardly any unit has followed edits")
}

// Periods move away from the tiers by small steps: as more edits are seen, and as more rows come, so that polls cease to read all of a tier.
func TestPeriodsDoNotJump(t *testing.T) {
	policy := DefaultPolicy()
	policy.Adapt = true
	var before []Stated
	farthest := 1.0
	interactions := func(perDay float64) *Unit {
		u := simAccount(perDay)[0]
		require.Equal(t, events.Interactions, u.Endpoint)
		return u
	}
	edit := func(u *Unit) { u.Edits.Observe(simNow.Add(-3*timeline.Day), simNow.Add(-timeline.Day), simNow, 1) }
	step := func(u *Unit, what string) {
		now := policy.Stated(u.Endpoint, &Derive([]*Unit{u}, simNow, policy).Units[0])
		for k := range before {
			by := float64(now[k].Every) / float64(before[k].Every)
			require.InDelta(t, 1, by, 0.1, "%s: tier %d from %v to %v", what, k, before[k].Every, now[k].Every)
			tier := float64(policy.Tiers[k].Every) / float64(now[k].Every)
			farthest = max(farthest, tier, 1/tier)
		}
		before = now
	}
	u := interactions(900)
	for edits := range 500 {
		step(u, fmt.Sprint(edits, " edits"))
		edit(u)
	}
	for perDay := 900.0; perDay < 4000; perDay *= 1.02 {
		more := interactions(perDay)
		more.Edits = u.Edits
		step(more, fmt.Sprint(perDay, " rows a day"))
	}
	require.Greater(t, farthest, 3.0, "the periods did not move")
}

// Edits are counted by the ages at which tiers are divided.
func TestSlicesEndWhereCountsDo(t *testing.T) {
	policy := DefaultPolicy()
	for _, days := range []bool{false, true} {
		tiers := policy.Tiers
		if days {
			tiers = policy.ConversationTiers
		}
		for _, s := range divide(tiers, days) {
			require.Contains(t, timeline.EditAges(), s.Within)
		}
	}
}

var simNow = time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)

// Rows end after simTalk, and are hot until simHot.
const (
	simTalk = 10 * time.Minute
	simHot  = simTalk + 30*time.Minute
)

// simEdits draw how old a row is when it is edited.
var simEdits = map[string]func(*rand.Rand) time.Duration{
	"fast": soon,
	"slow": func(rnd *rand.Rand) time.Duration {
		return simTalk + time.Duration(rnd.ExpFloat64()*float64(36*time.Hour))
	},
	"two-humped": func(rnd *rand.Rand) time.Duration {
		if rnd.IntN(2) == 0 {
			return soon(rnd)
		}
		return 3*timeline.Day + time.Duration(rnd.NormFloat64()*float64(6*time.Hour))
	},
}

func soon(rnd *rand.Rand) time.Duration {
	return simTalk + time.Duration(rnd.ExpFloat64()*float64(30*time.Minute))
}

// simAccount returns the units of an account with one bot that had the same volume every day of a week.
func simAccount(perDay float64) []*Unit {
	var starts []time.Time
	for t := simNow.Add(-7 * timeline.Day); t.Before(simNow); t = t.Add(time.Duration(float64(timeline.Day) / perDay)) {
		starts = append(starts, t)
	}
	var units []*Unit
	for _, e := range events.Endpoints() {
		u := &Unit{
			Endpoint: e, Start: starts[0], PollInterval: time.Minute, Read: &timeline.Set{}, Density: &timeline.Density{}, LastPoll: simNow,
		}
		if e == events.Interactions {
			u.PollInterval = 15 * time.Second
		}
		u.Density.Observe(timeline.Span{From: u.Start, To: simNow}, starts)
		u.Read.Mark(u.Start, simNow, simNow)
		for i := len(starts) - 1; starts[i].After(simNow.Add(-simHot)); i-- {
			ref := HotRef{ID: fmt.Sprint(i), Start: starts[i], Read: simNow}
			if end := starts[i].Add(simTalk); end.Before(simNow) {
				ref.End = end
			}
			u.Hot = append(u.Hot, ref)
		}
		units = append(units, u)
	}
	return units
}

// A reading is how often one row is read again: by the cadence while it is hot, then by tiers.
type reading struct {
	hot   *Cadence
	tiers []Tier
	days  bool // only whole days can be read: a row leaves a tier when its day does
}

func readingOf(u *Unit, c *Cadence) reading {
	r := reading{hot: c, days: u.paging().days}
	for k, t := range c.Tiers {
		r.tiers = append(r.tiers, Tier{t.Within, c.Sweep[k]})
	}
	return r
}

// never is an age at which no row is read any more.
const never = 14 * timeline.Day

// next returns the age at which a row is read next after it was read at an age.
// It starts so long before the end of its day.
func (r *reading) next(age, left time.Duration) time.Duration {
	var from time.Duration
	due := never
	if age < simHot { // it is hot until it was read once more
		if due = age + r.hot.HotAgain(max(0, age-simTalk)); due < simHot {
			return due
		}
	}
	for _, t := range r.tiers {
		if r.days {
			t.Within += left
		}
		if at := max(age+t.Every, from); age < t.Within && (from <= age || at < t.Within) {
			due = min(due, at)
		}
		from = t.Within
	}
	return due
}

// delays are how long edits took to be seen, in seconds.
type delays struct{ mean, p99 float64 }

// play has n rows edited and read, and calls see with the ages of the last read before each edit and of the first after.
func (r *reading) play(draw func(*rand.Rand) time.Duration, n int, rnd *rand.Rand, see func(before, seen time.Duration)) delays {
	var took []float64
	var sum float64
	for len(took) < n {
		edit := draw(rnd)
		if edit > 6*timeline.Day {
			continue // too late for some tiers
		}
		before := time.Duration(rnd.Int64N(int64(r.hot.Hot)))
		at, left := before, time.Duration(rnd.Int64N(int64(timeline.Day)))
		for at <= edit {
			before, at = at, r.next(at, left)
		}
		took = append(took, (at - edit).Seconds())
		sum += (at - edit).Seconds()
		if see != nil {
			see(before, at)
		}
	}
	slices.Sort(took)
	return delays{sum / float64(n), took[n*99/100]}
}

// perEvent returns how many requests a unit takes for each event that is published of it, if a row is ten events and an edit is one, and
// each row is edited once.
func (p *Plan) perEvent(u *Unit, perDay float64) float64 {
	var requests float64
	for _, c := range []class{classBusy, classIdle, classHot, classSweep} {
		requests += p.rate(c, u.Endpoint) / classes[c].headroom
	}
	return requests / (11 * perDay / timeline.Day.Minutes())
}

// round returns so many seconds with three digits.
func round(s float64) string {
	switch {
	case s < 600:
		return fmt.Sprintf("%.0f s", s)
	case s < 100*60:
		return fmt.Sprintf("%.0f min", s/60)
	}
	return fmt.Sprintf("%.1f h", s/3600)
}
