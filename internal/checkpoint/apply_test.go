package checkpoint_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// contents lists the contents of the slots of the account's days.
func contents(t *testing.T, s *checkpointtest.Store, account string) []string {
	t.Helper()
	var all []string
	days, err := s.Days(account)
	require.NoError(t, err)
	for _, day := range days {
		all = append(all, fmt.Sprintf("day %d touched %d", day.Day, day.Touched))
		for slot := range checkpoint.Slot(checkpoint.Slots) {
			last := ""
			require.NoError(t, s.Scan(account, day.Day, slot, func(minute uint16, hash checkpoint.Hash, value []byte) error {
				at := fmt.Sprintf("%05d %x", minute, hash)
				require.Greater(t, at, last, "in order")
				last = at
				all = append(all, fmt.Sprintf("slot %d: %s %q", slot, at, value))
				return nil
			}))
		}
	}
	return all
}

func steps(c checkpoint.Changes) []checkpoint.Step {
	var steps []checkpoint.Step
	for _, put := range c.Puts {
		steps = append(steps, checkpoint.Step{Day: put.Key.Day, Puts: []checkpoint.Entry{put}, Touched: checkpoint.Hour(c.ReadAt)})
	}
	for _, dead := range c.Dead {
		steps = append(steps, checkpoint.Step{Day: dead.Day, Dead: []checkpoint.Hash{dead.Hash}, Touched: checkpoint.Hour(c.ReadAt)})
	}
	for _, day := range c.Touched {
		steps = append(steps, checkpoint.Step{Day: day, Touched: checkpoint.Hour(c.ReadAt)})
	}
	return steps
}

// Apply and Commit of the same changes make the same store, and every key is in exactly one slot.
func TestApplyEqualsCommit(t *testing.T) {
	committed, applied := checkpointtest.Open(t), checkpointtest.Open(t)
	total := 0
	for n := range 20 {
		c := checkpoint.Changes{
			Account: account, ReadAt: noon.Add(time.Duration(n) * 20 * time.Minute),
			Progress: map[string][]byte{"x": {byte(n)}, "y": nil}, Identity: map[string][]byte{"next": {byte(n)}},
			Touched: []uint32{own(noon, 0).Day, own(noon.Add(-40*day), 0).Day},
			Dead:    []checkpoint.DeadLetter{{Day: own(noon.Add(-time.Duration(n)*8*time.Hour), 0).Day, Hash: hash(n)}},
		}
		for i := range 30 {
			anchor := noon.Add(-time.Duration(i*i*n) * time.Minute)
			c.Puts = append(c.Puts, checkpoint.Entry{Key: checkpoint.KeyAt(anchor, i%2 == 0, hash(i*7+n/3)), Value: []byte{byte(n), byte(i)}})
		}
		total += len(c.Puts)
		require.NoError(t, committed.Commit(c))
		for range 1 + n%2 {
			require.NoError(t, applied.Apply([]checkpoint.Recorded{{Account: account, Steps: steps(c), Progress: c.Progress}}, c.Identity))
		}
	}
	want := contents(t, committed, account)
	require.Equal(t, want, contents(t, applied, account))
	stats, err := committed.Stats()
	require.NoError(t, err)
	require.Len(t, want, int(stats.Entities)+stats.Days)
	require.Less(t, len(want), total, "some were put more than once")
	for _, s := range []*checkpointtest.Store{committed, applied} {
		records, err := s.AllProgress(account)
		require.NoError(t, err)
		require.Equal(t, map[string][]byte{"x": {19}}, records)
		next, err := s.Identity("next")
		require.NoError(t, err)
		require.Equal(t, []byte{19}, next)
	}
}

func TestLastOfTheSameKeyCounts(t *testing.T) {
	s := checkpointtest.Open(t)
	a, b := own(noon, 1), own(noon.Add(time.Minute), 2)
	require.NoError(t, s.Apply([]checkpoint.Recorded{{Account: account, Steps: []checkpoint.Step{{Day: a.Day, Puts: []checkpoint.Entry{
		{Key: b, Value: []byte("1")}, {Key: a, Value: []byte("2")}, {Key: b, Value: []byte("3")}, {Key: a, Value: []byte("4")},
	}}}}}, nil))
	found := lookup(t, s, 0, a, b)
	require.Equal(t, "4", string(found[0].Value))
	require.Equal(t, "3", string(found[1].Value))
}

