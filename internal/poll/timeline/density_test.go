package timeline_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/poll/timeline/timelinetest"
)

// wave has nine times as many rows at its peak as at its minimum.
func wave(t time.Time) float64 {
	return 1 + 0.8*math.Sin(float64(t.Hour()*60+t.Minute())/1440*2*math.Pi)
}

// office has hardly any rows at night, steep mornings and a quiet weekend.
func office(t time.Time) float64 {
	v := 0.1 + math.Max(0, math.Sin((float64(t.Hour())+float64(t.Minute())/60-7)/12*math.Pi))*2.8
	if wd := t.Weekday(); wd == time.Saturday || wd == time.Sunday {
		v *= 0.2
	}
	return v
}

// Reading history forward, in windows that must fit on a page, takes about 1.3 times the smallest possible number of requests. A window
// that is too full costs one request more. If the rate were known exactly, the factor would be 1.25.
func TestDensitySizesWindowsOfOnePage(t *testing.T) {
	for name, tt := range map[string]struct {
		perDay float64
		shape  func(time.Time) float64
		most   float64 // 0: only printed
	}{
		"ten thousand a day":      {10_000, timelinetest.Flat, 1.3},
		"three hundred a day":     {300, timelinetest.Flat, 1.31},
		"day and night, many":     {10_000, wave, 1.3},
		"day and night, a few":    {1_000, wave, 1.35},
		"office hours, many":      {10_000, office, 1.35},
		"office hours, a few":     {1_000, office, 1.4},
		"office hours, very few":  {280, office, 0},
		"office hours, very many": {60_000, office, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var requests, must float64
			for seed := range uint64(6) {
				rnd := rand.New(rand.NewPCG(seed, 11))
				length := time.Duration(min(25_000/tt.perDay, 365) * float64(day))
				all := timelinetest.Arrivals(rnd, base, length, tt.perDay, tt.shape)
				var d timeline.Density
				end := base.Add(length)
				for from := base; from.Before(end); {
					w := timeline.Span{From: from, To: d.Ahead(from, timeline.Earlier(end, from.Add(7*day-time.Minute)), 83)}
					rows := timelinetest.Within(all, w)
					requests++
					if len(rows) >= 100 { // read on by offset, which costs one request more
						requests++
					}
					d.Observe(w, rows)
					from = w.To
				}
				must += math.Ceil(float64(len(all)) / 100)
			}
			if tt.most > 0 {
				require.LessOrEqual(t, requests/must, tt.most)
			}
			t.Logf("%.3f times the fewest possible", requests/must)
		})
	}
}

func TestDensityWindowsStayWithinBounds(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		var d timeline.Density
		for range rnd.IntN(20) {
			from := base.Add(time.Duration(rnd.Int64N(int64(20 * day))))
			span := timeline.Span{From: from, To: from.Add(time.Duration(1 + rnd.Int64N(int64(2*day))))}
			starts := make([]time.Time, rnd.IntN(1000))
			for i := range starts {
				starts[i] = from.Add(time.Duration(rnd.Int64N(int64(span.To.Sub(from)))))
			}
			d.Observe(span, starts)
		}
		from := base.Add(time.Duration(rnd.Int64N(int64(20 * day))))
		limit := from.Add(time.Duration(rnd.Int64N(int64(7 * day))))
		rows := rnd.Float64() * 5000
		to := d.Ahead(from, limit, rows)
		require.False(t, to.After(limit))
		require.True(t, to.After(from) || !limit.After(from))
		require.LessOrEqual(t, d.Rows(timeline.Span{From: from, To: to}), rows*1.5+d.Rate(to)*2+10, "seed %d", seed)
		back := d.Back(limit, from, rows)
		require.False(t, back.Before(from) || back.After(limit))
		again, err := timeline.DecodeDensity(d.AppendBinary(nil))
		require.NoError(t, err)
		require.InEpsilon(t, d.Rows(timeline.Span{From: base, To: base.Add(20 * day)}),
			again.Rows(timeline.Span{From: base, To: base.Add(20 * day)}), 1e-3)
	}
}

// A bot without rows costs a few bytes, and one window may be as long as windows get.
func TestDensityOfAQuietBot(t *testing.T) {
	var d timeline.Density
	now := base
	for range 20 {
		d.Observe(timeline.Span{From: now, To: now.Add(day)}, nil)
		now = now.Add(day)
	}
	require.Equal(t, now.Add(-6*day), d.Back(now, now.Add(-6*day), 78))
	require.Less(t, len(d.AppendBinary(nil)), 32)
}

func FuzzDecodeDensity(f *testing.F) {
	var d timeline.Density
	f.Add(d.AppendBinary(nil))
	d.Observe(timeline.Span{From: base, To: base.Add(5 * time.Hour)}, []time.Time{base, base.Add(time.Hour)})
	f.Add(d.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := timeline.DecodeDensity(b)
		if err != nil {
			return
		}
		to := d.Ahead(base, base.Add(6*day), 82)
		require.True(t, to.After(base))
		require.False(t, math.IsNaN(d.Rows(timeline.Span{From: base, To: base.Add(day)})))
		_, err = timeline.DecodeDensity(d.AppendBinary(nil))
		require.NoError(t, err)
	})
}

// A span may be longer than the hours that are counted, and it may begin and end within an hour.
func TestDensityOfALongSpan(t *testing.T) {
	start := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	var d timeline.Density
	span := timeline.Span{From: start.Add(25 * time.Minute), To: start.Add(9*day + 7*time.Minute)}
	var starts []time.Time
	for at := span.From; at.Before(span.To); at = at.Add(time.Minute) {
		starts = append(starts, at)
	}
	d.Observe(span, starts)
	require.InEpsilon(t, 1.0/60, d.Rate(span.To.Add(-time.Hour)), 0.01)
	require.InEpsilon(t, 24*60, d.Rows(timeline.Span{From: span.To.Add(-day), To: span.To}), 0.05)
}
