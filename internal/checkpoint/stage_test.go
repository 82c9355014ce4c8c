package checkpoint_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// twins are two stores that are told the same: one commits, the other stages. Whatever is asked, they must answer the same.
type twins struct {
	*testing.T
	random  *rand.Rand
	plain   *checkpointtest.Store
	staged  *checkpointtest.Store
	log     []event // what both were told, by offset
	now     time.Time
	crashes int
}

// An event is what is recorded elsewhere, and is replayed from there after a crash.
type event struct {
	changes checkpoint.Changes
	forget  []uint32 // days, before the changes
	drop    bool     // the account, before the changes
}

var twinAccounts = []string{account, "another"}

func newTwins(t *testing.T, seed uint64) *twins {
	return &twins{
		T: t, random: rand.New(rand.NewPCG(seed, 2)), now: noon,
		plain: checkpointtest.Open(t), staged: checkpointtest.Open(t),
	}
}

const twinDays = 5

func (w *twins) day() uint32 {
	return checkpoint.KeyAt(noon, false, checkpoint.Hash{}).Day + uint32(w.random.IntN(twinDays))
}

// hash is one of few, so that entities change.
func (w *twins) hash() checkpoint.Hash { return hash(w.random.IntN(40)) }

func (w *twins) keyOf(day uint32, h checkpoint.Hash) checkpoint.Key {
	key := checkpoint.Key{Day: day, Shared: h[0]%2 == 0, Hash: h}
	if !key.Shared {
		key.Minute = uint16(h[1]) * 5
	}
	return key
}

func (w *twins) event() (e event) {
	w.now = w.now.Add(time.Duration(w.random.IntN(90)-10) * time.Minute) // a clock may go back
	c := checkpoint.Changes{
		Account: twinAccounts[w.random.IntN(2)], ReadAt: w.now, Progress: map[string][]byte{},
		Identity: map[string][]byte{"next": strconv.AppendInt(nil, int64(len(w.log)+1), 10)},
	}
	for range w.random.IntN(20) * w.random.IntN(2) {
		value := make([]byte, w.random.IntN(4))
		for i := range value {
			value[i] = byte(w.random.IntN(256))
		}
		c.Puts = append(c.Puts, checkpoint.Entry{Key: w.keyOf(w.day(), w.hash()), Value: value})
	}
	for range w.random.IntN(3) {
		c.Touched = append(c.Touched, w.day())
	}
	for range w.random.IntN(2) {
		c.Dead = append(c.Dead, checkpoint.DeadLetter{Day: w.day(), Hash: w.hash()})
	}
	for range w.random.IntN(3) {
		name := strconv.Itoa(w.random.IntN(4))
		if c.Progress[name] = strconv.AppendInt(nil, w.random.Int64(), 36); w.random.IntN(3) == 0 {
			c.Progress[name] = nil
		} else if w.random.IntN(5) == 0 {
			c.Progress[name] = []byte{}
		}
	}
	if c.Identity["other"] = []byte(w.now.String()); w.random.IntN(3) == 0 {
		c.Identity["other"] = nil
	}
	e.changes = c
	switch w.random.IntN(12) {
	case 0:
		e.forget = []uint32{w.day(), w.day()}
	case 1:
		e.drop = w.random.IntN(3) == 0
	}
	return e
}

// delete does of an event what is not staged.
func (e *event) delete(t *testing.T, s *checkpointtest.Store) {
	t.Helper()
	require.NoError(t, s.Forget(e.changes.Account, e.forget))
	if e.drop {
		require.NoError(t, s.Drop(e.changes.Account))
	}
}

// step tells both stores something. The process of the staged one may die before, between and after.
func (w *twins) step(dies bool) {
	e := w.event()
	w.log = append(w.log, e)
	e.delete(w.T, w.plain)
	require.NoError(w, w.plain.Commit(e.changes))
	at := 3
	if dies {
		at = w.random.IntN(4)
	}
	if at > 0 && (len(e.forget) > 0 || e.drop) {
		e.delete(w.T, w.staged)
	}
	if at > 1 {
		require.NoError(w, w.staged.Stage(e.changes))
	}
	if at > 2 && w.random.IntN(8) == 0 {
		require.NoError(w, w.staged.Flush())
		require.False(w, w.staged.Staged())
	}
	if dies {
		w.crash()
	}
}

