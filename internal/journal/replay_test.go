package journal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/testsize"
)

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// busy returns a topic with snapshots of several parts, live deltas and progress, and the store that it makes.
func busy(t *testing.T) (*topic, *checkpointtest.Store) {
	t.Helper()
	m := newModel(t, 7)
	for range 250 {
		m.step()
	}
	m.topic.compact(m.random, m.topic.next, m.topic.next)
	return &m.topic, m.store
}

// A replay notices the loss of any record.
func TestEveryLostRecordIsNoticed(t *testing.T) {
	testsize.Slow(t)
	p, _ := busy(t)
	kinds := make(map[byte]int)
	store := checkpointtest.Open(t)
	for i, lost := range p.records {
		if kinds[lost.Key[0]]++; lost.Value == nil || kinds[lost.Key[0]] > 60 && i%20 > 0 {
			continue
		}
		without := topic{next: p.next}
		without.records = append(append(without.records, p.records[:i]...), p.records[i+1:]...)
		_, err := without.replay(store.Store, 0, false)
		var incomplete *journal.IncompleteError
		require.ErrorAs(t, err, &incomplete, "without %s", lost.Key)
		require.Contains(t, string(lost.Key), incomplete.Account)
		switch lost.Key[0] {
		case 'm':
			require.Equal(t, "there is no manifest", incomplete.Missing)
		case 'd':
			require.Regexp(t, `^delta \d+ of \[\d+, \d+\) is missing$`, incomplete.Missing)
		case 's':
			require.Regexp(t, `^\d+ of \d+ snapshot parts of day \d+, slot \d+ are missing$|^there are snapshots of \d+ slots`, incomplete.Missing)
		case 'p':
			require.Regexp(t, `^there are \d+ progress records`, incomplete.Missing)
		}
		for _, account := range accounts {
			require.Empty(t, dump(t, store.Store, account), "nothing of an incomplete account is written, while there is little of it")
		}
	}
	require.Greater(t, min(kinds['d'], kinds['s'], kinds['p']), 5, "%v", kinds)
}

func TestReplayWithNothingNew(t *testing.T) {
	p, store := busy(t)
	summary, err := p.replay(store.Store, p.next, false)
	require.NoError(t, err)
	require.Zero(t, summary.Records)
}

func TestReplayLeavesOtherAccountsAlone(t *testing.T) {
	p, _ := busy(t)
	store := checkpointtest.Open(t)
	other := checkpoint.Changes{
		Account: "other", ReadAt: noon, Progress: map[string][]byte{"x": {1}},
		Puts: []checkpoint.Entry{{Key: checkpoint.KeyAt(noon, false, checkpoint.Hash{1}), Value: []byte{1}}},
	}
	require.NoError(t, store.Commit(other))
	before := dump(t, store.Store, "other")
	p.write([]journal.Record{{Key: []byte("p/other/x"), Value: []byte("not even readable")}, {Key: []byte("m/other")}})
	_, err := p.replay(store.Store, 0, true)
	require.NoError(t, err)
	require.Equal(t, before, dump(t, store.Store, "other"))
}

func TestStoreAheadOfTheTopic(t *testing.T) {
	_, store := busy(t)
	m := newModel(t, 3) // another topic, far behind
	for range 5 {
		m.step()
	}
	_, err := m.topic.replay(store.Store, 0, false)
	var incomplete *journal.IncompleteError
	require.ErrorAs(t, err, &incomplete)
	require.Regexp(t, `it ends before delta \d+, and the store is at delta \d+`, incomplete.Missing)
}

func TestJournalNeedsAFinishedReplay(t *testing.T) {
	p, _ := busy(t)
	store := checkpointtest.Open(t)
	r := journal.NewReplay(store.Store, func(string) bool { return true })
	r.Shrink()
	for _, record := range p.records {
		require.NoError(t, r.Add(record.Key, record.Value, record.offset+1))
	}
	_, err := journal.New(store.Store, "a1")
	require.ErrorContains(t, err, "its last replay did not finish; replay it")
	_, err = r.Finish(nil)
	require.NoError(t, err)
	_, err = journal.New(store.Store, "a1")
	require.NoError(t, err)
}

