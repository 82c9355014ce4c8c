package checkpoint

import (
	"encoding/binary"
	"time"

	"agentassist-poller/internal/binform"
)

// Hash is the stored part of an entity's id. With 96 bits, the probability that any two of 10 million entities have the same hash is
// about 10^-15.
type Hash [12]byte

// Key says where an entity is stored. It starts with time because inserts then touch the same few pages of the file: with 10 million
// entities that is 26 times faster than a key that starts with a hash. An entity keeps its key: where its anchor moves, the caller has to
// find it by a Shared key with Slack, or by the key of what it belongs to.
type Key struct {
	Day    uint32 // days since 1970-01-01 of the entity's anchor
	Minute uint16 // minute of that day; not used when Shared
	Shared bool   // the entity can be found under days other than that of its anchor
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

// Prefixes of keys without a minute. They sort behind all minutes.
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

// dayInfo describes a day as a whole. It is stored in the sequence number of the day's bucket, which bbolt writes with the bucket, so
// that it needs no page of its own.
type dayInfo struct {
	touched  uint32 // hours since 1970 of the last time that anything of the day was observed
	entities uint32 // how many keys the bucket has
}

func unpackDayInfo(sequence uint64) dayInfo {
	return dayInfo{touched: uint32(sequence >> 32), entities: uint32(sequence)}
}

func (d dayInfo) pack() uint64 { return uint64(d.touched)<<32 | uint64(d.entities) }

func hour(t time.Time) uint32 { return uint32(max(t.Unix()/3600, 0)) }
