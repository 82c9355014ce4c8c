package poll_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// Where the API's answers never let a pass conclude, the unit fails after a few tries, says what could not be found out and what to do,
// costs a twentieth of the budget from then on, publishes the rows that it is shown, and declares nothing complete. The other units keep
// their cadence.
func TestAccountSaysWhatItCannotFindOut(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	only := func(e events.Endpoint) map[events.Endpoint]bool { return map[events.Endpoint]bool{e: true} }
	for name, c := range map[string]struct {
		endpoint events.Endpoint
		change   func(*koresim.Broken)
		text     string
		rows     bool // some can be read
	}{
		"interactions selects by the time of storing": {
			events.Interactions, func(b *koresim.Broken) { b.SelectsStored = 7 * time.Minute }, "whatever the time zone", true,
		},
		"interactions has only unreadable rows": {
			events.Interactions, func(b *koresim.Broken) { b.Unreadable = only(events.Interactions) }, "no row of the last days can be read", false,
		},
		"interactions ignores offset": {
			events.Interactions, func(b *koresim.Broken) { b.IgnoresOffset = only(events.Interactions) }, "the last row of the page before", true,
		},
		"conversations ignores page": {
			events.Conversations, func(b *koresim.Broken) { b.IgnoresOffset = only(events.Conversations) }, "the rows of the page before", true,
		},
		"the totals of conversations are too high": {
			events.Conversations, func(b *koresim.Broken) { b.TotalsDiffer = true }, "the total of a day differed", true,
		},
		"the totals of conversations grow for ever": {
			events.Conversations, func(b *koresim.Broken) { b.TotalsGrow = true }, "the total of a day differed", true,
		},
		"interaction-details ignores the window": {
			events.InteractionDetails, func(b *koresim.Broken) { b.IgnoresWindow = only(events.InteractionDetails) }, "the same rows for different windows", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				profile := koresim.Profiles()[0]
				c.change(&profile.Broken)
				world := koresim.Config{Seed: 3, Start: now.Add(-3 * time.Hour), Bots: 1, SegmentsPerDay: 2000, Profile: profile}
				if c.endpoint.PerAccount() { // more than can be read by offset
					world.Start, world.SegmentsPerDay = now.Add(-8*time.Hour), 4000
				}
				other := events.Interactions
				if c.endpoint == other {
					other = events.InteractionDetails
				}
				inVain := &inVain{}
				r := newRig(t, world, func(o *poll.Options) {
					o.Log = slog.New(inVain)
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{
						c.endpoint: {PollInterval: pollIntervals[c.endpoint]}, other: {PollInterval: pollIntervals[other]},
					}
				})
				r.start()
				r.runFor(20*time.Minute, time.Minute, nil)
				inVain.reset()
				require.Contains(t, inVain.warned(), c.text)
				failing := 0
				minutes := testsize.Pick(20, 40)
				r.runFor(time.Duration(minutes)*time.Minute, time.Minute, func(s status.Account) {
					for _, e := range s.Endpoints {
						if events.Endpoint(e.Endpoint) != c.endpoint {
							require.Equal(t, status.OK, e.State, "%s: %+v", e.Endpoint, e.LastError)
							require.Less(t, time.Duration(*e.Lag), 3*time.Minute, e.Endpoint)
						} else if e.State == status.Failing {
							failing++
						}
					}
				})
				cost, largest := inVain.requests()
				t.Logf("%d of %d minutes failing, %d requests in vain, at most %d a pass", failing, minutes, cost, largest)
				require.GreaterOrEqual(t, failing, minutes-1)
				require.LessOrEqual(t, cost, int64(minutes)*60/20+largest, "a twentieth of the budget, and the pass that began before")
				s, _ := r.account.Status()
				for _, e := range s.Endpoints {
					if events.Endpoint(e.Endpoint) != c.endpoint {
						continue
					}
					require.NotNil(t, e.LastError)
					require.Contains(t, e.LastError.Text, c.text)
					require.NotEmpty(t, e.LastError.Hint)
					require.Equal(t, status.ClassShape, e.LastError.Class)
					require.Equal(t, c.rows, e.Rows > 0)
					if c.endpoint == events.Interactions && c.text != "the last row of the page before" {
						require.Nil(t, e.CompleteUpTo)
						require.Nil(t, e.ReadThrough)
						require.NotNil(t, e.Lag)
					}
				}
			})
		})
	}
}

