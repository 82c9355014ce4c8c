package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/testsize"
)

// sample writes a store with every kind of page, including branch pages, freelist and overflow, and returns its bytes and its keys. If
// clean is false, the store was not closed.
func sample(t testing.TB, clean bool) ([]byte, []checkpoint.Key) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.db")
	s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	require.NoError(t, err)
	var keys []checkpoint.Key
	for d := range 5 {
		c := checkpoint.Changes{Account: account, ReadAt: noon.Add(time.Duration(d) * day)}
		for i := range 150 {
			key := checkpoint.KeyAt(noon.Add(time.Duration(d)*day+time.Duration(i)*time.Minute), i%15 == 0, hash(d*1000+i))
			value := []byte("0123456789")
			if i == 100 {
				value = make([]byte, 9000)
			}
			c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: value})
			keys = append(keys, key)
		}
		c.Progress = map[string][]byte{"interactions/st-1": fmt.Append(nil, "progress ", d)}
		c.Identity = map[string][]byte{"cluster": []byte("c")}
		require.NoError(t, s.Commit(c))
	}
	_, err = s.Expire(noon.Add(day + 2*time.Hour))
	require.NoError(t, err)
	if clean {
		require.NoError(t, s.Close())
	}
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return content, keys
}

// entitiesOf returns the entities of a sample.
func entitiesOf(t testing.TB, content []byte, keys []checkpoint.Key) []checkpoint.Found {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	require.NoError(t, err)
	defer s.Close()
	found := make([]checkpoint.Found, len(keys))
	require.NoError(t, s.Lookup(account, probesOf(keys), found))
	return found
}

func probesOf(keys []checkpoint.Key) []checkpoint.Probe {
	probes := make([]checkpoint.Probe, len(keys))
	for i, key := range keys {
		probes[i] = checkpoint.Probe{Key: key, Slack: 3}
	}
	return probes
}

// exercise calls every method of a store of the file. Damage must show as ErrDamaged or do no harm; a panic fails the test by itself.
// Every lookup finds what was stored; only if just the outline of the file was checked may it find nothing.
func exercise(t testing.TB, path string, keys []checkpoint.Key, was []checkpoint.Found, whole bool) (found bool) {
	t.Helper()
	s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	if err != nil {
		require.ErrorIs(t, err, checkpoint.ErrDamaged)
		return true
	}
	defer s.Close()
	puts := make([]checkpoint.Entry, len(keys))
	for i, key := range keys {
		puts[i] = checkpoint.Entry{Key: key, Value: []byte("another value")}
	}
	steps := []func() error{
		func() error {
			is := make([]checkpoint.Found, len(keys))
			if err := s.Lookup(account, probesOf(keys), is); err != nil {
				return err
			}
			for i := range was {
				if is[i].Known && was[i].Known {
					require.Equal(t, was[i].Value, is[i].Value, "entity %d has changed", i)
				}
				require.True(t, is[i].Known || !was[i].Known || !whole, "entity %d is gone", i)
			}
			return nil
		},
		func() error { _, err := s.AllProgress(account); return err },
		func() error { _, err := s.Identity("cluster"); return err },
		func() error { _, err := s.Stats(); return err },
		func() error {
			return s.Commit(checkpoint.Changes{
				Account: account, ReadAt: noon.Add(9 * day), Puts: puts[len(puts)/2:], Progress: map[string][]byte{"interactions/st-1": []byte("p")},
			})
		},
		func() error { _, err := s.Expire(noon.Add(20 * day)); return err },
		s.Close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			require.ErrorIs(t, err, checkpoint.ErrDamaged)
			found = true
		}
	}
	return found
}

