package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/testsize"
)

// noon is the clock of the planner's tests.
var (
	base = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	noon = base.Add(10*timeline.Day + 12*time.Hour)
)

// readUnit is a unit that has been read from its start to a moment ago.
func readUnit(e events.Endpoint, start time.Time, perDay float64) *plan.Unit {
	u := &plan.Unit{
		Endpoint: e, Bot: "st-1", Start: start, PollInterval: 15 * time.Second, Read: &timeline.Set{}, Density: &timeline.Density{},
		LastPoll: noon,
	}
	u.Read.Mark(start, noon, noon)
	var starts []time.Time
	if perDay > 0 {
		for t := start; t.Before(noon); t = t.Add(time.Duration(float64(timeline.Day) / perDay)) {
			starts = append(starts, t)
		}
	}
	u.Density.Observe(timeline.Span{From: start, To: noon}, starts)
	return u
}

func next(units []*plan.Unit, now time.Time, inFlight plan.InFlight) (plan.Work, time.Duration, bool) {
	return plan.Derive(units, now, plan.DefaultPolicy()).Next(units, units[0].Endpoint, now, inFlight)
}

func TestNext(t *testing.T) {
	type state struct {
		units    []*plan.Unit
		now      time.Time
		inFlight plan.InFlight
	}
	week := noon.Add(-7 * timeline.Day)
	one := func(e events.Endpoint, perDay float64, change func(*plan.Unit)) state {
		u := readUnit(e, week, perDay)
		if change != nil {
			change(u)
		}
		return state{units: []*plan.Unit{u}, now: noon.Add(20 * time.Second)}
	}
	tests := map[string]struct {
		state    state
		kind     plan.Kind
		priority plan.Priority
		from     time.Time // zero: not checked
		to       time.Time
		none     bool
	}{
		"a poll is due every poll interval": {
			state: one(events.Interactions, 0, nil), kind: plan.KindTail, to: noon.Add(20 * time.Second),
		},
		"and not before": {
			state: state{units: one(events.Interactions, 0, nil).units, now: noon.Add(10 * time.Second)}, none: true,
		},
		"a unit never polled is polled now": {
			state: one(events.Interactions, 0, func(u *plan.Unit) {
				*u = plan.Unit{Endpoint: u.Endpoint, Start: week, PollInterval: time.Hour, Read: &timeline.Set{}, Density: &timeline.Density{}}
			}), kind: plan.KindTail, from: noon.Add(20*time.Second - time.Hour),
		},
		"a bot that another endpoint showed active is polled now": {
			state: one(events.Interactions, 0, func(u *plan.Unit) { u.PollInterval, u.WokenAt = time.Hour, noon.Add(time.Second) }),
			kind:  plan.KindTail,
		},
		"errors are waited out": {
			state: one(events.Interactions, 10, func(u *plan.Unit) {
				u.NotBefore = noon.Add(time.Minute)
				u.Backfills = []timeline.Span{{From: week.Add(-timeline.Day), To: week}}
			}), none: true,
		},
		"a poll reaches back over hot rows that fit on its page": {
			state: one(events.Interactions, 1000, func(u *plan.Unit) {
				u.Hot = []plan.HotRef{{ID: "a", Start: noon.Add(-time.Hour)}}
			}), kind: plan.KindTail, from: noon.Add(-time.Hour), to: noon.Add(20 * time.Second),
		},
		"but not further than a page": {
			state: one(events.Interactions, 100_000, func(u *plan.Unit) {
				u.Hot = []plan.HotRef{{ID: "a", Start: noon.Add(-time.Hour)}}
			}), kind: plan.KindTail, from: noon,
		},
		"the hot row that no poll reaches is read by its window": {
			state: one(events.Interactions, 100_000, func(u *plan.Unit) {
				u.LastPoll = noon.Add(19 * time.Second)
				u.Read.Mark(noon, u.LastPoll, u.LastPoll)
				u.Read.Mark(noon.Add(-2*time.Hour), noon.Add(-time.Minute), noon.Add(-time.Hour))
				u.Hot = []plan.HotRef{{ID: "a", Start: noon.Add(-90 * time.Minute)}}
			}), kind: plan.KindHot, priority: plan.PriorityHot, from: noon.Add(-90 * time.Minute), to: noon.Add(-90*time.Minute + time.Second),
		},
		"conversations are counted": {
			state: one(events.Conversations, 1000, func(u *plan.Unit) { u.PollInterval = 5 * time.Second }),
			kind:  plan.KindProbe, from: noon, to: noon.Add(20 * time.Second),
		},
		"conversations go by id": {
			state: one(events.Conversations, 1000, func(u *plan.Unit) {
				u.PollInterval = time.Hour
				u.Hot = []plan.HotRef{{ID: "a", Start: noon.Add(-time.Hour)}}
			}), kind: plan.KindHot, priority: plan.PriorityHot,
		},
		"unless ids are ignored": {
			state: one(events.Conversations, 1000, func(u *plan.Unit) {
				u.PollInterval, u.IDsIgnored = time.Hour, true
				u.Hot = []plan.HotRef{{ID: "a", Start: noon.Add(-time.Hour)}}
			}), none: true,
		},
		"a recent gap is filled": {
			state: one(events.Interactions, 10_000, func(u *plan.Unit) {
				u.PollInterval, u.Read = time.Hour, &timeline.Set{}
				u.Read.Mark(week, noon.Add(-5*time.Hour), noon)
				u.Read.Mark(noon.Add(-4*time.Hour), noon, noon)
			}), kind: plan.KindGap, priority: plan.PrioritySweep, from: noon.Add(-5 * time.Hour), to: noon.Add(-4 * time.Hour),
		},
		"an old one is history": {
			state: one(events.Interactions, 1000, func(u *plan.Unit) {
				u.PollInterval, u.Read = time.Hour, &timeline.Set{}
				u.Read.Mark(week, noon.Add(-50*time.Hour), noon)
				u.Read.Mark(noon.Add(-40*time.Hour), noon, noon)
			}), kind: plan.KindBackfill, priority: plan.PriorityBackfill, from: noon.Add(-50 * time.Hour), to: noon.Add(-40 * time.Hour),
		},
		"held time stays a gap": {
			state: one(events.Interactions, 10_000, func(u *plan.Unit) {
				u.PollInterval, u.Read = time.Hour, &timeline.Set{}
				u.Read.Mark(week, noon.Add(-5*time.Hour), noon)
				u.Read.Mark(noon.Add(-4*time.Hour), noon, noon)
				u.Held = []plan.Held{{Span: timeline.Span{From: noon.Add(-5 * time.Hour), To: noon.Add(-4 * time.Hour)}, Until: noon.Add(time.Hour)}}
			}), none: true,
		},
		"a range asked for is read": {
			state: one(events.Interactions, 1000, func(u *plan.Unit) {
				u.PollInterval, u.Backfills = time.Hour, []timeline.Span{{From: week.Add(-3 * timeline.Day), To: week.Add(-2 * timeline.Day)}}
			}), kind: plan.KindBackfill, priority: plan.PriorityBackfill, from: week.Add(-3 * timeline.Day), to: week.Add(-2 * timeline.Day),
		},
		"time read long ago is swept": {
			state: one(events.Interactions, 10_000, func(u *plan.Unit) {
				u.PollInterval = time.Hour
				u.Read.Mark(noon.Add(-30*time.Hour), noon.Add(-29*time.Hour), noon.Add(-13*time.Hour-16*time.Hour))
			}), kind: plan.KindSweep, priority: plan.PrioritySweep, from: noon.Add(-30 * time.Hour),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, wait, ok := next(tt.state.units, tt.state.now, tt.state.inFlight)
			if tt.none {
				require.False(t, ok, "%+v", w)
				require.Positive(t, wait)
				return
			}
			require.True(t, ok)
			require.Equal(t, tt.kind, w.Kind, "%+v", w)
			require.Equal(t, tt.priority, w.Priority)
			if !tt.from.IsZero() {
				require.Equal(t, tt.from, w.From)
			}
			if !tt.to.IsZero() {
				require.Equal(t, tt.to, w.To)
			}
			again, _, _ := next(tt.state.units, tt.state.now, tt.state.inFlight)
			require.Equal(t, w, again, "the same state gives the same work")
		})
	}
}

