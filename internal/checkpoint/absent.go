package checkpoint

import (
	"bytes"
	"encoding/binary"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// absence tells what the days of a store do not have. A new entity that may be stored under any day is looked for in all of them, in
// vain: a filter in memory answers for a day in a hundredth of the time that the day itself takes.
//
// A filter is of the keys that a day had when it had so many entities. Entities are only added, or go with their day, so that the day
// has the same keys while it has as many: a day that is written to is searched itself, and others are not written to often. What
// deletes calls forget.
type absence struct {
	mu   sync.Mutex
	days map[accountDay]*dayFilter
	// generation changes with forget, so that no filter is kept of what was read before.
	generation int
}

type accountDay struct {
	account string
	day     uint32
}

// dayFilter is a Bloom filter of the shared keys of one day. Its hash functions are parts of the hashes that it holds.
type dayFilter struct {
	entities uint32 // of the day when it was made
	vain     uint32 // searches of the day that found nothing since it has so many entities
	bits     []uint64
}

const (
	bitsPerKey = 12 // with three functions one of a hundred searches is for nothing
	// entitiesPerSearch is how many entities a day may have for each search in vain before a filter is made of it: that takes as long as
	// the searches did.
	entitiesPerSearch = 50
)

// forget drops all filters, because days or entities were deleted.
func (a *absence) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.days = nil
	a.generation++
}

// begin returns what finish needs. It must be called before the transaction begins that reads the days.
func (a *absence) begin() (generation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.generation
}

// of returns what is known of a day that has so many entities.
func (a *absence) of(account string, day, entities uint32) *dayFilter {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.days[accountDay{account, day}]; f != nil && f.entities == entities {
		copied := *f
		return &copied
	}
	return &dayFilter{entities: entities}
}

// finish keeps what was learned of a day, unless something was deleted meanwhile.
func (a *absence) finish(generation int, account string, day uint32, f *dayFilter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.generation != generation {
		return
	}
	if a.days == nil {
		a.days = make(map[accountDay]*dayFilter)
	}
	a.days[accountDay{account, day}] = f
}

// lacks reports whether the day certainly does not have the entity.
func (f *dayFilter) lacks(h *Hash) bool {
	if f.bits == nil {
		return false
	}
	for _, bit := range f.places(h) {
		if f.bits[bit/64]&(1<<(bit%64)) == 0 {
			return true
		}
	}
	return false
}

// missed counts a search of the day in vain.
func (f *dayFilter) missed() { f.vain++ }

// due reports whether a filter of the day would have been worth it.
func (f *dayFilter) due() bool { return f.bits == nil && f.vain >= f.entities/entitiesPerSearch+1 }

// fill reads the keys of the day.
func (f *dayFilter) fill(day *bolt.Bucket) {
	var first [2]byte
	binary.BigEndian.PutUint16(first[:], prefixShared)
	var hashes []Hash
	cursor := day.Cursor()
	for k, _ := cursor.Seek(first[:]); len(k) == storedKeySize && bytes.HasPrefix(k, first[:]); k, _ = cursor.Next() {
		hashes = append(hashes, Hash(k[2:]))
	}
	f.bits = make([]uint64, len(hashes)*bitsPerKey/64+1)
	for i := range hashes {
		for _, bit := range f.places(&hashes[i]) {
			f.bits[bit/64] |= 1 << (bit % 64)
		}
	}
}

func (f *dayFilter) places(h *Hash) [3]uint64 {
	size := uint64(len(f.bits)) * 64
	var bits [3]uint64
	for i := range bits {
		bits[i] = uint64(binary.BigEndian.Uint32(h[4*i:])) * size >> 32
	}
	return bits
}
