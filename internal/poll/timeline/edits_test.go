package timeline_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/poll/timeline"
)

// An edit counts for the ages at which it may have been made, whole: old ages get less of it than young ones of the same length.
func TestEditsAreDividedAmongAges(t *testing.T) {
	var e timeline.Edits
	e.Observe(base, base.Add(2*time.Hour), base.Add(8*time.Hour), 4)
	require.InDelta(t, 2, e.Count(base, 2*time.Hour, 4*time.Hour), 1e-9)
	require.InDelta(t, 2, e.Count(base, 4*time.Hour, 8*time.Hour), 1e-9)
	require.InDelta(t, 4, e.Count(base, 0, 35*timeline.Day), 1e-9)

	e = timeline.Edits{}
	e.Observe(base, base.Add(-time.Hour), base.Add(time.Second), 1) // before it started, as a late row is seen
	require.InDelta(t, 1, e.Count(base, 0, time.Minute), 1e-9)
	e.Observe(base, base.Add(40*timeline.Day), base.Add(50*timeline.Day), 1)
	e.Observe(base, base.Add(time.Hour), base.Add(time.Hour), 1)
	e.Observe(base, base.Add(time.Hour), base.Add(2*time.Hour), 0)
	require.InDelta(t, 1, e.Count(base, 0, 35*timeline.Day), 1e-9, "too old, in no time, and without weight")
	e.Observe(base, base.Add(30*timeline.Day), base.Add(50*timeline.Day), 1)
	require.InDelta(t, 1, e.Count(base, 21*timeline.Day, 35*timeline.Day), 1e-9)
}

// Edits halve every week, and a clock that is set back changes nothing.
func TestEditsFade(t *testing.T) {
	var e timeline.Edits
	at := func(now time.Time) { e.Observe(now.Add(-3*time.Hour), now.Add(-time.Hour), now, 1) }
	at(base)
	at(base.Add(7 * timeline.Day))
	require.InDelta(t, 1.5, e.Count(base, 0, 35*timeline.Day), 1e-9)
	at(base)
	require.InDelta(t, 2.5, e.Count(base, 0, 35*timeline.Day), 1e-9)
	require.InDelta(t, 1.25, e.Count(base.Add(14*timeline.Day), 0, 35*timeline.Day), 1e-9, "none was seen for a week")
}

func TestEditsThatCannotBeRead(t *testing.T) {
	var e timeline.Edits
	e.Observe(base, base.Add(time.Hour), base.Add(2*time.Hour), 1)
	good := e.AppendBinary(nil)
	for n := range good {
		_, err := timeline.DecodeEdits(good[:n])
		require.Error(t, err, "%d bytes", n)
	}
	_, err := timeline.DecodeEdits(append(good, 0))
	require.Error(t, err)
	_, err = timeline.DecodeEdits(append([]byte{2}, good[1:]...))
	require.ErrorContains(t, err, "version 2")
}

func FuzzDecodeEdits(f *testing.F) {
	var e timeline.Edits
	f.Add(e.AppendBinary(nil))
	e.Observe(base, base.Add(time.Hour), base.Add(2*time.Hour), 1)
	f.Add(e.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := timeline.DecodeEdits(b)
		if err != nil {
			return
		}
		again, err := timeline.DecodeEdits(e.AppendBinary(nil))
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}
