package checkpoint

import (
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Slot is a fixed range of the keys of one day, so that a day can be copied in pieces of limited size:
//
//	0 to 23    entities with a minute, by its hour
//	24 to 39   shared entities, by the first four bits of the hash
//	40         dead letters
type Slot uint8

const (
	SlotShared Slot = 24 // the first slot of shared entities
	SlotDead   Slot = 40
	Slots           = 41
)

// Slot returns the slot that the key belongs to.
func (k Key) Slot() Slot {
	if k.Shared {
		return SlotShared + Slot(k.Hash[0]>>4)
	}
	return Slot(k.Minute / 60)
}

// bounds returns the first and the last key that can be in the slot.
func (s Slot) bounds() (first, last storedKey) {
	end := Hash{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	switch {
	case s < SlotShared:
		return newStoredKey(60*uint16(s), Hash{}), newStoredKey(60*uint16(s)+59, end)
	case s < SlotDead:
		nibble := byte(s-SlotShared) << 4
		end[0] = nibble | 0x0f
		return newStoredKey(prefixShared, Hash{nibble}), newStoredKey(prefixShared, end)
	default:
		return newStoredKey(prefixDead, Hash{}), newStoredKey(prefixDead, end)
	}
}

// DayInfo describes a day as a whole.
type DayInfo struct {
	Day      uint32
	Touched  uint32 // the Hour in which anything of the day was last observed
	Entities int    // dead letters included
}

// Hour returns the hours from 1970 to t, 0 if t is earlier.
func Hour(t time.Time) uint32 { return hour(t) }

// Days returns the days of the account, in order.
func (s *Store) Days(account string) ([]DayInfo, error) {
	var infos []DayInfo
	err := s.view("list days", func(tx *bolt.Tx) error {
		acc := tx.Bucket(bucketAccounts).Bucket([]byte(account))
		if acc == nil {
			return nil
		}
		days := acc.Bucket(bucketDays)
		return days.ForEachBucket(func(name []byte) error {
			day, err := parseDayName(name)
			if err != nil {
				return err
			}
			info := unpackDayInfo(days.Bucket(name).Sequence())
			infos = append(infos, DayInfo{day, info.touched, int(info.entities)})
			return nil
		})
	})
	return infos, err
}

// ErrStop ends a Scan without an error when its function returns it.
var ErrStop = errors.New("stop")

// Scan calls fn with each entity or dead letter in the slot of the day, in the order of minutes and hashes. Minute is 0 where there is
// none. The value is valid until fn returns.
func (s *Store) Scan(account string, day uint32, slot Slot, fn func(minute uint16, hash Hash, value []byte) error) error {
	return s.view("scan slot", func(tx *bolt.Tx) error {
		acc := tx.Bucket(bucketAccounts).Bucket([]byte(account))
		if acc == nil {
			return nil
		}
		bucket := acc.Bucket(bucketDays).Bucket(dayName(day))
		if bucket == nil {
			return nil
		}
		first, last := slot.bounds()
		cursor := bucket.Cursor()
		for k, v := cursor.Seek(first[:]); k != nil && string(k) <= string(last[:]); k, v = cursor.Next() {
			if len(k) != storedKeySize {
				return damage("key of %d bytes", len(k))
			}
			value, err := unseal(day, storedKey(k), v)
			if err != nil {
				return err
			}
			minute := uint16(0)
			if slot < SlotShared {
				minute = binary.BigEndian.Uint16(k)
			}
			if err := fn(minute, Hash(k[2:]), value); err != nil {
				if errors.Is(err, ErrStop) {
					return nil
				}
				return err
			}
		}
		return nil
	})
}
