package poll_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// Sweeps that follow edits lose nothing, see every edit as soon as status says, and keep what they have counted through a restart.
func TestAccountSweepsWhereEditsAre(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		span := testsize.Pick(20*time.Minute, 6*time.Hour)
		world := koresim.Config{
			Seed: 12, Start: now.Add(-12 * time.Hour), Bots: 1, SegmentsPerDay: 1000, RequestsPerMinute: 60, Track: true, EmailOpen: time.Hour, LateEdits: 0.9,
		}
		r := warm(t, world, func(o *poll.Options) {
			o.Policy.Adapt, o.EditWeights = true, map[events.Type]float64{}
			for _, e := range events.Types() { // a short run sees few edits
				o.EditWeights[e] = 100
			}
		})
		began := time.Now()
		stated := map[string][]time.Duration{}
		follow := map[string]bool{}
		watch := func(s status.Account) {
			for _, e := range s.Endpoints {
				for k, w := range e.Sweeps {
					tiers := r.options.Policy.TiersOf(events.Endpoint(e.Endpoint))
					follow[e.Endpoint] = follow[e.Endpoint] || time.Duration(w.Every) != tiers[k].Every
				}
				if stated[e.Endpoint] == nil {
					stated[e.Endpoint] = make([]time.Duration, len(e.Sweeps))
				}
				for k, w := range e.Sweeps {
					stated[e.Endpoint][k] = max(stated[e.Endpoint][k], time.Duration(w.Actual))
				}
			}
		}
		r.runFor(span/2, 10*time.Second, watch)
		r.stop()
		counted := 0
		records, err := r.options.Store.AllProgress(r.options.AccountID)
		require.NoError(t, err)
		for _, record := range records {
			if len(record) > 0 && jsonHas(t, record, "edits") {
				counted++
			}
		}
		require.Positive(t, counted, "no endpoint has counted an edit")
		r.start()
		r.runFor(span/2, 10*time.Second, watch)
		r.stop()
		require.Zero(t, r.sim.Stats().Violations)
		require.Contains(t, slices.Collect(maps.Values(follow)), true, "no endpoint has followed edits")
		t.Logf("%d endpoints have counted edits, followed: %v; worst of stated by tier: %v", counted, follow, r.seenWithin(began, stated))
	})
}

// jsonHas reports whether a record in JSON has a member.
func jsonHas(t *testing.T, record []byte, member string) bool {
	t.Helper()
	var members map[string]any
	if json.Unmarshal(record, &members) != nil {
		return false // a record of another kind
	}
	return members[member] != nil
}
