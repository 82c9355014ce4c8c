package plan

import (
	"math"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// What follows decides how often time of each age is read again, by the ages at which edits were seen. Every tier is divided at sliceAges.
// If one sweep of such a slice takes so many requests, and so many edits are made to its rows, then a
// period costs requests/period and delays each of the edits by up to the period. For a given sum of costs, the sum of the squares of the
// delays is the least if each period is proportional to
//
//	cbrt(requests/edits)
//
// This is how crawlers refresh pages that change at rates of their own (Cho and Garcia-Molina, "Effective page refresh policies for
// web crawlers", ACM TODS 28(4), 2003), with the square of the delay in place of the delay. For the delay itself the root would be the
// square root: its mean was hardly shorter in simulations, but the slowest hundredth of edits waited up to 2.5 times as long as with tiers.
//
// The tiers that are configured stand in for edits that were not seen yet. They are what the rule gives for edits in proportion to
// requests/period^3, and these count as priorEdits.

const (
	// priorEdits is the weight of the edits that the configured tiers stand for.
	priorEdits = 30
	// shortestSweep bounds every period from below. No period is longer than mostTimes that of the tier, nor than that of the last tier.
	shortestSweep = time.Minute
	mostTimes     = 4
)

// sliceAges are the ages at which tiers are divided, beside their own. More of them cost more than they bring: time is read once more for
// each that it passes, and spans get short.
var sliceAges = []time.Duration{8 * time.Hour, timeline.Day, 2 * timeline.Day, 4 * timeline.Day}

// slicesOf returns the tiers of an endpoint, divided where Policy.Adapt asks for that.
func (p *Policy) slicesOf(e events.Endpoint) []Tier {
	tiers := p.TiersOf(e)
	if !p.Adapt || len(tiers) == 0 {
		return tiers
	}
	var out []Tier
	var from time.Duration
	for _, t := range tiers {
		for _, age := range sliceAges {
			if age > from && age < t.Within && (age >= timeline.Day || !pagingOf(e).days) {
				out = append(out, Tier{age, t.Every})
			}
		}
		out, from = append(out, t), t.Within
	}
	return out
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

// adapt returns tiers with the periods for which the edits that were seen predict the least delay. One sweep of a tier takes so many
// requests. Together they get perMinute requests, or as many as the tiers take at their own periods if that is more.
func adapt(tiers []Tier, requests []float64, edits *timeline.Edits, shortest time.Duration, perMinute float64) []Tier {
	weights := make([]float64, len(tiers)) // by the tiers alone
	var sum, fixed float64
	for k, s := range tiers {
		weights[k] = requests[k] / math.Pow(s.Every.Minutes(), 3)
		sum += weights[k]
		fixed += requests[k] / s.Every.Minutes()
	}
	if sum == 0 {
		return tiers
	}
	ratios := make([]float64, len(tiers)) // of the periods
	var from time.Duration
	for k, s := range tiers {
		seen := edits.Count(from, s.Within)
		ratios[k] = math.Cbrt(requests[k] / (seen + priorEdits*weights[k]/sum))
		from = s.Within
	}
	perMinute = max(perMinute, fixed)
	period := func(k int, scale float64) time.Duration {
		longest := min(mostTimes*tiers[k].Every, tiers[len(tiers)-1].Every)
		return min(max(times(time.Minute, scale*ratios[k]), shortest), longest)
	}
	lo, hi := 1e-9, 1e9
	for range 100 {
		scale := math.Sqrt(lo * hi)
		var rate float64
		for k := range tiers {
			if requests[k] > 0 {
				rate += requests[k] / period(k, scale).Minutes()
			}
		}
		if rate > perMinute {
			lo = scale
		} else {
			hi = scale
		}
	}
	out := make([]Tier, len(tiers))
	for k, s := range tiers {
		out[k] = s
		if requests[k] > 0 {
			out[k].Every = period(k, hi)
		}
	}
	return out
}
