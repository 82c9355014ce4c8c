package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// What the status states does not jump where the budget begins to bind, or the request in flight does.
func TestStatedAgesDoNotJump(t *testing.T) {
	for _, concurrency := range []int{1, 2, 4} {
		units := simAccount(10_000)
		policy := DefaultPolicy()
		policy.Concurrency = map[events.Endpoint]int{events.Conversations: concurrency}
		var before *Plan
		for policy.PerMinute = 30; policy.PerMinute < 300; policy.PerMinute *= 1.01 {
			p := Derive(units, simNow, policy)
			for i, u := range units {
				for k, is := range p.Units[i].SeenWithin {
					if before != nil {
						was := before.Units[i].SeenWithin[k]
						require.InEpsilon(t, float64(was), float64(is), 0.12, "%s tier %d, %.1f a minute, %d in flight: from %v to %v", u.Endpoint, k,
							policy.PerMinute, concurrency, was, is)
					}
				}
			}
			before = p
		}
	}
}
