package journal

import (
	"encoding/binary"
	"fmt"
	"maps"
	"strings"

	"agentassist-poller/internal/checkpoint"
)

// state is what the journal of an account knows about the topic: enough to tell which deltas snapshots have replaced. It depends on
// the records alone, so that a replay arrives at the same state.
type state struct {
	exists   bool
	manifest manifest
	days     map[uint32]*dayState
	names    map[string]bool // of progress records
}

// dayState is the state of a day. The store holds it under the name ~day/<day>.
//
//	section 1, touched    +------+
//	                      | hour |                                in which the day was last touched
//	                      +------+
//	                       uvarint
//	section 2, slots      +------+-------+------+-------+-------+----
//	                      | slot | since | asOf | parts | bytes | ...
//	                      +------+-------+------+-------+-------+----
//	                        byte  uvarint uvarint uvarint uvarint
//
// Section 1 is always there. Slots ascend; those with zeros only are left out.
type dayState struct {
	touched uint32
	slots   [slots]slotState
}

type slotState struct {
	since uint64 // the first live delta that has changed the slot since its last snapshot; 0 if none has
	asOf  uint64 // the delta in whose transaction the last snapshot was written; 0 if there is no snapshot
	parts uint32 // of the last snapshot
	bytes uint32 // of these parts, as they lie in the topic
}

// load reads the state from the store. If the store holds the account without a journal, the state is as if a delta 1 had brought
// everything and were gone from the topic: the first compaction replaces it.
func load(store *checkpoint.Store, account string) (*state, error) {
	records, err := store.AllProgress(account)
	if err != nil {
		return nil, err
	}
	s := &state{manifest: emptyManifest, days: make(map[uint32]*dayState), names: make(map[string]bool)}
	for name, record := range records {
		switch {
		case name == localManifest:
			s.exists = true
			s.manifest, err = decodeManifest(record)
		case name == localReplaying:
			continue
		case strings.HasPrefix(name, localDay):
			var day uint32
			if day, err = parseLocalDay(name); err == nil {
				s.days[day], err = decodeDay(record)
			}
		case !isLocal(name):
			s.names[name] = true
		}
		if err != nil {
			return nil, fmt.Errorf("read record %q of account %s in the checkpoint: %w", name, account, err)
		}
	}
	if !s.exists && records[localReplaying] == nil {
		err = s.adopt(store, account)
	}
	s.tally()
	return s, err
}

// tally counts the names and snapshots of the state. If a replay has not finished they can be more than the manifest says.
func (s *state) tally() {
	s.manifest.members, s.manifest.slots = tally{}, tally{}
	for name := range s.names {
		s.manifest.members.add(nameHash(name))
	}
	for day, state := range s.days {
		for slot, written := range state.slots {
			if written.asOf != 0 {
				s.manifest.slots.add(slotHash(day, checkpoint.Slot(slot), written))
			}
		}
	}
}

// adopt makes the state of an account that has no journal.
func (s *state) adopt(store *checkpoint.Store, account string) error {
	infos, err := store.Days(account)
	if err != nil || len(infos) == 0 {
		return err
	}
	for _, info := range infos {
		day := &dayState{touched: info.Touched}
		day.slots[slotTouched].since = 1
		for slot := range checkpoint.Slot(slotTouched) {
			err := store.Scan(account, info.Day, slot, func(uint16, checkpoint.Hash, []byte) error {
				day.slots[slot].since = 1
				return checkpoint.ErrStop
			})
			if err != nil {
				return err
			}
		}
		s.days[info.Day] = day
	}
	s.manifest = manifest{first: 1, next: 2, compactTo: 2}
	return nil
}

// draft is a state with changes that are not committed yet.
type draft struct {
	base     *state
	manifest manifest
	days     map[uint32]*dayState // the days that changed; nil for a day that is forgotten
	names    map[string]bool      // the names that were added (true) or removed
}

func (s *state) draft() *draft {
	return &draft{base: s, manifest: s.manifest, days: make(map[uint32]*dayState), names: make(map[string]bool)}
}

// accept makes the changes part of the state.
func (d *draft) accept() {
	d.base.exists, d.base.manifest = true, d.manifest
	for day, state := range d.days {
		if state == nil {
			delete(d.base.days, day)
		} else {
			d.base.days[day] = state
		}
	}
	maps.Copy(d.base.names, d.names)
	maps.DeleteFunc(d.base.names, func(_ string, there bool) bool { return !there })
}

// day returns the state of a day, not to be changed. It is nil if the day is not known.
func (d *draft) day(day uint32) *dayState {
	if changed, ok := d.days[day]; ok {
		return changed
	}
	return d.base.days[day]
}

