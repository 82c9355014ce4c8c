package revise

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
)

// A state is usually small. A state of more than bound.Entity bytes is stored in parts, each an entry of its own, so that no record of
// the checkpoint topic is larger than brokers accept. Nothing is left out of it. (An observation that is too large to be published by
// itself has no body in a state at all: see state.)
//
// The entry of the entity is then a list:
//
//	+------+------+-----+
//	| 0xff | size | sum |
//	+------+------+-----+
//	  byte  uvarint  16
//
//	size   of the state
//	sum    the first 16 bytes of the SHA-256 of the state
//
// The parts are the state, cut every bound.Entity bytes. Each has the entity's key with another hash: the first 12 bytes of the SHA-256
// of "part", the entity's hash, sum, and the number of the part as an uvarint. Parts of an earlier state may still be stored, but their
// keys differ, because sum does. A list whose parts are missing or do not have its sum stays as it is; no state begins with 0xff, so
// that the entity counts as unreadable.

const (
	partsMark = 0xff
	sumSize   = 16
)

// appendEntries appends the entries of an entity whose encoded state is value.
func appendEntries(puts []checkpoint.Entry, place checkpoint.Key, value []byte) []checkpoint.Entry {
	if len(value) <= bound.Entity {
		return append(puts, checkpoint.Entry{Key: place, Value: value})
	}
	sum := sha256.Sum256(value)
	list := binary.AppendUvarint([]byte{partsMark}, uint64(len(value)))
	puts = append(puts, checkpoint.Entry{Key: place, Value: append(list, sum[:sumSize]...)})
	for n := 0; len(value) > 0; n++ {
		size := min(len(value), bound.Entity)
		puts = append(puts, checkpoint.Entry{Key: partKey(place, sum[:sumSize], n), Value: value[:size:size]})
		value = value[size:]
	}
	return puts
}

// partKey returns the key of part n of the state with a sum.
func partKey(place checkpoint.Key, sum []byte, n int) checkpoint.Key {
	b := append(append([]byte("part"), place.Hash[:]...), sum...)
	digest := sha256.Sum256(binary.AppendUvarint(b, uint64(n)))
	copy(place.Hash[:], digest[:])
	return place
}

// joinParts replaces lists of parts in found by the states that the parts make.
func joinParts(store Store, found []checkpoint.Found) error {
	var probes []checkpoint.Probe
	var lists []int // of found
	for i, f := range found {
		size, sum, ok := partsOf(f.Value)
		if !f.Known || !ok {
			continue
		}
		lists = append(lists, i)
		for n := range partsIn(size) {
			probes = append(probes, checkpoint.Probe{Key: partKey(f.Key, sum, n)})
		}
	}
	if len(lists) == 0 {
		return nil
	}
	parts := make([]checkpoint.Found, len(probes))
	if err := store.Lookup(probes, parts); err != nil {
		return fmt.Errorf("look up parts of entities: %w", err)
	}
	for _, i := range lists {
		size, sum, _ := partsOf(found[i].Value)
		whole := make([]byte, 0, size)
		for range partsIn(size) {
			whole = append(whole, parts[0].Value...)
			parts = parts[1:]
		}
		if is := sha256.Sum256(whole); bytes.Equal(is[:sumSize], sum) {
			found[i].Value = whole
		}
	}
	return nil
}

// partsIn returns how many parts a state of a size has.
func partsIn(size int) int { return (size + bound.Entity - 1) / bound.Entity }

// partsOf reads a list of parts. It returns false for any other value.
func partsOf(value []byte) (size int, sum []byte, ok bool) {
	if len(value) == 0 || value[0] != partsMark {
		return 0, nil, false
	}
	r := binform.NewReader(value[1:])
	size = int(r.Uint(maxWhole))
	sum = make([]byte, sumSize)
	r.Fill(sum)
	return size, sum, r.Done() == nil
}

// maxWhole is larger than any state: an endpoint's observation is no larger than what can be published.
const maxWhole = 1 << 30
