package poll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
)

// Time that was read and is no longer remembered must not be read again: its events would be published again.
func TestForgottenTimeIsNotReadAgain(t *testing.T) {
	const retention = 35 * timeline.Day
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	gapsOf := func(u *unit, now time.Time) []timeline.Span {
		p := plan.Derive([]*plan.Unit{&u.Unit}, now, plan.DefaultPolicy())
		return append(p.Gaps(&u.Unit, now, plan.PrioritySweep), p.Gaps(&u.Unit, now, plan.PriorityBackfill)...)
	}
	fresh := func() *unit {
		u, err := newUnit(events.Interactions, "st-1", time.Minute, &progress{Start: start})
		require.NoError(t, err)
		return u
	}

	u, now := fresh(), start
	for range 100 { // days
		next := now.Add(timeline.Day)
		u.Read.Mark(now, next, next)
		now = next
		u.forget(now.Add(-retention))
		require.Empty(t, gapsOf(u, now), "after %v", now.Sub(start))
	}
	require.Equal(t, now.Add(-retention), u.Start)
	records := map[string][]byte{}
	require.NoError(t, u.addRecord(records))
	p, err := decodeProgress(records[progressName(u.Endpoint, u.Bot)])
	require.NoError(t, err)
	again, err := newUnit(events.Interactions, "st-1", time.Minute, p)
	require.NoError(t, err)
	require.Empty(t, gapsOf(again, now), "after a restart")

	// History that is older than retention is read once, in whatever order it comes.
	u, now = fresh(), start.Add(365*timeline.Day)
	u.forget(now.Add(-retention))
	for len(gapsOf(u, now)) > 0 {
		gaps := gapsOf(u, now)
		last := gaps[len(gaps)-1]
		from := timeline.Later(last.From, last.To.Add(-6*timeline.Day))
		require.False(t, u.Read.Covered(from, last.To))
		u.Read.Mark(from, last.To, now)
		u.forget(now.Add(-retention))
	}
	require.Equal(t, now.Add(-retention), u.Start)
}