// The first compaction writes out a store that has no journal. Until it has finished, only the store is complete.
func TestStoreWithoutJournalIsAdopted(t *testing.T) {
	store := checkpointtest.Open(t)
	c := checkpoint.Changes{Account: "a1", ReadAt: noon, Progress: map[string][]byte{"unit/1": {1}, "unit/2": {2}}}
	for i := range 200 {
		c.Puts = append(c.Puts, checkpoint.Entry{
			Key:   checkpoint.KeyAt(noon.Add(-time.Duration(i)*time.Hour), i%3 == 0, checkpoint.Hash{byte(i)}),
			Value: fmt.Append(nil, i),
		})
	}
	c.Dead = []checkpoint.DeadLetter{{Day: c.Puts[0].Key.Day, Hash: checkpoint.Hash{9}}}
	require.NoError(t, store.Commit(c))
	j, err := journal.New(store.Store, "a1")
	require.NoError(t, err)
	require.False(t, j.Exists())
	j.Shrink()
	var p topic
	for n := range 60 {
		c := checkpoint.Changes{Account: "a1", ReadAt: noon.Add(time.Hour), Progress: map[string][]byte{"unit/1": {byte(n)}}}
		records, err := j.Append(&c, bound.Record)
		require.NoError(t, err)
		p.write(records)
		require.NoError(t, store.Commit(c))
		j.Committed()
		require.True(t, j.Exists())
		if n == 0 { // a crash here, with the store and without it
			_, err := p.replay(store.Store, 0, false)
			require.NoError(t, err)
			_, err = p.replay(newStore(t).Store, 0, false)
			var incomplete *journal.IncompleteError
			require.ErrorAs(t, err, &incomplete)
			require.Equal(t, "delta 1 of [1, 2) is missing", incomplete.Missing)
		}
	}
	fresh := newStore(t)
	_, err = p.replay(fresh.Store, 0, false)
	require.NoError(t, err)
	require.Equal(t, dump(t, store.Store, "a1"), dump(t, fresh.Store, "a1"))
}

// A slot that no record can hold is split into parts, and a slot that has become smaller leaves no part behind.
func TestLargeValues(t *testing.T) {
	store := checkpointtest.Open(t)
	j, err := journal.New(store.Store, "a1")
	require.NoError(t, err)
	var p topic
	sizes := []int{3 << 20, 1 << 20, 100}
	for n, size := range sizes {
		for range 6 { // enough for a compaction
			c := checkpoint.Changes{Account: "a1", ReadAt: noon.Add(time.Duration(n) * time.Hour)}
			for i := range 4 {
				c.Puts = append(c.Puts, checkpoint.Entry{Key: checkpoint.KeyAt(noon, false, checkpoint.Hash{byte(i)}), Value: bytes.Repeat([]byte{byte(n)}, size/4)})
			}
			records, err := j.Append(&c, bound.Record)
			require.NoError(t, err)
			for _, r := range records {
				require.Less(t, len(r.Value), sizes[0]/4+200, "one entity at most is larger than a record ought to be")
			}
			p.write(records)
			require.NoError(t, store.Commit(c))
			j.Committed()
		}
	}
	p.compact(rand.New(rand.NewPCG(1, 1)), p.next, 0)
	fresh := newStore(t)
	_, err = p.replay(fresh.Store, 0, false)
	require.NoError(t, err)
	require.Equal(t, dump(t, store.Store, "a1"), dump(t, fresh.Store, "a1"))
}

func TestWrongUse(t *testing.T) {
	store := checkpointtest.OpenAt(t, filepath.Join(t.TempDir(), "poller.db"))
	for _, account := range []string{"", "a/b"} {
		_, err := journal.New(store.Store, account)
		require.ErrorContains(t, err, "cannot be part of a key")
	}
	j, err := journal.New(store.Store, "a1")
	require.NoError(t, err)
	_, err = j.Append(&checkpoint.Changes{Account: "a2"}, bound.Record)
	require.ErrorContains(t, err, `append to journal of account a1: the changes are of account "a2"`)
	_, err = j.Append(&checkpoint.Changes{Account: "a1", Progress: map[string][]byte{"": {}}}, bound.Record)
	require.ErrorContains(t, err, "has no name")
	records, err := j.Expire([]uint32{1, 2}, &checkpoint.Changes{Account: "a1"}, bound.Record)
	require.NoError(t, err)
	require.Nil(t, records, "it knows none of the days")
}
