package poll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// Time that was read and is no longer remembered must not be read again: its events would be published again.
func TestForgottenTimeIsNotReadAgain(t *testing.T) {
	const memory = 35 * day
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	gapsOf := func(u *unit, now time.Time) []Span {
		p := Derive([]*Unit{&u.Unit}, now, DefaultPolicy())
		return append(p.gaps(&u.Unit, now, LaneSweep), p.gaps(&u.Unit, now, LaneBackfill)...)
	}
	fresh := func() *unit {
		u, err := newUnit(events.Interactions, "st-1", time.Minute, &progress{Start: start})
		require.NoError(t, err)
		return u
	}

	u, now := fresh(), start
	for range 100 { // days
		next := now.Add(day)
		u.Read.Mark(now, next, next)
		now = next
		u.forget(now.Add(-memory))
		require.Empty(t, gapsOf(u, now), "after %v", now.Sub(start))
	}
	require.Equal(t, now.Add(-memory), u.Start)
	records := map[string][]byte{}
	require.NoError(t, u.addRecord(records))
	p, err := decodeProgress(records[progressName(u.Endpoint, u.Bot)])
	require.NoError(t, err)
	again, err := newUnit(events.Interactions, "st-1", time.Minute, p)
	require.NoError(t, err)
	require.Empty(t, gapsOf(again, now), "after a restart")

	// History that is older than memory is read once, in whatever order it comes.
	u, now = fresh(), start.Add(365*day)
	u.forget(now.Add(-memory))
	for len(gapsOf(u, now)) > 0 {
		gaps := gapsOf(u, now)
		last := gaps[len(gaps)-1]
		from := maxTime(last.From, last.To.Add(-6*day))
		require.False(t, u.Read.Covered(from, last.To))
		u.Read.Mark(from, last.To, now)
		u.forget(now.Add(-memory))
	}
	require.Equal(t, now.Add(-memory), u.Start)
}
