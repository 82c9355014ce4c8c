package poll_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// What is large beyond reason costs itself only, and that once: an event that no record holds, an id that no key holds, a row that is
// larger than what is read of an answer. Pages larger than that are read in parts, and published in several batches: kills in between
// lose and repeat nothing.
func TestAccountReadsWhatIsTooLarge(t *testing.T) {
	testsize.Slow(t)
	profiles := koresim.Profiles()
	for _, profile := range profiles[:testsize.Pick(2, len(profiles))] {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				world := small(33)
				world.Profile, world.TooLarge, world.End = profile, 0.25, now.Add(time.Hour)
				r := newRig(t, world, quickSweeps)
				r.latency = usual
				r.maxBody = 2 << 20
				r.options.TooLarge = largerThanARecord(t)
				r.killAtRandom(33, testsize.Pick(3, 12), 20, time.Minute)
				r.start()
				r.caughtUp(30 * time.Minute)
				r.runFor(20*time.Minute, time.Minute, nil)
				report := r.compare(koresim.Scope{Settled: time.Now().Add(-15 * time.Minute)})

				reasons := map[string]int{}
				type letter struct{ reason, raw string }
				once := map[letter]int{}
				for _, d := range r.topics.dead {
					once[letter{d.Reason, string(d.RawBytes)}]++
					for _, why := range []string{"it has ", "has 4000", "this row alone is too large"} {
						if strings.Contains(d.Reason, why) {
							reasons[why]++
						}
					}
				}
				t.Logf("%s; %d dead letters, %v", report, len(r.topics.dead), reasons)
				require.Len(t, reasons, 3)
				for l, n := range once {
					require.Equal(t, 1, n, "%s: %.200s", l.reason, l.raw)
				}
				for _, record := range r.topics.records {
					require.LessOrEqual(t, len(record.value), bound.Record)
				}
			})
		})
	}
}

// largerThanARecord says of events that no record of Kafka's usual size holds that they are too large.
func largerThanARecord(t *testing.T) func(kafka.Outgoing) string {
	return func(o kafka.Outgoing) string {
		value, err := events.AppendAvro(nil, o.Event)
		require.NoError(t, err)
		if len(value) > bound.Record {
			return fmt.Sprintf("it has %d bytes", len(value))
		}
		return ""
	}
}
