package timeline_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/poll/timeline"
)

const day = 24 * time.Hour

// model is the same as a Set, second by second: when it was last read, 0 for never.
type model [80]int

var base = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func at(sec int) time.Time { return base.Add(time.Duration(sec) * time.Second) }

func (m *model) mark(from, to, read int) {
	for i := from; i < min(to, read); i++ {
		m[i] = read
	}
}

func (m *model) through(from int) int {
	for from < len(m) && m[from] != 0 {
		from++
	}
	return from
}

func (m *model) oldest(from, to int) (int, bool) {
	if from >= to {
		return 0, false
	}
	oldest := m[from]
	for i := from; i < to; i++ {
		oldest = min(oldest, m[i])
	}
	return oldest, oldest > 0
}

// agree checks every second of a set against the model. After Coalesce a set may give an older read, never a later one.
func agree(t *testing.T, s *timeline.Set, m *model, exact bool) {
	t.Helper()
	for i := range m {
		read, ok := s.LastRead(at(i))
		if ok != (m[i] > 0) {
			t.Fatalf("second %d: covered %v, want %v", i, ok, m[i] > 0)
		}
		if ok && (exact && !read.Equal(at(m[i])) || read.After(at(m[i]))) {
			t.Fatalf("second %d: last read %v, want %v", i, read, at(m[i]))
		}
	}
}

func TestSetAgainstModel(t *testing.T) {
	for seed := range uint64(10_000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var s timeline.Set
		var m model
		exact := true
		now := len(m)
		for range 1 + rnd.IntN(14) {
			from := rnd.IntN(len(m))
			to := from + rnd.IntN(len(m)-from)
			switch rnd.IntN(12) {
			case 0:
				s.Drop(at(from))
				clear(m[:from])
			case 1:
				limit := 1 + rnd.IntN(6)
				s.Coalesce(limit, at(now))
				exact = false
				gaps := s.Gaps(s.Bounds().From, s.Bounds().To)
				require.LessOrEqual(t, s.Len(), max(limit, len(gaps)+1), "seed %d", seed)
			case 2:
				back, err := timeline.DecodeSet(s.AppendBinary(nil))
				require.NoError(t, err, "seed %d", seed)
				s = *back
			default:
				read := now
				if rnd.IntN(4) == 0 {
					read = from + 1 + rnd.IntN(40)
				}
				if read <= from {
					read = from + 1
				}
				s.Mark(at(from), at(to), at(read))
				m.mark(from, to, read)
				now += rnd.IntN(5)
			}
			agree(t, &s, &m, exact)
		}
		for range 10 {
			from := rnd.IntN(len(m))
			to := from + rnd.IntN(len(m)-from)
			if got := s.ReadThrough(at(from)); !got.Equal(at(m.through(from))) {
				t.Fatalf("seed %d: ReadThrough(%d) = %v, want %d", seed, from, got, m.through(from))
			}
			if got, want := s.Covered(at(from), at(to)), m.through(from) >= to; got != want {
				t.Fatalf("seed %d: Covered(%d, %d) = %v", seed, from, to, got)
			}
			got, ok := s.OldestRead(at(from), at(to))
			want, wantOK := m.oldest(from, to)
			if ok != wantOK || ok && got.After(at(want)) || ok && exact && !got.Equal(at(want)) {
				t.Fatalf("seed %d: OldestRead(%d, %d) = %v %v, want %d %v", seed, from, to, got, ok, want, wantOK)
			}
			gap := map[int]bool{}
			for _, g := range s.Gaps(at(from), at(to)) {
				for i := g.From; i.Before(g.To); i = i.Add(time.Second) {
					gap[int(i.Sub(base)/time.Second)] = true
				}
			}
			for i := from; i < to; i++ {
				if gap[i] != (m[i] == 0) {
					t.Fatalf("seed %d: Gaps(%d, %d) at %d = %v", seed, from, to, i, gap[i])
				}
			}
			end := at(from)
			for _, st := range s.ReadSpans(at(from), at(to)) {
				if st.From.Before(end) || !st.From.Before(st.To) || st.To.After(at(to)) {
					t.Fatalf("seed %d: span %v", seed, st)
				}
				end = st.To
			}
		}
	}
}

// Parts of a millisecond are rounded so that the set never claims more than was read.
func TestSetRoundsToTheSafeSide(t *testing.T) {
	var s timeline.Set
	s.Mark(base.Add(100*time.Microsecond), base.Add(10*time.Second+900*time.Microsecond), base.Add(time.Minute+999*time.Microsecond))
	require.False(t, s.Covered(base, base.Add(time.Second)))
	require.Equal(t, timeline.Span{From: base.Add(time.Millisecond), To: base.Add(10 * time.Second)}, s.Bounds())
	read, ok := s.LastRead(base.Add(time.Second))
	require.True(t, ok)
	require.Equal(t, base.Add(time.Minute), read)
}

// Polls every 15 s leave a small set, and the loss of freshness stays in proportion to the age.
func TestSetCoalesceKeepsProportion(t *testing.T) {
	var s timeline.Set
	const limit = 128
	for now := 15; now < 12*3600; now += 15 {
		s.Mark(at(now-15), at(now), at(now))
		s.Coalesce(limit, at(now))
		require.LessOrEqual(t, s.Len(), limit)
	}
	now := 12 * 3600
	for sec := 0; sec < now-15; sec += 60 {
		read, ok := s.LastRead(at(sec))
		require.True(t, ok)
		told, truth := at(now).Sub(read), at(now).Sub(at(sec))
		require.GreaterOrEqual(t, told, truth-15*time.Second)
		require.LessOrEqual(t, told, truth*3/2+30*time.Second, "%v ago", truth)
	}
	require.Less(t, len(s.AppendBinary(nil)), limit*12)
}

func TestDecodeSetRefuses(t *testing.T) {
	var s timeline.Set
	s.Mark(at(1), at(2), at(3))
	good := s.AppendBinary(nil)
	for name, b := range map[string][]byte{
		"nothing": nil, "another version": append([]byte{9}, good[1:]...), "half": good[:len(good)-1],
		"more": append(append([]byte{}, good...), 0), "huge count": {1, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"empty span": {1, 1, 2, 0, 2}, "overflow": {1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 2},
	} {
		_, err := timeline.DecodeSet(b)
		require.ErrorContains(t, err, "read set of spans", name)
	}
}

func FuzzDecodeSet(f *testing.F) {
	var s timeline.Set
	f.Add(s.AppendBinary(nil))
	s.Mark(at(0), at(10), at(20))
	s.Mark(at(5), at(7), at(30))
	s.Mark(at(50), at(70), at(80))
	f.Add(s.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := timeline.DecodeSet(b)
		if err != nil {
			return
		}
		again, err := timeline.DecodeSet(s.AppendBinary(nil))
		require.NoError(t, err)
		require.Equal(t, s.AppendBinary(nil), again.AppendBinary(nil))
		var end time.Time
		for i, g := range s.ReadSpans(s.Bounds().From, s.Bounds().To) {
			require.True(t, g.From.Before(g.To))
			require.False(t, i > 0 && g.From.Before(end))
			end = g.To
		}
	})
}

func BenchmarkSetMark(b *testing.B) {
	var s timeline.Set
	sec := 0
	for b.Loop() {
		sec += 15
		s.Mark(at(sec-15), at(sec), at(sec))
		s.Coalesce(256, at(sec))
	}
}
