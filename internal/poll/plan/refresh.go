package plan

import (
	"math"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// What follows decides how often time of each age is read again, by the ages at which edits were seen. Every tier is divided at the ages
// that timeline.Edits tells apart. If one sweep of a slice of time takes so many requests, and so many edits are made to its rows, then a
// period costs requests/period and delays each of the edits by up to the period. For a given sum of costs, the sum of the squares of the
// delays is the least if each period is proportional to
//
//	cbrt(requests/edits)
//
// This is how crawlers refresh pages that change at rates of their own (Cho and Garcia-Molina, "Effective page refresh policies for
// web crawlers", ACM TODS 28(4), 2003), with the square of the delay in place of the delay. For the delay itself the root would be the
// square root: in TestAdaptedSweeps its mean is up to a fifth shorter, and the slowest hundredth of edits waits up to 2.5 times as long.
//
// The tiers that are configured stand in for edits that were not seen yet. They are what the rule gives for edits in proportion to
// requests/period^3, and these count as priorEdits.

const (
	// priorEdits is the weight of the edits that the configured tiers stand for.
	priorEdits = 30
	// youngestSlice is the age below which time is not divided: most of its rows are hot.
	youngestSlice = 30 * time.Minute
	// shortestSweep bounds every period from below. No period is longer than mostTimes that of the tier, nor than that of the last tier.
	shortestSweep = time.Minute
	mostTimes     = 4
)

// slicesOf returns the tiers of an endpoint, divided where Policy.Adapt asks for that.
func (p *Policy) slicesOf(e events.Endpoint) []Tier {
	tiers := p.TiersOf(e)
	if !p.Adapt || len(tiers) == 0 {
		return tiers
	}
	var out []Tier
	k := 0
	for _, age := range timeline.EditAges() {
		for k < len(tiers)-1 && tiers[k].Within < age {
			k++
		}
		if age >= youngestSlice && age < tiers[len(tiers)-1].Within && (age >= timeline.Day || !pagingOf(e).days) {
			out = append(out, Tier{age, tiers[k].Every})
		}
	}
	return append(out, tiers[len(tiers)-1])
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