// After an outage the newest rows come first and what lies between is a gap, unless it is little.
func TestNextAfterAnOutage(t *testing.T) {
	now := noon.Add(10 * time.Hour)
	many, few := readUnit(events.Interactions, noon.Add(-7*timeline.Day), 20_000), readUnit(events.Interactions, noon.Add(-7*timeline.Day), 500)
	w, _, ok := next([]*plan.Unit{many}, now, plan.InFlight{})
	require.True(t, ok)
	require.Equal(t, plan.KindTail, w.Kind)
	require.Equal(t, now.Add(-time.Hour), w.From)
	w, _, ok = next([]*plan.Unit{few}, now, plan.InFlight{})
	require.True(t, ok)
	require.Equal(t, plan.KindTail, w.Kind)
	require.False(t, w.From.After(noon))
	require.Equal(t, now, w.To)
}

// A long running pass does not delay a poll, and goes on when none is due.
func TestNextComesBetweenThePagesOfAPass(t *testing.T) {
	u := readUnit(events.Interactions, noon.Add(-7*timeline.Day), 10_000)
	units := []*plan.Unit{u}
	long := plan.Work{Priority: plan.PriorityBackfill, Kind: plan.KindBackfill, From: noon.Add(-9 * timeline.Day), To: noon.Add(-8 * timeline.Day), Requests: 50, Due: noon}
	inFlight := plan.InFlight{Active: []plan.Work{long}}
	w, _, ok := next(units, noon.Add(time.Second), inFlight)
	require.True(t, ok)
	require.Equal(t, long, w)
	w, _, ok = next(units, noon.Add(16*time.Second), inFlight)
	require.True(t, ok)
	require.Equal(t, plan.KindTail, w.Kind)
	inFlight.Wait[plan.PriorityTail] = time.Second
	w, _, ok = next(units, noon.Add(16*time.Second), inFlight)
	require.True(t, ok, "a priority class without budget is passed over")
	require.Equal(t, long, w)
	inFlight.Wait = [4]time.Duration{time.Second, time.Second, time.Second, time.Second}
	_, wait, ok := next(units, noon.Add(16*time.Second), inFlight)
	require.False(t, ok)
	require.LessOrEqual(t, wait, time.Second)
}

