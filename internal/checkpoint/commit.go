package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/faultpoint"
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
	return s.update("commit", func(tx *bolt.Tx) error {
		changed := len(c.Puts)+len(c.Dead)+len(c.Progress)+len(c.Identity) > 0
		if c.Account != "" {
			acc, err := createAccount(tx, c.Account)
			if err != nil {
				return err
			}
			if err := writeDays(acc.Bucket(bucketDays), &c); err != nil {
				return err
			}
			if touched, err := touchDays(acc.Bucket(bucketDays), c.Touched, hour(c.Seen)); err != nil {
				return err
			} else if touched {
				changed = true
			}
			for name, record := range c.Progress {
				if err := writeRecord(acc.Bucket(bucketProgress), c.Account, name, record); err != nil {
					return err
				}
			}
		}
		for name, record := range c.Identity {
			if err := writeRecord(tx.Bucket(bucketIdentity), "", name, record); err != nil {
				return err
			}
		}
		if !changed {
			return errUnchanged
		}
		faultpoint.Reach(faultpoint.DuringDisk)
		return nil
	})
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

// put is an entity or dead letter on its way into the bucket of its day.
type put struct {
	day   uint32
	key   storedKey
	order int // among all of the batch: of several with the same key the last one counts
	value []byte
}

// writeDays writes what is new in the order of the keys, in which bbolt has the least to look for and to move.
func writeDays(days *bolt.Bucket, c *Changes) error {
	puts := make([]put, 0, len(c.Puts)+len(c.Dead))
	for _, entry := range c.Puts {
		puts = append(puts, put{entry.Key.Day, entry.Key.stored(), len(puts), entry.Value})
	}
	for _, dead := range c.Dead {
		puts = append(puts, put{dead.Day, newStoredKey(prefixDead, dead.Hash), len(puts), nil})
	}
	slices.SortFunc(puts, func(a, b put) int {
		if a.day != b.day {
			return cmp.Compare(a.day, b.day)
		}
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), a.order-b.order)
	})
	for len(puts) > 0 {
		n := 1
		for n < len(puts) && puts[n].day == puts[0].day {
			n++
		}
		if err := writeDay(days, puts[:n], hour(c.Seen)); err != nil {
			return err
		}
		puts = puts[n:]
	}
	return nil
}

func writeDay(days *bolt.Bucket, puts []put, seen uint32) error {
	bucket, err := days.CreateBucketIfNotExists(dayName(puts[0].day))
	if err != nil {
		return err
	}
	bucket.FillPercent = fillPercent
	info := unpackDayInfo(bucket.Sequence())
	info.touched = max(info.touched, seen)
	cursor := bucket.Cursor()
	sealed := make([]byte, 0, len(puts)*sealSize+sizeOf(puts))
	var next []byte // the first key in the bucket that is not before the one looked up last; empty if there is none
	for i, p := range puts {
		if i == 0 || len(next) > 0 && bytes.Compare(p.key[:], next) >= 0 { // what lies before next was not there
			there, _ := cursor.Seek(p.key[:])
			next = append(next[:0], there...)
		}
		again := i > 0 && p.key == puts[i-1].key
		if !again && !bytes.Equal(next, p.key[:]) {
			info.entities++
		}
		start := len(sealed) // bbolt refers to it until the commit
		sealed = seal(sealed, p.day, p.key, p.value)
		if err := bucket.Put(p.key[:], sealed[start:]); err != nil {
			return err
		}
	}
	return bucket.SetSequence(info.pack())
}

func sizeOf(puts []put) (size int) {
	for i := range puts {
		size += len(puts[i].value)
	}
	return size
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
