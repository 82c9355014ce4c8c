package journal

import (
	"fmt"
	"maps"
	"slices"

	"agentassist-poller/internal/checkpoint"
)

// Replay brings a store up to date from the records of the topic. It is not safe for concurrent use.
type Replay struct {
	store    *checkpoint.Store
	wanted   func(account string) bool
	accounts map[string]*replayed
	summary  Summary

	entities, bytes       int // gathered
	maxEntities, maxBytes int // before they are written
}

// Summary counts what a replay has read.
type Summary struct {
	Accounts int
	Records  int
	Entities int   // in deltas and snapshots; the same entity can be in several
	Bytes    int64 // of keys and values
	Next     int64 // the offset after the last record
}

// IncompleteError says that the topic does not hold everything that an account's manifest names. If the replay continued from what the
// store held, the store may be older than the topic keeps tombstones: drop its accounts and replay from the start. If the replay
// began at the start, records are lost.
type IncompleteError struct {
	Account string
	Missing string
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("replay account %s from the checkpoint topic: it is incomplete: %s", e.Account, e.Missing)
}

// replayed is an account during a replay.
type replayed struct {
	*draft
	found    *manifest // the last manifest that was read
	first    uint64    // deltas [first, next) were read in order, or are in the store
	next     uint64
	missing  map[slotOfDay]uint32 // how many parts are still to come
	steps    []checkpoint.Step    // gathered, not yet in the store
	progress map[string][]byte    // likewise
	marked   bool                 // the store says that this replay has not finished
}

type slotOfDay struct {
	day  uint32
	slot checkpoint.Slot
}

// NewReplay begins a replay of the wanted accounts. It skips records of others.
func NewReplay(store *checkpoint.Store, wanted func(account string) bool) *Replay {
	return &Replay{
		store: store, wanted: wanted, accounts: make(map[string]*replayed),
		maxEntities: replayEntities, maxBytes: replayBytes,
	}
}

// Add takes the next record in the order of offsets; next is the offset after it. The store may already hold the record, provided that
// all records after it follow. The caller must not change key and value before Finish.
func (r *Replay) Add(key, value []byte, next int64) error {
	if err := r.add(key, value); err != nil {
		return fmt.Errorf("read record %.200q before offset %d of the checkpoint topic: %w", key, next, err)
	}
	r.summary.Records++
	r.summary.Bytes += int64(len(key) + len(value))
	r.summary.Next = next
	if r.entities < r.maxEntities && r.bytes < r.maxBytes {
		return nil
	}
	return r.apply(nil, false)
}

func (r *Replay) add(rawKey, value []byte) error {
	k, err := parseKey(rawKey)
	if err != nil || !r.wanted(k.account) {
		return err
	}
	a := r.accounts[k.account]
	if a == nil {
		base, err := load(r.store, k.account)
		if err != nil {
			return err
		}
		a = &replayed{
			draft: base.draft(), first: base.manifest.first, next: base.manifest.next,
			missing: make(map[slotOfDay]uint32), progress: make(map[string][]byte),
		}
		r.accounts[k.account] = a
	}
	r.bytes += len(rawKey) + len(value)
	steps := len(a.steps)
	switch k.kind {
	case KindManifest:
		err = a.addManifest(value)
	case KindProgress:
		err = a.addProgress(k.name, value)
	case KindDelta:
		err = a.addDelta(k.seq, value)
	case KindSnapshot:
		err = a.addPart(k, Record{rawKey, value})
	default:
		if value != nil {
			err = readValue(value, 0, nil) // a later version wrote it, and says whether this version may skip it
		}
		if err == nil && value != nil && value[0] <= version {
			err = malformed("version %d writes no such keys", value[0])
		}
	}
	for _, step := range a.steps[steps:] {
		r.entities += len(step.Puts) + len(step.Dead)
		r.summary.Entities += len(step.Puts) + len(step.Dead)
	}
	return err
}

func (a *replayed) addManifest(value []byte) error {
	if a.found = nil; value == nil {
		return nil
	}
	m, err := decodeManifest(value)
	a.found = &m
	return err
}

func (a *replayed) addProgress(name string, value []byte) (err error) {
	var record []byte
	if value != nil {
		if record, err = decodeProgress(value); err != nil {
			return err
		}
	}
	a.setName(name, record != nil)
	a.progress[name] = record
	return nil
}

func (a *replayed) addDelta(seq uint64, value []byte) error {
	if value == nil {
		return nil // snapshots hold what it changed
	}
	changes, err := decodeDelta(value)
	if err != nil {
		return err
	}
	switch {
	case seq == a.next:
		a.next++
	case seq < a.first || seq > a.next:
		a.first, a.next = seq, seq+1
	}
	for _, day := range changes.forget {
		a.steps = append(a.steps, checkpoint.Step{Day: day, Forget: checkpoint.ForgetDay})
		for slot := range checkpoint.Slot(slots) {
			delete(a.missing, slotOfDay{day, slot})
		}
	}
	a.note(seq, &changes)
	a.steps = append(a.steps, changes.steps()...)
	return nil
}

// steps returns what the delta changed, by day.
func (d *delta) steps() []checkpoint.Step {
	var steps []checkpoint.Step
	at := make(map[uint32]int)
	of := func(day uint32) *checkpoint.Step {
		i, ok := at[day]
		if !ok {
			i = len(steps)
			at[day] = i
			steps = append(steps, checkpoint.Step{Day: day, Touched: d.hour})
		}
		return &steps[i]
	}
	for _, put := range d.puts {
		step := of(put.Key.Day)
		step.Puts = append(step.Puts, put)
	}
	for _, dead := range d.dead {
		step := of(dead.Day)
		step.Dead = append(step.Dead, dead.Hash)
	}
	for _, day := range d.touched {
		of(day)
	}
	return steps
}

