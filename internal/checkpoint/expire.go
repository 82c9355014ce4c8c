package checkpoint

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// Expired is a day that is no longer remembered.
type Expired struct {
	Account  string
	Day      uint32
	Entities int
}

// Expire forgets every day of which nothing was seen since before, and returns these. A day that is still read (of a
// conversation that stays open for weeks, say) stays as a whole. The file keeps its size; the room is used again.
func (s *Store) Expire(before time.Time) ([]Expired, error) {
	var due []Expired
	err := s.eachDay("find what has expired", func(account string, day uint32, info dayInfo) {
		if expired(info.touched, before) {
			due = append(due, Expired{Account: account, Day: day, Entities: int(info.entities)})
		}
	})
	if err != nil {
		return nil, err
	}
	var gone []Expired
	for _, e := range due {
		// One transaction a day keeps commits from waiting long.
		dropped := false
		err := s.update("expire a day", func(tx *bolt.Tx) error {
			days := tx.Bucket(bucketAccounts).Bucket([]byte(e.Account)).Bucket(bucketDays)
			bucket := days.Bucket(dayName(e.Day))
			if bucket == nil || !expired(unpackDayInfo(bucket.Sequence()).touched, before) {
				return errUnchanged // it was seen, or dropped, in between
			}
			dropped = true
			if err := days.DeleteBucket(dayName(e.Day)); err != nil {
				return damage("%v", err) // the bucket is there, and nothing has been written yet
			}
			return nil
		})
		if err != nil {
			return gone, err
		}
		if dropped {
			gone = append(gone, e)
		}
	}
	return gone, nil
}

// The hour that is noted may have passed almost wholly when the day was seen.
func expired(touched uint32, before time.Time) bool {
	return time.Unix((int64(touched)+1)*3600, 0).Before(before)
}

// Stats describe the store as it is.
type Stats struct {
	Bytes     int64 // size of the file
	FreePages int   // pages of the file that hold nothing and will be used again
	Accounts  int
	Days      int
	Entities  int64 // dead letters included
}

// Stats reads no entity and is cheap enough to be asked at every scrape.
func (s *Store) Stats() (Stats, error) {
	var stats Stats
	accounts := make(map[string]bool)
	err := s.eachDay("read statistics", func(account string, _ uint32, info dayInfo) {
		accounts[account] = true
		stats.Days++
		stats.Entities += int64(info.entities)
	})
	if err != nil {
		return Stats{}, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return Stats{}, classify("read statistics", s.path, err)
	}
	pages := s.db.Stats()
	stats.Bytes, stats.FreePages, stats.Accounts = info.Size(), pages.FreePageN+pages.PendingPageN, len(accounts)
	return stats, nil
}

func (s *Store) eachDay(op string, fn func(account string, day uint32, info dayInfo)) error {
	return s.view(op, func(tx *bolt.Tx) error {
		accounts := tx.Bucket(bucketAccounts)
		return accounts.ForEachBucket(func(account []byte) error {
			days := accounts.Bucket(account).Bucket(bucketDays)
			return days.ForEachBucket(func(name []byte) error {
				day, err := parseDayName(name)
				if err != nil {
					return err
				}
				fn(string(account), day, unpackDayInfo(days.Bucket(name).Sequence()))
				return nil
			})
		})
	})
}
