// Package timelinetest makes the start times of rows, for tests.
package timelinetest

import (
	"math/rand/v2"
	"slices"
	"time"

	"agentassist-poller/internal/poll/timeline"
)

// Arrivals returns random start times of rows, ascending: perDay on average, with the relative rate that shape gives for each moment.
func Arrivals(rnd *rand.Rand, from time.Time, length time.Duration, perDay float64, shape func(time.Time) float64) []time.Time {
	peak := 0.0
	for h := range 7 * 24 {
		peak = max(peak, shape(from.Add(time.Duration(h)*time.Hour)))
	}
	var out []time.Time
	for t := from; ; {
		t = t.Add(time.Duration(rnd.ExpFloat64() / (perDay * peak) * float64(timeline.Day)))
		if t.Sub(from) >= length {
			return out
		}
		if rnd.Float64() < shape(t)/peak {
			out = append(out, t)
		}
	}
}

// Flat is the shape of a rate that never changes.
func Flat(time.Time) float64 { return 1 }

// Within returns the times in span. The times must be in order.
func Within(all []time.Time, span timeline.Span) []time.Time {
	lo, _ := slices.BinarySearchFunc(all, span.From, time.Time.Compare)
	hi, _ := slices.BinarySearchFunc(all, span.To, time.Time.Compare)
	return all[lo:max(lo, hi)]
}
