package checkpoint_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

const account = "6798834e4e94062f75aaaaaa"

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func hash(n int) (h checkpoint.Hash) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range h {
		h[i] = byte(r.Uint32())
	}
	return h
}

func own(anchor time.Time, n int) checkpoint.Key    { return checkpoint.KeyAt(anchor, false, hash(n)) }
func shared(anchor time.Time, n int) checkpoint.Key { return checkpoint.KeyAt(anchor, true, hash(n)) }

func lookup(t *testing.T, s *checkpointtest.Store, slack uint32, keys ...checkpoint.Key) []checkpoint.Found {
	t.Helper()
	probes := make([]checkpoint.Probe, len(keys))
	for i, key := range keys {
		probes[i] = checkpoint.Probe{Key: key, Slack: slack}
	}
	out := make([]checkpoint.Found, len(keys))
	require.NoError(t, s.Lookup(account, probes, out))
	return out
}

func put(t *testing.T, s *checkpointtest.Store, at time.Time, entries ...checkpoint.Entry) {
	t.Helper()
	require.NoError(t, s.Commit(checkpoint.Changes{Account: account, ReadAt: at, Puts: entries}))
}

// Batches come in any order and with repeats. When the test ends, checkpointtest checks how many entities each day has.
func TestCommitsInAnyOrder(t *testing.T) {
	s := checkpointtest.Open(t)
	r := rand.New(rand.NewPCG(7, 7))
	want := make(map[checkpoint.Key][]byte)
	for range 50 {
		c := checkpoint.Changes{Account: account, ReadAt: noon}
		for range r.IntN(200) {
			n := r.IntN(1000)
			key := own(noon.Add(time.Duration(n%7)*6*time.Hour), n)
			if n%3 == 0 {
				key = shared(noon.Add(time.Duration(n%5)*day), n)
			}
			value := fmt.Append(nil, r.IntN(1000))
			c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: value})
			want[key] = value
			if n%10 == 0 {
				c.Dead = append(c.Dead, checkpoint.DeadLetter{Day: key.Day, Hash: key.Hash})
			}
		}
		require.NoError(t, s.Commit(c))
	}
	for key, value := range want {
		require.Equal(t, checkpoint.Found{Known: true, Key: key, Value: value}, lookup(t, s, 0, key)[0])
	}
}

func TestLookupFindsWhatWasCommitted(t *testing.T) {
	s := checkpointtest.Open(t)
	a, b := own(noon, 1), own(noon.Add(-3*day), 2)
	require.False(t, lookup(t, s, 0, a)[0].Known)

	put(t, s, noon, checkpoint.Entry{Key: a, Value: []byte("one")}, checkpoint.Entry{Key: b, Value: []byte("two")})
	for range 2 {
		got := lookup(t, s, 0, a, own(noon, 3), b)
		require.Equal(t, []checkpoint.Found{
			{Known: true, Key: a, Value: []byte("one")}, {}, {Known: true, Key: b, Value: []byte("two")},
		}, got)
		s.Reopen(t)
	}

	t.Run("the later value replaces the earlier", func(t *testing.T) {
		put(t, s, noon, checkpoint.Entry{Key: a, Value: []byte("x")}, checkpoint.Entry{Key: a, Value: []byte("longer")})
		require.Equal(t, "longer", string(lookup(t, s, 0, a)[0].Value))
	})
	t.Run("an empty value is known", func(t *testing.T) {
		put(t, s, noon, checkpoint.Entry{Key: a})
		require.True(t, lookup(t, s, 0, a)[0].Known)
	})
	t.Run("accounts are separate", func(t *testing.T) {
		out := make([]checkpoint.Found, 1)
		require.NoError(t, s.Lookup("another", []checkpoint.Probe{{Key: a}}, out))
		require.False(t, out[0].Known)
	})
	t.Run("values outlive the lookup", func(t *testing.T) {
		value := lookup(t, s, 0, b)[0].Value
		put(t, s, noon, checkpoint.Entry{Key: b, Value: []byte("owt")})
		require.Equal(t, "two", string(value))
	})
}