func TestForget(t *testing.T) {
	today, before := own(noon, 0).Day, own(noon.Add(-day), 0).Day
	fill := func(t *testing.T) *checkpointtest.Store {
		s := checkpointtest.Open(t)
		for _, account := range []string{account, "another"} {
			require.NoError(t, s.Commit(checkpoint.Changes{
				Account: account, ReadAt: noon, Progress: map[string][]byte{"x": {1}}, Dead: []checkpoint.DeadLetter{{Day: today, Hash: hash(3)}},
				Puts: []checkpoint.Entry{{Key: own(noon, 1)}, {Key: own(noon.Add(-day), 2)}, {Key: shared(noon.Add(-day), 4)}},
			}))
		}
		return s
	}
	days := func(t *testing.T, s *checkpointtest.Store, account string) map[uint32]int {
		infos, err := s.Days(account)
		require.NoError(t, err)
		known := make(map[uint32]int)
		for _, info := range infos {
			known[info.Day] = info.Entities
		}
		return known
	}
	apply := func(s *checkpointtest.Store, steps ...checkpoint.Step) error {
		return s.Apply([]checkpoint.Recorded{{Account: account, Steps: steps}}, nil)
	}
	for name, c := range map[string]struct {
		forget func(s *checkpointtest.Store) error
		left   map[uint32]int
	}{
		"a day":              {func(s *checkpointtest.Store) error { return s.Forget(account, []uint32{before, 7}) }, map[uint32]int{today: 2}},
		"an unknown day":     {func(s *checkpointtest.Store) error { return s.Forget(account, []uint32{7}) }, map[uint32]int{today: 2, before: 2}},
		"an unknown account": {func(s *checkpointtest.Store) error { return s.Forget("nobody", []uint32{today}) }, map[uint32]int{today: 2, before: 2}},
		"the account":        {func(s *checkpointtest.Store) error { return s.Drop(account) }, map[uint32]int{}},
		"drop unknown":       {func(s *checkpointtest.Store) error { return s.Drop("nobody") }, map[uint32]int{today: 2, before: 2}},
		"a day by a step": {func(s *checkpointtest.Store) error {
			return apply(s, checkpoint.Step{Day: today, Forget: checkpoint.ForgetDay})
		}, map[uint32]int{before: 2}},
		"a slot": {func(s *checkpointtest.Store) error {
			return apply(s, checkpoint.Step{Day: today, Forget: checkpoint.ForgetSlot, Slot: 12})
		}, map[uint32]int{today: 1, before: 2}},
		"an empty slot": {func(s *checkpointtest.Store) error {
			return apply(s, checkpoint.Step{Day: today, Forget: checkpoint.ForgetSlot, Slot: 13})
		}, map[uint32]int{today: 2, before: 2}},
		"a slot of an unknown day": {func(s *checkpointtest.Store) error {
			return apply(s, checkpoint.Step{Day: 7, Forget: checkpoint.ForgetSlot, Slot: 12})
		}, map[uint32]int{today: 2, before: 2}},
		"all slots of a day": {func(s *checkpointtest.Store) error {
			var steps []checkpoint.Step
			for slot := range checkpoint.Slot(checkpoint.Slots) {
				steps = append(steps, checkpoint.Step{Day: today, Forget: checkpoint.ForgetSlot, Slot: slot})
			}
			return apply(s, steps...)
		}, map[uint32]int{before: 2}},
		"a day that is written again": {func(s *checkpointtest.Store) error {
			return apply(s, checkpoint.Step{Day: today, Forget: checkpoint.ForgetDay, Puts: []checkpoint.Entry{{Key: own(noon, 9)}}})
		}, map[uint32]int{today: 1, before: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fill(t)
			require.NoError(t, c.forget(s))
			require.Equal(t, c.left, days(t, s, account))
			require.Equal(t, map[uint32]int{today: 2, before: 2}, days(t, s, "another"))
			record, err := s.Progress(account, "x")
			require.NoError(t, err)
			require.Equal(t, name == "the account", record == nil)
		})
	}
}

func TestDueForgetsNothing(t *testing.T) {
	s := checkpointtest.Open(t)
	put(t, s, noon, checkpoint.Entry{Key: own(noon, 1)})
	due, err := s.Due(account, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, due, "the hour is not over")
	due, err = s.Due(account, noon.Add(2*time.Hour))
	require.NoError(t, err)
	require.Equal(t, []checkpoint.Expired{{Account: account, Day: own(noon, 1).Day, Entities: 1}}, due)
	require.True(t, lookup(t, s, 0, own(noon, 1))[0].Known)
}

// Every key is in the slot that Key.Slot names, also at the ends of the ranges.
func TestSlots(t *testing.T) {
	s := checkpointtest.Open(t)
	var entries []checkpoint.Entry
	low, high := checkpoint.Hash{}, checkpoint.Hash(bytes.Repeat([]byte{0xff}, 12))
	for _, minute := range []uint16{0, 59, 60, 1379, 1380, 1439} {
		for _, h := range []checkpoint.Hash{low, high} {
			entries = append(entries, checkpoint.Entry{Key: checkpoint.Key{Day: 5, Minute: minute, Hash: h}})
		}
	}
	for nibble := range byte(16) {
		low[0], high[0] = nibble<<4, nibble<<4|0xf
		for _, h := range []checkpoint.Hash{low, high} {
			entries = append(entries, checkpoint.Entry{Key: checkpoint.Key{Day: 5, Shared: true, Hash: h}})
		}
	}
	require.NoError(t, s.Commit(checkpoint.Changes{Account: account, Puts: entries, Dead: []checkpoint.DeadLetter{{Day: 5, Hash: high}, {Day: 5}}}))
	want, got := make(map[checkpoint.Slot]int), make(map[checkpoint.Slot]int)
	for _, e := range entries {
		want[e.Key.Slot()]++
	}
	want[checkpoint.SlotDead] = 2
	for slot := range checkpoint.Slot(checkpoint.Slots) {
		require.NoError(t, s.Scan(account, 5, slot, func(uint16, checkpoint.Hash, []byte) error { got[slot]++; return nil }))
	}
	require.Equal(t, want, got)
	require.Equal(t, 2, want[checkpoint.SlotShared+15])

	stops := 0
	require.NoError(t, s.Scan(account, 5, 0, func(uint16, checkpoint.Hash, []byte) error { stops++; return checkpoint.ErrStop }))
	require.Equal(t, 1, stops)
	for _, unknown := range []string{account, "nobody"} {
		require.NoError(t, s.Scan(unknown, 6, 0, func(uint16, checkpoint.Hash, []byte) error { t.Error("nothing is there"); return nil }))
	}
}
