package journal_test

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
)

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func openStore(b *testing.B) *checkpoint.Store {
	b.Helper()
	s, err := checkpoint.Open(filepath.Join(b.TempDir(), "poller.db"), checkpoint.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// fill gives the journal and the store batches of a thousand new entities, the last at noon, and returns the records that a compacted
// topic keeps.
func fill(b *testing.B, store *checkpoint.Store, j *journal.Journal, known, valueSize int) []journal.Record {
	b.Helper()
	const batch, days = 1000, 35
	random := rand.New(rand.NewPCG(1, 1))
	last := make(map[string]journal.Record)
	var order []string
	for n := 0; n < known; n += batch {
		at := noon.Add(-time.Duration(known-n) * (days * 24 * time.Hour / time.Duration(known)))
		c := batchAt(random, at, batch, valueSize)
		records, err := j.Append(&c, bound.Record)
		if err != nil {
			b.Fatal(err)
		}
		if err := store.Commit(c); err != nil {
			b.Fatal(err)
		}
		j.Committed()
		for _, r := range records {
			last[string(r.Key)] = r
			order = append(order, string(r.Key))
		}
	}
	var kept []journal.Record // in the order of the last record of each key
	for i := len(order) - 1; i >= 0; i-- {
		if r, ok := last[order[i]]; ok {
			delete(last, order[i])
			if r.Value != nil {
				kept = append(kept, r)
			}
		}
	}
	for i, k := 0, len(kept)-1; i < k; i, k = i+1, k-1 {
		kept[i], kept[k] = kept[k], kept[i]
	}
	return kept
}

func batchAt(random *rand.Rand, at time.Time, size, valueSize int) checkpoint.Changes {
	c := checkpoint.Changes{Account: "a1", ReadAt: at, Progress: map[string][]byte{"interactions/st-1": make([]byte, 120)}}
	for range size {
		var h checkpoint.Hash
		binary.BigEndian.PutUint64(h[:], random.Uint64())
		binary.BigEndian.PutUint32(h[8:], random.Uint32())
		value := make([]byte, valueSize)
		binary.BigEndian.PutUint64(value, random.Uint64())
		c.Puts = append(c.Puts, checkpoint.Entry{Key: checkpoint.KeyAt(at.Add(-time.Duration(random.Int64N(int64(time.Minute)))), random.IntN(3) == 0, h), Value: value})
	}
	return c
}

// BenchmarkReplay builds a store of 10 million entities from a compacted topic.
func BenchmarkReplay(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 10 million entities first")
	}
	const known, valueSize = 10_000_000, 25
	first := openStore(b)
	j, err := journal.New(first, "a1")
	if err != nil {
		b.Fatal(err)
	}
	records := fill(b, first, j, known, valueSize)
	size := 0
	for _, r := range records {
		size += len(r.Key) + len(r.Value)
	}
	for b.Loop() {
		store, before := openStore(b), cpu()
		r := journal.NewReplay(store, func(string) bool { return true })
		for i, record := range records {
			if err := r.Add(record.Key, record.Value, int64(i)); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := r.Finish(nil); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((cpu() - before).Seconds(), "cpu-s/op")
		stats, err := store.Stats()
		if err != nil || stats.Entities != known {
			b.Fatal(stats, err)
		}
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(len(records)), "records")
}

// BenchmarkAppend appends a batch of a thousand new entities to a store of a million. It does not measure the store's commit.
func BenchmarkAppend(b *testing.B) {
	store := openStore(b)
	j, err := journal.New(store, "a1")
	if err != nil {
		b.Fatal(err)
	}
	fill(b, store, j, 1_000_000, 11)
	random := rand.New(rand.NewPCG(3, 3))
	clock, spent, bytes, n := noon, time.Duration(0), 0, 0
	b.ReportAllocs()
	for b.Loop() {
		clock = clock.Add(time.Second)
		c := batchAt(random, clock, 1000, 11)
		before := cpu()
		records, err := j.Append(&c, bound.Record)
		spent += cpu() - before
		if err != nil {
			b.Fatal(err)
		}
		if err := store.Commit(c); err != nil {
			b.Fatal(err)
		}
		j.Committed()
		for _, r := range records {
			bytes += len(r.Key) + len(r.Value)
		}
		n++
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(n), "cpu-µs/append")
	b.ReportMetric(float64(bytes)/float64(n), "B/append")
}