func TestSharedEntityIsFoundAroundItsDay(t *testing.T) {
	s := checkpointtest.Open(t)
	var entries []checkpoint.Entry
	for i := range 60 {
		anchor := noon.Add(time.Duration(i-30) * day)
		entries = append(entries, checkpoint.Entry{Key: own(anchor, 1000+i), Value: []byte{0}})
	}
	first := shared(noon, 1)
	put(t, s, noon, append(entries, checkpoint.Entry{Key: first, Value: []byte("v")})...)

	for name, c := range map[string]struct {
		hint  time.Duration
		slack uint32
		found bool
	}{
		"the same day":                  {0, 0, true},
		"another minute":                {11 * time.Hour, 0, true},
		"a day later":                   {day, 1, true},
		"a day earlier":                 {-day, 1, true},
		"a day away without slack":      {day, 0, false},
		"as far as the slack":           {-7 * day, 7, true},
		"farther than the slack":        {8 * day, 7, false},
		"a day where nothing is stored": {400 * day, 500, true},
		"a day before the first":        {-400 * day, 500, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := lookup(t, s, c.slack, shared(noon.Add(c.hint), 1))[0]
			require.Equal(t, c.found, got.Known)
			if c.found {
				require.Equal(t, first, got.Key)
				require.Equal(t, "v", string(got.Value))
			}
		})
	}
	require.False(t, lookup(t, s, 30, own(noon, 1))[0].Known, "an entity of one endpoint is none that is shared")
	require.False(t, lookup(t, s, 30, own(noon.Add(day), 1030))[0].Known, "only shared entities are looked for around their day")
}

func TestRecords(t *testing.T) {
	s := checkpointtest.Open(t)
	commit := func(c checkpoint.Changes) {
		t.Helper()
		require.NoError(t, s.Commit(c))
	}
	commit(checkpoint.Changes{
		Account:  account,
		Progress: map[string][]byte{"interactions/st-1": []byte("p1"), "conversations/st-1": {}},
		Identity: map[string][]byte{"cluster": []byte("c1")},
	})
	s.Reopen(t)

	record, err := s.Progress(account, "interactions/st-1")
	require.NoError(t, err)
	require.Equal(t, "p1", string(record))
	record, err = s.Progress(account, "nothing")
	require.NoError(t, err)
	require.Nil(t, record)
	all, err := s.AllProgress(account)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"interactions/st-1": []byte("p1"), "conversations/st-1": {}}, all)
	all, err = s.AllProgress("another")
	require.NoError(t, err)
	require.Empty(t, all)

	commit(checkpoint.Changes{Account: account, Progress: map[string][]byte{"interactions/st-1": nil}})
	commit(checkpoint.Changes{Identity: map[string][]byte{"offset/17": []byte("42")}})
	all, err = s.AllProgress(account)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"conversations/st-1": {}}, all)
	for name, want := range map[string][]byte{"cluster": []byte("c1"), "offset/17": []byte("42"), "none": nil} {
		record, err := s.Identity(name)
		require.NoError(t, err)
		require.Equal(t, want, record, name)
	}

	require.ErrorContains(t, s.Commit(checkpoint.Changes{Touched: []uint32{1}}), "no account")
}

