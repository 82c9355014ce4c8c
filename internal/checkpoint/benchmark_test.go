package checkpoint_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/checkpoint"
)

// The measured case: a store of benchKnown entities over benchDays days, and a batch of benchBatch.
const (
	benchKnown = 10_000_000
	benchDays  = 10
	benchBatch = 1_000
)

// BenchmarkDedupe looks up and commits a batch, with 10 million entities stored: the 1,000 entities of a page of 100 segments. A page
// covers one span of time, and all entities of a segment have the segment's minute. At a million entities a day a page spans 86
// seconds. Most of the cost of a sync is the disk's; "disk" shows how much.
//
//	new        the whole batch is new, and follows the batch before, as when history is read
//	scattered  the whole batch is new, and ten bots alternate: each page spans 14 minutes, and the nine batches before have
//	           written to most of these minutes
//	known      the whole batch is stored and unchanged, as in most sweeps
//	synced     as new, and each commit is synced to the disk, as in delivery at-least-once
//	baseline   as new, with keys that are only hashes, in one bucket
//	disk       no database: writes as the commit of a page does, 24 scattered pages and then one, and syncs after both
func BenchmarkDedupe(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 1 GB of known entities first")
	}
	path := benchFile(b)
	s := openBench(b, path, checkpoint.Options{NoSync: true})
	stats, err := s.Stats()
	if err != nil || stats.Entities != benchKnown {
		b.Fatalf("%+v, %v", stats, err)
	}
	const perSegment, page = 10, benchBatch * benchDays * 24 * time.Hour / benchKnown
	probes := make([]checkpoint.Probe, benchBatch)
	found := make([]checkpoint.Found, benchBatch)
	dedupe := func(b *testing.B, random *rand.Rand, from time.Time, span time.Duration, wantKnown bool) {
		c := checkpoint.Changes{Account: account, ReadAt: from}
		for i := range probes {
			probes[i].Key = benchKey(random, from.Add(span*time.Duration(i/perSegment*perSegment)/benchBatch))
		}
		if err := s.Lookup(account, probes, found); err != nil {
			b.Fatal(err)
		}
		for i := range found {
			if found[i].Known != wantKnown {
				b.Fatalf("known is %t", found[i].Known)
			}
			if !found[i].Known {
				c.Puts = append(c.Puts, checkpoint.Entry{Key: probes[i].Key, Value: benchValue})
			} else if i == 0 || probes[i].Key.Day != probes[i-1].Key.Day {
				c.Touched = append(c.Touched, probes[i].Key.Day)
			}
		}
		if err := s.Commit(c); err != nil {
			b.Fatal(err)
		}
	}

	clock := noon
	random := rand.New(rand.NewPCG(3, 3))
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		before := cpuTime(b)
		for b.Loop() {
			dedupe(b, random, clock, page, false)
			clock = clock.Add(page)
		}
		reportKeys(b, before)
	})
	b.Run("scattered", func(b *testing.B) {
		b.ReportAllocs()
		const bots = 10
		clock = clock.Add(bots * page)
		before := cpuTime(b)
		for n := 0; b.Loop(); n++ {
			dedupe(b, random, clock, bots*page, false)
			if n%bots == bots-1 {
				clock = clock.Add(bots * page)
			}
		}
		reportKeys(b, before)
	})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		clock = clock.Add(24 * time.Hour)
		dedupe(b, rand.New(rand.NewPCG(4, 4)), clock, page, false)
		before := cpuTime(b)
		for b.Loop() {
			dedupe(b, rand.New(rand.NewPCG(4, 4)), clock, page, true)
		}
		reportKeys(b, before)
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s = openBench(b, path, checkpoint.Options{})
	b.Run("synced", func(b *testing.B) {
		b.ReportAllocs()
		clock = clock.Add(24 * time.Hour)
		before := cpuTime(b)
		for b.Loop() {
			dedupe(b, random, clock, page, false)
			clock = clock.Add(page)
		}
		reportKeys(b, before)
	})
	b.Run("baseline", func(b *testing.B) {
		db := benchBaseline(b)
		b.ReportAllocs()
		random := rand.New(rand.NewPCG(5, 5))
		before := cpuTime(b)
		for b.Loop() {
			baselineBatch(b, db, random)
		}
		reportKeys(b, before)
	})
	b.Run("disk", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "pages"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.Close() })
		const size, perCommit = 64 << 10, 24 // pages
		if _, err := f.Write(make([]byte, size<<12)); err != nil {
			b.Fatal(err)
		}
		page := make([]byte, 1<<12)
		write := func(at ...int) {
			for _, n := range at {
				if _, err := f.WriteAt(page, int64(n)<<12); err != nil {
					b.Fatal(err)
				}
			}
			if err := syscall.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
		write()
		random := rand.New(rand.NewPCG(6, 6))
		before := cpuTime(b)
		at := make([]int, perCommit)
		for n := 0; b.Loop(); n++ {
			for i := range at {
				at[i] = random.IntN(size)
			}
			write(at...)
			write(n % 2)
		}
		reportKeys(b, before)
	})
}

