package journal

import (
	"maps"
	"slices"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/faultpoint"
)

// limits say when a compaction begins, and how much goes into a record and into a transaction.
type limits struct {
	value      int    // bytes of a record's value, unless a single entity is larger
	compact    uint64 // bytes of deltas; a compaction does not begin with fewer
	deltas     uint64 // a compaction begins with more, however small they are
	snapshots  uint64 // bytes of snapshots in a transaction; the slot that reaches this limit is the last
	tombstones int    // of deltas in a transaction
}

var defaultLimits = limits{
	value:      bound.CheckpointValue,
	compact:    64 << 10,
	deltas:     4096,
	snapshots:  1 << 20,
	tombstones: 512,
}

// A replay writes to the store once it has gathered so many entities or bytes.
var replayEntities, replayBytes = 50_000, 8 << 20

// compactionDue reports whether a compaction should begin: when the deltas since the last one are half as large as the snapshots
// that it would write. In the long run every byte is then written three times, and the deltas add at most half to the topic.
func (d *draft) compactionDue(l *limits) bool {
	m := &d.manifest
	switch {
	case m.first < m.compactTo, m.compactTo == m.next: // a compaction is under way, or there is nothing to replace
		return false
	case m.next-m.compactTo > l.deltas:
		return true
	default:
		return m.bytes > l.compact && m.bytes > d.base.changedBytes()/2
	}
}

// changedBytes returns the size of the snapshots of the slots that live deltas have changed.
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

// compact continues the compaction that is under way, if any. It writes complete slots as the store holds them, that is, without the
// batch that is being appended. Once all slots are written, it deletes the deltas that they replace.
func (j *Journal) compact(d *draft) (records []Record, err error) {
	if d.manifest.first == d.manifest.compactTo {
		return nil, nil
	}
	written := uint64(0)
	for _, day := range slices.Sorted(maps.Keys(j.state.days)) {
		for slot := range checkpoint.Slot(slots) {
			if since := d.day(day).slots[slot].since; since == 0 || since >= d.manifest.compactTo {
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

// snapshot returns the records of a slot as the store holds it, and tombstones of the parts that it no longer needs.
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

// deleteDeltas returns tombstones of deltas that snapshots have replaced.
func (j *Journal) deleteDeltas(d *draft) (records []Record) {
	for ; d.manifest.first < d.manifest.compactTo && len(records) < j.limits.tombstones; d.manifest.first++ {
		records = append(records, Record{Key: deltaKey(j.account, d.manifest.first)})
	}
	return records
}
