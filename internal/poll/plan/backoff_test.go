package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// Hot rows that have ended back off by as much as sweeps are short of requests. Open rows never do.
func TestHotRowsBackOff(t *testing.T) {
	policy := DefaultPolicy()
	read := simNow.Add(-10 * time.Second)
	open, justEnded, ended := HotRef{}, HotRef{End: read.Add(-time.Minute)}, HotRef{End: read.Add(-20 * time.Minute)}
	var before float64
	for _, perDay := range []float64{1_000, 5_000, 10_000, 20_000} {
		units := simAccount(perDay)
		p := Derive(units, simNow, policy)
		for i, u := range units {
			c := &p.Units[i]
			require.Equal(t, read.Add(c.Hot), c.hotAgain(&open, read))
			require.Equal(t, read.Add(c.Hot), c.hotAgain(&justEnded, read))
			require.Equal(t, read.Add(max(c.Hot, times(20*time.Minute, c.BackOff))), c.hotAgain(&ended, read))
			if u.Endpoint == events.Conversations {
				require.GreaterOrEqual(t, c.BackOff, before, "%v a day", perDay)
				before = c.BackOff
			}
		}
		if perDay == 1_000 {
			require.Zero(t, before, "sweeps are not short of requests")
		}
		policy.BackOff = false
		without := Derive(units, simNow, policy)
		policy.BackOff = true
		for i, u := range units {
			require.Zero(t, without.Units[i].BackOff)
			require.LessOrEqual(t, p.Units[i].Hot, without.Units[i].Hot, "open rows are read as often")
			require.LessOrEqual(t, p.Units[i].Sweep[0], without.Units[i].Sweep[0], "%v a day, %s", perDay, u.Endpoint)
		}
	}
	require.Greater(t, before, mostBackOff/2)
}

// One request by id asks for the rows that are due first, whenever they were read.
func TestHotRowsThatAreDueGoFirst(t *testing.T) {
	c := &Cadence{Hot: time.Minute, BackOff: 0.5}
	var refs []HotRef
	for i := range 30 { // ended a minute ago, two minutes ago ...
		refs = append(refs, HotRef{ID: string(rune('A' + i)), Start: simNow, End: simNow.Add(-time.Duration(i+1) * time.Minute), Read: simNow})
	}
	refs = append(refs, HotRef{ID: "open", Start: simNow, Read: simNow.Add(time.Second)})
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	batches := hotBatches(events.Conversations, refs, c)
	require.Len(t, batches, 2)
	require.True(t, slices.ContainsFunc(batches[0], func(r HotRef) bool { return r.ID == "open" }))
	var last time.Time
	for _, r := range slices.Concat(batches...) {
		due := c.hotAgain(&r, r.Read)
		require.False(t, due.Before(last))
		last = due
	}
}
