// Package journal is what the checkpoint topic holds: everything that the store remembers of an account, as records that
// travel in the transaction that they describe, so that any replica can take the account over and a lost disk is no loss.
// It knows no Kafka: it makes records for a compacted topic, and brings a store up to date from them.
//
// The keys are text:
//
//	m/<account>                    manifest: what belongs to the account as of its transaction
//	p/<account>/<name>             a record of progress, whole
//	d/<account>/<seq>              delta: what one batch changed; 16 hex digits, counting from 1
//	s/<account>/<day>/<slot>/<n>   snapshot: part n of what a slot of a day holds
//
// A value begins with the version that wrote it and the oldest version that can read it, a byte each. Sections follow: tag
// and length as varints, then that many bytes; tags ascend, and no section is empty. A later version's unknown sections are skipped, everything else
// that is not as it is written is refused. Days are days since 1970, hours are hours since 1970, as varints.
//
//	manifest  1 first and next live delta, delta that the round goes up to, bytes from there on
//	          2 number of progress records, sum of the hashes of their names   3 the same of snapshots
//	          4 id of the cluster that the topic is on, since version 2
//	progress  1 the record
//	delta     1 hour of reading   2 days forgotten, before the rest   3 entities: distance from the day before, minute + 1 or 0
//	          if shared, hash, length, value   4 days seen unchanged   5 dead letters: day, hash
//	snapshot  1 delta that it was written with, n, number of parts, hour in which the day was last seen
//	          2 entities in order: distance from the minute before (not of shared ones), hash, length, value; or dead letters
//
// Slots are those of package checkpoint, and one that holds only when the day was last seen. A slot is written whole, all its
// parts in one transaction, before the delta of that transaction. So the records in the order of their offsets, later over
// earlier, make the store, and compaction, which keeps the last of each key, does not change what they make.
//
// The topic stays near the size of what is alive: once the deltas are half as large as the slots that they changed, a round
// writes these slots anew, some with each transaction, and then deletes the deltas before the round.
//
// Nothing is taken on trust. The manifest says which deltas, how many progress records and which snapshots there must be,
// every part says how many there are, and Replay.Finish refuses an account that is not whole.
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
}

// New returns the journal of the account as the store remembers it, which a replay must have brought up to date. An account
// of which the store remembers something but no journal, because it was read without one, is written out little by little
// by the first calls of Append.
//
// The journal keeps records of its own beside the account's progress, under names that begin with "~".
func New(store *checkpoint.Store, account string) (*Journal, error) {
	if account == "" || strings.Contains(account, "/") {
		return nil, fmt.Errorf("open journal: account %q cannot be part of a key", account)
	}
	half, err := store.Progress(account, localReplaying)
	if err != nil {
		return nil, err
	}
	if half != nil {
		return nil, fmt.Errorf("open journal of account %s: its last replay did not finish; replay it", account)
	}
	state, err := load(store, account)
	if err != nil {
		return nil, err
	}
	return &Journal{store: store, account: account, limits: defaultLimits, state: state}, nil
}

// Exists reports whether a manifest was ever committed.
func (j *Journal) Exists() bool { return j.state.exists }

// Cluster returns the id of the Kafka cluster that the account was written for, empty if that was never said.
func (j *Journal) Cluster() string { return j.state.manifest.cluster }

// SetCluster says which cluster the account is written for from the next transaction on.
func (j *Journal) SetCluster(id string) { j.state.manifest.cluster = id }

// Append returns the records that the transaction for c must carry, in order. It adds to c.Progress what the store must
// record with c. The store must hold all that was committed before. Only the last call before Committed counts, so that a
// transaction that was aborted needs no other word.
func (j *Journal) Append(c *checkpoint.Changes) ([]Record, error) {
	d, err := j.begin(c)
	if err != nil {
		return nil, err
	}
	if d.roundDue(&j.limits) {
		d.manifest.round, d.manifest.bytes = d.manifest.next, 0
	}
	records, err := j.goOn(d)
	if err != nil {
		return nil, err
	}
	progress, err := j.progress(d, c.Progress)
	if err != nil {
		return nil, err
	}
	records = append(records, progress...)
	changes := delta{hour: checkpoint.Hour(c.Seen), puts: c.Puts, dead: c.Dead}
	for _, day := range c.Touched {
		if state := d.day(day); state != nil && state.touched < changes.hour { // else the store takes no note of it either
			changes.touched = append(changes.touched, day)
		}
	}
	records = append(records, j.deltas(d, changes)...)
	return append(records, j.end(d, c)), nil
}

// Expire returns the records of a transaction that forgets the days of the account, nil if the journal knows none of them.
// After the transaction the store must be told with Forget and then with Commit of c, which needs to hold nothing else but
// the account, and the journal with Committed. Nothing of the account may be committed in between.
func (j *Journal) Expire(days []uint32, c *checkpoint.Changes) ([]Record, error) {
	d, err := j.begin(c)
	if err != nil {
		return nil, err
	}
	var tombstones []Record
	changes := delta{hour: checkpoint.Hour(c.Seen)}
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

// Committed says that the transaction with the records of the last Append or Expire is in Kafka, and that the store holds
// its changes.
func (j *Journal) Committed() {
	if j.pending != nil {
		j.pending.accept()
		j.pending = nil
	}
}

func (j *Journal) begin(c *checkpoint.Changes) (*draft, error) {
	j.pending = nil
	if c.Account != j.account {
		return nil, fmt.Errorf("append to journal of account %s: the changes are of account %q", j.account, c.Account)
	}
	maps.DeleteFunc(c.Progress, func(name string, _ []byte) bool { return isLocal(name) }) // of a call that did not count
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

// progress returns the records that changed; the first time, all that the store holds.
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

// deltas returns the delta, in as many pieces as it needs.
func (j *Journal) deltas(d *draft, changes delta) (records []Record) {
	for len(changes.puts)+len(changes.touched)+len(changes.dead)+len(changes.forget) > 0 {
		value, rest := changes.encode(j.limits.value)
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

// size is about what the record takes in the topic: a record that compaction leaves alone has a batch of its own.
func (r Record) size() uint64 {
	const overhead = 70
	return uint64(len(r.Key) + len(r.Value) + overhead)
}