func TestDeadLettersAreStoredLikeEntities(t *testing.T) {
	s := checkpointtest.Open(t)
	today := own(noon, 0).Day
	require.NoError(t, s.Commit(checkpoint.Changes{
		Account: account, ReadAt: noon, Dead: []checkpoint.DeadLetter{{Day: today, Hash: hash(1)}, {Day: today - 3, Hash: hash(2)}},
	}))
	found, err := s.FindDead(account, []checkpoint.Hash{hash(1), hash(2), hash(3)})
	require.NoError(t, err)
	require.Equal(t, map[checkpoint.Hash]uint32{hash(1): today, hash(2): today - 3}, found)
	require.False(t, lookup(t, s, 9, shared(noon, 1))[0].Known, "a dead letter is no entity")

	require.NoError(t, s.Commit(checkpoint.Changes{Account: account, ReadAt: noon.Add(40 * day), Touched: []uint32{today - 3}}))
	gone, err := s.Expire(noon.Add(5 * day))
	require.NoError(t, err)
	require.Equal(t, []checkpoint.Expired{{Account: account, Day: today, Entities: 1}}, gone)
	found, err = s.FindDead(account, []checkpoint.Hash{hash(1), hash(2)})
	require.NoError(t, err)
	require.Equal(t, map[checkpoint.Hash]uint32{hash(2): today - 3}, found)
	found, err = s.FindDead("another", []checkpoint.Hash{hash(1)})
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestExpireForgetsDaysThatWereNotTouched(t *testing.T) {
	s := checkpointtest.Open(t)
	const memory = 35 * day
	old, open := own(noon, 1), own(noon.Add(-day), 2)
	put(t, s, noon, checkpoint.Entry{Key: old, Value: []byte("a")}, checkpoint.Entry{Key: open, Value: []byte("b")})
	require.NoError(t, s.Commit(checkpoint.Changes{Account: account, ReadAt: noon.Add(30 * day), Touched: []uint32{open.Day, 1}}))

	gone, err := s.Expire(noon.Add(memory).Add(-memory))
	require.NoError(t, err)
	require.Empty(t, gone, "touched at exactly that time")

	gone, err = s.Expire(noon.Add(memory + day).Add(-memory))
	require.NoError(t, err)
	require.Equal(t, []checkpoint.Expired{{Account: account, Day: old.Day, Entities: 1}}, gone)
	got := lookup(t, s, 0, old, open)
	require.False(t, got[0].Known)
	require.True(t, got[1].Known)

	stats, err := s.Stats()
	require.NoError(t, err)
	require.Equal(t, 1, stats.Days)
	require.EqualValues(t, 1, stats.Entities)
	require.Equal(t, 1, stats.Accounts)
	require.Positive(t, stats.Bytes)

	t.Run("a change of an entity of a day that was dropped brings the day back", func(t *testing.T) {
		put(t, s, noon.Add(40*day), checkpoint.Entry{Key: old, Value: []byte("c")})
		require.True(t, lookup(t, s, 0, old)[0].Known)
	})
}

func TestTouchWritesOnceAnHour(t *testing.T) {
	s := checkpointtest.Open(t)
	key := own(noon, 1)
	put(t, s, noon, checkpoint.Entry{Key: key})
	touch := func(at time.Time) (written bool) {
		before, err := os.ReadFile(s.Path)
		require.NoError(t, err)
		require.NoError(t, s.Commit(checkpoint.Changes{Account: account, ReadAt: at, Touched: []uint32{key.Day}}))
		after, err := os.ReadFile(s.Path)
		require.NoError(t, err)
		return !slices.Equal(before, after)
	}
	require.False(t, touch(noon.Add(59*time.Minute)))
	require.True(t, touch(noon.Add(61*time.Minute)))
	require.False(t, touch(noon), "time never goes back")
}

// TestRandomHistoryAgainstModel compares the store with a map over random commits, expiries and reopenings.
func TestRandomHistoryAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := checkpointtest.Open(t)
			r := rand.New(rand.NewPCG(seed, 2))
			values := make(map[checkpoint.Key]string)
			touched := make(map[uint32]time.Time)
			now := noon
			var known []checkpoint.Key
			for range 60 {
				now = now.Add(time.Duration(r.IntN(30)) * time.Hour)
				c := checkpoint.Changes{Account: account, ReadAt: now}
				for range r.IntN(30) {
					key := checkpoint.KeyAt(now.Add(-time.Duration(r.IntN(24*9))*time.Hour), r.IntN(4) == 0, hash(r.IntN(1e6)))
					if len(known) > 0 && r.IntN(3) == 0 {
						key = known[r.IntN(len(known))]
					}
					value := fmt.Sprint(r.IntN(1e9))
					c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: []byte(value)})
					values[key], touched[key.Day] = value, now
					known = append(known, key)
				}
				for range r.IntN(3) {
					touch := own(now.Add(-time.Duration(r.IntN(9))*day), 0).Day
					c.Touched = append(c.Touched, touch)
					if _, ok := touched[touch]; ok {
						touched[touch] = now
					}
				}
				require.NoError(t, s.Commit(c))
				if r.IntN(8) == 0 {
					require.NoError(t, s.Commit(c), "again")
				}
				if r.IntN(5) == 0 {
					before := now.Add(-time.Duration(r.IntN(6*24)) * time.Hour)
					_, err := s.Expire(before)
					require.NoError(t, err)
					for d, at := range touched {
						if !at.Truncate(time.Hour).Add(time.Hour).Before(before) {
							continue
						}
						delete(touched, d)
						for key := range values {
							if key.Day == d {
								delete(values, key)
							}
						}
					}
				}
				if r.IntN(6) == 0 {
					s.Reopen(t)
				}
			}
			for i, got := range lookup(t, s, 0, known...) {
				want, ok := values[known[i]]
				require.Equal(t, ok, got.Known)
				require.Equal(t, want, string(got.Value))
			}
			stats, err := s.Stats()
			require.NoError(t, err)
			require.EqualValues(t, len(values), stats.Entities)
			require.Equal(t, len(touched), stats.Days)
		})
	}
}