func TestDamageIsFoundOrHarmless(t *testing.T) {
	testsize.Slow(t)
	for _, mode := range []struct{ clean, outline bool }{{true, false}, {true, true}, {false, true}} {
		t.Run(fmt.Sprintf("clean=%t,outline=%t", mode.clean, mode.outline), func(t *testing.T) {
			if mode.outline {
				checkpoint.CheckOutlineOnly(t)
			}
			content, keys := sample(t, mode.clean)
			was := entitiesOf(t, content, keys)
			path := filepath.Join(t.TempDir(), "poller.db")
			what := "nothing was damaged"
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(what)
				}
			})
			try := func(damaged []byte) bool {
				require.NoError(t, os.WriteFile(path, damaged, 0o600))
				return exercise(t, path, keys, was, !mode.clean || !mode.outline)
			}
			require.False(t, try(content), "the file as it was")

			pageSize := os.Getpagesize()
			require.Greater(t, len(content)/pageSize, 16)
			variants, found := 0, 0
			count := func(wasFound bool) {
				variants++
				if wasFound {
					found++
				}
			}
			r := rand.New(rand.NewPCG(1, 1))
			for page := 0; page < len(content); page += pageSize {
				header, entries := []int{0, 8, 10, 12}[r.IntN(4)], 16+r.IntN(64)
				for _, offset := range []int{header, entries, r.IntN(pageSize), r.IntN(pageSize), r.IntN(pageSize), r.IntN(pageSize)} {
					damaged := append([]byte{}, content...)
					damaged[page+offset] ^= 1 << r.IntN(8)
					what = fmt.Sprintf("%#x became %#x at %d of page %d", content[page+offset], damaged[page+offset], offset, page/pageSize)
					count(try(damaged))
				}
				torn := append([]byte{}, content...)
				clear(torn[page+512 : page+pageSize])
				what = fmt.Sprintf("page %d was torn", page/pageSize)
				count(try(torn))
				what = fmt.Sprintf("the file was cut in page %d", page/pageSize)
				count(try(content[:page+pageSize/2]))
			}
			require.GreaterOrEqual(t, variants, 200)
			require.GreaterOrEqual(t, found, 60)
			t.Logf("%d variants, %d found, the others harmless", variants, found)
		})
	}
}

// A store that has just begun is one page of buckets within buckets. Wherever one of its bytes is wrong, Open finds it, or what is written
// afterwards is sound.
func TestDamageOfANewFile(t *testing.T) {
	testsize.Slow(t)
	path := filepath.Join(t.TempDir(), "poller.db")
	s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	require.NoError(t, err)
	require.NoError(t, s.Commit(checkpoint.Changes{
		Account: account, ReadAt: noon, Progress: map[string][]byte{"interactions/st-1": []byte("progress")}, Identity: map[string][]byte{"cluster": []byte("c")},
	}))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	more := checkpoint.Changes{Account: account, ReadAt: noon, Progress: map[string][]byte{"conversations/st-1": make([]byte, 5000)}}
	var keys []checkpoint.Key
	for i := range 60 {
		keys = append(keys, checkpoint.KeyAt(noon.Add(time.Duration(i)*time.Second), i%3 == 0, hash(i)))
		more.Puts = append(more.Puts, checkpoint.Entry{Key: keys[i], Value: bytes.Repeat([]byte{byte(i)}, 100)})
	}
	found, harmless := 0, 0
	for at := range content {
		if at%os.Getpagesize() >= 512 { // behind all that the page holds
			continue
		}
		damaged := bytes.Clone(content)
		damaged[at] ^= 50
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
		if err != nil {
			require.Condition(t, func() bool { return errors.Is(err, checkpoint.ErrDamaged) || errors.Is(err, checkpoint.ErrFormat) }, "%v", err)
			found++
			continue
		}
		harmless++
		for range 2 { // the pages that are free by then are used again
			require.NoError(t, s.Commit(more), "byte %d", at)
			more.Progress["interactions/st-1"] = append(more.Progress["interactions/st-1"], make([]byte, 3000)...)
		}
		delete(more.Progress, "interactions/st-1")
		is := make([]checkpoint.Found, len(keys))
		require.NoError(t, s.Lookup(account, probesOf(keys), is), "byte %d", at)
		for i := range is {
			require.True(t, is[i].Known, "byte %d: entity %d is gone", at, i)
		}
		require.NoError(t, s.Close())
		require.NoError(t, checkpoint.Verify(path), "byte %d", at)
	}
	require.Positive(t, found)
	require.Positive(t, harmless)
}

