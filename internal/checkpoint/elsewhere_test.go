package checkpoint_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

// An entity is found under whatever day it is stored, and no other, while days are written to, forgotten and replayed, and whether
// the store has learned what its days lack or not.
func TestAnywhere(t *testing.T) {
	const days = 12
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := checkpointtest.Open(t)
		stored := map[checkpoint.Hash]checkpoint.Key{}
		next := 0
		newKey := func() checkpoint.Key {
			next++
			return shared(noon.Add(time.Duration(r.IntN(days))*day), next)
		}
		forget := func(gone uint32) {
			for hash, key := range stored {
				if key.Day == gone {
					delete(stored, hash)
				}
			}
		}
		for range 60 {
			switch r.IntN(8) {
			case 0:
				gone := newKey().Day
				require.NoError(t, s.Forget(account, []uint32{gone}))
				forget(gone)
			case 1: // a replay gives a day other entities, as many as it had
				key := newKey()
				n := 0
				for _, k := range stored {
					if k.Day == key.Day {
						n++
					}
				}
				forget(key.Day)
				step := checkpoint.Step{Day: key.Day, Forget: checkpoint.ForgetDay}
				for range n {
					k := newKey()
					k.Day = key.Day
					stored[k.Hash] = k
					step.Puts = append(step.Puts, checkpoint.Entry{Key: k, Value: []byte("v")})
				}
				require.NoError(t, s.Apply([]checkpoint.Recorded{{Account: account, Steps: []checkpoint.Step{step}}}, nil))
			default:
				var entries []checkpoint.Entry
				for range r.IntN(40) {
					key := newKey()
					stored[key.Hash] = key
					entries = append(entries, checkpoint.Entry{Key: key, Value: []byte("v")})
				}
				put(t, s, noon, entries...)
			}
			var keys []checkpoint.Key
			for range 30 {
				keys = append(keys, shared(noon.Add(time.Duration(r.IntN(days))*day), 1+r.IntN(next+20)))
			}
			for i, f := range lookup(t, s, checkpoint.Anywhere, keys...) {
				key, known := stored[keys[i].Hash]
				require.Equal(t, known, f.Known, "seed %d", seed)
				if known {
					require.Equal(t, key, f.Key)
				}
			}
		}
	}
}

// An entity that an earlier build stored under its minute is found there.
func TestWhereAnEarlierBuildStoredIt(t *testing.T) {
	s := checkpointtest.Open(t)
	earlier := own(noon, 1)
	put(t, s, noon, checkpoint.Entry{Key: earlier, Value: []byte("v")})
	out := make([]checkpoint.Found, 1)
	require.NoError(t, s.Lookup(account, []checkpoint.Probe{{Key: shared(noon, 1), Slack: checkpoint.Anywhere, Earlier: earlier}}, out))
	require.Equal(t, checkpoint.Found{Known: true, Key: earlier, Value: []byte("v")}, out[0])
}
