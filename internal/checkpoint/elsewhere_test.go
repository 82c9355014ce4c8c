package checkpoint_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// BenchmarkElsewhere looks up the entities of a page, all of them new, to which two endpoints may give days up to 35 apart: every day
// within reach must be searched.
func BenchmarkElsewhere(b *testing.B) {
	if testing.Short() {
		b.Skip("writes two million entities first")
	}
	const days, known = 70, 2_000_000
	s := checkpointtest.Open(b)
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	hash := func() (h checkpoint.Hash) {
		binary.BigEndian.PutUint64(h[:], random.Uint64())
		return h
	}
	for d := range days {
		c := checkpoint.Changes{Account: account, ReadAt: start}
		for n := range known / days {
			at := start.AddDate(0, 0, d).Add(time.Duration(n) * time.Second)
			c.Puts = append(c.Puts, checkpoint.Entry{Key: checkpoint.KeyAt(at, n%3 == 0, hash()), Value: make([]byte, 60)})
		}
		if err := s.Commit(c); err != nil {
			b.Fatal(err)
		}
	}
	const page = 180 // of a thousand things
	probes, found := make([]checkpoint.Probe, page), make([]checkpoint.Found, page)
	before := cpuTime(b)
	for b.Loop() {
		for i := range probes {
			probes[i] = checkpoint.Probe{Key: checkpoint.KeyAt(start.AddDate(0, 0, 35), true, hash()), Slack: 35}
		}
		if err := s.Lookup(account, probes, found); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()*1e6/float64(b.N)/page, "cpu-us/probe")
}
