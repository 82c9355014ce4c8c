package e2e_test

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/koresim"
)

// The real binary is killed at random moments and started again. Nothing is lost. Without transactions, what is repeated has the
// event_id that it had before, and is of the one page whose delivery was cut off; with them, nothing is.
func TestKafkaKilled(t *testing.T) {
	t.Parallel()
	t.Run(kafka.AtLeastOnce, func(t *testing.T) {
		t.Parallel()
		killed(t, apache(t), kafka.AtLeastOnce, 6)
	})
	t.Run(kafka.ExactlyOnce, func(t *testing.T) {
		t.Parallel()
		killedEverywhere(t, apache(t), max(*kills, leastKills))
	})
}

func TestSmallKilled(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{kafka.ExactlyOnce, kafka.AtLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			killed(t, embedded(t), delivery, 2)
		})
	}
}

func killed(t *testing.T, p *platform, delivery string, kills int) {
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 21, Start: now.Add(-10 * time.Minute), End: now.Add(15 * time.Second), SegmentsPerDay: 100_000, Pace: koresim.Burst,
	})
	s := newSetup(t, p, live.yaml(quick("1h")))
	s.delivery = delivery
	c := s.follow(t)
	poller := binary(t, "")
	rnd := rand.New(rand.NewPCG(1, uint64(now.Unix())))
	for range kills {
		run := s.launch(t, poller)
		before := live.Stats().ByAccount[live.account().ID]
		eventually(t, patience, func() error { // it has begun to read
			if live.Stats().ByAccount[live.account().ID] == before {
				return errNotYet
			}
			return nil
		})
		time.Sleep(time.Duration(rnd.IntN(2500)) * time.Millisecond) // any moment will do
		run.kill(t)
	}
	last := s.launch(t, poller)
	repeats, forgotten := c.settleKilled(t, delivery, live, kills)
	if delivery == kafka.ExactlyOnce {
		require.Zero(t, repeats)
		require.Empty(t, forgotten)
	}
	last.stop(t)
	live.checkManners(t)
	t.Logf("%d kills, %d records repeated, %d events forgotten", kills, repeats, len(forgotten))
}

// settleKilled is settle for a poller that was killed so many times. At-least-once it may have delivered a batch twice each time; and
// a change that was published and not recorded, and taken back upstream before it was read again, stays on the topic.
func (c *consumer) settleKilled(t *testing.T, delivery string, centre *centre, kills int) (repeats int, forgotten map[string]bool) {
	t.Helper()
	seen, moved := -1, time.Now()
	eventually(t, patience, func() error {
		if n := c.count(); n != seen {
			seen, moved = n, time.Now()
		}
		outdated := 0
		if delivery == kafka.AtLeastOnce && time.Since(moved) > time.Minute { // nothing will change that any more
			outdated = kills
		}
		entries, pending := centre.ledger(centre.Now())
		once, repeated := split(c.read(t))
		repeats = len(repeated)
		checkRepeats(t, repeated, kills)
		forgotten = renumber(once)
		return settled(entries, pending, observed(once, centre.account().ID), centre, outdated, forgotten)
	})
	return repeats, forgotten
}

// repeat is a record that came twice.
type repeat struct{ first, second *kafkaread.Record }

// split separates the records that are there for the first time from those that are repeated.
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

// renumber counts the revisions of each entity anew, in the order of its partition, and returns the ids of the events that were
// forgotten: their number was taken once more, or only their copy on feedback-negative is there. At-least-once cannot do better:
// a version that was published when the kill came, in whole or in part, and not recorded, is not known of afterwards; if
// the thing has changed upstream meanwhile, what it has changed to gets the same number.
func renumber(records []kafkaread.Record) (forgotten map[string]bool) {
	last, shift := map[string]int64{}, map[string]int64{}
	forgotten = map[string]bool{}
	whole := map[string]bool{}
	said := map[string][]kafkaread.Record{} // by entity, as they were numbered
	for i := range records {
		r := &records[i]
		revision, ok := r.Value["revision"].(int64)
		if !ok || isCopy(r) {
			continue
		}
		whole[r.Field("event_id")] = true
		id := r.Topic + r.Field("entity_id")
		for _, before := range said[id] {
			if before.Value["revision"].(int64) >= revision {
				forgotten[before.Field("event_id")] = true
			}
		}
		said[id] = append(said[id], *r)
		if revision += shift[id]; revision <= last[id] {
			shift[id] += last[id] + 1 - revision
			revision = last[id] + 1
		}
		last[id] = revision
		if r.Value["revision"] != revision {
			r.Value = maps.Clone(r.Value) // it is looked at again
			r.Value["revision"] = revision
		}
	}
	for i := range records {
		if r := &records[i]; isCopy(r) && !whole[r.Field("event_id")] {
			forgotten[r.Field("event_id")] = true
		}
	}
	return forgotten
}

func isCopy(r *kafkaread.Record) bool { return strings.HasSuffix(r.Topic, ".feedback-negative") }

// checkRepeats checks that each kill repeats at most one batch, which is what one page brought.
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