// crash loses what is staged, and brings the file up to date as the next owner does.
func (w *twins) crash() {
	w.crashes++
	require.NoError(w, checkpoint.Crash(w.staged.Store))
	w.staged = checkpointtest.OpenAt(w.T, w.staged.Path)
	record, err := w.staged.Identity("next")
	require.NoError(w, err)
	next, _ := strconv.Atoi(string(record))
	require.LessOrEqual(w, next, len(w.log))
	for _, e := range w.log[next:] {
		if len(e.forget) > 0 || e.drop {
			e.delete(w.T, w.staged)
		}
		require.NoError(w, w.staged.Stage(e.changes))
	}
}

// compare asks both what the stage answers together with the file, and, if thorough, also what is written first.
func (w *twins) compare(thorough bool) {
	w.Helper()
	both := func(ask func(s *checkpointtest.Store) (any, error)) {
		w.Helper()
		want, err := ask(w.plain)
		require.NoError(w, err)
		got, err := ask(w.staged)
		require.NoError(w, err)
		require.Equal(w, want, got, "after %d events", len(w.log))
	}
	both(func(s *checkpointtest.Store) (any, error) { return s.Identity("next") })
	both(func(s *checkpointtest.Store) (any, error) { return s.Identity("other") })
	for _, account := range twinAccounts {
		var probes []checkpoint.Probe
		var hashes []checkpoint.Hash
		for n := range 45 {
			hashes = append(hashes, hash(n))
			probes = append(probes, checkpoint.Probe{
				Key: w.keyOf(w.day(), hash(n)), Slack: []uint32{0, 1, checkpoint.Anywhere}[w.random.IntN(3)],
			})
			if w.random.IntN(4) == 0 {
				probes[n].Earlier = w.keyOf(w.day(), hash(n))
			}
		}
		both(func(s *checkpointtest.Store) (any, error) {
			out := make([]checkpoint.Found, len(probes))
			return out, s.Lookup(account, probes, out)
		})
		both(func(s *checkpointtest.Store) (any, error) { return s.FindDead(account, hashes) })
		both(func(s *checkpointtest.Store) (any, error) { return s.AllProgress(account) })
		both(func(s *checkpointtest.Store) (any, error) { return s.Progress(account, "1") })
		if !thorough {
			continue
		}
		both(func(s *checkpointtest.Store) (any, error) { return s.Due(account, w.now.Add(-3*time.Hour)) })
		both(func(s *checkpointtest.Store) (any, error) { return s.Days(account) })
		both(func(s *checkpointtest.Store) (any, error) { return s.Accounts() })
		both(func(s *checkpointtest.Store) (any, error) { return scanned(s, account) })
	}
}

// scanned returns what Scan shows of an account.
func scanned(s *checkpointtest.Store, account string) (all []string, err error) {
	days, err := s.Days(account)
	for _, d := range days {
		for slot := range checkpoint.Slot(checkpoint.Slots) {
			if err := s.Scan(account, d.Day, slot, func(minute uint16, h checkpoint.Hash, value []byte) error {
				all = append(all, fmt.Sprintf("%d %d %d %x %x", d.Day, slot, minute, h, value))
				return nil
			}); err != nil {
				return nil, err
			}
		}
	}
	return all, err
}

// A store that stages answers as one that commits does, whatever is written in between, and whenever its process dies.
func TestStagesAsItCommits(t *testing.T) {
	seeds, steps := uint64(12), 300
	if testing.Short() {
		seeds, steps = 4, 120
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, seed)
			for range steps {
				w.step(w.random.IntN(25) == 0)
				w.compare(w.random.IntN(6) == 0)
			}
			require.NoError(t, w.staged.Close())
			w.staged = checkpointtest.OpenAt(t, w.staged.Path)
			w.compare(true)
			t.Logf("%d crashes", w.crashes)
		})
	}
	t.Run("a crash at every step", func(t *testing.T) {
		const steps = 30
		for at := range steps {
			w := newTwins(t, 100)
			for n := range steps {
				w.step(n == at)
				if n == at || n == steps-1 {
					w.compare(n != at)
				}
			}
		}
	})
}

