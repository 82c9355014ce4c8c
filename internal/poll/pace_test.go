package poll_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll"
)

// A history of which nothing is known yet looks like a single page. It must not be read at the pace of one while the budget
// lies idle.
func TestHistoryUnknownIsReadWithWhatIsLeftOver(t *testing.T) {
	now := base.Add(10 * day)
	u := &poll.Unit{
		Endpoint: events.Conversations, Bot: "st-1", Start: base, PollInterval: time.Minute,
		Read: &poll.Set{}, Density: &poll.Density{}, LastLook: now,
	}
	u.Read.Mark(now.Add(-2*day), now, now)
	u.Density.Observe(poll.Span{From: now.Add(-2 * day), To: now}, nil)
	units := []*poll.Unit{u}
	policy := poll.DefaultPolicy()
	policy.PerMinute = 600
	policy.Latency = map[events.Endpoint]time.Duration{events.Conversations: 100 * time.Millisecond}
	plan := poll.Derive(units, now, policy)
	sent := 0
	last := poll.Slot{}
	for at := now; at.Before(now.Add(30 * time.Second)); {
		w, wait, ok := plan.Next(units, events.Conversations, at, last)
		if !ok {
			at = at.Add(wait)
			continue
		}
		if w.Lane == poll.LaneBackfill {
			sent++
		}
		if w.Lane == poll.LaneTail {
			u.LastLook = at
		}
		last.Last[w.Lane] = at
		at = at.Add(100 * time.Millisecond)
	}
	require.Greater(t, sent, 50, "in half a minute of 600 requests a minute")
}
