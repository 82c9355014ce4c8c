// Package journal makes the records of the checkpoint topic, and makes stores from them. The topic holds everything that the store
// holds about an account. A batch's records travel in the transaction that delivers the batch, so that any instance can take an
// account over and a lost disk loses nothing. The package knows no Kafka: it makes records for a compacted topic, and brings a
// store up to date from such records.
//
// The records of an account, with keys in text (see key.go):
//
//	key                            value                                                  drawn in
//	m/<account>                    manifest: what belongs to the account, in total        manifest.go
//	p/<account>/<name>             progress: one record of the account's progress         manifest.go
//	d/<account>/<seq>              delta: what one batch changed                          delta.go
//	s/<account>/<day>/<slot>/<n>   snapshot: part n of what a slot of a day holds         snapshot.go
//
// All values have the same outer form (see format.go): the version that wrote the value, the oldest version that can read it, and
// sections with tags. A reader skips the sections and the kinds of records that only a later version knows, unless the value says
// that its version is too old. It refuses everything else that is not exactly as drawn.
//
// A slot is one of package checkpoint, or slotTouched, which holds no entities but only when the day was last touched. The parts of
// a slot are written together, in one transaction, and before the delta of that transaction. Therefore the records, applied in the
// order of their offsets, make the store, and so does what Kafka's log cleaner leaves of them: the last record of each key.
//
// The topic stays near the size of the data that is alive. Once the deltas since the last compaction are half as large as the slots
// that they changed, the next compaction begins: it writes these slots again, a few with each transaction, and then deletes the
// deltas that it replaces.
//
//	deltas   first          compactTo            next
//	         |              |                    |
//	---------+--------------+--------------------+-------> seq
//	 deleted | live, being  | live               | not written yet
//	         | replaced     |                    |
//
// Nothing is taken on trust. The manifest says which deltas, how many progress records and which snapshots there must be, every
// part says how many parts there are, and Replay.Finish refuses an account that is not complete.
package journal

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"agentassist-poller/internal/checkpoint"
)

// Record is a record of the checkpoint topic. A nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// Journal makes the records of one account. It is not safe for concurrent use.
type Journal struct {
	store   *checkpoint.Store
	account string
	limits  limits
	state   *state
	pending *draft
	rewrite uint64 // every delta before this one is to be replaced by snapshots, however small they are
	value   int    // bytes that the value of a record may have, in the transaction of pending
}

// New returns the journal of the account as the store holds it. A replay must have brought the store up to date. If the store
// holds entities of the account but no journal, because the account was read without one, the first calls of Append write them to
// the topic little by little.
//
// The journal keeps records of its own among the account's progress records, under names that begin with "~". They never travel.
func New(store *checkpoint.Store, account string) (*Journal, error) {
	if account == "" || strings.Contains(account, "/") {
		return nil, fmt.Errorf("open journal: account %q cannot be part of a key: it is empty or contains a slash", account)
	}
	unfinished, err := store.Progress(account, localReplaying)
	if err != nil {
		return nil, err
	}
	if unfinished != nil {
		return nil, fmt.Errorf("open journal of account %s: its last replay did not finish; replay it again", account)
	}
	state, err := load(store, account)
	if err != nil {
		return nil, err
	}
	return &Journal{store: store, account: account, limits: defaultLimits, state: state}, nil
}

// Exists reports whether the account has a manifest.
func (j *Journal) Exists() bool { return j.state.exists }

// Cluster returns the id of the Kafka cluster that the account's records were written for. It is empty if no manifest has named one.
func (j *Journal) Cluster() string { return j.state.manifest.cluster }

// SetCluster sets the id of the cluster that the manifest names from the next transaction on.
func (j *Journal) SetCluster(id string) { j.state.manifest.cluster = id }

// Append returns the records that the transaction for c must contain, in order, and adds the journal's own records to c.Progress,
// which the caller commits to the store with c. The store must hold everything that was committed before. Only the last call of
// Append or Expire before Committed counts: after an aborted transaction the caller simply calls it again.
//
// No record has more than most bytes, key and value, except for two kinds that cannot be divided: progress, and what is stored of one
// entity.
func (j *Journal) Append(c *checkpoint.Changes, most int) ([]Record, error) {
	d, err := j.begin(c, most)
	if err != nil {
		return nil, err
	}
	if d.compactionDue(&j.limits) || d.manifest.first == d.manifest.compactTo && d.manifest.first < j.rewrite {
		d.manifest.compactTo, d.manifest.bytes = d.manifest.next, 0
	}
	records, err := j.compact(d)
	if err != nil {
		return nil, err
	}
	progress, err := j.progress(d, c.Progress)
	if err != nil {
		return nil, err
	}
	records = append(records, progress...)
	changes := delta{hour: checkpoint.Hour(c.ReadAt), puts: c.Puts, dead: c.Dead}
	for _, day := range c.Touched {
		if state := d.day(day); state != nil && state.touched < changes.hour { // otherwise the store does not change either
			changes.touched = append(changes.touched, day)
		}
	}
	records = append(records, j.deltas(d, changes)...)
	return append(records, j.end(d, c)), nil
}

