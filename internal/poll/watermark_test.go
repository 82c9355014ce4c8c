package poll_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll"
)

// A watermark stays as far behind what was read as is allowed, and no lateness allowed is not the lateness that was observed.
func TestAllowedLatenessOfWatermarks(t *testing.T) {
	for name, test := range map[string]struct {
		allowed     poll.Lateness
		least, most time.Duration
	}{
		"auto": {poll.Lateness{Auto: true}, 5 * time.Minute, 24 * time.Hour},
		"none": {poll.Lateness{}, 0, 0},
		"10m":  {poll.Lateness{Max: 10 * time.Minute}, 10 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, small(3), func(o *poll.Options) { o.Lateness = test.allowed })
				r.start()
				r.runFor(10*time.Minute, time.Minute, nil)
				r.stop()
				w := r.topics.watermarks[string(events.InteractionDetails)+"/"]
				allowed := time.Duration(w.AllowedLatenessMs) * time.Millisecond
				require.GreaterOrEqual(t, allowed, test.least)
				require.LessOrEqual(t, allowed, test.most)
				// What was complete stays so when more lateness is observed and allowed later.
				require.False(t, w.CompleteUpTo.Before(w.ReadThrough.Add(-allowed)), "%v", w.CompleteUpTo)
				require.False(t, w.CompleteUpTo.After(w.ReadThrough.Add(-test.least)), "%v", w.CompleteUpTo)
			})
		})
	}
}
