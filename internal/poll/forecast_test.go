package poll

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
)

// A forecast says how often hot rows are read that ended a while ago, where that is less often than while they are open, and why.
func TestForecastOfHotRows(t *testing.T) {
	o := Options{
		Name: "a", RequestsPerMinute: 60, Policy: plan.DefaultPolicy(), Bots: []Bot{{Name: "care", ID: "st-1"}},
		Endpoints: map[events.Endpoint]EndpointOptions{events.Conversations: {PollInterval: time.Minute, Concurrency: 2}},
	}
	said := func(segmentsPerDay float64) (*EndpointForecast, string) {
		f := NewForecast(o, segmentsPerDay)
		var out strings.Builder
		require.NoError(t, f.Print(&out, f))
		return &f.Endpoints[0], out.String()
	}
	few, text := said(1_000)
	require.Equal(t, few.Hot, few.HotEnded)
	require.NotContains(t, text, "left to sweeps")
	many, text := said(20_000)
	require.Greater(t, time.Duration(many.HotEnded), 5*time.Minute)
	require.Less(t, time.Duration(many.Hot), 3*time.Minute)
	require.Contains(t, text, "what is left to sweeps, which are short of requests")
}
