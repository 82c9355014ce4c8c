package poll_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// Rows of bots that are not configured are dropped and counted. When they are to be kept, all that was read is read again, nothing counts as
// complete until it has been, and what was published is not published again.
func TestAccountDropsRowsOfOtherBots(t *testing.T) {
	testsize.Slow(t)
	inBubble(t, func(t *testing.T) {
		world := koresim.Config{Seed: 4, Start: now.Add(-6 * time.Hour), End: now, Bots: 2, SegmentsPerDay: 2000, EmailOpen: time.Hour}
		r := newRig(t, world, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.InteractionDetails: {PollInterval: 30 * time.Second}}
			o.Bots = o.Bots[:1]
		})
		dropped := func() (s status.Endpoint) {
			all, _ := r.account.Status()
			return all.Endpoints[0]
		}
		r.start()
		r.caughtUp(time.Hour)
		r.runFor(20*time.Minute, time.Minute, nil)
		require.Positive(t, dropped().OtherBots)
		require.NotNil(t, dropped().CompleteUpTo)
		own := r.topics.observed()
		require.NotEmpty(t, own)
		for _, o := range own {
			require.Equal(t, r.options.Bots[0].ID, o.Fields["bot_id"])
		}
		r.stop()
		r.start()
		require.NotNil(t, dropped().CompleteUpTo, "a restart changes nothing")
		r.stop()

		clear(r.topics.watermarks) // which begin again
		r.options.KeepOtherBots = true
		r.start()
		require.Nil(t, dropped().CompleteUpTo)
		r.caughtUp(time.Hour)
		r.runFor(20*time.Minute, time.Minute, nil)
		require.Zero(t, dropped().OtherBots)
		require.Greater(t, len(r.topics.observed()), len(own)*3/2)
		r.compare(koresim.Scope{Settled: now})
		r.stop()
	})
}
