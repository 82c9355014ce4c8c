package journal

import (
	"encoding/binary"
	"hash/fnv"

	"agentassist-poller/internal/checkpoint"
)

// manifest says what belongs to an account at the end of a transaction.
type manifest struct {
	first, next uint64 // the live deltas are [first, next)
	round       uint64 // deltas before it are to be replaced by snapshots; first moves up to it
	bytes       uint64 // of the deltas from round on, as they lie in the topic
	members     tally  // of names of progress records
	slots       tally  // of snapshots: day, slot, number of parts, delta they were written with
	cluster     string // of the topic that it was written for; empty if it was not said
}

// ClusterOf returns the id of the cluster that a manifest names, empty if it names none.
func ClusterOf(value []byte) (string, error) {
	m, err := decodeManifest(value)
	return m.cluster, err
}

var emptyManifest = manifest{first: 1, next: 1, round: 1}

// tally proves a set without listing it: how many there are, and the sum of their hashes, which knows no order.
type tally struct{ count, sum uint64 }

func (t *tally) add(hash uint64)    { t.count++; t.sum += hash }
func (t *tally) remove(hash uint64) { t.count--; t.sum -= hash }

func nameHash(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

func slotHash(day uint32, slot checkpoint.Slot, s slotState) uint64 {
	var b [20]byte
	binary.BigEndian.PutUint32(b[:], day)
	binary.BigEndian.PutUint32(b[4:], uint32(slot))
	binary.BigEndian.PutUint32(b[8:], s.parts)
	binary.BigEndian.PutUint64(b[12:], s.asOf)
	h := fnv.New64a()
	h.Write(b[:])
	return h.Sum64()
}

// Sections of a manifest.
const (
	manifestDeltas  = 1
	manifestMembers = 2
	manifestSlots   = 3
	manifestCluster = 4
)

func (m *manifest) encode() []byte {
	var body [64]byte
	deltas := body[:0]
	for _, n := range [...]uint64{m.first, m.next, m.round, m.bytes} {
		deltas = binary.AppendUvarint(deltas, n)
	}
	value := appendSection(newValue(80), manifestDeltas, deltas)
	value = appendSection(value, manifestMembers, m.members.append(body[:0]))
	value = appendSection(value, manifestSlots, m.slots.append(body[:0]))
	return appendSection(value, manifestCluster, []byte(m.cluster))
}

func (t tally) append(b []byte) []byte {
	if t.count == 0 {
		return b
	}
	return binary.BigEndian.AppendUint64(binary.AppendUvarint(b, t.count), t.sum)
}

func (r *reader) tally() tally {
	t := tally{r.Uvarint(), r.Uint64()}
	if t.count == 0 {
		r.Failf("a tally of nothing")
	}
	return t
}

func decodeManifest(value []byte) (m manifest, err error) {
	err = readValue(value, manifestCluster, func(tag uint64, r *reader) {
		switch tag {
		case manifestDeltas:
			m.first, m.next, m.round, m.bytes = r.Uvarint(), r.Uvarint(), r.Uvarint(), r.Uvarint()
		case manifestMembers:
			m.members = r.tally()
		case manifestSlots:
			m.slots = r.tally()
		case manifestCluster:
			m.cluster = string(r.Rest())
		}
	})
	if err == nil && (m.first == 0 || m.first > m.round || m.round > m.next) {
		err = malformed("deltas %d, %d, %d are not in order", m.first, m.round, m.next)
	}
	return m, err
}

// A progress record has one section.
const progressRecord = 1

func encodeProgress(record []byte) []byte {
	return appendSection(newValue(len(record)), progressRecord, record)
}

// decodeProgress returns a record that is not nil.
func decodeProgress(value []byte) ([]byte, error) {
	record := []byte{}
	err := readValue(value, progressRecord, func(_ uint64, r *reader) { record = r.Rest() })
	return record, err
}