var benchValue = []byte("0123456789")

// reportKeys also reports processor time, which depends less on how busy the machine is than elapsed time does.
func reportKeys(b *testing.B, cpu time.Duration) {
	keys := float64(b.N) * benchBatch
	b.ReportMetric(keys/b.Elapsed().Seconds(), "keys/s")
	b.ReportMetric(keys/(cpuTime(b)-cpu).Seconds(), "keys/cpu-s")
}

// cpuTime returns the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func benchKey(random *rand.Rand, anchor time.Time) checkpoint.Key {
	var h checkpoint.Hash
	binary.BigEndian.PutUint64(h[:], random.Uint64())
	return checkpoint.KeyAt(anchor, false, h)
}

// benchStore returns a store of 10 million entities, the last of them at noon.
func benchFile(b *testing.B) (path string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "poller.db")
	s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	const perCommit, step = 20_000, benchDays * 24 * time.Hour / benchKnown
	random := rand.New(rand.NewPCG(1, 1))
	for n := 0; n < benchKnown; n += perCommit {
		c := checkpoint.Changes{Account: account, ReadAt: noon}
		for i := range perCommit {
			key := benchKey(random, noon.Add(time.Duration(n+i-benchKnown)*step))
			c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: benchValue})
		}
		if err := s.Commit(c); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	syncFile(b, path) // lest the first batches do it
	return path
}

func openBench(b *testing.B, path string, o checkpoint.Options) *checkpoint.Store {
	b.Helper()
	start := time.Now()
	s, err := checkpoint.Open(path, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	stats, err := s.Stats()
	b.Logf("opened in %v: %+v (%v)", time.Since(start), stats, err)
	return s
}

func syncFile(b *testing.B, path string) {
	b.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
}

// benchBaseline returns a database with as many entities under hashes, loaded in order, which is best for it.
func benchBaseline(b *testing.B) *bolt.DB {
	b.Helper()
	db, err := bolt.Open(filepath.Join(b.TempDir(), "hashes.db"), 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	const perCommit = 100_000
	random := rand.New(rand.NewPCG(2, 2))
	for n := 0; n < benchKnown; n += perCommit {
		err := db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("known"))
			if err != nil {
				return err
			}
			bucket.FillPercent = 0.9
			for i := range perCommit {
				var key [14]byte
				binary.BigEndian.PutUint32(key[:], uint32((n+i)*(1<<32/benchKnown)))
				binary.BigEndian.PutUint64(key[4:], random.Uint64())
				if err := bucket.Put(key[:], benchValue); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	db.NoSync = false
	if err := db.Sync(); err != nil {
		b.Fatal(err)
	}
	return db
}

func baselineBatch(b *testing.B, db *bolt.DB, random *rand.Rand) {
	keys := make([][14]byte, benchBatch)
	for i := range keys {
		binary.BigEndian.PutUint64(keys[i][:], random.Uint64())
	}
	err := db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("known"))
		for i := range keys {
			if bucket.Get(keys[i][:]) != nil {
				b.Fatal("known")
			}
		}
		return nil
	})
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error {
			bucket := tx.Bucket([]byte("known"))
			for i := range keys {
				if err := bucket.Put(keys[i][:], benchValue); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
}