// Whatever the state, work is legal, plans fit the budget, and waits are short enough for state to change.
func TestPlanOfAnyState(t *testing.T) {
	for seed := range uint64(1000) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		span := func(limit time.Duration) timeline.Span {
			from := noon.Add(-time.Duration(rnd.Int64N(int64(limit)))).Truncate(time.Second)
			return timeline.Span{From: from, To: timeline.Earlier(noon, from.Add(time.Duration(1+rnd.Int64N(int64(limit)))).Truncate(time.Second))}
		}
		var units []*plan.Unit
		for range 1 + rnd.IntN(6) {
			e := events.Endpoints()[rnd.IntN(events.EndpointCount)]
			u := readUnit(e, noon.Add(-time.Duration(1+rnd.IntN(40*24))*time.Hour), float64(rnd.IntN(3)*rnd.IntN(200)))
			u.PollInterval = time.Duration(1+rnd.IntN(100)) * time.Second
			u.WindowPages = rnd.IntN(12)
			if rnd.IntN(3) == 0 {
				u.Read, u.LastPoll = &timeline.Set{}, time.Time{}
			}
			for range rnd.IntN(6) {
				s := span(20 * timeline.Day)
				u.Read.Mark(s.From, s.To, s.To.Add(time.Duration(rnd.Int64N(int64(noon.Sub(s.To)+1)))))
			}
			for range rnd.IntN(3) {
				u.Held = append(u.Held, plan.Held{Span: span(5 * timeline.Day), Until: noon.Add(time.Duration(rnd.IntN(120)-60) * time.Minute)})
			}
			for range rnd.IntN(40) {
				u.Hot = append(u.Hot, plan.HotRef{ID: "x", Start: span(20 * timeline.Day).From})
			}
			if rnd.IntN(4) == 0 {
				u.Backfills = []timeline.Span{span(60 * timeline.Day)}
			}
			units = append(units, u)
		}
		policy := plan.DefaultPolicy()
		policy.PerMinute = float64(6 + rnd.IntN(100))
		now := noon.Add(time.Duration(rnd.Int64N(int64(2 * timeline.Day)))).Truncate(time.Second)
		p := plan.Derive(units, now, policy)
		var total float64
		for _, v := range p.Demand() {
			total += v
		}
		require.LessOrEqual(t, total, policy.PerMinute, "seed %d", seed)
		for _, e := range events.Endpoints() {
			var inFlight plan.InFlight
			if rnd.IntN(2) == 0 {
				inFlight.Wait[rnd.IntN(4)] = time.Duration(rnd.IntN(3)) * time.Second
			}
			w, wait, ok := p.Next(units, e, now, inFlight)
			if !ok {
				require.True(t, wait > 0 && wait <= time.Minute, "seed %d: wait %v", seed, wait)
				continue
			}
			u := units[w.Unit]
			require.Equal(t, e, u.Endpoint)
			require.Zero(t, inFlight.Wait[w.Priority])
			require.Positive(t, w.Requests)
			if w.Kind == plan.KindHot && e == events.Conversations {
				require.LessOrEqual(t, len(w.Refs), 20)
				continue
			}
			require.True(t, w.From.Before(w.To) && !w.To.After(now), "seed %d: %+v at %v", seed, w, now)
			require.NoError(t, e.Spec().Takes.CheckRange(w.From, w.To), "seed %d: %+v", seed, w)
			if w.Kind != plan.KindBackfill {
				require.False(t, w.From.Before(u.Start), "seed %d: %+v starts %v", seed, w, u.Start)
			}
			if e == events.Conversations {
				require.Equal(t, w.From.Truncate(timeline.Day), w.To.Add(-time.Nanosecond).Truncate(timeline.Day), "seed %d: %+v", seed, w)
			}
		}
	}
}

