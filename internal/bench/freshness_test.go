package bench_test

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/status"
)

// freshness watches what comes in, by the service's own poller_publish_seconds: from sending the request that showed a thing to
// its being acknowledged, which in transactions is when readers of committed records see it. What comes before that is the poll
// interval, a second here. The answers are bounds of the metric's buckets.
func (b *costBench) freshness(t *testing.T, delivery string) {
	const (
		watched   = 20 * time.Second
		endpoints = "{interactions: {poll_interval: 1s}, conversations: {enabled: false}, interaction-details: {enabled: false}}"
	)
	accounts := simulate(t, b.base.binary, world{history: 10 * time.Minute, perDay: *costPerDay, endpoints: endpoints})
	p := b.setup(t, delivery, accounts).start(t)
	p.until(func(s *status.Status) bool { return caughtUp(s.Accounts[0]) })
	before := p.histogram("poller_publish_seconds")
	p.sleep(watched)
	pages := p.histogram("poller_publish_seconds")
	p.stop()
	for le := range pages {
		pages[le] -= before[le]
	}
	require.Positive(t, pages[math.Inf(1)], "nothing came in")
	within := func(share float64) float64 {
		var bounds []float64
		for le, n := range pages {
			if n >= share*pages[math.Inf(1)] {
				bounds = append(bounds, le)
			}
		}
		return slices.Min(bounds) * 1e3
	}
	b.note(t, "from request to acknowledgement, %s: p50 within %.0f ms, p99 within %.0f ms, of %.0f pages", delivery,
		within(0.5), within(0.99), pages[math.Inf(1)])
}

// histogram returns how often at most so much was observed, over all labels.
func (p *poller) histogram(name string) map[float64]float64 {
	p.t.Helper()
	out := map[float64]float64{}
	for series, n := range p.series() {
		labels, found := strings.CutPrefix(series, name+"_bucket{")
		if !found {
			continue
		}
		_, bound, _ := strings.Cut(labels, `le="`)
		bound, _, _ = strings.Cut(bound, `"`)
		le, err := strconv.ParseFloat(bound, 64)
		require.NoError(p.t, err, series)
		out[le] += n
	}
	return out
}

// alive is what lives on heap and stacks, garbage collected.
func (p *poller) alive() float64 {
	p.t.Helper()
	response, err := http.Get(p.url + "/debug/pprof/heap?gc=1")
	require.NoError(p.t, err)
	require.NoError(p.t, response.Body.Close())
	m := p.metrics()
	return m["go_memstats_heap_alloc_bytes"] + m["go_memstats_stack_inuse_bytes"]
}
