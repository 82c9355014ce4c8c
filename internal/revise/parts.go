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

// What is stored of an entity is small, unless endpoints say much of it: then it is stored in parts, each an entry of its own, so that
// no record of the checkpoint is larger than brokers take. Nothing is left out, and what endpoints say together is the same as if it
// were stored whole. The one thing that is not kept is an observation that is too large to be published by itself: its hash says
// whether it has changed, and the entity is what the other endpoint says of it.
//
// In the place of the entity lies a list: partsMark, the length of the whole, and the beginning of its SHA-256. The parts lie beside it,
// under hashes that follow from the entity's and from theirs: parts of what was stored before, which may still be there, are never
// taken for those of the present.

// partsMark is the first byte of a list of parts. No version of a state begins with it.
const partsMark = 0xff

// sumSize is how much of the SHA-256 is kept.
const sumSize = 16

// appendEntries appends what is stored of an entity whose state was encoded as value.
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

// partKey returns where part n of the whole with a sum is stored.
func partKey(place checkpoint.Key, sum []byte, n int) checkpoint.Key {
	b := append(append([]byte("part"), place.Hash[:]...), sum...)
	digest := sha256.Sum256(binary.AppendUvarint(b, uint64(n)))
	copy(place.Hash[:], digest[:])
	return place
}

// joinParts replaces lists of parts among what was found by what the parts hold. What cannot be put together is left as it is, which no
// state is.
func joinParts(store Store, found []checkpoint.Found) error {
	var probes []checkpoint.Probe
	var lists []int // of found
	for i, f := range found {
		size, sum, ok := partsOf(f.Value)
		if !f.Known || !ok {
			continue
		}
		lists = append(lists, i)
		for n := range (size + bound.Entity - 1) / bound.Entity {
			probes = append(probes, checkpoint.Probe{Key: partKey(f.Key, sum, n)})
		}
	}
	if len(lists) == 0 {
		return nil
	}
	parts := make([]checkpoint.Found, len(probes))
	if err := store.Lookup(probes, parts); err != nil {
		return fmt.Errorf("look up the parts of an entity: %w", err)
	}
	for _, i := range lists {
		size, sum, _ := partsOf(found[i].Value)
		whole := make([]byte, 0, size)
		for range (size + bound.Entity - 1) / bound.Entity {
			whole = append(whole, parts[0].Value...)
			parts = parts[1:]
		}
		if is := sha256.Sum256(whole); bytes.Equal(is[:sumSize], sum) {
			found[i].Value = whole
		}
	}
	return nil
}

// partsOf reads a list of parts. It is false for anything else.
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

// maxWhole is more than what endpoints can say of an entity: each of them no more than can be published.
const maxWhole = 1 << 30
