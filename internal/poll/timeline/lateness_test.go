package timeline_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/poll/timeline"
)

func TestLatenessQuantiles(t *testing.T) {
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		observed       []time.Duration
		p50, p999, max time.Duration
		allowed        time.Duration
	}{
		"nothing":  {allowed: 5 * time.Minute},
		"at once":  {observed: []time.Duration{0, 0, -time.Second}, allowed: 5 * time.Minute},
		"one late": {observed: []time.Duration{time.Hour}, p50: time.Hour, p999: time.Hour, max: time.Hour, allowed: time.Hour},
		"very late": {
			observed: []time.Duration{90 * day}, p50: 90 * day, p999: 90 * day, max: 90 * day, allowed: 24 * time.Hour,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var l timeline.Lateness
			for _, d := range tt.observed {
				l.Observe(now, d, 1)
			}
			require.Equal(t, tt.p50, l.Quantile(0.5))
			require.Equal(t, tt.p999, l.Quantile(0.999))
			require.Equal(t, tt.max, l.Max())
			require.Equal(t, tt.allowed, l.Allowed())
		})
	}
}

// A quantile is never below the true one, and at most 10 % above it.
func TestLatenessQuantilesAgainstSorting(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	for range 200 {
		var l timeline.Lateness
		all := make([]time.Duration, 1+rnd.IntN(3000))
		for i := range all {
			all[i] = time.Duration(rnd.ExpFloat64() * float64(rnd.IntN(3600)) * float64(time.Second))
			l.Observe(now, all[i], 1)
		}
		slices.Sort(all)
		for _, q := range []float64{0.5, 0.9, 0.999, 1} {
			want := all[max(int(q*float64(len(all))+0.999999)-1, 0)]
			got := l.Quantile(q)
			require.GreaterOrEqual(t, got, want)
			require.LessOrEqual(t, got, max(want*110/100, time.Second))
		}
		back, err := timeline.DecodeLateness(l.AppendBinary(nil))
		require.NoError(t, err)
		require.Equal(t, &l, back)
	}
}

func TestLatenessForgetsAfterSevenDays(t *testing.T) {
	var l timeline.Lateness
	start := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	l.Observe(start, 2*time.Hour, 1)
	l.Observe(start.Add(6*day), time.Second, 1)
	require.Equal(t, 2*time.Hour, l.Max())
	l.Observe(start.Add(7*day), time.Second, 1)
	require.Equal(t, time.Second, l.Max())
}

func TestLatenessMergeIsAnyOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	start := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	for range 300 {
		var whole timeline.Lateness
		parts := make([]timeline.Lateness, 3)
		for range rnd.IntN(60) {
			at, d := start.Add(time.Duration(rnd.IntN(10*24))*time.Hour), time.Duration(rnd.Int64N(int64(3*day)))
			parts[rnd.IntN(3)].Observe(at, d, 1)
			whole.Observe(at, d, 1)
		}
		var ab, ba timeline.Lateness
		for i := range parts {
			ab.Merge(&parts[i])
			ba.Merge(&parts[2-i])
		}
		require.Equal(t, ab.AppendBinary(nil), ba.AppendBinary(nil))
		require.Equal(t, whole.AppendBinary(nil), ab.AppendBinary(nil))
	}
}

func FuzzDecodeLateness(f *testing.F) {
	var l timeline.Lateness
	f.Add(l.AppendBinary(nil))
	l.Observe(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), time.Hour, 3)
	f.Add(l.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := timeline.DecodeLateness(b)
		if err != nil {
			return
		}
		again, err := timeline.DecodeLateness(l.AppendBinary(nil))
		require.NoError(t, err)
		require.Equal(t, l.Allowed(), again.Allowed())
	})
}
