package poll_test

import (
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// Whatever the API is like, broken or not: in no minute of a day does an endpoint wait without a reason in words, or for longer than it
// says. One that fails says why and what to do.
func TestAccountNeverWaitsWithoutAReason(t *testing.T) {
	testsize.Slow(t)
	in, co, id, cd := events.Interactions, events.Conversations, events.InteractionDetails, events.CallDetails
	all := map[events.Endpoint]bool{in: true, co: true, id: true, cd: true}
	profiles := koresim.Profiles()
	for name, broken := range map[string]koresim.Broken{
		"selects by the time of storing": {SelectsStored: 10 * time.Minute},
		"nothing readable":               {Unreadable: all},
		"no offset":                      {IgnoresOffset: all},
		"no windows":                     {IgnoresWindow: all},
		"totals differ":                  {TotalsDiffer: true},
		"totals grow":                    {TotalsGrow: true},
	} {
		p := koresim.Profiles()[1]
		p.Name, p.Broken = name, broken
		profiles = append(profiles, p)
	}
	for i, profile := range profiles {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				world := koresim.Config{
					Seed: uint64(i), Start: now.Add(-4 * time.Hour), Bots: 2, SegmentsPerDay: testsize.Pick(200, 300), Profile: profile, RequestsPerMinute: 30,
					Faults: koresim.Faults{Rate: 0.05, Seed: 3},
				}
				r := newRig(t, world, func(o *poll.Options) {
					for e := range o.Endpoints {
						o.Endpoints[e] = poll.EndpointOptions{PollInterval: 3 * time.Minute}
					}
				})
				r.start()
				waited := map[string]time.Duration{}
				r.runFor(testsize.Pick(2*time.Hour, 24*time.Hour), time.Minute, func(s status.Account) {
					for _, e := range s.Endpoints {
						name := e.Endpoint + " " + e.BotName
						require.Equal(t, e.State == status.Waiting, e.Waiting != nil, name)
						switch e.State {
						case status.Failing:
							require.NotNil(t, e.LastError, name)
							require.NotEmpty(t, e.LastError.Text, name)
						case status.Waiting:
							w := e.Waiting
							require.NotEmpty(t, w.Text, name)
							require.Contains(t, []status.WaitReason{status.WaitFirstRead, status.WaitRetryAfter, status.WaitNoRows}, w.Reason, name)
							require.False(t, w.Since.After(time.Now()), name)
							if w.Until != nil {
								require.True(t, w.Until.After(time.Now()), "%s waits until %v: %s", name, w.Until, w.Text)
							}
							if w.Reason == status.WaitFirstRead {
								waited[name] += time.Minute
							}
						}
					}
				})
				for name, d := range waited {
					require.LessOrEqual(t, d, time.Hour, "%s has waited for its first read", name)
				}
			})
		})
	}
}

// An endpoint that fails only now and then makes the alert fire, as long as it fails again within the time that the alert waits for. One
// that fails for a moment, once, does not.
func TestAlertFiresForWhatComesAndGoes(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	rule, err := os.ReadFile("../../deploy/helm/agentassist-poller/templates/prometheusrule.yaml")
	require.NoError(t, err)
	found := regexp.MustCompile(`min_over_time\(poller_endpoint_up\{.*\}\[(\w+)\]\)\) == 0\n +for: (\w+)\n`).FindStringSubmatch(string(rule))
	require.NotNil(t, found, "the rule is not what this test evaluates")
	within, err := time.ParseDuration(found[1])
	require.NoError(t, err)
	pending, err := time.ParseDuration(found[2])
	require.NoError(t, err)

	for name, c := range map[string]struct {
		code       int
		bad, good  time.Duration
		once, want bool
	}{
		"always":                {code: 403, bad: time.Hour, want: true},
		"half of the time":      {code: 403, bad: 2 * time.Minute, good: 2 * time.Minute, want: true},
		"a short while":         {code: 403, bad: 40 * time.Second, good: 6 * time.Minute, want: true},
		"the server, at times":  {code: 500, bad: 90 * time.Second, good: 5 * time.Minute, want: true},
		"once":                  {code: 403, bad: 2 * time.Minute, good: time.Hour, once: true},
		"once, for a request":   {code: 500, bad: time.Second, good: time.Hour, once: true},
		"never":                 {code: 403, good: time.Hour},
		"one request at a time": {code: 403, bad: time.Second, good: 4 * time.Minute}, // the next one works, and nothing is late
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, koresim.Config{Seed: 1, Start: now.Add(-time.Hour), Bots: 1, SegmentsPerDay: 200}, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
				})
				sim, began := r.sim.Transport(), time.Now().Add(5*time.Minute)
				r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
					if d := time.Since(began); d >= 0 && d%(c.bad+c.good) < c.bad {
						return answers(func(*http.Request) (int, http.Header, string) { return c.code, nil, `{}` }).RoundTrip(req)
					}
					return sim.RoundTrip(req)
				})
				r.start()
				var down, active time.Time // the last sample that was 0; since when the expression holds
				fired := false
				r.runFor(time.Hour, 30*time.Second, func(s status.Account) {
					at := time.Now()
					if !s.Endpoints[0].Up(at) {
						down = at
					}
					switch {
					case down.IsZero() || at.Sub(down) >= within:
						active = time.Time{}
					case active.IsZero():
						active = at
					}
					fired = fired || !active.IsZero() && at.Sub(active) >= pending
				})
				require.Equal(t, c.want, fired)
			})
		})
	}
}
