package plan

import (
	"math"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// What follows decides how often time of each age is read again, by the ages at which edits were seen. Every tier is divided at sliceAges.
// If one sweep of such a slice takes so many requests, and so many edits are made to its rows, then a period costs requests/period and
// delays each of the edits by up to the period. For a given sum of costs, the sum of the squares of the delays is the least if each period
// is proportional to
//
//	cbrt(requests/edits)
//
// This is how crawlers refresh pages that change at rates of their own (Cho and Garcia-Molina, "Effective page refresh policies for
// web crawlers", ACM TODS 28(4), 2003; Azar et al., "Tractable near-optimal policies for crawling", PNAS 115(32), 2018), with the square
// of the delay in place of the time that a copy is out of date. For the delay itself the root would be the square root: its mean was
// hardly shorter in simulations, but the slowest hundredth of edits waited up to 2.5 times as long as with tiers.
//
// The tiers that are configured stand in for edits that were not seen yet. They are what the rule gives for edits in proportion to
// requests/period^3, and these count as priorEdits.
//
// Only sweeps pay for this. The sweeps of a unit take no more requests than its tiers would, so that nothing else is granted less or has
// to leave more of the budget to sweeps. During the first read of a unit, and until enoughEdits were seen, its tiers hold as they are. As
// edits and rows become more, the periods move away from those of the tiers, but not by jumps: what was stated a moment ago should still be
// true.

const (
	// priorEdits is the weight of the edits that the configured tiers stand for.
	priorEdits = 30
	// enoughEdits is the weight of edits from which on periods begin to move; at twice as many they have gone half the way.
	enoughEdits = 100
	// shortestSweep bounds every period from below. No period is longer than mostTimes that of the tier, nor than that of the last tier.
	shortestSweep = time.Minute
	mostTimes     = 4
)

// sliceAges are the ages at which tiers are divided, beside their own. More of them cost more than they bring: time is read once more for
// each that it passes, and spans get short.
var sliceAges = []time.Duration{8 * time.Hour, timeline.Day, 2 * timeline.Day, 4 * timeline.Day}

// followEdits divides the tiers of a unit, gives each part the period that follows from the edits that were seen, and measures them. It
// reports false, and changes nothing, where the tiers are to be used as they are.
func (p *Plan) followEdits(u *Unit, c *Cadence, m *measure, now time.Time) bool {
	if u.FirstRead || len(c.Tiers) == 0 || u.Edits.Count(now, 0, c.Tiers[len(c.Tiers)-1].Within) <= enoughEdits {
		return false
	}
	divided := divide(c.Tiers, u.paging().days)
	of := p.measure(u, divided, now)
	k := 0
	for i, t := range c.Tiers { // together the parts take what the tier takes
		first, sum := k, 0.0
		for ; k < len(divided) && divided[k].Within <= t.Within; k++ {
			sum += of.sweep[k]
		}
		for j := first; j < k && sum > 0; j++ {
			of.sweep[j] *= m.sweep[i] / sum
		}
	}
	adapt(divided, of.sweep, &u.Edits, max(u.PollInterval, shortestSweep), now)
	c.Tiers, *m = divided, of
	return true
}

// divide returns tiers divided at sliceAges, at whole days where only these can be read.
func divide(tiers []Tier, days bool) (out []Tier) {
	var from time.Duration
	for _, t := range tiers {
		for _, age := range sliceAges {
			if age > from && age < t.Within && (age >= timeline.Day || !days) {
				out = append(out, Tier{age, t.Every})
			}
		}
		out, from = append(out, t), t.Within
	}
	return out
}

// sweepRate returns how many requests a minute tiers take of which one sweep takes so many.
func sweepRate(tiers []Tier, requests []float64) (rate float64) {
	for k, t := range tiers {
		if requests[k] > 0 {
			rate += requests[k] / t.Every.Minutes()
		}
	}
	return rate
}

// Stated is what the plan states of a tier that is configured.
type Stated struct {
	Within time.Duration
	Every  time.Duration // the longest period that is aimed at within the tier
	Seen   time.Duration // an edit to anything as young as Within is seen within this
}

// Stated sums up the cadence of a unit of an endpoint by the tiers that are configured.
func (p *Policy) Stated(e events.Endpoint, c *Cadence) []Stated {
	tiers := p.TiersOf(e)
	out := make([]Stated, len(tiers))
	k := 0
	for i, t := range tiers {
		if !p.Adapt { // they may be in any order
			out[i] = Stated{t.Within, c.Tiers[i].Every, c.SeenWithin[i]}
			continue
		}
		s := Stated{Within: t.Within}
		for ; k < len(c.Tiers) && c.Tiers[k].Within <= t.Within; k++ {
			s.Every, s.Seen = max(s.Every, c.Tiers[k].Every), c.SeenWithin[k]
		}
		out[i] = s
	}
	return out
}

// adapt gives tiers, of which one sweep takes so many requests, the periods for which the edits that were seen predict the least delay, for
// as many requests as they take with their own. A tier of which one sweep takes a single request keeps its own.
func adapt(tiers []Tier, requests []float64, edits *timeline.Edits, shortest time.Duration, now time.Time) {
	last := tiers[len(tiers)-1]
	perMinute := sweepRate(tiers, requests)
	weights := make([]float64, len(tiers)) // by the tiers alone
	var sum float64
	for k, t := range tiers {
		weights[k] = requests[k] / math.Pow(t.Every.Minutes(), 3)
		sum += weights[k]
	}
	sure := max(0, 1-enoughEdits/edits.Count(now, 0, last.Within))
	ratios := make([]float64, len(tiers)) // of the periods
	var from time.Duration
	for k, t := range tiers {
		ratios[k] = math.Cbrt(requests[k] / (edits.Count(now, from, t.Within) + priorEdits*weights[k]/sum))
		from = t.Within
	}
	scaled := func(scale float64) []Tier {
		out := slices.Clone(tiers)
		for k, t := range tiers {
			if part := sure * min(requests[k]-1, 1); part > 0 { // of the way
				longest := max(t.Every, min(mostTimes*t.Every, last.Every))
				period := min(max(times(time.Minute, scale*ratios[k]), shortest), longest)
				out[k].Every = times(t.Every, math.Pow(float64(period)/float64(t.Every), part))
			}
		}
		return out
	}
	lo, hi := 1e-9, 1e9
	for range 100 {
		if scale := math.Sqrt(lo * hi); sweepRate(scaled(scale), requests) > perMinute {
			lo = scale
		} else {
			hi = scale
		}
	}
	copy(tiers, scaled(hi))
}
