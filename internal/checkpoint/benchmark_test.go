package checkpoint_test

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/checkpoint"
)

// The measured case: as many entities known, over as many days, and a batch of as many that are new.
const (
	benchKnown = 10_000_000
	benchDays  = 10
	benchBatch = 1_000
)

// BenchmarkDedupe measures one batch, looked up and committed with a sync, with 10 million entities known. The cases
// stand beside a baseline that keeps the same entities under keys that are nothing but hashes, in one bucket.
//
//	new       all of the batch is new and is written
//	known     all of it is known and unchanged, as in most sweeps
//	baseline  new, with hash keys
func BenchmarkDedupe(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 1 GB of known entities first")
	}
	s := benchStore(b)
	stats, err := s.Stats()
	if err != nil || stats.Entities != benchKnown {
		b.Fatalf("%+v, %v", stats, err)
	}
	clock := noon
	probes := make([]checkpoint.Probe, benchBatch)
	found := make([]checkpoint.Found, benchBatch)
	dedupe := func(b *testing.B, random *rand.Rand, wantKnown bool) {
		c := checkpoint.Changes{Account: account, Seen: clock}
		for i := range probes {
			probes[i].Key = benchKey(random, clock.Add(time.Duration(i)*300*time.Millisecond))
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

	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		random := rand.New(rand.NewPCG(uint64(b.N), 3))
		for b.Loop() {
			clock = clock.Add(time.Minute)
			dedupe(b, random, false)
		}
		reportKeys(b)
	})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		dedupe(b, rand.New(rand.NewPCG(4, 4)), false)
		for b.Loop() {
			dedupe(b, rand.New(rand.NewPCG(4, 4)), true)
		}
		reportKeys(b)
	})
	b.Run("baseline", func(b *testing.B) {
		db := benchBaseline(b)
		b.ReportAllocs()
		random := rand.New(rand.NewPCG(5, 5))
		for b.Loop() {
			baselineBatch(b, db, random)
		}
		reportKeys(b)
	})
}

var benchValue = []byte("0123456789")

func reportKeys(b *testing.B) {
	b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "keys/s")
}

func benchKey(random *rand.Rand, anchor time.Time) checkpoint.Key {
	var h checkpoint.Hash
	binary.BigEndian.PutUint64(h[:], random.Uint64())
	return checkpoint.KeyAt(anchor, false, h)
}

// benchStore returns a store of 10 million entities, the last of them at noon.
func benchStore(b *testing.B) *checkpoint.Store {
	b.Helper()
	path := filepath.Join(b.TempDir(), "poller.db")
	s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	const perCommit, step = 20_000, benchDays * 24 * time.Hour / benchKnown
	random := rand.New(rand.NewPCG(1, 1))
	for n := 0; n < benchKnown; n += perCommit {
		c := checkpoint.Changes{Account: account, Seen: noon}
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
	start := time.Now()
	if s, err = checkpoint.Open(path, checkpoint.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	stats, err := s.Stats()
	b.Logf("opened in %v: %+v (%v)", time.Since(start), stats, err)
	return s
}

// benchBaseline returns a database with as many entities under hashes, loaded in order, which suits it best.
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
