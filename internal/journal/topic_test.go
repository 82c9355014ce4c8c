package journal_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/journal"
)

// topic is a compacted partition: a record keeps its offset when others are deleted.
type topic struct {
	records []offsetRecord
	next    int64
}

type offsetRecord struct {
	journal.Record
	offset int64
}

// write adds a transaction. Its marker takes an offset too.
func (p *topic) write(records []journal.Record) {
	for _, r := range records {
		p.records = append(p.records, offsetRecord{r, p.next})
		p.next++
	}
	p.next++
}

// compact cleans the records before an offset as Kafka does: the last record of each key stays, and later records are not examined.
// A tombstone may go once every store has read beyond it.
func (p *topic) compact(random *rand.Rand, before, horizon int64) {
	last := make(map[string]int64)
	for _, r := range p.records {
		if r.offset < before {
			last[string(r.Key)] = r.offset
		}
	}
	var kept []offsetRecord
	for _, r := range p.records {
		superseded := r.offset < before && last[string(r.Key)] != r.offset
		gone := r.Value == nil && r.offset < min(before, horizon) && random.IntN(2) == 0
		if !superseded && !gone {
			kept = append(kept, r)
		}
	}
	p.records = kept
}

// replay brings the store up to date from an offset on.
func (p *topic) replay(store *checkpoint.Store, from int64, small bool) (journal.Summary, error) {
	r := journal.NewReplay(store, func(account string) bool { return !strings.HasPrefix(account, "other") })
	if small {
		r.Shrink()
	}
	for _, record := range p.records {
		if record.offset < from {
			continue
		}
		if err := r.Add(record.Key, record.Value, record.offset+1); err != nil {
			return journal.Summary{}, err
		}
	}
	return r.Finish(map[string][]byte{"next/7": strconv.AppendInt(nil, p.next, 10)})
}

func storeNext(t testing.TB, store *checkpoint.Store) int64 {
	t.Helper()
	record, err := store.Identity("next/7")
	require.NoError(t, err)
	if record == nil {
		return 0
	}
	next, err := strconv.ParseInt(string(record), 10, 64)
	require.NoError(t, err)
	return next
}

// dump lists everything that the store holds of the account, including the journal's own records.
func dump(t testing.TB, store *checkpoint.Store, account string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	days, err := store.Days(account)
	require.NoError(t, err)
	for _, day := range days {
		all[fmt.Sprintf("day %d", day.Day)] = fmt.Sprintf("touched %d", day.Touched)
		entities := 0
		for slot := range checkpoint.Slot(checkpoint.Slots) {
			err := store.Scan(account, day.Day, slot, func(minute uint16, hash checkpoint.Hash, value []byte) error {
				entities++
				switch {
				case slot == checkpoint.SlotDead:
					all[fmt.Sprintf("dead %d %x", day.Day, hash)] = ""
				case slot >= checkpoint.SlotShared:
					all[fmt.Sprintf("shared %d %x", day.Day, hash)] = string(value)
				default:
					all[fmt.Sprintf("entity %d %d %x", day.Day, minute, hash)] = string(value)
				}
				return nil
			})
			require.NoError(t, err)
		}
		require.Equal(t, day.Entities, entities)
	}
	progress, err := store.AllProgress(account)
	require.NoError(t, err)
	for name, record := range progress {
		all["progress "+name] = string(record)
	}
	return all
}

// withoutOwn leaves out the journal's own records.
func withoutOwn(all map[string]string) map[string]string {
	kept := make(map[string]string)
	for name, value := range all {
		if !strings.HasPrefix(name, "progress ~") {
			kept[name] = value
		}
	}
	return kept
}

func newStore(t testing.TB) *checkpointtest.Store {
	t.Helper()
	return checkpointtest.OpenAt(t, filepath.Join(t.TempDir(), "poller.db"))
}
