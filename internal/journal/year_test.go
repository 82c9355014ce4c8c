package journal_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/testsize"
)

// sizes adds up a compacted topic: the last record of each key, with what a batch of its own costs beyond key and value.
type sizes struct {
	last       map[string]int
	tombstones []tombstone // kept for a day
	now        int
	written    int
}

type tombstone struct {
	key   string
	since time.Time
}

func (s *sizes) write(records []journal.Record, now time.Time) {
	const overhead = 70
	for _, r := range records {
		size := len(r.Key) + len(r.Value) + overhead
		s.now += size - s.last[string(r.Key)]
		s.written += size
		s.last[string(r.Key)] = size
		if r.Value == nil {
			s.tombstones = append(s.tombstones, tombstone{string(r.Key), now})
		}
	}
	for len(s.tombstones) > 0 && now.Sub(s.tombstones[0].since) >= 24*time.Hour {
		key := s.tombstones[0].key
		if s.last[key] == len(key)+overhead { // else it was written again
			s.now -= s.last[key]
			delete(s.last, key)
		}
		s.tombstones = s.tombstones[1:]
	}
}

// In a year of a thousand segments a day, each edited twice within a week and forgotten after five weeks, the topic never becomes
// larger than twice the data that is alive: the keys and values in the store, without any overhead of the journal.
func TestYearOfChurn(t *testing.T) {
	testsize.Slow(t)
	for name, c := range map[string]struct{ days, segments, batches int }{
		"a thousand a day":     {365, 1000, 8},
		"ten a day":            {365, 10, 2},
		"three thousand a day": {60, 3_000, 8},
	} {
		t.Run(name, func(t *testing.T) { churn(t, c.days, c.segments, c.batches) })
	}
}

func churn(t *testing.T, days, segments, batches int) {
	const account, editDays, keep = "6798834e4e94062f75aaaaaa", 7, 35 * 24 * time.Hour
	store := checkpointtest.Open(t)
	j, err := journal.New(store.Store, account)
	require.NoError(t, err)
	topic := sizes{last: make(map[string]int)}
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	alive := make(map[uint32]int) // bytes by day
	live, put := 0, 0
	peak, peakAt := 0.0, 0

	entity := func(at time.Time) checkpoint.Entry {
		var h checkpoint.Hash
		binary.BigEndian.PutUint64(h[:], random.Uint64())
		value := make([]byte, 11)
		for i := range value {
			value[i] = byte(random.IntN(256))
		}
		return checkpoint.Entry{Key: checkpoint.KeyAt(at, random.IntN(3) == 0, h), Value: value}
	}
	edits := make(map[int][]checkpoint.Entry) // by batch
	step := 24 * time.Hour / time.Duration(batches)
	commit := func(records []journal.Record, c checkpoint.Changes) {
		topic.write(records, c.ReadAt)
		require.NoError(t, store.Commit(c))
		j.Committed()
	}
	for n := range days * batches {
		now := start.Add(time.Duration(n) * step)
		c := checkpoint.Changes{Account: account, ReadAt: now, Progress: map[string][]byte{"interactions/st-1": make([]byte, 120)}}
		for range (segments*(n%batches+1))/batches - (segments*(n%batches))/batches {
			e := entity(now.Add(-time.Duration(random.Int64N(int64(step)))))
			c.Puts = append(c.Puts, e)
			alive[e.Key.Day] += 14 + len(e.Value)
			live += 14 + len(e.Value)
			for range 2 {
				at := n + 1 + random.IntN(editDays*batches)
				edits[at] = append(edits[at], checkpoint.Entry{Key: e.Key, Value: entity(now).Value})
			}
		}
		c.Puts = append(c.Puts, edits[n]...)
		delete(edits, n)
		for back := range uint32(editDays) {
			c.Touched = append(c.Touched, today(now)-back)
		}
		for _, e := range c.Puts {
			put += 14 + len(e.Value)
		}
		records, err := j.Append(&c, bound.Record)
		require.NoError(t, err)
		commit(records, c)

		if n%batches == 0 {
			due, err := store.Due(account, now.Add(-keep))
			require.NoError(t, err)
			var gone []uint32
			for _, e := range due {
				gone = append(gone, e.Day)
				live -= alive[e.Day]
			}
			c := checkpoint.Changes{Account: account, ReadAt: now}
			records, err := j.Expire(gone, &c, bound.Record)
			require.NoError(t, err)
			require.NoError(t, store.Forget(account, gone))
			if records != nil {
				commit(records, c)
			}
		}
		const small = 64 << 10
		require.LessOrEqual(t, topic.now, 2*live+2*small, "at batch %d", n)
		if ratio := float64(topic.now) / float64(live); live > 4*small && ratio > peak {
			peak, peakAt = ratio, n
		}
	}
	stats, err := store.Stats()
	require.NoError(t, err)
	t.Logf("%d entities, %d bytes alive in the end, in a topic of %d bytes (%.2f); at most %.2f times what was alive, at batch %d of %d",
		stats.Entities, live, topic.now, float64(topic.now)/float64(live), peak, peakAt, days*batches)
	t.Logf("%.2f bytes written for each byte put", float64(topic.written)/float64(put))
	require.LessOrEqual(t, peak, 2.0)
}
