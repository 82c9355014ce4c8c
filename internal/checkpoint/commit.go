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

// Changes is what one batch changes. Committing it again changes nothing, so that a commit whose outcome is unknown may be repeated.
type Changes struct {
	Account string
	// ReadAt is when the batch was read. It touches all days of Puts, Touched and Dead: their retention starts again.
	ReadAt time.Time
	// Puts are the entities that are new or changed. Of several with the same key the last one counts.
	Puts []Entry
	// Touched are the days of entities that were observed and had not changed.
	Touched []uint32
	// Dead are the new dead letters.
	Dead []DeadLetter
	// Progress are records of the account, each written whole; nil deletes.
	Progress map[string][]byte
	// Identity are records about the file as a whole, each written whole; nil deletes.
	Identity map[string][]byte
}

// Entry is an entity as it is stored.
type Entry struct {
	Key   Key
	Value []byte
}

// DeadLetter is the hash of a record that could not be read, and the day on which it was first found.
type DeadLetter struct {
	Day  uint32
	Hash Hash
}

// Commit applies all of the changes or none, and returns once they are on disk (but see Options.NoSync). It takes no context: what it
// records has already happened, so that giving up would gain nothing.
func (s *Store) Commit(c Changes) error {
	if err := c.check(); err != nil {
		return err
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
			if touched, err := touchDays(acc.Bucket(bucketDays), c.Touched, hour(c.ReadAt)); err != nil {
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

func (c *Changes) check() error {
	if c.Account == "" && len(c.Puts)+len(c.Touched)+len(c.Dead)+len(c.Progress) > 0 {
		return errors.New("commit to checkpoint: changes name no account")
	}
	return nil
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

// put is an entity or a dead letter to be written to the bucket of its day.
type put struct {
	day   uint32
	key   storedKey
	order int    // place in the batch: of several with the same key the last one counts
	value []byte // sealed
}

// puts returns the entities and dead letters, sealed, in the order in which they count.
func (c *Changes) puts() []put {
	size := (len(c.Puts) + len(c.Dead)) * sealSize
	for i := range c.Puts {
		size += len(c.Puts[i].Value)
	}
	sealed := make([]byte, 0, size)
	puts := make([]put, 0, len(c.Puts)+len(c.Dead))
	add := func(day uint32, key storedKey, value []byte) {
		start := len(sealed)
		sealed = seal(sealed, day, key, value)
		puts = append(puts, put{day, key, len(puts), sealed[start:len(sealed):len(sealed)]})
	}
	for i := range c.Puts {
		add(c.Puts[i].Key.Day, c.Puts[i].Key.stored(), c.Puts[i].Value)
	}
	for _, dead := range c.Dead {
		add(dead.Day, newStoredKey(prefixDead, dead.Hash), nil)
	}
	return puts
}

// writeDays writes the puts and dead letters in the order of their keys, for which bbolt searches and moves least.
func writeDays(days *bolt.Bucket, c *Changes) error {
	puts := c.puts()
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
		if err := writeDay(days, puts[:n], hour(c.ReadAt)); err != nil {
			return err
		}
		puts = puts[n:]
	}
	return nil
}

// writeDay writes the puts of one day, which are in the order of their keys. bbolt refers to their values until the transaction ends.
func writeDay(days *bolt.Bucket, puts []put, hour uint32) error {
	bucket, err := days.CreateBucketIfNotExists(dayName(puts[0].day))
	if err != nil {
		return err
	}
	bucket.FillPercent = fillPercent
	info := unpackDayInfo(bucket.Sequence())
	info.touched = max(info.touched, hour)
	cursor := bucket.Cursor()
	var next []byte // the first key of the bucket that is not before the last one looked up; empty if there is none
	for i, p := range puts {
		if i == 0 || len(next) > 0 && bytes.Compare(p.key[:], next) >= 0 { // the bucket has no key before next
			there, _ := cursor.Seek(p.key[:])
			next = append(next[:0], there...)
		}
		again := i > 0 && p.key == puts[i-1].key
		if !again && !bytes.Equal(next, p.key[:]) {
			info.entities++
		}
		if err := bucket.Put(p.key[:], p.value); err != nil {
			return err
		}
	}
	return bucket.SetSequence(info.pack())
}

// touchDays records that the days were touched, and reports whether that changed anything: it does once an hour.
func touchDays(days *bolt.Bucket, touched []uint32, hour uint32) (changed bool, err error) {
	for _, day := range touched {
		bucket := days.Bucket(dayName(day))
		if bucket == nil {
			continue // the day has expired in the meantime
		}
		info := unpackDayInfo(bucket.Sequence())
		if info.touched >= hour {
			continue
		}
		info.touched = hour
		if err := bucket.SetSequence(info.pack()); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}