// A day in which reading began a moment ago is as long to read as it was counted, not as the rows of that moment let expect: or the
// sweeps of all endpoints would be lengthened for pages that are not there.
func TestPlanOfADayThatWasCounted(t *testing.T) {
	policy := plan.DefaultPolicy()
	u := readUnit(events.Conversations, noon.Add(-3*time.Minute), 500_000)
	guessed := plan.Derive([]*plan.Unit{u}, noon, policy).Units[0]
	require.Greater(t, guessed.Sweep[0], policy.ConversationTiers[0].Every)
	u.Counts = map[string]int{noon.Format(time.DateOnly): 300}
	counted := plan.Derive([]*plan.Unit{u}, noon, policy).Units[0]
	require.Equal(t, policy.ConversationTiers[0].Every, counted.Sweep[0])
}

// However old the hot rows of a unit are and however they lie, each of them is read again about as often as the plan says, by a
// poll that reaches it or by a window or a batch of its own.
func TestPlanReadsHotRowsAgain(t *testing.T) {
	testsize.Slow(t)
	for seed := range testsize.Pick[uint64](100, 1_000) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		e := events.Endpoints()[rnd.IntN(events.EndpointCount)]
		u := readUnit(e, noon.Add(-30*timeline.Day), float64(rnd.IntN(3)*rnd.IntN(300)))
		u.PollInterval = time.Duration(5+rnd.IntN(100)) * time.Second
		oldest := []time.Duration{time.Hour, 3 * timeline.Day, 29 * timeline.Day}[rnd.IntN(3)]
		for i := range 1 + rnd.IntN(60) {
			start := noon.Add(-time.Duration(rnd.Int64N(int64(oldest))))
			ref := plan.HotRef{ID: fmt.Sprint(i), Start: start, Read: noon}
			if end := start.Add(time.Duration(rnd.Int64N(int64(time.Hour)))); end.Before(noon) && noon.Sub(end) < 30*time.Minute {
				ref.End = end
			}
			u.Hot = append(u.Hot, ref)
		}
		if rnd.IntN(3) == 0 {
			from := noon.Add(-time.Duration(rnd.Int64N(int64(oldest)))).Truncate(time.Second)
			u.Held = []plan.Held{{Span: timeline.Span{From: from, To: from.Add(time.Second)}, Until: noon.Add(time.Hour)}}
		}
		units := []*plan.Unit{u}
		policy := plan.DefaultPolicy()
		policy.PerMinute = float64(5 + rnd.IntN(60)) // few, so that rows back off
		p := plan.Derive(units, noon, policy)
		read := map[string]time.Time{}
		within := p.Units[0].HotAgain(30*time.Minute) + p.Units[0].LongestPollInterval + 3*time.Minute
		inFlight := plan.InFlight{}
		for priority := range inFlight.Wait {
			if priority := plan.Priority(priority); priority != plan.PriorityTail && priority != plan.PriorityHot {
				inFlight.Wait[priority] = time.Hour
			}
		}
		for now := noon.Add(time.Second); now.Before(noon.Add(within)); {
			w, wait, ok := p.Next(units, e, now, inFlight)
			if !ok {
				now = now.Add(wait)
				continue
			}
			inFlight.Last[w.Kind] = now
			if w.Priority == plan.PriorityTail {
				u.LastPoll = now
			}
			for i := range u.Hot {
				r := &u.Hot[i]
				shown := !r.Start.Before(w.From) && r.Start.Before(w.To)
				if e.Spec().Takes.Days { // a query for new rows tells nothing of others
					shown = w.Kind == plan.KindHot && slices.Contains(w.Refs, *r) || w.Kind == plan.KindTail && shown
				}
				if shown {
					read[r.ID], r.Read = now, now
				}
			}
			if w.Kind != plan.KindHot || !e.Spec().Takes.Days {
				u.Read.Mark(w.From, w.To, now)
			}
			now = now.Add(time.Second)
		}
		for _, r := range u.Hot {
			require.NotZero(t, read[r.ID], "seed %d: the row of %s that started %v ago was not read within %v", seed, e, noon.Sub(r.Start), within)
		}
	}
}
