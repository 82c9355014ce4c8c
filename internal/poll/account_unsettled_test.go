package poll_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

// Where the API's answers never let a pass conclude, the unit fails after a bounded number of tries, says what could not be found out and
// what to do, costs little of the budget from then on, publishes the rows it sees, and declares nothing complete. The other units go on.
func TestAccountSaysWhatItCannotFindOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		endpoint events.Endpoint
		change   func(*koresim.Profile)
		text     string
		rows     bool // some can be read
		most     int  // requests in any later hour
	}{
		"interactions selects by the time of storing": {
			events.Interactions, func(p *koresim.Profile) { p.SelectsStored = 7 * time.Minute }, "no time zone explains", true, 0,
		},
		"interactions has only unreadable rows": {
			events.Interactions, func(p *koresim.Profile) { p.Unreadable = map[events.Endpoint]bool{events.Interactions: true} }, "no time zone explains", false, 0,
		},
		"interactions ignores offset": {
			events.Interactions, func(p *koresim.Profile) { p.IgnoresOffset = map[events.Endpoint]bool{events.Interactions: true} }, "page after page", true, 0,
		},
		"the totals of conversations never agree": {
			events.Conversations, func(p *koresim.Profile) { p.TotalsDiffer = true }, "the total of the day", true, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				profile := koresim.Profiles()[0]
				c.change(&profile)
				world := koresim.Config{Seed: 3, Start: now.Add(-4 * time.Hour), Bots: 1, SegmentsPerDay: 4000, Profile: profile}
				r := newRig(t, world, nil)
				counted := &countingTransport{next: r.sim.Transport(), requests: map[events.Endpoint]int{}}
				r.transport = counted
				r.start()
				r.runFor(30*time.Minute, time.Minute, nil)
				before := counted.of(c.endpoint)
				failing := 0
				r.runFor(time.Hour, time.Minute, func(s status.Account) {
					for _, e := range s.Endpoints {
						if events.Endpoint(e.Endpoint) == c.endpoint && e.State == status.Failing {
							failing++
						}
					}
				})
				s, _ := r.account.Status()
				for _, e := range s.Endpoints {
					if events.Endpoint(e.Endpoint) != c.endpoint {
						require.Equal(t, status.OK, e.State, e.Endpoint)
						require.Less(t, time.Duration(*e.Lag), 5*time.Minute, e.Endpoint)
						continue
					}
					t.Logf("%d of 60 minutes failing, %d requests in the hour, %d before; %+v", failing, counted.of(c.endpoint)-before, before, e.LastError)
					require.GreaterOrEqual(t, failing, 59)
					require.Equal(t, status.Failing, e.State)
					require.Contains(t, e.LastError.Text, c.text)
					require.NotEmpty(t, e.LastError.Hint)
					require.Equal(t, status.ClassShape, e.LastError.Class)
					require.Equal(t, c.rows, e.Rows > 0)
					if c.text == "no time zone explains" {
						require.Nil(t, e.CompleteUpTo)
						require.Nil(t, e.ReadThrough)
					}
				}
				if c.most > 0 {
					require.LessOrEqual(t, counted.of(c.endpoint)-before, c.most)
				}
			})
		})
	}
}

// Of an account whose bots have no readable rows it is not known how an account-wide endpoint is to be read. It waits, says for what, and
// spends little.
func TestAccountWaitsWithAReason(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		profile := koresim.Profiles()[0]
		profile.Unreadable = map[events.Endpoint]bool{events.CallDetails: true}
		r := newRig(t, koresim.Config{Seed: 3, Start: now.Add(-4 * time.Hour), Bots: 2, SegmentsPerDay: 1000, Profile: profile}, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.CallDetails: {PollInterval: 10 * time.Second}}
		})
		counted := &countingTransport{next: r.sim.Transport(), requests: map[events.Endpoint]int{}}
		r.transport = counted
		r.start()
		r.runFor(10*time.Minute, time.Minute, nil)
		before := counted.of(events.CallDetails)
		r.runFor(time.Hour, time.Minute, func(s status.Account) {
			e := s.Endpoints[0]
			require.Equal(t, status.Waiting, e.State)
			require.Equal(t, status.WaitNoRows, e.Waiting.Reason)
			require.Contains(t, e.Waiting.Text, "no bot had a readable row")
			require.NotNil(t, e.Waiting.Until)
		})
		require.LessOrEqual(t, counted.of(events.CallDetails)-before, 190, "a twentieth of 60 requests a minute")
	})
}

// countingTransport counts requests.
type countingTransport struct {
	next     http.RoundTripper
	mu       sync.Mutex
	requests map[events.Endpoint]int
}

func (c *countingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.requests[endpointOf(req.URL.Path)]++
	c.mu.Unlock()
	return c.next.RoundTrip(req)
}

func (c *countingTransport) of(e events.Endpoint) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[e]
}
