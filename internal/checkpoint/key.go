package checkpoint

import (
	"encoding/binary"
	"time"

	"agentassist-poller/internal/binform"
)

// Hash is the part of an entity's identity that is stored. 96 bits: with 10 million entities known, the odds that
// two of them ever meet are about one in 10^15.
type Hash [12]byte

// Key says where an entity is remembered. Its leading part is time, because inserts then touch the same few pages of the
// file: at 10 million entities that is 26 times faster than a key that begins with a hash. The time must be immutable for
// the entity, else the same thing read later would not be found.
type Key struct {
	Day    uint32 // days since 1970-01-01 of the entity's anchor
	Minute uint16 // minute of that day; not used when Shared
	Shared bool   // seen through endpoints that may disagree about the anchor
	Hash   Hash
}

// KeyAt returns the key of the entity with the given anchor. Anchors before 1970 count as day 0.
func KeyAt(anchor time.Time, shared bool, hash Hash) Key {
	const minutesPerDay = 24 * 60
	minutes := max(anchor.Unix()/60, 0)
	key := Key{Day: uint32(minutes / minutesPerDay), Shared: shared, Hash: hash}
	if !shared {
		key.Minute = uint16(minutes % minutesPerDay)
	}
	return key
}

// Prefixes above any minute of the day, so that what has no minute of its own sorts behind what has.
const (
	prefixDead   = 0xfffe
	prefixShared = 0xffff
)

const storedKeySize = 2 + len(Hash{})

// storedKey is a key inside the bucket of its day.
type storedKey [storedKeySize]byte

func (k Key) stored() storedKey {
	if k.Shared {
		return newStoredKey(prefixShared, k.Hash)
	}
	return newStoredKey(k.Minute, k.Hash)
}

func newStoredKey(prefix uint16, hash Hash) storedKey {
	var s storedKey
	binary.BigEndian.PutUint16(s[:], prefix)
	copy(s[2:], hash[:])
	return s
}

func dayName(day uint32) []byte { return binary.BigEndian.AppendUint32(nil, day) }

func parseDayName(name []byte) (uint32, error) {
	r := binform.NewReader(name)
	day := r.Uint32()
	if err := r.Done(); err != nil {
		return 0, damage("name of a day: %v", err)
	}
	return day, nil
}

// dayInfo is what is known of a day as a whole. It lives in the sequence number of the day's bucket, which bbolt writes
// anyway whenever the bucket changes, so that keeping it costs no page.
type dayInfo struct {
	touched  uint32 // hours since 1970 of the last time anything of the day was seen
	entities uint32 // how many keys the bucket holds
}

func unpackDayInfo(sequence uint64) dayInfo {
	return dayInfo{touched: uint32(sequence >> 32), entities: uint32(sequence)}
}

func (d dayInfo) pack() uint64 { return uint64(d.touched)<<32 | uint64(d.entities) }

func hour(t time.Time) uint32 { return uint32(max(t.Unix()/3600, 0)) }
