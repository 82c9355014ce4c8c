package journal

import (
	"maps"
	"slices"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/faultpoint"
)

// limits say when rounds begin, and how much goes into a record and a transaction.
type limits struct {
	value      int    // bytes of a record's value, unless a single entity is larger
	round      uint64 // bytes of deltas; less is not worth a round
	deltas     uint64 // more are not waited for, however small
	snapshots  uint64 // bytes of snapshots in a transaction; the slot that reaches them is the last
	tombstones int    // for deltas in a transaction
}

var defaultLimits = limits{
	value:      512 << 10, // half of what brokers take by default
	round:      64 << 10,
	deltas:     4096,
	snapshots:  1 << 20,
	tombstones: 512,
}

// What a replay gathers before it writes.
var replayEntities, replayBytes = 50_000, 8 << 20

// roundDue tells whether the deltas since the last round are worth another: when they are half as large as what it would
// write, so that a byte is written three times in the long run and the deltas add at most half to the topic.
func (d *draft) roundDue(l *limits) bool {
	m := &d.manifest
	switch {
	case m.first < m.round, m.round == m.next: // a round is under way, or there is nothing to replace
		return false
	case m.next-m.round > l.deltas:
		return true
	default:
		return m.bytes > l.round && m.bytes > d.base.changedBytes()/2
	}
}

// changedBytes is the size of the snapshots that deltas have changed.
func (s *state) changedBytes() (sum uint64) {
	for _, day := range s.days {
		for slot := range day.slots {
			if day.slots[slot].since != 0 {
				sum += uint64(day.slots[slot].bytes)
			}
		}
	}
	return sum
}

// snapshots goes on with the round that is under way, if any: whole slots as the store holds them, which is without the
// batch that is being appended. Once all are written, the deltas before the round are deleted.
func (j *Journal) goOn(d *draft) (records []Record, err error) {
	if d.manifest.first == d.manifest.round {
		return nil, nil
	}
	written := uint64(0)
	for _, day := range slices.Sorted(maps.Keys(j.state.days)) {
		for slot := range checkpoint.Slot(slots) {
			if since := d.day(day).slots[slot].since; since == 0 || since >= d.manifest.round {
				continue
			}
			if written >= j.limits.snapshots {
				return records, nil
			}
			parts, err := j.snapshot(d, day, slot)
			if err != nil {
				return nil, err
			}
			for _, part := range parts {
				written += part.size()
			}
			records = append(records, parts...)
		}
	}
	return append(records, j.deleteDeltas(d)...), nil
}

func (j *Journal) snapshot(d *draft, day uint32, slot checkpoint.Slot) ([]Record, error) {
	before := *d.day(day)
	now := slotState{asOf: d.manifest.next}
	values, err := j.encodeSlot(day, slot, before.touched, now.asOf)
	if err != nil {
		return nil, err
	}
	faultpoint.Near(faultpoint.Snapshot)
	var records []Record
	for n, value := range values {
		record := Record{partKey(j.account, day, slot, uint32(n)), value}
		now.parts++
		now.bytes += uint32(record.size())
		records = append(records, record)
	}
	for n := now.parts; n < before.slots[slot].parts; n++ {
		records = append(records, Record{Key: partKey(j.account, day, slot, n)})
	}
	d.wrote(day, slot, now)
	return records, nil
}

func (j *Journal) deleteDeltas(d *draft) (records []Record) {
	for ; d.manifest.first < d.manifest.round && len(records) < j.limits.tombstones; d.manifest.first++ {
		records = append(records, Record{Key: deltaKey(j.account, d.manifest.first)})
	}
	return records
}