// Rewrite has the next calls of Append replace all deltas that there are by snapshots, so that nothing is left on the topic, once Kafka has
// compacted it, of what they have overwritten. Rewritten reports whether that is done.
func (j *Journal) Rewrite() { j.rewrite = j.state.manifest.next }

// Rewritten reports whether what Rewrite asked for is committed.
func (j *Journal) Rewritten() bool { return j.state.manifest.first >= j.rewrite }

// Expire returns the records of a transaction that forgets days of the account, nil if the journal knows none of the days. After
// the transaction the caller calls Forget and Commit(c) of the store and then Committed, and commits nothing else of the account
// in between. c needs no more than the account and the time; most is that of Append.
func (j *Journal) Expire(days []uint32, c *checkpoint.Changes, most int) ([]Record, error) {
	d, err := j.begin(c, most)
	if err != nil {
		return nil, err
	}
	var tombstones []Record
	changes := delta{hour: checkpoint.Hour(c.ReadAt)}
	for _, day := range days {
		state := d.day(day)
		if state == nil || slices.Contains(changes.forget, day) {
			continue
		}
		changes.forget = append(changes.forget, day)
		for slot, s := range state.slots {
			for n := range s.parts {
				tombstones = append(tombstones, Record{Key: partKey(j.account, day, checkpoint.Slot(slot), n)})
			}
		}
	}
	if len(changes.forget) == 0 {
		return nil, nil
	}
	// The delta comes first: a replay then has no slots left to look through when it meets the tombstones.
	records := append(j.deltas(d, changes), tombstones...)
	return append(records, j.end(d, c)), nil
}

// Committed tells the journal that the transaction with the records of the last Append or Expire is committed to Kafka and that the
// store holds its changes.
func (j *Journal) Committed() {
	if j.pending != nil {
		j.pending.accept()
		j.pending = nil
	}
}

func (j *Journal) begin(c *checkpoint.Changes, most int) (*draft, error) {
	const besides = 256 // a key, and what a value has beside its entities
	j.pending, j.value = nil, min(j.limits.value, max(most-besides, 1))
	if c.Account != j.account {
		return nil, fmt.Errorf("append to journal of account %s: the changes are of account %q", j.account, c.Account)
	}
	maps.DeleteFunc(c.Progress, func(name string, _ []byte) bool { return isLocal(name) }) // from an earlier call for the same changes
	return j.state.draft(), nil
}

func (j *Journal) end(d *draft, c *checkpoint.Changes) Record {
	if c.Progress == nil {
		c.Progress = make(map[string][]byte)
	}
	d.local(c.Progress)
	j.pending = d
	return Record{manifestKey(j.account), c.Progress[localManifest]}
}

// progress returns the progress records that changed. The first time it returns all that the store holds.
func (j *Journal) progress(d *draft, changed map[string][]byte) ([]Record, error) {
	all := changed
	if !j.state.exists {
		known, err := j.store.AllProgress(j.account)
		if err != nil {
			return nil, err
		}
		maps.DeleteFunc(known, func(name string, _ []byte) bool { return isLocal(name) })
		maps.Copy(known, changed)
		all = known
	}
	var records []Record
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == "" {
			return nil, errors.New("append progress to journal: a record has no name")
		}
		record := Record{Key: progressKey(j.account, name)}
		if all[name] != nil {
			record.Value = encodeProgress(all[name])
		}
		d.setName(name, all[name] != nil)
		records = append(records, record)
	}
	return records, nil
}

// deltas returns the records of the changes: one delta, or several if one record cannot hold them.
func (j *Journal) deltas(d *draft, changes delta) (records []Record) {
	for len(changes.puts)+len(changes.touched)+len(changes.dead)+len(changes.forget) > 0 {
		value, rest := changes.encode(j.value)
		record := Record{deltaKey(j.account, d.manifest.next), value}
		changes.puts = changes.puts[:len(changes.puts)-len(rest)]
		d.note(d.manifest.next, &changes)
		d.manifest.next++
		d.manifest.bytes += record.size()
		records = append(records, record)
		changes = delta{hour: changes.hour, puts: rest}
	}
	return records
}

// size returns about how many bytes the record takes in the topic. A record whose neighbours the log cleaner has deleted has a
// batch of its own.
func (r Record) size() uint64 {
	const overhead = 70
	return uint64(len(r.Key) + len(r.Value) + overhead)
}
