package e2e_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// The poller reads a week of history and live traffic in every profile, through transient faults. The topics must hold everything once.
// Then nothing new happens, and another process and a newer version publish nothing.
func TestKafkaWeek(t *testing.T) {
	t.Parallel()
	p := apache(t)
	for _, profile := range koresim.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			testWeek(t, p, profile, 300)
		})
	}
}

const (
	// waitLimit is far more than any one thing takes that a test waits for: others may run on the machine.
	waitLimit = 8 * time.Minute
	// quietLimit is how long nothing may come while something is missing: longer than the poller holds anything back. There is no limit on
	// the whole.
	quietLimit = 6 * time.Minute
)

func TestSmallWeek(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	testWeek(t, embedded(t), koresim.Profiles()[0], 30)
}

func testWeek(t *testing.T, p *platform, profile koresim.Profile, segmentsPerDay int) {
	now := time.Now().UTC().Truncate(time.Second)
	for e, latency := range profile.Latency {
		profile.Latency[e] = min(latency, scaled(p, 4*time.Second, 10*time.Second))
	}
	profile.Jitter = min(profile.Jitter, scaled(p, 2*time.Second, 5*time.Second))
	faults := koresim.Faults{Rate: 0.03, Seed: 1, Hang: time.Second, Slow: 300 * time.Millisecond}
	history := serve(t, "history", koresim.Config{
		Seed: 11, Start: now.AddDate(0, 0, -10), End: now.AddDate(0, 0, -3), SegmentsPerDay: segmentsPerDay,
		EmailOpen: 6 * time.Hour, Profile: profile, Faults: faults,
	})
	_, pending := history.ledger(now)
	require.Zero(t, pending, "history must be over")
	live := serve(t, "live", koresim.Config{
		Seed: 12, Start: now.Add(-time.Minute), End: now.Add(scaled(p, 10*time.Second, 20*time.Second)), SegmentsPerDay: scaled(p, 100_000, 200_000), Pace: koresim.Burst,
		Profile: profile, Faults: faults,
	})
	if p.full {
		require.GreaterOrEqual(t, history.things(events.TypeConversation), 2000)
	}
	s := newSetup(t, p, history.yaml(quickSettings("1h")), live.yaml(quickSettings("1h")+shortLateness))
	c := s.follow(t)

	first := s.startInProcess(t)
	c.settle(t, history, live)
	first.stop(t)
	for _, centre := range []*centre{history, live} {
		centre.checkRequests(t)
		centre.SetFaults(koresim.Faults{Rate: 0.01, Seed: 2, Hang: time.Second})
	}
	checkRecords(t, c)
	checkWindows(t, c, 1, history, live)
	before := c.ends(t, c.eventTopics()...)

	s.accounts = history.yaml(quickSettings("3s")) + live.yaml(quickSettings("3s")+shortLateness)
	again := s.startInProcess(t)
	reread(t, history, live)
	again.stop(t)
	require.Equal(t, before, c.ends(t, c.eventTopics()...), "a second run has nothing to publish")

	if profile.Name == koresim.Profiles()[0].Name { // what is hashed does not depend on the profile
		newer := s.startProcess(t, binary(t, "-X agentassist-poller/internal/events.recipe=3"))
		reread(t, history, live)
		newer.stop(t)
		require.Equal(t, before, c.ends(t, c.eventTopics()...), "a newer version has nothing to publish")
	}
	for _, centre := range []*centre{history, live} {
		centre.checkRequests(t)
	}
}

// reread waits until the API has returned every row once more.
func reread(t *testing.T, centres ...*centre) {
	t.Helper()
	for _, centre := range centres {
		rows := map[events.Endpoint]int64{
			events.Interactions:       int64(centre.things(events.TypeSegment)),
			events.InteractionDetails: int64(centre.things(events.TypeConversation)),
			events.CallDetails:        int64(centre.things(events.TypeConversation)),
		}
		before := centre.Stats().Rows
		deadline, seen := time.Now(), map[events.Endpoint]int64{}
		eventually(t, 2*waitLimit, func() error {
			now := centre.Stats().Rows
			if !maps.Equal(now, seen) {
				deadline, seen = time.Now().Add(quietLimit), now
			}
			require.True(t, time.Now().Before(deadline), "%s is not read any more", centre.name)
			for e, want := range rows {
				if got := now[e] - before[e]; got < want {
					return fmt.Errorf("%s: %s gave out %d rows again, of %d", centre.name, e, got, want)
				}
			}
			return nil
		})
	}
}
