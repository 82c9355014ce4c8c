package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/faultpoint"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// The real binary is killed at work and started again. Nothing is lost. With transactions nothing is repeated. Without them only the batch
// whose delivery the kill cut off is repeated, with the same event ids.
func TestKafkaKilled(t *testing.T) {
	t.Parallel()
	t.Run(kafka.AtLeastOnce, func(t *testing.T) {
		t.Parallel()
		testKills(t, apache(t), kafka.AtLeastOnce, 2*len(pointsOfBoth))
	})
	t.Run(kafka.ExactlyOnce, func(t *testing.T) {
		t.Parallel()
		testKillsAtEveryPoint(t, apache(t), max(*kills, leastKills))
	})
}

func TestSmallKilled(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for _, delivery := range []string{kafka.ExactlyOnce, kafka.AtLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			testKills(t, embedded(t), delivery, len(pointsOfBoth))
		})
	}
}

// pointsOfBoth are the points that both kinds of delivery reach.
var pointsOfBoth = []point{
	{faultpoint.AfterProduce, 4}, {anyInstant, 0}, {faultpoint.BeforeDisk, 6}, {faultpoint.BeforeBegin, 4},
	{faultpoint.DuringDisk, 8}, {faultpoint.BeforeEnd, 6},
}

func testKills(t *testing.T, p *platform, delivery string, kills int) {
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 21, Start: now.Add(-scaled(p, 3*time.Minute, 10*time.Minute)), End: now.Add(time.Duration(kills) * scaled(p, uptime, 2*uptime)),
		SegmentsPerDay: scaled(p, 40_000, 100_000), Pace: koresim.Burst, RequestsPerMinute: requests, TooLarge: 0.02,
	})
	s := newSetup(t, p, live.yaml(smallAnswers+quickSettings("1h")))
	s.delivery = delivery
	c := s.follow(t)
	run := killLoop{setup: s, binary: build(t, "-tags", "faultpoints"), rnd: rand.New(rand.NewPCG(1, uint64(now.Unix())))}
	for n := range kills {
		run.point = pointsOfBoth[n%len(pointsOfBoth)]
		run.runUntilKilled(t)
	}
	last := s.startProcess(t, binary(t, ""))
	repeats := c.settleAfterKills(t, delivery, live, kills)
	last.stop(t)
	live.checkRequests(t)
	large := countTooLarge(t, c)
	require.Positive(t, large)
	t.Logf("%d kills, %d of them elsewhere, %d records repeated, %d dead letters of what is too large", run.kills, run.missed, repeats, large)
}

// settleAfterKills waits as settle does, after the poller was killed so many times. Without transactions each kill may repeat one batch.
func (c *consumer) settleAfterKills(t *testing.T, delivery string, centre *centre, kills int) (repeats int) {
	t.Helper()
	eventually(t, waitLimit, func() error {
		entries, pending := centre.ledger(centre.Now())
		once, repeated := split(c.read(t))
		repeats = len(repeated)
		checkRepeats(t, repeated, kills)
		return settled(entries, pending, observed(once, centre.account().ID), centre)
	})
	require.True(t, delivery == kafka.AtLeastOnce || repeats == 0, "%d records are repeated", repeats)
	return repeats
}

// repeat is a record that was published twice.
type repeat struct{ first, second *kafkaread.Record }

// split separates the first copy of each record from later ones.
func split(records []kafkaread.Record) (once []kafkaread.Record, repeated []repeat) {
	seen := map[string]*kafkaread.Record{}
	for i := range records {
		r := &records[i]
		id := r.Topic + r.Field("event_id")
		if first := seen[id]; first != nil && r.Field("event_id") != "" {
			repeated = append(repeated, repeat{first, r})
			continue
		}
		seen[id] = r
		once = append(once, *r)
	}
	return once, repeated
}

// checkRepeats checks that each kill repeats at most one batch: the events of one page.
func checkRepeats(t *testing.T, repeated []repeat, kills int) {
	t.Helper()
	pages := map[string]bool{}
	for _, r := range repeated {
		require.Equal(t, r.first.Key, r.second.Key)
		require.Equal(t, r.first.Partition, r.second.Partition)
		require.Equal(t, r.first.Field("entity_id"), r.second.Field("entity_id"))
		require.Equal(t, r.first.Value["revision"], r.second.Value["revision"])
		observed, _ := r.first.Value["observed_time"].(time.Time)
		pages[r.first.Field("endpoint")+observed.String()] = true
	}
	require.LessOrEqual(t, len(pages), kills, "at most the batch in hand is repeated")
}
