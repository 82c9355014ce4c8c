package app

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// An API that names 120 members anew on every page makes a bounded number of series, and a bounded list in the status.
func TestDriftIsBoundedPerProcess(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := newObserver(reg, "test")
	const pages, members = 50, 120
	for page := range pages {
		drift := map[string]int64{}
		for member := range members {
			drift[fmt.Sprintf("data[].x%d_%d", page, member)] = 2
		}
		o.Page("a", events.Interactions, 1, 0, drift)
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, family := range families {
		if family.GetName() != "poller_drift_total" {
			continue
		}
		require.Len(t, family.GetMetric(), maxLabelValues+1)
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	require.Equal(t, float64(2*pages*members), sum, "all are counted")
	others := o.paths.replaced()
	require.Equal(t, int64(2*(pages*members-maxLabelValues)), others.Count)
	require.Len(t, others.Values, maxOtherValues)
	require.Equal(t, maxLabelValues, others.Kept)
}
