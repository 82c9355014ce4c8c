package bench_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// freshness watches what comes in, as a consumer of committed records on the same machine: from the answer that showed a thing, whose time
// is the record's, to the consumer. What comes before is the poll interval.
func (b *costBench) freshness(t *testing.T, delivery string, accounts int, poll time.Duration) {
	const watched = 30 * time.Second
	list := simulate(t, b.base.binary, world{
		history: 10 * time.Minute, perDay: *costPerDay / accounts, accounts: accounts, seed: 3,
		endpoints: fmt.Sprintf("{interactions: {poll_interval: %v}, conversations: {enabled: false}, interaction-details: {enabled: false}}", poll),
	})
	s := b.setup(t, delivery, list)
	p := s.start(t)
	p.until(allCaughtUp)
	began := time.Now()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(s.broker), kgo.ConsumeRegex(), kgo.ConsumeTopics(`^`+s.prefix+`\.[a-z-]+$`),
		kgo.ConsumeExcludeTopics(`\.(checkpoint|control|watermark|dead-letter)$`), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), watched)
	defer cancel()
	var took []time.Duration
	for ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Timestamp.After(began) {
				took = append(took, now.Sub(r.Timestamp))
			}
		})
	}
	p.stop()
	require.NotEmpty(t, took, "nothing came in")
	slices.Sort(took)
	within := func(percent int) time.Duration { return took[(len(took)-1)*percent/100] }
	b.note(t, "from answer to consumer, %s, %d accounts: p50 %v, p99 %v, of %d events", delivery, accounts, within(50).Round(time.Millisecond), within(99).Round(time.Millisecond), len(took))
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