// Whoever reads while the stage is filled and written finds each batch whole, and never an earlier one than before.
func TestStageIsReadWhileItIsWritten(t *testing.T) {
	s := checkpointtest.Open(t)
	checkpoint.SetStageLimits(t, 2000, time.Millisecond)
	keys := []checkpoint.Key{own(noon, 1), shared(noon.Add(day), 2), own(noon.Add(3*day), 3)}
	const batches = 400
	commit := func(n int) error {
		c := checkpoint.Changes{Account: account, ReadAt: noon, Progress: map[string][]byte{"n": []byte(strconv.Itoa(n))}}
		for _, key := range keys {
			c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: []byte(strconv.Itoa(n))})
		}
		return s.Stage(c)
	}
	require.NoError(t, commit(0))
	var g errgroup.Group
	done := make(chan struct{})
	for range 2 {
		g.Go(func() error {
			for last := 0; ; {
				select {
				case <-done:
					return nil
				default:
				}
				out := make([]checkpoint.Found, len(keys))
				probes := make([]checkpoint.Probe, len(keys))
				for i, key := range keys {
					probes[i] = checkpoint.Probe{Key: key, Slack: 2}
				}
				if err := s.Lookup(account, probes, out); err != nil {
					return err
				}
				for i := range out {
					if string(out[i].Value) != string(out[0].Value) {
						return fmt.Errorf("parts of two batches: %q and %q", out[0].Value, out[i].Value)
					}
				}
				n, err := strconv.Atoi(string(out[0].Value))
				if err != nil || n < last {
					return fmt.Errorf("batch %d after batch %d: %w", n, last, err)
				}
				record, err := s.Progress(account, "n")
				if err != nil {
					return err
				}
				if last, err = strconv.Atoi(string(record)); err != nil || last < n {
					return fmt.Errorf("progress of batch %d after batch %d: %w", last, n, err)
				}
				if _, err := s.Days(account); err != nil {
					return err
				}
			}
		})
	}
	for n := range batches {
		require.NoError(t, commit(n))
	}
	close(done)
	require.NoError(t, g.Wait())
}

// onDisk opens a copy of the file as it is now, that is, as a process leaves it that is killed.
func onDisk(t *testing.T, s *checkpointtest.Store) *checkpointtest.Store {
	t.Helper()
	file, err := os.ReadFile(s.Path)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	return checkpointtest.OpenAt(t, path)
}

// progressOf returns the number of the last batch that a store has.
func progressOf(t *testing.T, s *checkpointtest.Store) (n int) {
	t.Helper()
	record, err := s.Progress(account, "n")
	require.NoError(t, err)
	if record != nil {
		n, err = strconv.Atoi(string(record))
		require.NoError(t, err)
	}
	return n
}

// hasBatches checks that the store has the first batches, each whole, and nothing of the next.
func hasBatches(t *testing.T, s *checkpointtest.Store, last int) {
	t.Helper()
	for n := 1; n <= last+1; n++ {
		known := 0
		for _, got := range lookup(t, s, 0, keysOf(batch(n))...) {
			if got.Known {
				known++
			}
		}
		require.Equal(t, map[bool]int{true: batchSize}[n <= last], known, "batch %d of %d", n, last)
	}
}

