package revise_test

import (
	"fmt"
	"testing"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
)

// BenchmarkDecide measures a page of 1,000 observations of new entities, and one of unchanged entities.
func BenchmarkDecide(b *testing.B) {
	page := func() []events.Observation {
		observations := make([]events.Observation, 1000)
		for i := range observations {
			observations[i] = thumb(fmt.Sprint(i), "POSITIVE")
		}
		return observations
	}
	known := mapStore{}
	in := revise.Input{Observations: page(), ShownAt: noon, LastRead: func(*events.Observation) time.Time { return noon }}
	first, err := revise.Decide(in, known)
	if err != nil {
		b.Fatal(err)
	}
	for name, m := range map[string]mapStore{"new": {}, "known": known} {
		b.Run(name, func(b *testing.B) {
			for _, put := range first.Puts {
				known[put.Key] = put.Value
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := revise.Decide(in, m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(in.Observations))/b.Elapsed().Seconds(), "observations/s")
		})
	}
}