func (a *replayed) addPart(k key, record Record) error {
	if record.Value == nil {
		a.deletePart(k)
		return nil
	}
	p, err := decodePart(record.Value, k.day, k.slot, k.n)
	if err != nil {
		return err
	}
	id := slotOfDay{k.day, k.slot}
	size := uint32(record.size())
	known := slotState{}
	if day := a.day(k.day); day != nil {
		known = day.slots[k.slot]
	}
	switch {
	case p.asOf > known.asOf:
		a.wrote(k.day, k.slot, slotState{asOf: p.asOf, parts: p.total, bytes: size})
		a.missing[id] = p.total - 1
	case p.asOf == known.asOf && p.total != known.parts:
		return malformed("another part of the slot says that there are %d, not %d", known.parts, p.total)
	case p.asOf == known.asOf && a.missing[id] > 0: // otherwise the store holds it already
		a.edit(k.day).slots[k.slot].bytes += size
		a.missing[id]--
	}
	if day := a.edit(k.day); day.touched < p.touched {
		day.touched = p.touched
	}
	a.steps = append(a.steps, checkpoint.Step{Day: k.day, Puts: p.puts, Dead: p.dead, Touched: p.touched})
	return nil
}

// deletePart deletes the slot if the part is its first: only the slots of a forgotten day lose it. Others lose parts at the end, because
// they have become shorter.
func (a *replayed) deletePart(k key) {
	if k.n > 0 {
		return
	}
	delete(a.missing, slotOfDay{k.day, k.slot})
	if k.slot < slotTouched {
		a.steps = append(a.steps, checkpoint.Step{Day: k.day, Forget: checkpoint.ForgetSlot, Slot: k.slot})
	}
	if a.day(k.day) == nil {
		return
	}
	day := a.edit(k.day)
	a.untally(k.day, k.slot, day.slots[k.slot])
	day.slots[k.slot] = slotState{}
	for _, s := range day.slots[:slotTouched] {
		if s != (slotState{}) {
			return
		}
	}
	a.forget(k.day)
}

// Finish checks every account against its manifest, and then writes the rest to the store, together with the identity records. After an
// *IncompleteError the store must not be used for the account.
func (r *Replay) Finish(identity map[string][]byte) (Summary, error) {
	r.summary.Accounts = len(r.accounts)
	for _, account := range slices.Sorted(maps.Keys(r.accounts)) {
		if missing := r.accounts[account].check(); missing != "" {
			return r.summary, &IncompleteError{account, missing}
		}
	}
	return r.summary, r.apply(identity, true)
}

// check returns what is missing, or "" after it has made the last manifest the account's.
func (a *replayed) check() string {
	m := a.found
	switch {
	case m == nil:
		return "there is no manifest"
	case a.base.manifest.next > m.next:
		return fmt.Sprintf("it ends before delta %d, and the store is at delta %d", m.next, a.base.manifest.next)
	case m.first < m.next && a.first > m.first:
		return fmt.Sprintf("delta %d of [%d, %d) is missing", a.first-1, m.first, m.next)
	case m.first < m.next && a.next < m.next:
		return fmt.Sprintf("delta %d of [%d, %d) is missing", a.next, m.first, m.next)
	case a.next > m.next:
		return fmt.Sprintf("the manifest that goes with delta %d is missing", a.next-1)
	}
	for id, parts := range a.missing {
		if parts > 0 {
			return fmt.Sprintf("%d of %d snapshot parts of day %d, slot %d are missing", parts, a.day(id.day).slots[id.slot].parts, id.day, id.slot)
		}
	}
	if have, want := a.manifest.slots, m.slots; have != want {
		return fmt.Sprintf("there are snapshots of %d slots (sum %016x), not of %d (sum %016x)", have.count, have.sum, want.count, want.sum)
	}
	if have, want := a.manifest.members, m.members; have != want {
		return fmt.Sprintf("there are %d progress records (sum %016x), not %d (sum %016x)", have.count, have.sum, want.count, want.sum)
	}
	a.manifest = *m
	for _, day := range slices.Collect(maps.Keys(a.base.days)) {
		a.catchUp(day)
	}
	for day := range a.days {
		a.catchUp(day)
	}
	return ""
}

// catchUp corrects the slots of a day that name a delta which is gone. A delta that forgot such a day, and is gone as well, is the reason.
func (a *replayed) catchUp(day uint32) {
	state := a.day(day)
	if state == nil {
		return
	}
	for slot := range state.slots {
		if since := state.slots[slot].since; since != 0 && since < a.manifest.first {
			a.edit(day).slots[slot].since = a.manifest.first
		}
	}
}

// apply writes to the store what was gathered. All calls but the last mark the accounts as unfinished.
func (r *Replay) apply(identity map[string][]byte, last bool) error {
	var batch []checkpoint.Recorded
	for account, a := range r.accounts {
		if last {
			a.local(a.progress)
			a.progress[localReplaying] = nil
		} else if len(a.steps)+len(a.progress) == 0 {
			continue
		} else if !a.marked {
			a.marked = true
			a.progress[localReplaying] = []byte{}
		}
		batch = append(batch, checkpoint.Recorded{Account: account, Steps: a.steps, Progress: a.progress})
	}
	if err := r.store.Apply(batch, identity); err != nil {
		return err
	}
	for _, a := range r.accounts {
		clear(a.steps)
		a.steps = a.steps[:0]
		clear(a.progress)
	}
	r.entities, r.bytes = 0, 0
	return nil
}