// A server that says that there is more and returns nothing fails steadily, although every other request is answered: the first pages are.
func TestAccountFailsSteadilyWhereAListEndsShort(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		requests := &inVain{}
		r := newRig(t, koresim.Config{Seed: 3, Start: now.Add(-time.Hour), Bots: 1}, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
			o.Log = slog.New(requests)
		})
		r.transport = answers(func(req *http.Request) (int, http.Header, string) {
			q := req.URL.Query()
			if q.Get("offset") != "" && q.Get("offset") != "0" {
				return http.StatusOK, nil, `{"numResults":0,"hasMore":true,"data":[]}`
			}
			start := now.Add(-10 * time.Minute).Format(time.RFC3339)
			return http.StatusOK, nil, fmt.Sprintf(`{"numResults":3,"hasMore":true,"data":[{"segmentID":"ac-1","conversationID":"c-1",`+
				`"segmentStartTime":%q,"segmentEndTime":%q},{"segmentID":"ac-2","conversationID":"c-2","segmentStartTime":%q,"segmentEndTime":%q},"a record that is lost"]}`,
				start, start, start, start)
		})
		r.start()
		r.runFor(10*time.Minute, time.Minute, nil)
		r.runFor(time.Hour, 7*time.Second, func(s status.Account) {
			e := s.Endpoints[0]
			require.Equal(t, status.Failing, e.State)
			require.Contains(t, e.LastError.Text, "the server says there are more rows")
			require.NotEmpty(t, e.LastError.Hint)
		})
		require.EqualValues(t, 2, r.topics.count(events.TypeSegment), "what was read counts")
	})
}

// inVain is a log that counts the requests of passes that concluded nothing.
type inVain struct {
	mu         sync.Mutex
	n, largest int64
	warnings   string // what an operator was told
}

func (l *inVain) Enabled(context.Context, slog.Level) bool { return true }
func (l *inVain) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *inVain) WithGroup(string) slog.Handler            { return l }

// Handle implements slog.Handler.
func (l *inVain) Handle(_ context.Context, r slog.Record) error {
	if !strings.HasPrefix(r.Message, "a pass concluded nothing") && !strings.HasPrefix(r.Message, "the zone of the bounds of windows could not be found") {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "what" && r.Level >= slog.LevelWarn {
			l.warnings += a.Value.String() + "\n"
		}
		if a.Key == "requests" {
			l.n, l.largest = l.n+a.Value.Int64(), max(l.largest, a.Value.Int64())
		}
		return true
	})
	return nil
}

// warned returns what an operator was told.
func (l *inVain) warned() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.warnings
}

// requests returns how many there were since the last reset, and how many the largest pass took, ever.
func (l *inVain) requests() (n, largest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n, l.largest
}

func (l *inVain) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n = 0
}

// An API that ignores offset on an analytics endpoint can still be read, in windows of a page.
func TestAccountReadsAnalyticsWithoutOffset(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		profile := koresim.Profiles()[0]
		profile.Broken.IgnoresOffset = map[events.Endpoint]bool{events.InteractionDetails: true}
		r := newRig(t, koresim.Config{Seed: 3, Start: now.Add(-4 * time.Hour), Bots: 1, SegmentsPerDay: 4000, Profile: profile}, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.InteractionDetails: {PollInterval: 30 * time.Second}}
		})
		r.start()
		r.caughtUp(30 * time.Minute)
		r.compare(koresim.Scope{Settled: time.Now().Add(-time.Minute)})
	})
}

// A zone that is found only later corrects what was read as if the zone were UTC: no row is missing.
func TestAccountFindsTheZoneLater(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for name, zone := range map[string]time.Duration{"UTC": 0, "5:30": 5*time.Hour + 30*time.Minute, "-8": -8 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				profile := koresim.Profiles()[0]
				profile.BoundsZone = zone
				profile.Broken.SelectsStored = 7 * time.Minute
				r := newRig(t, koresim.Config{Seed: 3, Start: now.Add(-4 * time.Hour), Bots: 2, SegmentsPerDay: testsize.Pick(300, 1000), Profile: profile}, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
				})
				world := &worlds{now: r.sim.Transport()}
				r.transport = world
				r.start()
				r.runFor(30*time.Minute, time.Minute, nil)
				s, _ := r.account.Status()
				require.Equal(t, status.Failing, s.Endpoints[0].State)
				require.Positive(t, s.Endpoints[0].Rows)

				r.world.Profile.Broken = koresim.Broken{}
				r.serve()
				world.change(r.sim.Transport())
				r.runFor(2*time.Hour, time.Minute, nil)
				s, _ = r.account.Status()
				for _, e := range s.Endpoints {
					require.Equal(t, status.OK, e.State, "%+v", e.LastError)
					require.NotNil(t, e.CompleteUpTo)
				}
				r.caughtUp(10 * time.Minute)
				r.compare(koresim.Scope{Settled: time.Now().Add(-2 * time.Minute)})
			})
		})
	}
}

// worlds answers for one world after another.
type worlds struct {
	mu  sync.Mutex
	now http.RoundTripper
}

