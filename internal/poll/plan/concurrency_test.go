package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
)

// stale returns a unit all of which is due for a sweep and polled a moment ago.
func stale(e events.Endpoint, perDay float64) *plan.Unit {
	week := noon.Add(-7 * timeline.Day)
	u := readUnit(e, week, perDay)
	u.Read = &timeline.Set{}
	for d := week; d.Before(noon); d = d.Add(timeline.Day) { // each day when it was over, and not since
		u.Read.Mark(d, d.Add(timeline.Day), d.Add(timeline.Day))
	}
	u.After[plan.KindTail] = noon.Add(time.Hour)
	u.LastPoll = noon
	return u
}

// beside asks for work while other work is in flight.
func beside(u *plan.Unit, sent ...plan.Work) (plan.Work, bool) {
	w, _, ok := next([]*plan.Unit{u}, noon, plan.InFlight{Sent: sent})
	return w, ok
}

// While a pass has a request in flight, the next one of its class reads other time.
func TestPassesBesideEachOtherReadOtherTime(t *testing.T) {
	for _, e := range []events.Endpoint{events.Interactions, events.Conversations, events.CallDetails} {
		var sent []plan.Work
		for range 3 {
			w, ok := beside(stale(e, 10_000), sent...)
			require.True(t, ok, e)
			require.Equal(t, plan.KindSweep, w.Kind, "%s: %v beside %v", e, w, sent)
			for _, other := range sent {
				require.False(t, w.From.Before(other.To) && other.From.Before(w.To), "%s: %v and %v", e, w, other)
			}
			sent = append(sent, w)
		}
	}
}

// Gaps are divided among passes, and hot rows are asked for once.
func TestPassesBesideEachOtherReadOtherRows(t *testing.T) {
	gap := readUnit(events.Interactions, noon.Add(-7*timeline.Day), 10_000)
	gap.Read, gap.LastPoll = &timeline.Set{}, noon
	gap.Read.Mark(noon.Add(-2*time.Hour), noon, noon)
	first, ok := beside(gap)
	require.True(t, ok)
	second, ok := beside(gap, first)
	require.True(t, ok)
	require.Equal(t, first.Kind, second.Kind)
	require.False(t, second.From.Before(first.To) && first.From.Before(second.To), "%v and %v", first, second)

	hot := readUnit(events.Conversations, noon.Add(-timeline.Day), 1000)
	for i := range 30 {
		hot.Hot = append(hot.Hot, plan.HotRef{ID: string(rune('a' + i)), Start: noon.Add(-time.Hour)})
	}
	first, ok = beside(hot)
	require.True(t, ok)
	second, ok = beside(hot, first)
	require.True(t, ok)
	require.Equal(t, plan.KindHot, second.Kind)
	require.Len(t, append(first.Refs, second.Refs...), 30)
	for _, a := range first.Refs {
		require.NotContains(t, second.Refs, a)
	}
	hot.IDsUnknown = true
	second, ok = beside(hot, first)
	require.False(t, ok && second.Kind == plan.KindHot, "one request finds out whether ids are honoured")
}

// A unit has one poll in flight. A poll of conversations waits for a request about a day that it counts, and for no other; polls of the
// other endpoints wait for none.
func TestPollsBesidePasses(t *testing.T) {
	due := func(e events.Endpoint) *plan.Unit {
		u := readUnit(e, noon.Add(-7*timeline.Day), 10_000)
		u.LastPoll = noon.Add(-time.Hour)
		return u
	}
	today := plan.Work{Priority: plan.PrioritySweep, Kind: plan.KindSweep, From: noon.Truncate(timeline.Day), To: noon}
	before := plan.Work{Priority: plan.PrioritySweep, Kind: plan.KindSweep, From: today.From.Add(-timeline.Day), To: today.From}
	for e, polls := range map[events.Endpoint]map[*plan.Work]bool{
		events.Conversations: {&today: false, &before: true},
		events.Interactions:  {&today: true, &before: true},
	} {
		for sent, want := range polls {
			w, ok := beside(due(e), *sent)
			require.Equal(t, want, ok && w.Priority == plan.PriorityTail, "%s beside %v", e, sent)
		}
		poll, ok := beside(due(e))
		require.True(t, ok)
		require.Equal(t, plan.PriorityTail, poll.Priority)
		w, ok := beside(due(e), poll)
		require.False(t, ok && w.Priority == plan.PriorityTail, e)
	}
	job := today
	job.Asked = true
	_, ok := beside(due(events.Interactions), job)
	require.False(t, ok, "what a job asks for is read by itself")
}

// Each figure says what binds it, and more requests in flight help where they do.
func TestBounds(t *testing.T) {
	units := []*plan.Unit{readUnit(events.Interactions, noon.Add(-7*timeline.Day), 100), readUnit(events.Conversations, noon.Add(-7*timeline.Day), 10_000)}
	policy := plan.DefaultPolicy()
	one := plan.Derive(units, noon, policy)
	require.Equal(t, plan.BoundConfigured, one.Units[0].SweepBound)
	require.Equal(t, plan.BoundConfigured, one.Units[1].PollBound)
	require.Equal(t, plan.BoundInFlight, one.Units[1].SweepBound)
	policy.Concurrency = map[events.Endpoint]int{events.Conversations: 2}
	two := plan.Derive(units, noon, policy)
	require.Less(t, two.Units[1].SeenWithin[0], one.Units[1].SeenWithin[0])
	policy.Concurrency[events.Conversations], policy.PerMinute = 16, 10
	require.Equal(t, plan.BoundBudget, plan.Derive(units, noon, policy).Units[1].SweepBound)
}