// edit returns the draft's own copy of the state of a day, to be changed.
func (d *draft) edit(day uint32) *dayState {
	if changed := d.days[day]; changed != nil {
		return changed
	}
	state := new(dayState)
	if before, ok := d.base.days[day]; ok && !d.forgotten(day) {
		*state = *before
	}
	d.days[day] = state
	return state
}

func (d *draft) forgotten(day uint32) bool {
	state, ok := d.days[day]
	return ok && state == nil
}

func (d *draft) setName(name string, there bool) {
	before, ok := d.names[name]
	if !ok {
		before = d.base.names[name]
	}
	switch {
	case before == there:
		return
	case there:
		d.manifest.members.add(nameHash(name))
	default:
		d.manifest.members.remove(nameHash(name))
	}
	d.names[name] = there
}

// changed records that a delta changed the slot.
func (d *draft) changed(day uint32, slot checkpoint.Slot, seq uint64) {
	if state := d.day(day); state != nil && state.slots[slot].since != 0 {
		return
	}
	d.edit(day).slots[slot].since = seq
}

// touched records that a delta touched the day in that hour.
func (d *draft) touched(day, hour uint32, seq uint64) {
	if state := d.day(day); state != nil && state.touched >= hour {
		return
	}
	d.edit(day).touched = hour
	d.changed(day, slotTouched, seq)
}

// wrote records that the slot has a new snapshot. A snapshot of any slot says when the day was last touched.
func (d *draft) wrote(day uint32, slot checkpoint.Slot, written slotState) {
	state := d.edit(day)
	d.untally(day, slot, state.slots[slot])
	state.slots[slot] = written
	state.slots[slotTouched].since = 0
	d.manifest.slots.add(slotHash(day, slot, written))
}

func (d *draft) untally(day uint32, slot checkpoint.Slot, s slotState) {
	if s.asOf != 0 {
		d.manifest.slots.remove(slotHash(day, slot, s))
	}
}

func (d *draft) forget(day uint32) {
	if state := d.day(day); state != nil {
		for slot := range state.slots {
			d.untally(day, checkpoint.Slot(slot), state.slots[slot])
		}
		d.days[day] = nil
	}
}

// note records what a delta changed.
func (d *draft) note(seq uint64, changes *delta) {
	for _, day := range changes.forget {
		d.forget(day)
	}
	for i := range changes.puts {
		key := &changes.puts[i].Key
		d.touched(key.Day, changes.hour, seq)
		d.changed(key.Day, key.Slot(), seq)
	}
	for _, dead := range changes.dead {
		d.touched(dead.Day, changes.hour, seq)
		d.changed(dead.Day, checkpoint.SlotDead, seq)
	}
	for _, day := range changes.touched {
		if d.day(day) != nil {
			d.touched(day, changes.hour, seq)
		}
	}
}

// local adds to progress the journal's own records of what the draft changed.
func (d *draft) local(progress map[string][]byte) {
	progress[localManifest] = d.manifest.encode()
	for day, state := range d.days {
		if state == nil {
			progress[localDayName(day)] = nil
		} else {
			progress[localDayName(day)] = state.encode()
		}
	}
}

const (
	dayTouched = 1
	daySlots   = 2
)

func (s *dayState) encode() []byte {
	body := make([]byte, 0, 256)
	for slot, state := range s.slots {
		if state == (slotState{}) {
			continue
		}
		body = append(body, byte(slot))
		for _, n := range [...]uint64{state.since, state.asOf, uint64(state.parts), uint64(state.bytes)} {
			body = binary.AppendUvarint(body, n)
		}
	}
	value := appendSection(newValue(len(body)+16), dayTouched, binary.AppendUvarint(nil, uint64(s.touched)))
	return appendSection(value, daySlots, body)
}

func decodeDay(value []byte) (*dayState, error) {
	s, there := new(dayState), false
	err := readValue(value, daySlots, func(tag uint64, r *reader) {
		switch tag {
		case dayTouched:
			s.touched, there = r.uint32(), true
		case daySlots:
			for next := uint64(0); r.More(); {
				slot := r.Uint(slots - 1)
				state := slotState{r.Uvarint(), r.Uvarint(), r.uint32(), r.uint32()}
				if slot < next || state == (slotState{}) || (state.asOf == 0) != (state.parts == 0) {
					r.Failf("slot %d is out of order or contradicts itself", slot)
					return
				}
				next = slot + 1
				s.slots[slot] = state
			}
		}
	})
	if err == nil && !there {
		err = malformed("it has no hour")
	}
	return s, err
}