// The stage is written once it is full, once it is old, and with every other write.
func TestStageIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 60_000 // of three batches, about
		checkpoint.SetStageLimits(t, size, time.Second)
		s := checkpointtest.Open(t)
		n := 1
		require.NoError(t, s.Stage(batch(n)))
		require.Zero(t, progressOf(t, onDisk(t, s)))
		require.Equal(t, n, progressOf(t, s))
		stats, err := s.Stats()
		require.NoError(t, err)
		require.Zero(t, stats.Entities, "what is staged is not counted yet")
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, s.Staged())
		hasBatches(t, onDisk(t, s), n)

		for n < 20 {
			n++
			require.NoError(t, s.Stage(batch(n)))
		}
		written := progressOf(t, onDisk(t, s))
		require.Less(t, written, n)
		require.Greater(t, written, n-8)
		hasBatches(t, onDisk(t, s), written)

		require.NoError(t, s.Commit(checkpoint.Changes{Identity: map[string][]byte{"x": {1}}}))
		require.False(t, s.Staged())
		hasBatches(t, onDisk(t, s), n)

		require.NoError(t, s.Stage(batch(n+1)))
		require.NoError(t, s.Commit(checkpoint.Changes{Account: account, ReadAt: noon, Touched: []uint32{1}}), "which changes nothing")
		hasBatches(t, onDisk(t, s), n+1)

		require.NoError(t, s.Stage(batch(n+2)))
		s.Reopen(t)
		hasBatches(t, s, n+2)

		require.ErrorContains(t, s.Stage(checkpoint.Changes{Touched: []uint32{1}}), "name no account")
		require.NoError(t, s.Close())
		require.ErrorIs(t, s.Stage(batch(1)), checkpoint.ErrClosed)
	})
}

// A disk that is full stops the staging at once, is shown, and loses nothing that was staged.
func TestStageOnAFullDisk(t *testing.T) {
	const inChild = "CHECKPOINT_TEST_STAGE_FULL"
	if os.Getenv(inChild) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestStageOnAFullDisk$")
		child.Env = append(os.Environ(), inChild+"=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	synctest.Test(t, func(t *testing.T) {
		checkpoint.SetStageLimits(t, 60_000, time.Second)
		s := checkpointtest.Open(t)
		makeRoom := fillDisk(t)
		n := 1
		var err error
		for ; n < 1000 && err == nil; n++ {
			err = s.Stage(batch(n))
		}
		failed := n - 1
		require.ErrorIs(t, err, checkpoint.ErrFull)
		require.ErrorIs(t, s.Failing().Err, checkpoint.ErrFull)
		require.ErrorIs(t, s.Stage(batch(failed)), checkpoint.ErrFull, "still full")
		require.Equal(t, 2, s.Failing().Count)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 4, s.Failing().Count, "the timer tries again")
		require.Equal(t, failed-1, progressOf(t, s), "what was staged is still there")
		hasBatches(t, s, failed-1)
		_, err = s.Days(account)
		require.ErrorIs(t, err, checkpoint.ErrFull, "it would not be all")

		makeRoom()
		left := onDisk(t, s)
		require.Less(t, progressOf(t, left), failed-1)
		hasBatches(t, left, progressOf(t, left))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Nil(t, s.Failing())
		hasBatches(t, onDisk(t, s), failed-1)
		require.NoError(t, s.Stage(batch(failed)))
		s.Reopen(t)
		hasBatches(t, s, failed)
	})
}

// Damage that the writing of the stage meets ends the store, which says so to whoever asks next.
func TestStageOnADamagedFile(t *testing.T) {
	s := checkpointtest.OpenAt(t, filepath.Join(t.TempDir(), "poller.db"))
	for n := range 20 {
		require.NoError(t, s.Commit(batch(n)))
	}
	require.NoError(t, s.Stage(batch(20)))
	require.NoError(t, os.Truncate(s.Path, 8<<10))
	err := s.Flush()
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	require.ErrorIs(t, s.Stage(batch(21)), checkpoint.ErrDamaged)
	_, err = s.Progress(account, "n")
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	_, err = s.SetAside()
	require.NoError(t, err)
	require.True(t, errors.Is(s.Stage(batch(21)), checkpoint.ErrClosed))
	s.Store, err = checkpoint.Open(s.Path, checkpoint.Options{NoSync: true})
	require.NoError(t, err)
}
