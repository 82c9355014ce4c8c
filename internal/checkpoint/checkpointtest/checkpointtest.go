// Package checkpointtest opens checkpoint stores in tests and checks, when a test ends, that the file it leaves is sound.
package checkpointtest

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/checkpoint"
)

// Store is a store in a temporary directory. It does not sync, which makes a difference only when power is lost.
type Store struct {
	*checkpoint.Store
	Path string
}

// Open returns a new store, which is closed and checked when the test ends.
func Open(t testing.TB) *Store {
	t.Helper()
	return OpenAt(t, filepath.Join(t.TempDir(), "poller.db"))
}

// OpenAt is Open for the file at path.
func OpenAt(t testing.TB, path string) *Store {
	t.Helper()
	s := &Store{Path: path}
	s.open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		Check(t, s.Path)
	})
	return s
}

// Reopen closes the store and opens its file again.
func (s *Store) Reopen(t testing.TB) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	s.open(t)
}

func (s *Store) open(t testing.TB) {
	t.Helper()
	store, err := checkpoint.Open(s.Path, checkpoint.Options{NoSync: true})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s.Store = store
}

// Check fails the test unless the closed file at path is sound: as a database, in the form of its keys, and in the number of entities
// that each day says it has.
func Check(t testing.TB, path string) {
	t.Helper()
	if err := checkpoint.Verify(path); err != nil {
		t.Errorf("verify: %v", err)
		return
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Errorf("open database: %v", err)
		return
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("database: %v", err)
		}
		accounts := tx.Bucket([]byte("accounts"))
		return accounts.ForEachBucket(func(account []byte) error {
			days := accounts.Bucket(account).Bucket([]byte("days"))
			return days.ForEachBucket(func(day []byte) error {
				checkDay(t, day, days.Bucket(day))
				return nil
			})
		})
	})
	if err != nil {
		t.Errorf("read database: %v", err)
	}
}

func checkDay(t testing.TB, day []byte, bucket *bolt.Bucket) {
	t.Helper()
	if len(day) != 4 {
		t.Errorf("name of a day is %x", day)
	}
	count := 0
	err := bucket.ForEach(func(key, _ []byte) error {
		count++
		const minutesPerDay = 24 * 60
		if len(key) != 14 {
			t.Errorf("key of %d bytes", len(key))
		} else if minute := binary.BigEndian.Uint16(key); minute >= minutesPerDay && minute < 0xfffe {
			t.Errorf("key of minute %d", minute)
		}
		return nil
	})
	if err != nil {
		t.Errorf("read day: %v", err)
	}
	if claimed := int(uint32(bucket.Sequence())); claimed != count {
		t.Errorf("day %x claims %d entities and holds %d", day, claimed, count)
	}
}
