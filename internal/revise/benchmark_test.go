package revise_test

import (
	"fmt"
	"testing"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
)

// BenchmarkDecide measures a page of 1,000 sights that are all new, and one of sights that are all known.
func BenchmarkDecide(b *testing.B) {
	page := func() []events.Sighting {
		sightings := make([]events.Sighting, 1000)
		for i := range sightings {
			sightings[i] = thumb(fmt.Sprint(i), "POSITIVE")
		}
		return sightings
	}
	known := memory{}
	in := revise.Input{Sightings: page(), ShownAt: noon, LastRead: func(*events.Sighting) time.Time { return noon }}
	first, err := revise.Decide(in, known)
	if err != nil {
		b.Fatal(err)
	}
	for name, m := range map[string]memory{"new": {}, "known": known} {
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
			b.ReportMetric(float64(b.N*len(in.Sightings))/b.Elapsed().Seconds(), "sights/s")
		})
	}
}
