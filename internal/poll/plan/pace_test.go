package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
)

// A history of which nothing is known yet looks like a single page. It must not be read at the pace of one while the budget
// lies idle.
func TestHistoryUnknownIsReadWithWhatIsLeftOver(t *testing.T) {
	now := base.Add(10 * timeline.Day)
	u := &plan.Unit{
		Endpoint: events.Conversations, Bot: "st-1", Start: base, PollInterval: time.Minute,
		Read: &timeline.Set{}, Density: &timeline.Density{}, LastPoll: now,
	}
	u.Read.Mark(now.Add(-2*timeline.Day), now, now)
	u.Density.Observe(timeline.Span{From: now.Add(-2 * timeline.Day), To: now}, nil)
	units := []*plan.Unit{u}
	policy := plan.DefaultPolicy()
	policy.PerMinute = 600
	policy.Latency = map[events.Endpoint]time.Duration{events.Conversations: 100 * time.Millisecond}
	p := plan.Derive(units, now, policy)
	sent := 0
	last := plan.InFlight{}
	for at := now; at.Before(now.Add(30 * time.Second)); {
		w, wait, ok := p.Next(units, events.Conversations, at, last)
		if !ok {
			at = at.Add(wait)
			continue
		}
		if w.Priority == plan.PriorityBackfill {
			sent++
		}
		if w.Priority == plan.PriorityTail {
			u.LastPoll = at
		}
		last.Last[w.Kind] = at
		at = at.Add(100 * time.Millisecond)
	}
	require.Greater(t, sent, 50, "in half a minute of 600 requests a minute")
}

// Where requests are slow, sweeps can go on for ever, whatever the budget. They must leave time for gaps and history.
func TestSweepsLeaveGapsAndHistoryTheirTurns(t *testing.T) {
	for name, gap := range map[string]timeline.Span{
		"gap":     {From: noon.Add(-20 * time.Hour), To: noon.Add(-12 * time.Hour)},
		"history": {From: noon.Add(-2 * timeline.Day), To: noon.Add(-36 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			u := readUnit(events.Conversations, gap.From, 1000)
			u.PollInterval, u.Read = time.Minute, &timeline.Set{}
			due := noon.Add(-time.Hour)
			u.Read.Mark(due, noon, noon)
			u.Read.Mark(gap.To, due, due)
			units := []*plan.Unit{u}
			const latency = 4 * time.Second
			policy := plan.DefaultPolicy()
			policy.PerMinute, policy.ConversationTiers = 600, []plan.Tier{{Within: 2 * time.Hour, Every: 2 * time.Minute}, {Within: 7 * timeline.Day, Every: 10 * time.Minute}}
			policy.Latency = map[events.Endpoint]time.Duration{events.Conversations: latency}
			var inFlight plan.InFlight
			for at := noon; u.Read.Gaps(u.Start, noon) != nil; {
				require.Less(t, at.Sub(noon), 20*time.Minute)
				w, wait, ok := plan.Derive(units, at, policy).Next(units, events.Conversations, at, inFlight)
				if !ok {
					at = at.Add(wait)
					continue
				}
				inFlight.Last[w.Kind] = at
				inFlight.Active = slices.DeleteFunc(inFlight.Active, func(a plan.Work) bool { return a.Kind == w.Kind })
				switch w.Requests--; {
				case w.Priority == plan.PriorityTail:
					u.LastPoll = at
					u.Read.Mark(w.From, w.To, at)
				case w.Requests >= 1:
					inFlight.Active = append(inFlight.Active, w)
				default:
					u.Read.Mark(w.From, w.To, w.Due) // as of when the pass began
				}
				at = at.Add(latency)
			}
		})
	}
}
