package journal

import (
	"encoding/binary"
	"hash/fnv"

	"agentassist-poller/internal/checkpoint"
)

// A manifest is the record m/<account>, the last of every transaction. It says what belongs to the account at the end of the
// transaction.
//
//	section 1, deltas     +-------+------+-----------+-------+
//	                      | first | next | compactTo | bytes |
//	                      +-------+------+-----------+-------+
//	                       uvarint uvarint  uvarint   uvarint
//	section 2, members    +-------+-----+
//	                      | count | sum |      the names of the progress records
//	                      +-------+-----+
//	                       uvarint  8 bytes
//	section 3, slots      as section 2: the snapshots
//	section 4, cluster    +----+
//	                      | id |               text to the end of the section; since version 2
//	                      +----+
//
// Section 1 is always there, with 1 <= first <= compactTo <= next. The others are left out if there is nothing to count or to name.
type manifest struct {
	first, next uint64 // the live deltas are [first, next)
	compactTo   uint64 // deltas before it are being replaced by snapshots; first moves up to it
	bytes       uint64 // of the deltas from compactTo on, as they lie in the topic
	members     tally
	slots       tally
	cluster     string // id of the Kafka cluster that the account is written for
}

// ClusterOf returns the id of the Kafka cluster that a manifest names. It is empty if the manifest names none.
func ClusterOf(value []byte) (string, error) {
	m, err := decodeManifest(value)
	return m.cluster, err
}

var emptyManifest = manifest{first: 1, next: 1, compactTo: 1}

// A tally identifies a set without listing it: by the number of its elements and by the sum of their hashes (64-bit FNV-1a), modulo
// 2^64, which does not depend on an order.
type tally struct{ count, sum uint64 }

func (t *tally) add(hash uint64)    { t.count++; t.sum += hash }
func (t *tally) remove(hash uint64) { t.count--; t.sum -= hash }

// nameHash returns the hash of an element of members: the name of a progress record.
func nameHash(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// slotHash returns the hash of an element of slots: 20 bytes, big-endian.
//
//	+-----+------+-------+------+
//	| day | slot | parts | asOf |
//	+-----+------+-------+------+
//	   4      4      4       8    bytes
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

const (
	manifestDeltas  = 1
	manifestMembers = 2
	manifestSlots   = 3
	manifestCluster = 4
)

func (m *manifest) encode() []byte {
	var body [64]byte
	deltas := body[:0]
	for _, n := range [...]uint64{m.first, m.next, m.compactTo, m.bytes} {
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
		r.Failf("a tally counts nothing")
	}
	return t
}

func decodeManifest(value []byte) (m manifest, err error) {
	err = readValue(value, manifestCluster, func(tag uint64, r *reader) {
		switch tag {
		case manifestDeltas:
			m.first, m.next, m.compactTo, m.bytes = r.Uvarint(), r.Uvarint(), r.Uvarint(), r.Uvarint()
		case manifestMembers:
			m.members = r.tally()
		case manifestSlots:
			m.slots = r.tally()
		case manifestCluster:
			m.cluster = string(r.Rest())
		}
	})
	if err == nil && (m.first == 0 || m.first > m.compactTo || m.compactTo > m.next) {
		err = malformed("first delta %d, delta to compact to %d and next delta %d are not in order", m.first, m.compactTo, m.next)
	}
	return m, err
}

// A progress record is the record p/<account>/<name>. Its only section, with the tag 1, is the record as the store holds it; it is left
// out if the record is empty.
const progressRecord = 1

func encodeProgress(record []byte) []byte {
	return appendSection(newValue(len(record)), progressRecord, record)
}

// decodeProgress reads what encodeProgress wrote. The record is never nil.
func decodeProgress(value []byte) ([]byte, error) {
	record := []byte{}
	err := readValue(value, progressRecord, func(_ uint64, r *reader) { record = r.Rest() })
	return record, err
}
