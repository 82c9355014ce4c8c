package poll

import (
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/kafka"
)

// A recording is what is recorded with one batch, as kafka.Recording: the entities and dead letters that the batch is about, the
// progress of the units that it moves, and the request budget spent. It is recorded in one step with the batch, so that whatever counts
// as read is published. The delivery calls its methods; time goes down:
//
//	exactly-once                               at-least-once
//
//	begin transaction                          Intend: the records about to be sent,
//	│                                            the entities as they will be ──────────> file
//	├─ events, dead letters ──> Kafka          events, dead letters ──> Kafka
//	├─ all acks <────────────── Kafka          all acks <────────────── Kafka
//	├─ watermarks with offsets ─> Kafka        Prepare: progress with offsets, budget
//	├─ Prepare: progress with offsets, budget  Commit: progress, budget, intent deleted ─> file
//	├─ Records: all of it ──────> Kafka        watermarks with offsets ─> Kafka
//	end transaction
//	Commit: all of it ─> stage ··> file
//
// In a transaction either all of it is in Kafka or nothing, and the next owner makes the file from the checkpoint topic. Commit therefore
// stages it, and the file is written together with the next batches. Without transactions the file is the only record: what a crash cuts
// off after Intend is sent again from there.
type recording struct {
	account *Account
	changes checkpoint.Changes
	moved   []*unit // whose progress is recorded
	feed    *unit   // whose offsets the events of the batch move; nil for none
	// partly is set for a batch that is followed by others of the same page: of the progress only the offsets are recorded, and the
	// rest stays as it was. What was learned from the page and what was read by it count once all of it is published.
	partly bool
}

// newRecording returns what is recorded with a batch that moves units.
func (a *Account) newRecording(moved ...*unit) *recording {
	return &recording{account: a, moved: moved, changes: checkpoint.Changes{
		Account: a.cfg.AccountID, ReadAt: a.api.Now(), Progress: map[string][]byte{},
	}}
}

// Intend implements kafka.Recording. What it has written is left out of Commit.
func (r *recording) Intend(records kafka.Intent) error {
	i := intent{records: records}
	if r.feed != nil {
		i.unit = r.feed.progressName()
	}
	ahead := r.changes
	ahead.Progress = map[string][]byte{intentName: i.encode()}
	if err := r.account.cfg.Store.Commit(ahead); err != nil {
		return err
	}
	r.changes.Puts, r.changes.Touched, r.changes.Dead = nil, nil, nil
	r.changes.Progress[intentName] = nil
	return nil
}

// Prepare implements kafka.Recording.
func (r *recording) Prepare(after kafka.Offsets) error {
	a := r.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.feed != nil {
		r.feed.state.Offsets = after
	}
	for _, u := range r.moved {
		add := u.addRecord
		if r.partly {
			add = u.addOffsets
		}
		if err := add(r.changes.Progress); err != nil {
			return err
		}
	}
	return a.addSpent(r.changes.Progress)
}

// Records implements kafka.Recording.
func (r *recording) Records(most int) ([]kafka.Record, error) {
	if r.account.cfg.Journal == nil {
		return nil, nil
	}
	return r.account.cfg.Journal.Append(&r.changes, most)
}

// Commit implements kafka.Recording.
func (r *recording) Commit(next int64) error {
	if r.account.cfg.Journal == nil {
		return r.account.cfg.Store.Commit(r.changes)
	}
	return r.account.cfg.Journal.Commit(r.changes, next)
}
