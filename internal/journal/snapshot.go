package journal

import (
	"bytes"
	"encoding/binary"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/checkpoint"
)

// A snapshot part is the record s/<account>/<day>/<slot>/<n>: one of the records that together say what a slot of a day holds.
//
//	section 1, head       +------+---+-------+---------+
//	                      | asOf | n | total | touched |
//	                      +------+---+-------+---------+
//	                       uvarint uvarint uvarint uvarint
//	section 2, entities   +--------+------+--------+-------+----
//	  slots of hours      | minute | hash | length | value | ...
//	                      +--------+------+--------+-------+----
//	                       uvarint   12     uvarint  length
//	                                 bytes           bytes
//	  shared slots        the same without minutes
//	  slot of dead        hashes only
//	  letters
//	  slotTouched         no section 2
//
//	asOf      the delta in whose transaction the part was written: the snapshot includes the effect of all deltas before it
//	n         the number of the part, as in the key; total is how many parts there are
//	touched   the hour in which the day was last touched
//	minute    the distance from the minute of the entity before, the first from the beginning of the slot's hour
//
// Entities are in the order of their minutes and hashes, each once.
type part struct {
	asOf     uint64
	n, total uint32
	touched  uint32
	puts     []checkpoint.Entry
	dead     []checkpoint.Hash
}

const (
	partHead     = 1
	partEntities = 2
)

// encodeSlot returns the values of the slot's parts, as the store holds the slot.
func (j *Journal) encodeSlot(day uint32, slot checkpoint.Slot, touched uint32, asOf uint64) ([][]byte, error) {
	bodies := make([][]byte, 1)
	minute := firstMinute(slot)
	add := func(m uint16, hash checkpoint.Hash, value []byte) error {
		body := &bodies[len(bodies)-1]
		if len(*body) > 0 && len(*body)+len(value)+32 > j.value {
			bodies = append(bodies, nil)
			body, minute = &bodies[len(bodies)-1], firstMinute(slot)
		}
		if slot < checkpoint.SlotShared {
			*body = binary.AppendUvarint(*body, uint64(m-minute))
			minute = m
		}
		*body = append(*body, hash[:]...)
		if slot < checkpoint.SlotDead {
			*body = binform.AppendBytes(*body, value)
		}
		return nil
	}
	if slot < slotTouched {
		if err := j.store.Scan(j.account, day, slot, add); err != nil {
			return nil, err
		}
	}
	values := make([][]byte, len(bodies))
	for n, body := range bodies {
		head := make([]byte, 0, 32)
		for _, v := range [...]uint64{asOf, uint64(n), uint64(len(bodies)), uint64(touched)} {
			head = binary.AppendUvarint(head, v)
		}
		values[n] = appendSection(appendSection(newValue(len(body)+48), partHead, head), partEntities, body)
	}
	return values, nil
}

// firstMinute returns the first minute of a slot of an hour. For other slots it means nothing.
func firstMinute(slot checkpoint.Slot) uint16 { return 60 * uint16(slot) }

// decodePart reads part n of a slot. The part refers to value.
func decodePart(value []byte, day uint32, slot checkpoint.Slot, n uint32) (p part, err error) {
	err = readValue(value, partEntities, func(tag uint64, r *reader) {
		switch tag {
		case partHead:
			p.asOf, p.n, p.total, p.touched = r.Uvarint(), r.uint32(), r.uint32(), r.uint32()
		case partEntities:
			p.entities(r, day, slot)
		}
	})
	switch {
	case err != nil:
	case p.asOf == 0, p.n != n, p.n >= p.total:
		err = malformed("part %d of %d as of delta %d cannot have the number %d", p.n, p.total, p.asOf, n)
	}
	return p, err
}

func (p *part) entities(r *reader, day uint32, slot checkpoint.Slot) {
	if slot == slotTouched {
		r.Failf("this slot holds no entities")
		return
	}
	if slot < checkpoint.SlotDead {
		p.puts = make([]checkpoint.Entry, 0, r.Len()/22)
	}
	key := checkpoint.Key{Day: day, Shared: slot >= checkpoint.SlotShared}
	last := firstMinute(slot) + 59
	if !key.Shared {
		key.Minute = firstMinute(slot)
	}
	for first := true; r.More(); first = false {
		before := key
		if !key.Shared {
			key.Minute += uint16(r.Uint(uint64(last - key.Minute)))
		}
		key.Hash = r.hash()
		switch {
		case r.Err() != nil:
			return
		case !first && key.Minute == before.Minute && bytes.Compare(key.Hash[:], before.Hash[:]) <= 0:
			r.Failf("entities are not in order")
			return
		case slot < checkpoint.SlotDead && key.Slot() != slot:
			r.Failf("an entity belongs to slot %d", key.Slot())
			return
		case slot == checkpoint.SlotDead:
			p.dead = append(p.dead, key.Hash)
			continue
		}
		p.puts = append(p.puts, checkpoint.Entry{Key: key, Value: r.Bytes()})
	}
}
