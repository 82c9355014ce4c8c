package checkpoint

import (
	"cmp"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Changes is what one batch of reading adds to what is known. Applying it again changes nothing more, so that a commit
// whose outcome is unknown may be repeated.
type Changes struct {
	Account string
	// Seen is when the batch was read. All days that occur in it are remembered from then on for as long as is kept.
	Seen time.Time
	// Puts are the entities that are new or changed. Of several with the same key the last one counts.
	Puts []Entry
	// Touched are the days of entities that were seen and had not changed.
	Touched []uint32
	// Dead are the dead letters to be remembered.
	Dead []DeadLetter
	// Progress are records of the account, each written whole; nil deletes.
	Progress map[string][]byte
	// Identity are records about the file as a whole, each written whole; nil deletes.
	Identity map[string][]byte
}

// Entry is what is known of one entity.
type Entry struct {
	Key   Key
	Value []byte
}

// DeadLetter is the hash of a record that could not be read, under the day when that was first seen.
type DeadLetter struct {
	Day  uint32
	Hash Hash
}

// Commit applies all of the changes or none, and returns once they are on disk. It takes no context: what it records has
// already happened, so that nothing is gained by giving up.
func (s *Store) Commit(c Changes) error {
	if c.Account == "" && len(c.Puts)+len(c.Touched)+len(c.Dead)+len(c.Progress) > 0 {
		return errors.New("commit to checkpoint: changes name no account")
	}
	writes := c.writes()
	return s.update("commit", func(tx *bolt.Tx) error {
		changed := len(writes)+len(c.Progress)+len(c.Identity) > 0
		if c.Account != "" {
			acc, err := createAccount(tx, c.Account)
			if err != nil {
				return err
			}
			if err := writeDays(acc.Bucket(bucketDays), writes, hour(c.Seen)); err != nil {
				return err
			}
			if touched, err := touchDays(acc.Bucket(bucketDays), c.Touched, hour(c.Seen)); err != nil {
				return err
			} else if touched {
				changed = true
			}
			for name, record := range c.Progress {
				if err := writeRecord(acc.Bucket(bucketProgress), name, record); err != nil {
					return err
				}
			}
		}
		for name, record := range c.Identity {
			if err := writeRecord(tx.Bucket(bucketIdentity), name, record); err != nil {
				return err
			}
		}
		if !changed {
			return errUnchanged
		}
		return nil
	})
}

type write struct {
	day   uint32
	key   storedKey
	value []byte
}

// writes returns puts and dead letters in the order of the file.
func (c *Changes) writes() []write {
	all := make([]write, 0, len(c.Puts)+len(c.Dead))
	for _, put := range c.Puts {
		all = append(all, write{put.Key.Day, put.Key.stored(), put.Value})
	}
	for _, dead := range c.Dead {
		all = append(all, write{dead.Day, newStoredKey(prefixDead, dead.Hash), nil})
	}
	slices.SortStableFunc(all, func(a, b write) int {
		return cmp.Or(cmp.Compare(a.day, b.day), a.key.compare(b.key))
	})
	return all
}

func createAccount(tx *bolt.Tx, account string) (*bolt.Bucket, error) {
	if acc := tx.Bucket(bucketAccounts).Bucket([]byte(account)); acc != nil {
		return acc, nil
	}
	acc, err := tx.Bucket(bucketAccounts).CreateBucket([]byte(account))
	if err != nil {
		return nil, err
	}
	for _, name := range [][]byte{bucketProgress, bucketDays} {
		if _, err := acc.CreateBucket(name); err != nil {
			return nil, err
		}
	}
	return acc, nil
}

func writeDays(days *bolt.Bucket, writes []write, seen uint32) error {
	for len(writes) > 0 {
		day := writes[0].day
		n := 1
		for n < len(writes) && writes[n].day == day {
			n++
		}
		bucket, err := days.CreateBucketIfNotExists(dayName(day))
		if err != nil {
			return err
		}
		if err := writeDay(bucket, writes[:n], seen); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

func writeDay(bucket *bolt.Bucket, writes []write, seen uint32) error {
	bucket.FillPercent = fillPercent
	info := unpackDayInfo(bucket.Sequence())
	info.touched = max(info.touched, seen)
	cursor := bucket.Cursor()
	for _, w := range writes {
		if key, _ := cursor.Seek(w.key[:]); string(key) != string(w.key[:]) {
			info.entities++
		}
		if err := bucket.Put(w.key[:], w.value); err != nil {
			return err
		}
	}
	return bucket.SetSequence(info.pack())
}

// touchDays notes that the days were seen, and reports whether that was news: within the same hour it is not.
func touchDays(days *bolt.Bucket, touched []uint32, seen uint32) (changed bool, err error) {
	for _, day := range touched {
		bucket := days.Bucket(dayName(day))
		if bucket == nil {
			continue // it expired in between
		}
		info := unpackDayInfo(bucket.Sequence())
		if info.touched >= seen {
			continue
		}
		info.touched = seen
		if err := bucket.SetSequence(info.pack()); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}