// A wrong bit in a name or in a page number can leave a file that is sound as a database, but in which much is missing.
func TestDamageThatHidesEntities(t *testing.T) {
	content, keys := sample(t, false)
	path := filepath.Join(t.TempDir(), "poller.db")
	pageSize := os.Getpagesize()

	named := bytes.ReplaceAll(content, []byte("days"), []byte("daxs"))
	require.NotEqual(t, content, named)
	require.NoError(t, os.WriteFile(path, named, 0o600))
	_, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
	require.ErrorIs(t, err, checkpoint.ErrDamaged)

	var day [4]byte
	binary.BigEndian.PutUint32(day[:], keys[len(keys)-1].Day)
	pointed := 0
	for _, at := range allOf(content, day[:]) { // the number of the day's first page comes after its name, where that is in use
		page := binary.NativeEndian.Uint64(content[at+4:])
		if page == 0 || page >= uint64(len(content)/pageSize) || binary.NativeEndian.Uint16(content[int(page)*pageSize+8:]) != 1 {
			continue // no branch page
		}
		firstLeaf := binary.NativeEndian.Uint64(content[int(page)*pageSize+16+8:])
		damaged := bytes.Clone(content)
		binary.NativeEndian.PutUint64(damaged[at+4:], firstLeaf)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		s, err := checkpoint.Open(path, checkpoint.Options{NoSync: true})
		if err == nil { // of an earlier transaction
			require.NoError(t, s.Close())
			continue
		}
		require.ErrorIs(t, err, checkpoint.ErrDamaged)
		require.ErrorContains(t, err, "belongs to nothing")
		pointed++
	}
	require.Positive(t, pointed)
}

// allOf returns the places of a text.
func allOf(content, text []byte) (all []int) {
	for from := 0; ; {
		at := bytes.Index(content[from:], text)
		if at < 0 {
			return all
		}
		all = append(all, from+at)
		from += at + 1
	}
}

// A file can also be damaged while it is in use. The store then returns ErrDamaged for good, and SetAside works.
func TestDamageUnderAnOpenStore(t *testing.T) {
	content, keys := sample(t, true)
	path := filepath.Join(t.TempDir(), "poller.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	s, err := checkpoint.Open(path, checkpoint.Options{})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, os.Truncate(path, 2*int64(os.Getpagesize())))

	probe := []checkpoint.Probe{{Key: keys[len(keys)-1]}}
	err = s.Lookup(account, probe, make([]checkpoint.Found, 1))
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	require.ErrorIs(t, s.Commit(checkpoint.Changes{Account: account, Puts: []checkpoint.Entry{{Key: keys[0]}}}), checkpoint.ErrDamaged)

	aside, err := s.SetAside()
	require.NoError(t, err)
	require.FileExists(t, aside)
	require.NoFileExists(t, path)
	put(t, checkpointtest.OpenAt(t, path), noon, checkpoint.Entry{Key: keys[0]})
}

func TestOpenOrSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poller.db")
	require.NoError(t, os.WriteFile(path, []byte("damaged"), 0o600))
	names := make(map[string]bool)
	for range 3 {
		s, aside, err := checkpoint.OpenOrSetAside(path, checkpoint.Options{})
		require.NoError(t, err)
		require.Regexp(t, `poller\.db\.damaged-\d{8}T\d{6}Z(\.\d+)?$`, aside)
		content, err := os.ReadFile(aside)
		require.NoError(t, err)
		require.Equal(t, "damaged", string(content), "what is set aside is kept as it was")
		require.False(t, names[aside])
		names[aside] = true

		require.NoError(t, s.Commit(checkpoint.Changes{Account: account, ReadAt: noon, Puts: []checkpoint.Entry{{Key: own(noon, 1)}}}))
		_, _, err = checkpoint.OpenOrSetAside(path, checkpoint.Options{LockTimeout: time.Millisecond})
		require.ErrorIs(t, err, checkpoint.ErrLocked, "a file in use is never set aside")
		require.NoError(t, s.Close())

		s, aside, err = checkpoint.OpenOrSetAside(path, checkpoint.Options{})
		require.NoError(t, err)
		require.Empty(t, aside, "a sound file stays")
		require.NoError(t, s.Close())
		checkpointtest.Check(t, path)
		require.NoError(t, os.WriteFile(path, []byte("damaged"), 0o600))
	}
}

// FuzzOpen overwrites bytes of a sound file. No content may crash the process.
func FuzzOpen(f *testing.F) {
	content, keys := sample(f, true)
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096+16), []byte("\xff\xff\xff\xff"))
	f.Add(uint32(3*4096+8), []byte{1, 0, 2, 0})
	f.Fuzz(func(t *testing.T, offset uint32, patch []byte) {
		damaged := append([]byte{}, content...)
		copy(damaged[int(offset)%len(damaged):], patch)
		path := filepath.Join(t.TempDir(), "poller.db")
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		exercise(t, path, keys, nil, false)
	})
}
