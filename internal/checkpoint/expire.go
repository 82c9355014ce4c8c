package checkpoint

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// Expired is a day that Expire has forgotten, or that it would forget.
type Expired struct {
	Account  string
	Day      uint32
	Entities int
}

// Expire forgets every day that nothing has touched since before, and returns these days. A day that is still touched, for example by a
// conversation that stays open for weeks, stays completely. The file keeps its size, and its free pages are used again.
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
		// With one transaction a day, commits never wait long.
		dropped := false
		err := s.update("expire a day", func(tx *bolt.Tx) error {
			days := tx.Bucket(bucketAccounts).Bucket([]byte(e.Account)).Bucket(bucketDays)
			bucket := days.Bucket(dayName(e.Day))
			if bucket == nil || !expired(unpackDayInfo(bucket.Sequence()).touched, before) {
				return errUnchanged // the day was touched or dropped in the meantime
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
			s.absent.forget()
			gone = append(gone, e)
		}
	}
	return gone, nil
}

// expired reports whether a day was last touched before a time. The day may have been touched at the very end of the recorded hour.
func expired(touched uint32, before time.Time) bool {
	return time.Unix((int64(touched)+1)*3600, 0).Before(before)
}

// Stats describes the store.
type Stats struct {
	Bytes     int64 // size of the file
	FreePages int   // pages of the file that are free for use
	Accounts  int
	Days      int
	Entities  int64 // dead letters included
}

// Stats reads no entities and is cheap enough for every scrape of metrics. It does not count what is staged.
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
