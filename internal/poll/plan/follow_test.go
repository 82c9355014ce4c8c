package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/poll/timeline/timelinetest"
	"agentassist-poller/internal/testsize"
)

// followed is what was played of an account whose sweeps follow edits, or do not.
type followed struct {
	passes []begun
	read   []time.Duration // by unit: how long it took until nothing was left to read for the first time
	pause  []time.Duration // by unit: the longest time between two polls
}

// begun is a pass, as it was begun.
type begun struct {
	at       time.Time
	unit     int
	kind     plan.Kind
	from, to time.Time
}

// following returns an account with one bot and the same volume on all four endpoints, which has seen edits.
func following(t *testing.T, seed uint64, adapt bool, edits int, start, now, end time.Time) *simulation {
	s := newSimulation(t, seed, now)
	s.policy.Adapt = adapt
	s.policy.Concurrency = map[events.Endpoint]int{events.Conversations: 2}
	for _, e := range events.Endpoints() {
		bot := "st-1"
		if e.PerAccount() {
			bot = ""
		}
		u := s.add(e, bot, start, end, 2_000)
		for range edits {
			u.Edits.Observe(now.Add(-5*time.Hour), now.Add(-time.Hour), now, 1)
		}
	}
	return s
}

// follow plays an account until the end.
func (s *simulation) follow(end time.Time) followed {
	began := s.now
	out := followed{read: make([]time.Duration, len(s.units)), pause: make([]time.Duration, len(s.units))}
	s.observe = func(u *simUnit, w plan.Work) {
		out.passes = append(out.passes, begun{s.now, u.index, w.Kind, w.From, w.To})
	}
	s.run(end, time.Second, func() {
		for i, u := range s.units {
			done := u.Read.Covered(u.Start, began.Add(-simEdge))
			u.FirstRead = u.FirstRead && !done
			if done && out.read[i] == 0 {
				out.read[i] = s.now.Sub(began)
			}
			out.pause[i] = u.pause
		}
	})
	s.checkBudget()
	require.NotContains(s.t, out.read, time.Duration(0), "something was not read")
	return out
}

// The first read of an account takes the same requests at the same times whether sweeps follow edits or not, however many were seen before,
// as long as no unit is through. What follows does not hold up the others.
func TestFirstReadGoesBeforeEdits(t *testing.T) {
	testsize.Slow(t)
	start := base.Add(9 * time.Hour)
	now := start.Add(timeline.Day)
	end := now.Add(20 * time.Minute)
	first := func(seed uint64, adapt bool, edits int) followed {
		s := following(t, seed, adapt, edits, start, now, end)
		for _, u := range s.units {
			u.FirstRead = true
		}
		return s.follow(end)
	}
	var took, with []time.Duration
	for seed := range uint64(testsize.Pick(2, 24)) {
		tiers := first(seed, false, 0)
		equalPasses(t, tiers.passes, first(seed, true, 0).passes, "no edit was seen")
		edits := first(seed, true, 1000)
		through := now.Add(slices.Min(tiers.read))
		equalPasses(t, until(tiers.passes, through), until(edits.passes, through), "no first read is over")
		require.False(t, slices.Equal(tiers.passes, edits.passes), "edits change nothing")
		took, with = append(took, tiers.read...), append(with, edits.read...)
	}
	t.Logf("first reads take %v by tiers, %v following edits", mean(took), mean(with))
	require.LessOrEqual(t, mean(with), mean(took)*1.02)
}

// After an outage, new rows are there as soon, and gaps are filled as soon, as with the tiers.
func TestGapsGoBeforeEdits(t *testing.T) {
	testsize.Slow(t)
	now := base.Add(7*timeline.Day + 9*time.Hour)
	end := now.Add(time.Hour)
	outage := func(seed uint64, adapt bool) followed {
		s := following(t, seed, adapt, 1000, base, now, end)
		for _, u := range s.units {
			u.Read.Mark(base, now.Add(-20*time.Hour), now.Add(-20*time.Hour))
			for d := base; d.Before(now); d = d.Add(time.Hour) {
				span := timeline.Span{From: d, To: d.Add(time.Hour)}
				u.Density.Observe(span, timelinetest.Within(u.rows, span))
			}
		}
		return s.follow(end)
	}
	var took, with, pause, pauseWith []time.Duration
	for seed := range uint64(testsize.Pick(2, 24)) {
		tiers, edits := outage(seed, false), outage(seed, true)
		took, with = append(took, tiers.read...), append(with, edits.read...)
		pause, pauseWith = append(pause, tiers.pause...), append(pauseWith, edits.pause...)
	}
	t.Logf("gaps are filled after %v by tiers, %v following edits; polls are at most %v apart by tiers, %v following edits",
		mean(took), mean(with), mean(pause), mean(pauseWith))
	require.LessOrEqual(t, mean(with), mean(took)*1.02)
	require.LessOrEqual(t, mean(pauseWith), mean(pause)*1.02)
}

// equalPasses fails at the first pass that is another one.
func equalPasses(t *testing.T, want, got []begun, why string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], why)
	}
	require.Len(t, got, len(want), why)
}

// until returns the passes that were begun before then.
func until(passes []begun, then time.Time) []begun {
	return slices.DeleteFunc(slices.Clone(passes), func(b begun) bool { return !b.at.Before(then) })
}

// mean returns the mean in seconds.
func mean(of []time.Duration) float64 {
	var sum time.Duration
	for _, d := range of {
		sum += d
	}
	return sum.Seconds() / float64(len(of))
}
