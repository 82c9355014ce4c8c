package poll

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/status"
)

// A forecast says how many requests that takes together, and what to change if not all is attained.
func TestForecastAdvises(t *testing.T) {
	for name, tt := range map[string]struct {
		interactions, conversations string // what their sweeps are bound by
		want                        string
	}{
		"attained": {"configured", "configured", "\nAll that is configured or aimed at is attained.\n"},
		"in flight": {"configured", "in-flight", "To change that:\n" +
			"  raise concurrency of conversations above 2: its requests wait for each other, not for the budget\n"},
		"budget": {"budget", "configured", "To change that:\n" +
			"  raise requests_per_minute above 60, if Kore.ai grants more, or have fewer requests: a longer poll_interval, longer sweeps,\n" +
			"  fewer bots or endpoints; the budget bounds interactions\n"},
		"both": {"budget", "in-flight", "not for the budget\n  raise requests_per_minute above 60"},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := func(e events.Endpoint, units, concurrency int, bound string) EndpointForecast {
				return EndpointForecast{
					Endpoint: e, Units: units, Concurrency: concurrency, Hot: status.Seconds(90 * time.Second),
					PollBound: "configured", HotBound: "configured", SweepBound: bound,
					Sweeps: []SweepForecast{{Within: status.Seconds(2 * time.Hour), Every: status.Seconds(time.Hour), Seen: status.Seconds(75 * time.Minute)}},
				}
			}
			f := &Forecast{
				Account: "eu", Budget: 60, Spent: map[string]float64{"tail": 14.2, "hot": 21.5, "sweep": 15.1},
				Endpoints: []EndpointForecast{
					endpoint(events.Interactions, 2, 1, tt.interactions), endpoint(events.Conversations, 1, 2, tt.conversations),
				},
			}
			double := *f
			double.Budget = 120
			var out bytes.Buffer
			require.NoError(t, f.Print(&out, &double))
			require.Contains(t, out.String(), tt.want)
			require.Regexp(t, `(?m)^interactions, for each of 2 bots at worst *$`, out.String())
			require.Regexp(t, `(?m)^conversations *$`, out.String())
			require.Regexp(t, `(?m)^  an edit to a row up to 2h old is read within +1\.2h \(1\.2h\)`, out.String())
			require.Regexp(t, `(?m)^  together +50\.8 \(50\.8\) +of 60 \(120\)$`, out.String())
		})
	}
}

func TestRound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * time.Second: "5s", 90 * time.Second: "1.5m", 30 * time.Minute: "30m", time.Hour: "1h", 66 * time.Minute: "1.1h", 24 * time.Hour: "24h",
		7 * 24 * time.Hour: "7d", 60 * time.Hour: "2.5d",
	} {
		require.Equal(t, want, round(status.Seconds(d)))
	}
}
