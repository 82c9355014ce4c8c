package koresim_test

import (
	"testing"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

func BenchmarkLedger(b *testing.B) {
	s, err := koresim.New(koresim.Config{Seed: 3, SegmentsPerDay: 2000, Start: start})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n = 0
		for range s.Ledger(start.Add(24 * time.Hour)) {
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}

// BenchmarkPage is a page of 100 segments that was not asked for before.
func BenchmarkPage(b *testing.B) {
	c := &client{now: start.Add(24 * time.Hour)}
	s, err := koresim.New(koresim.Config{Seed: 3, SegmentsPerDay: 20000, Start: start, RequestsPerMinute: -1, Clock: func() time.Time { return c.now }})
	if err != nil {
		b.Fatal(err)
	}
	c.s, c.account = s, s.Accounts()[0]
	offset := 0
	b.ReportAllocs()
	for b.Loop() {
		offset = (offset + 100) % 9000
		r := c.request(b, events.Interactions, window(start, start.Add(24*time.Hour), offset, 100), nil)
		resp, err := s.Transport().RoundTrip(r)
		if err != nil || resp.StatusCode != 200 {
			b.Fatal(resp, err)
		}
		resp.Body.Close()
		b.SetBytes(resp.ContentLength)
	}
}
