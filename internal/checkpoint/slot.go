package checkpoint

import (
	"bytes"
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

// slot returns the slot that the key belongs to.
func (k *storedKey) slot() Slot {
	switch prefix := binary.BigEndian.Uint16(k[:]); prefix {
	case prefixShared:
		return SlotShared + Slot(k[2]>>4)
	case prefixDead:
		return SlotDead
	default:
		return Slot(prefix / 60)
	}
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
	if err := s.Flush(); err != nil {
		return nil, err
	}
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
// none. The value is valid until fn returns. fn must not use the store.
func (s *Store) Scan(account string, day uint32, slot Slot, fn func(minute uint16, hash Hash, value []byte) error) error {
	return s.read("scan slot", account, func(tx *bolt.Tx, staged *stagedAccount) error {
		err := scan(tx, account, day, slot, staged.slot(day, slot), func(key storedKey, sealed []byte) error {
			value, err := unseal(day, key, sealed)
			if err != nil {
				return err
			}
			minute := uint16(0)
			if slot < SlotShared {
				minute = binary.BigEndian.Uint16(key[:])
			}
			return fn(minute, Hash(key[2:]), value)
		})
		if errors.Is(err, ErrStop) {
			return nil
		}
		return err
	})
}

// scan calls fn with each key of a slot, in their order: those that are staged, and of the file those that are not.
func scan(tx *bolt.Tx, account string, day uint32, slot Slot, staged []put, fn func(key storedKey, sealed []byte) error) error {
	each := func(k, sealed []byte) error {
		if len(k) != storedKeySize {
			return damage("key of %d bytes", len(k))
		}
		key := storedKey(k)
		for len(staged) > 0 {
			order := bytes.Compare(staged[0].key[:], key[:])
			if order > 0 {
				break
			}
			next := staged[0]
			staged = staged[1:]
			if err := fn(next.key, next.value); err != nil || order == 0 {
				return err
			}
		}
		return fn(key, sealed)
	}
	if bucket := dayBucket(tx, account, day); bucket != nil {
		first, last := slot.bounds()
		cursor := bucket.Cursor()
		for k, v := cursor.Seek(first[:]); k != nil && string(k) <= string(last[:]); k, v = cursor.Next() {
			if err := each(k, v); err != nil {
				return err
			}
		}
	}
	for _, p := range staged {
		if err := fn(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// dayBucket returns the bucket of a day, nil if the file has none.
func dayBucket(tx *bolt.Tx, account string, day uint32) *bolt.Bucket {
	acc := tx.Bucket(bucketAccounts).Bucket([]byte(account))
	if acc == nil {
		return nil
	}
	return acc.Bucket(bucketDays).Bucket(dayName(day))
}
