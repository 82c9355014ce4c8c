package owner

import (
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
)

// A Journal records what one account does on the checkpoint topic, and then in the file. It implements poll.Journal and is as little
// safe for concurrent use as the journal that it writes with.
//
// The order is the promise: changes are staged for the file only once the transaction with the journal's records has ended, together with
// the offset after them, and go into the file together (see checkpoint.Store.Stage). A process that dies before finds the file behind the
// topic, and replays.
type Journal struct {
	store   *checkpoint.Store
	journal *journal.Journal
	account string
	next    string // name of the file's record that holds the next offset
}

// NewJournal returns the journal of an account of a partition, which writes with j. The store must hold what the partition does.
func NewJournal(store *checkpoint.Store, j *journal.Journal, account string, partition int32) *Journal {
	return &Journal{store: store, journal: j, account: account, next: nextName(partition)}
}

// Append implements poll.Journal.
func (j *Journal) Append(c *checkpoint.Changes, most int) ([]kafka.Record, error) {
	records, err := j.journal.Append(c, most)
	return onKafka(records), err
}

// Commit implements poll.Journal.
func (j *Journal) Commit(c checkpoint.Changes, next int64) error {
	c.Identity = map[string][]byte{j.next: encodeOffset(next)}
	if err := j.store.Stage(c); err != nil {
		return err
	}
	j.journal.Committed()
	return nil
}

// Expire implements poll.Journal.
func (j *Journal) Expire(before time.Time) (*kafka.Batch, error) {
	due, err := j.store.Due(j.account, before)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	var days []uint32
	for _, d := range due {
		days = append(days, d.Day)
	}
	return j.Forget(days, before), nil
}

// Forget returns a batch that forgets days, whenever they were last seen. It is recorded as of a time.
func (j *Journal) Forget(days []uint32, asOf time.Time) *kafka.Batch {
	changes := checkpoint.Changes{Account: j.account, ReadAt: asOf, Progress: map[string][]byte{}}
	return &kafka.Batch{Account: j.account, Recording: NewRecording(
		func(most int) ([]kafka.Record, error) {
			records, err := j.journal.Expire(days, &changes, most)
			return onKafka(records), err
		},
		func(next int64) error {
			if err := j.store.Forget(j.account, days); err != nil {
				return err
			}
			return j.Commit(changes, next)
		},
	)}
}

// NewRecording returns what is recorded, in a transaction, with a batch without events: records of the checkpoint topic, and what
// happens in the file once they are there, next being the offset after them.
func NewRecording(records func(most int) ([]kafka.Record, error), commit func(next int64) error) kafka.Recording {
	return &recording{records, commit}
}

type recording struct {
	records func(most int) ([]kafka.Record, error)
	commit  func(next int64) error
}

// Intend implements kafka.Recording.
func (*recording) Intend(kafka.Intent) error { return nil }

// Prepare implements kafka.Recording.
func (*recording) Prepare(kafka.Offsets) error { return nil }

// Records implements kafka.Recording.
func (r *recording) Records(most int) ([]kafka.Record, error) { return r.records(most) }

// Commit implements kafka.Recording.
func (r *recording) Commit(next int64) error { return r.commit(next) }

func onKafka(records []journal.Record) []kafka.Record {
	out := make([]kafka.Record, len(records))
	for i, r := range records {
		out[i] = kafka.Record(r)
	}
	return out
}
