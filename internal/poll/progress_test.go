package poll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// Progress that an earlier build has written is read, and written again the same.
func TestProgressOfAnEarlierBuild(t *testing.T) {
	const written = `{"version":1,"start":"2026-06-01T12:00:00Z","read":"AQGA6PCw0GeA3dsBgLq3Aw==",` +
		`"jobs":[{"id":"j-1","from":"2026-06-01T12:00:00Z","to":"2026-06-01T13:00:00Z","left":[{"From":"2026-06-01T12:00:00Z",` +
		`"To":"2026-06-01T12:01:00Z","replay":true}],"requests":2,"events":3,"capped_seconds":1}],"complete_up_to":"2026-06-01T12:01:00Z",` +
		`"passes_stable":3,"capped":[{"From":"2026-06-01T12:00:00Z","To":"2026-06-01T12:00:01Z"}],"offsets":{"agentassist.search":[1,0,7]},` +
		`"open":[{"id":"c-1","start":"2026-06-01T12:00:00Z"}],` +
		`"analytics":{"offset":2,"inclusive":true,"per_list":true,"filter":2,"lists":{"order":1,"unsorted":true,"bots_first":true,"bots_last":true}},` +
		`"conversations":{"order":2,"ids":3,"ignored_at":"2026-06-01T12:00:00Z","page_size":50,"counts":{"2026-06-01":7},` +
		`"zone_min":-43200000000000,"zone_max":51300000000000},"bounds":{"known":true,"zone":7200000000000},"filters_on_end":true,"scoped":2}`
	p, err := decodeProgress([]byte(written))
	require.NoError(t, err)
	again, err := p.encode()
	require.NoError(t, err)
	require.Equal(t, written, string(again))

	u, err := newUnit(events.Conversations, "st-1", time.Minute, p)
	require.NoError(t, err)
	require.True(t, u.Edits.Empty(), "that build did not count edits")
	require.True(t, u.IDsIgnored)
	u.refresh(time.Date(2026, 6, 2, 12, 0, 0, 0, time.UTC))
	require.False(t, u.IDsIgnored, "they are tried again once a day")
}

// Edits that were counted are in the record, and in the next process.
func TestProgressKeepsEdits(t *testing.T) {
	now := time.Date(2026, 6, 2, 12, 0, 0, 0, time.UTC)
	u, err := newUnit(events.Interactions, "st-1", time.Minute, &progress{Start: now.Add(-24 * time.Hour)})
	require.NoError(t, err)
	records := map[string][]byte{}
	require.NoError(t, u.addRecord(records))
	require.NotContains(t, string(records[u.progressName()]), `"edits"`)
	u.Edits.Observe(now.Add(-3*time.Hour), now.Add(-2*time.Hour), now, 5)
	require.NoError(t, u.addRecord(records))
	p, err := decodeProgress(records[u.progressName()])
	require.NoError(t, err)
	again, err := newUnit(events.Interactions, "st-1", time.Minute, p)
	require.NoError(t, err)
	require.InDelta(t, 5, again.Edits.Count(now, time.Hour, 4*time.Hour), 1e-6)
}

func TestProgressNames(t *testing.T) {
	for _, e := range events.Endpoints() {
		for _, bot := range []string{"", "st-1", "a/b"} {
			name, id, ok := parseProgressName(progressName(e, bot))
			require.True(t, ok)
			require.Equal(t, e, name)
			require.Equal(t, bot, id)
		}
	}
	for _, name := range []string{"", spentName, intentName, "/st-1", "~manifest", "~day/20000", string(events.CallDetails)} {
		_, _, ok := parseProgressName(name)
		require.False(t, ok, "%q is no unit's", name)
	}
}