// TestConcurrentUse is for the race detector. It also checks that a lookup reads one state of the store.
func TestConcurrentUse(t *testing.T) {
	s := checkpointtest.Open(t)
	var entries [2][]checkpoint.Entry
	var probes []checkpoint.Probe
	for i := range 50 {
		key := own(noon.Add(time.Duration(i)*time.Hour), i)
		probes = append(probes, checkpoint.Probe{Key: key})
		for n := range entries {
			entries[n] = append(entries[n], checkpoint.Entry{Key: key, Value: []byte{byte(n)}})
		}
	}
	put(t, s, noon, entries[0]...)
	var group errgroup.Group
	for range 2 {
		group.Go(func() error {
			out := make([]checkpoint.Found, len(probes))
			for range 100 {
				if err := s.Lookup(account, probes, out); err != nil {
					return err
				}
				for _, found := range out {
					if !found.Known || found.Value[0] != out[0].Value[0] {
						return fmt.Errorf("saw half a commit: %+v", found)
					}
				}
				if _, err := s.Stats(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for i := range 40 {
			if err := s.Commit(checkpoint.Changes{Account: account, ReadAt: noon, Puts: entries[i%2]}); err != nil {
				return err
			}
			if _, err := s.Expire(noon.Add(-day)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, group.Wait())
}

func TestOpenCreatesPrivately(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := checkpointtest.OpenAt(t, filepath.Join(dir, "poller.db"))
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, s.Path: 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode())
	}
}

func TestOpenRefuses(t *testing.T) {
	edit := func(t *testing.T, path string, fn func(*bolt.Tx) error) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
		require.NoError(t, err)
		require.NoError(t, db.Update(fn))
		require.NoError(t, db.Close())
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
		text string
	}{
		"a file in use": {func(t *testing.T, path string) { checkpointtest.OpenAt(t, path) }, checkpoint.ErrLocked, "only one poller"},
		"a later format": {func(t *testing.T, path string) {
			require.NoError(t, checkpointtest.OpenAt(t, path).Close())
			edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{9}) })
		}, checkpoint.ErrFormat, "format 9, this build reads 3"},
		"a database of another program": {func(t *testing.T, path string) {
			edit(t, path, func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
		}, checkpoint.ErrFormat, "another program"},
		"a file whose name of a bucket has changed": {func(t *testing.T, path string) {
			require.NoError(t, checkpointtest.OpenAt(t, path).Close())
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			changed := bytes.ReplaceAll(content, []byte("meta"), []byte("mata"))
			require.NotEqual(t, content, changed)
			require.NoError(t, os.WriteFile(path, changed, 0o600))
		}, checkpoint.ErrDamaged, "meta is missing"},
		"a file that is not a database": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte("accounts: []\n"), 0o600))
		}, checkpoint.ErrDamaged, "no meta page"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "poller.db")
			c.make(t, path)
			_, err := checkpoint.Open(path, checkpoint.Options{LockTimeout: time.Millisecond})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, path)
		})
	}

	t.Run("a path below a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err := checkpoint.Open(filepath.Join(file, "poller.db"), checkpoint.Options{})
		require.ErrorIs(t, err, checkpoint.ErrDisk)
	})
	t.Run("a closed store", func(t *testing.T) {
		s := checkpointtest.Open(t)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Commit(checkpoint.Changes{Account: account}), checkpoint.ErrClosed)
		_, err := s.Stats()
		require.ErrorIs(t, err, checkpoint.ErrClosed)
	})
}

// A crash between the creation of the file and the first commit leaves a database without buckets, or an empty file.
func TestOpenFinishesAnInterruptedOpen(t *testing.T) {
	for name, begin := range map[string]func(path string) error{
		"empty file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"empty database": func(path string) error {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return db.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "poller.db")
			require.NoError(t, begin(path))
			s := checkpointtest.OpenAt(t, path)
			put(t, s, noon, checkpoint.Entry{Key: own(noon, 1)})
		})
	}
}
