package checkpoint

import (
	"slices"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/faultpoint"
)

// Recorded is what another place, such as the checkpoint topic, has recorded of an account, for Apply.
type Recorded struct {
	Account  string
	Steps    []Step
	Progress map[string][]byte // each written whole; nil deletes
}

// Step is one change of a day.
type Step struct {
	Day uint32
	// Forget applies before the rest.
	Forget Forgetting
	Slot   Slot
	// Puts are entities of the day. Of several with the same key the last one counts.
	Puts []Entry
	Dead []Hash
	// Touched is the Hour in which the day was touched. Without Puts and Dead it counts only if the store has the day.
	Touched uint32
}

// Forgetting says what a Step forgets: nothing, the day, or the contents of its Slot.
type Forgetting uint8

const (
	ForgetNothing Forgetting = iota
	ForgetDay
	ForgetSlot
)

// Apply applies the steps and the progress of each account, in order, and the identity records, all in one transaction. Applying the same
// again changes nothing.
func (s *Store) Apply(recorded []Recorded, identity map[string][]byte) error {
	defer s.absent.forget()
	return s.update("apply records", func(tx *bolt.Tx) error {
		for _, r := range recorded {
			acc, err := createAccount(tx, r.Account)
			if err != nil {
				return err
			}
			days := acc.Bucket(bucketDays)
			for i := range r.Steps {
				if err := r.Steps[i].apply(days); err != nil {
					return err
				}
			}
			for name, record := range r.Progress {
				if err := writeRecord(acc.Bucket(bucketProgress), r.Account, name, record); err != nil {
					return err
				}
			}
		}
		for name, record := range identity {
			if err := writeRecord(tx.Bucket(bucketIdentity), "", name, record); err != nil {
				return err
			}
		}
		faultpoint.Reach(faultpoint.TakeoverApply)
		return nil
	})
}

func (s *Step) apply(days *bolt.Bucket) error {
	switch s.Forget {
	case ForgetDay:
		if _, err := dropDay(days, s.Day); err != nil {
			return err
		}
	case ForgetSlot:
		if err := dropSlot(days, s.Day, s.Slot); err != nil {
			return err
		}
	}
	entries := s.sorted()
	bucket := days.Bucket(dayName(s.Day))
	if bucket == nil {
		if len(entries) == 0 {
			return nil
		}
		var err error
		if bucket, err = days.CreateBucket(dayName(s.Day)); err != nil {
			return err
		}
	}
	bucket.FillPercent = fillPercent
	info := unpackDayInfo(bucket.Sequence())
	added, err := putSorted(bucket, s.Day, entries)
	if err != nil {
		return err
	}
	info.entities += added
	info.touched = max(info.touched, s.Touched)
	return bucket.SetSequence(info.pack())
}

type storedEntry struct {
	key   storedKey
	value []byte
}

func (e storedEntry) put(bucket *bolt.Bucket, day uint32) error {
	return bucket.Put(e.key[:], seal(make([]byte, 0, sealSize+len(e.value)), day, e.key, e.value))
}

// sorted returns the puts and dead letters in the order of their keys, each key once.
func (s *Step) sorted() []storedEntry {
	entries := make([]storedEntry, 0, len(s.Puts)+len(s.Dead))
	for _, hash := range s.Dead {
		entries = append(entries, storedEntry{newStoredKey(prefixDead, hash), nil})
	}
	for _, put := range s.Puts {
		entries = append(entries, storedEntry{put.Key.stored(), put.Value})
	}
	byKey := func(a, b storedEntry) int { return slices.Compare(a.key[:], b.key[:]) }
	if !slices.IsSortedFunc(entries, byKey) {
		slices.SortStableFunc(entries, byKey)
	}
	last := 0
	for i := range entries {
		if i > 0 && entries[i].key != entries[i-1].key {
			last++
		}
		entries[last] = entries[i]
	}
	return entries[:min(len(entries), last+1)]
}

// putSorted returns how many of the entries are new. If the bucket has no key between the first and the last of them, as when a store is
// built from nothing, all are new and none needs to be looked up.
func putSorted(bucket *bolt.Bucket, day uint32, entries []storedEntry) (added uint32, err error) {
	if len(entries) == 0 {
		return 0, nil
	}
	cursor := bucket.Cursor()
	next, _ := cursor.Seek(entries[0].key[:])
	allNew := next == nil || string(next) > string(entries[len(entries)-1].key[:])
	for i := range entries {
		key := entries[i].key[:]
		if !allNew {
			if there, _ := cursor.Seek(key); string(there) == string(key) {
				added--
			}
		}
		added++
		if err := entries[i].put(bucket, day); err != nil {
			return 0, err
		}
	}
	return added, nil
}