func (w *worlds) change(to http.RoundTripper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = to
}

func (w *worlds) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	now := w.now
	w.mu.Unlock()
	return now.RoundTrip(req)
}

// A span whose request always fails, of a unit that answers all else, is tried now and then, and the rest of the unit is read. What was
// never read is a gap whose reason says why; of what was read before, for edits, the endpoint says that it fails, until that works again.
func TestAccountSaysWhichSpanFails(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for name, c := range map[string]struct {
		code  int
		swept bool // the span was read before
	}{
		"a gap, the server": {http.StatusInternalServerError, false},
		"a gap, refused":    {http.StatusBadRequest, false},
		"a sweep":           {http.StatusInternalServerError, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				requests := &inVain{}
				start := now.Add(-6 * 24 * time.Hour)
				r := newRig(t, koresim.Config{Seed: 3, Start: start, Bots: 1, SegmentsPerDay: testsize.Pick(30, 100)}, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
					o.Policy.Tiers = []plan.Tier{{Within: 7 * 24 * time.Hour, Every: 20 * time.Minute}}
					o.Log = slog.New(requests)
				})
				bad := start.Add(10 * time.Hour).Format("2006-01-02T15:04:05")
				var broken atomic.Bool
				var refused atomic.Int64
				sim := r.sim.Transport()
				r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
					if q := req.URL.Query(); broken.Load() && q.Get("from") <= bad && bad < q.Get("to") {
						refused.Add(1)
						return answers(func(*http.Request) (int, http.Header, string) { return c.code, nil, `{"errors":[{"msg":"no"}]}` }).RoundTrip(req)
					}
					return sim.RoundTrip(req)
				})
				broken.Store(!c.swept)
				r.start()
				r.runFor(10*time.Minute, time.Minute, nil)
				broken.Store(true)
				r.runFor(40*time.Minute, time.Minute, nil)
				before := refused.Load()
				r.runFor(time.Hour, time.Minute, func(s status.Account) {
					e := s.Endpoints[0]
					require.Less(t, time.Duration(*e.Lag), 2*time.Minute)
					if c.swept {
						require.Equal(t, status.Failing, e.State)
						require.Regexp(t, `^2026-06-0.* to 2026-06-0.*: fetch interactions: .*status 500`, e.LastError.Text)
						return
					}
					require.Len(t, e.Gaps, 1)
					require.Contains(t, e.Gaps[0].Reason, strconv.Itoa(c.code))
				})
				t.Logf("%d requests refused in the hour", refused.Load()-before)
				require.LessOrEqual(t, refused.Load()-before, int64(60*60/20))
				broken.Store(false)
				r.runFor(70*time.Minute, time.Minute, nil)
				r.caughtUp(time.Minute)
				s, _ := r.account.Status()
				require.Equal(t, status.OK, s.Endpoints[0].State, "%+v", s.Endpoints[0].LastError)
				r.compare(koresim.Scope{Settled: time.Now().Add(-time.Hour)})
			})
		})
	}
}

// Of an account whose bots have no rows it is not known how an account-wide endpoint is to be read. It waits, says for what, and spends
// little. If there are rows that cannot be read, it fails.
func TestAccountWithoutRowsWaitsWithAReason(t *testing.T) {
	t.Parallel()
	for name, unreadable := range map[string]bool{"no rows": false, "unreadable rows": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				profile := koresim.Profiles()[0]
				world := koresim.Config{Seed: 3, Start: now.Add(-4 * time.Hour), Bots: 2, SegmentsPerDay: 1000, Profile: profile}
				if unreadable {
					world.Profile.Broken.Unreadable = map[events.Endpoint]bool{events.CallDetails: true}
				} else {
					world.End = now.Add(-4*time.Hour + time.Second)
				}
				inVain := &inVain{}
				r := newRig(t, world, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.CallDetails: {PollInterval: 10 * time.Second}}
					o.Log = slog.New(inVain)
				})
				r.start()
				r.runFor(10*time.Minute, time.Minute, nil)
				inVain.reset()
				r.runFor(time.Hour, time.Minute, func(s status.Account) {
					e := s.Endpoints[0]
					if unreadable {
						require.Equal(t, status.Failing, e.State)
						require.Contains(t, e.LastError.Text, "whether the endpoint shows the rows of all bots")
						return
					}
					require.Equal(t, status.Waiting, e.State)
					require.Equal(t, status.WaitNoRows, e.Waiting.Reason)
					require.Contains(t, e.Waiting.Text, "no bot had a row")
					require.NotNil(t, e.Waiting.Until)
				})
				cost, _ := inVain.requests()
				require.LessOrEqual(t, cost, int64(60*60/20+5))
				require.Positive(t, cost)
			})
		})
	}
}
