package poll_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// The history that a first read has yet to read is no gap, and no lag: new rows are read all the same. A restart in its midst changes
// nothing about that, and what cannot be read of the history is a gap.
func TestFirstReadIsNoGap(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for name, withheld := range map[string]bool{"all can be read": false, "some cannot": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				world := koresim.Config{Seed: 3, Start: now.Add(-3 * timeline.Day), Bots: 1, SegmentsPerDay: 1000, RequestsPerMinute: 6}
				r := newRig(t, world, func(o *poll.Options) {
					o.RequestsPerMinute = 6
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
					o.Bots = o.Bots[:1]
				})
				refused := 0
				if withheld {
					noon := world.Start.Truncate(timeline.Day).Add(36 * time.Hour).Format("2006-01-02T15:04:05")
					next := r.sim.Transport()
					r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
						if q := req.URL.Query(); q.Get("from") <= noon && noon <= q.Get("to") && time.Since(now) > time.Minute {
							refused++
							return answers(func(*http.Request) (int, http.Header, string) { return 400, nil, "no" }).RoundTrip(req)
						}
						return next.RoundTrip(req)
					})
				}
				r.start()
				reading, gaps, working := 0, 0, 0
				var last status.Endpoint
				look := func(s status.Account) {
					last = s.Endpoints[0]
					require.Less(t, time.Duration(*last.Lag), 2*time.Minute)
					require.Equal(t, world.Start, *last.CompleteFrom)
					for _, pass := range last.InWork {
						require.True(t, pass.From.Before(pass.To), "%v", pass)
						require.Contains(t, []string{"tail", "hot", "sweep", "backfill"}, pass.PriorityClass)
						working++
					}
					if last.FirstRead != nil {
						reading++
						require.False(t, last.FirstRead.From.Before(world.Start))
						require.False(t, last.FirstRead.To.After(now.Add(time.Second)))
						require.Positive(t, last.FirstRead.Remaining)
					}
					if len(last.Gaps) > 0 {
						gaps++
					}
				}
				look(statusOf(r))
				require.Equal(t, status.Seconds(3*timeline.Day), last.FirstRead.Remaining)
				r.runFor(2*time.Minute, 10*time.Second, look)
				r.stop()
				r.start()
				r.runFor(time.Hour, 10*time.Second, look)
				require.Greater(t, reading, 20, "also after the restart")
				require.Greater(t, working, 10)
				require.Equal(t, withheld, gaps > 0)
				require.Equal(t, withheld, len(last.Gaps) > 0)
				require.Nil(t, last.FirstRead)
				if withheld {
					require.Contains(t, last.Gaps[0].Reason, "the API refuses the request as it is")
					require.Equal(t, status.OK, last.State, "new rows are read")
					require.Less(t, refused, 40, "in an hour")
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func statusOf(r *rig) status.Account {
	s, _ := r.account.Status()
	return s
}
