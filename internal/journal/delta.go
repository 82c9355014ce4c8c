package journal

import (
	"encoding/binary"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/checkpoint"
)

// A delta is the record d/<account>/<seq>. It says what one batch changed, or a part of that, if one record cannot hold it.
//
//	section 1, hour       +------+
//	                      | hour |                                    in which the batch was read
//	                      +------+
//	                       uvarint
//	section 2, forget     +-----+----
//	                      | day | ...                                 days that are forgotten, before the rest applies
//	                      +-----+----
//	                       varint
//	section 3, puts       +-----+--------+------+--------+-------+----
//	                      | day | minute | hash | length | value | ...   entities that are new or changed
//	                      +-----+--------+------+--------+-------+----
//	                       varint uvarint  12     uvarint  length
//	                                       bytes           bytes
//	section 4, touched    as section 2: days of which unchanged entities were observed
//	section 5, dead       +-----+------+----
//	                      | day | hash | ...                          dead letters
//	                      +-----+------+----
//	                       varint  12 bytes
//
// minute is the minute of the day plus 1, or 0 if the entity is shared and has none. Each day is the distance from the day before
// it in its section. Section 1 is always there.
type delta struct {
	hour    uint32
	puts    []checkpoint.Entry
	touched []uint32
	dead    []checkpoint.DeadLetter
	forget  []uint32
}

const (
	deltaHour    = 1
	deltaForget  = 2
	deltaPuts    = 3
	deltaTouched = 4
	deltaDead    = 5
)

// encode returns a value with as many of the puts as fit size bytes, at least one, and with everything else of the delta. It returns
// the other puts.
func (d *delta) encode(size int) (value []byte, rest []checkpoint.Entry) {
	body := make([]byte, 0, min(len(d.puts)*48, size))
	before, taken := uint32(0), 0
	for ; taken < len(d.puts) && (taken == 0 || len(body)+len(d.puts[taken].Value)+32 <= size); taken++ {
		key := d.puts[taken].Key
		body = appendDay(body, before, key.Day)
		before = key.Day
		minute := uint64(0) // of shared entities
		if !key.Shared {
			minute = uint64(key.Minute) + 1
		}
		body = binary.AppendUvarint(body, minute)
		body = append(body, key.Hash[:]...)
		body = binform.AppendBytes(body, d.puts[taken].Value)
	}
	value = appendSection(newValue(len(body)+64), deltaHour, binary.AppendUvarint(nil, uint64(d.hour)))
	value = appendSection(value, deltaForget, appendDays(nil, d.forget))
	value = appendSection(value, deltaPuts, body)
	value = appendSection(value, deltaTouched, appendDays(nil, d.touched))
	body, before = body[:0], 0
	for _, dead := range d.dead {
		body = append(appendDay(body, before, dead.Day), dead.Hash[:]...)
		before = dead.Day
	}
	return appendSection(value, deltaDead, body), d.puts[taken:]
}

func appendDays(b []byte, days []uint32) []byte {
	before := uint32(0)
	for _, day := range days {
		b = appendDay(b, before, day)
		before = day
	}
	return b
}

func (r *reader) days() (days []uint32) {
	for before := uint32(0); r.More(); {
		before = r.day(before)
		days = append(days, before)
	}
	return days
}

// decodeDelta reads what encode wrote. The delta refers to value. No entity of a delta takes less than 15 bytes, so that the size of
// value bounds the memory.
func decodeDelta(value []byte) (d delta, err error) {
	there := false
	err = readValue(value, deltaDead, func(tag uint64, r *reader) {
		switch tag {
		case deltaHour:
			d.hour, there = r.uint32(), true
		case deltaForget:
			d.forget = r.days()
		case deltaPuts:
			d.puts = make([]checkpoint.Entry, 0, r.Len()/26) // that is a common size
			for before := uint32(0); r.More(); {
				key := checkpoint.Key{Day: r.day(before)}
				before = key.Day
				minute := r.Uint(minutesPerDay)
				key.Shared, key.Minute = minute == 0, uint16(max(minute, 1)-1)
				key.Hash = r.hash()
				d.puts = append(d.puts, checkpoint.Entry{Key: key, Value: r.Bytes()})
			}
		case deltaTouched:
			d.touched = r.days()
		case deltaDead:
			for before := uint32(0); r.More(); {
				before = r.day(before)
				d.dead = append(d.dead, checkpoint.DeadLetter{Day: before, Hash: r.hash()})
			}
		}
	})
	if err == nil && !there {
		err = malformed("it has no hour")
	}
	return d, err
}

const minutesPerDay = 24 * 60
