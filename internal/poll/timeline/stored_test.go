package timeline_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/poll/timeline"
)

// TestEarlierFormsAreRead holds the forms to the lines in testdata, which an earlier build wrote: the same values give the same
// bytes, and the earlier bytes the same values. A new version of a form gets lines of its own; those of the versions before
// stay.
func TestEarlierFormsAreRead(t *testing.T) {
	var set timeline.Set
	set.Mark(at(0), at(10), at(20))
	set.Mark(at(5), at(7), at(30))
	set.Mark(at(50), at(70), at(80))
	var density timeline.Density
	density.Observe(timeline.Span{From: base, To: base.Add(5 * time.Hour)}, []time.Time{base, base.Add(time.Hour), base.Add(90 * time.Minute)})
	density.Observe(timeline.Span{From: base.Add(30 * time.Hour), To: base.Add(31 * time.Hour)}, []time.Time{base.Add(30 * time.Hour)})
	var lateness timeline.Lateness
	lateness.Observe(base, time.Hour, 3)
	lateness.Observe(base.Add(49*time.Hour), 1500*time.Millisecond, 70_000)
	var edits timeline.Edits
	edits.Observe(base, base.Add(time.Hour), base.Add(4*time.Hour), 2)
	golden, err := os.ReadFile("testdata/stored-1.golden")
	require.NoError(t, err)

	var text strings.Builder
	for _, s := range []*timeline.Set{&set, {}} {
		b := s.AppendBinary(nil)
		fmt.Fprintf(&text, "set %x\n", b)
		read, err := timeline.DecodeSet(b)
		require.NoError(t, err)
		require.Equal(t, s.ReadSpans(base, at(1000)), read.ReadSpans(base, at(1000)))
	}
	for _, d := range []*timeline.Density{&density, {}} {
		b := d.AppendBinary(nil)
		fmt.Fprintf(&text, "density %x\n", b)
		read, err := timeline.DecodeDensity(b)
		require.NoError(t, err)
		require.Equal(t, b, read.AppendBinary(nil))
		for hour := range 40 {
			now := base.Add(time.Duration(hour) * time.Hour)
			require.InDelta(t, d.Rate(now), read.Rate(now), 1e-6) // stored with 24 bits
		}
	}
	for _, l := range []*timeline.Lateness{&lateness, {}} {
		b := l.AppendBinary(nil)
		fmt.Fprintf(&text, "lateness %x\n", b)
		read, err := timeline.DecodeLateness(b)
		require.NoError(t, err)
		require.Equal(t, l, read)
	}
	for _, e := range []*timeline.Edits{&edits} {
		b := e.AppendBinary(nil)
		fmt.Fprintf(&text, "edits %x\n", b)
		read, err := timeline.DecodeEdits(b)
		require.NoError(t, err)
		require.Equal(t, b, read.AppendBinary(nil))
		require.InDelta(t, e.Count(base, 0, 35*timeline.Day), read.Count(base, 0, 35*timeline.Day), 1e-6)
	}
	require.Equal(t, string(golden), text.String())
}
