package app

import (
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
)

// journaled records what one account does on the checkpoint topic and in the file, as poll.Journal.
type journaled struct {
	store   *checkpoint.Store
	journal *journal.Journal
	account string
	next    string // name of the identity record that holds the next offset
}

// Append implements poll.Journal.
func (j *journaled) Append(c *checkpoint.Changes) ([]kafka.Record, error) {
	records, err := j.journal.Append(c)
	return onKafka(records), err
}

// Commit implements poll.Journal.
func (j *journaled) Commit(c checkpoint.Changes, next int64) error {
	c.Identity = map[string][]byte{j.next: encodeOffset(next)}
	if err := j.store.Commit(c); err != nil {
		return err
	}
	j.journal.Committed()
	return nil
}

// Expire implements poll.Journal.
func (j *journaled) Expire(before time.Time) (*kafka.Batch, error) {
	due, err := j.store.Due(j.account, before)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	var days []uint32
	for _, d := range due {
		days = append(days, d.Day)
	}
	return j.forget(days, before), nil
}

// forget returns a batch that forgets days, whenever they were last seen. It is recorded as of a time.
func (j *journaled) forget(days []uint32, asOf time.Time) *kafka.Batch {
	changes := checkpoint.Changes{Account: j.account, Seen: asOf, Progress: map[string][]byte{}}
	return &kafka.Batch{Account: j.account, Recording: &recording{
		records: func() ([]kafka.Record, error) {
			records, err := j.journal.Expire(days, &changes)
			return onKafka(records), err
		},
		commit: func(next int64) error {
			if err := j.store.Forget(j.account, days); err != nil {
				return err
			}
			return j.Commit(changes, next)
		},
	}}
}

// recording is what is recorded with a batch that has no events, in a transaction.
type recording struct {
	records func() ([]kafka.Record, error)
	commit  func(next int64) error
}

// Intend implements kafka.Recording.
func (*recording) Intend(kafka.Intent) error { return nil }

// Prepare implements kafka.Recording.
func (*recording) Prepare(kafka.Offsets) error { return nil }

// Records implements kafka.Recording.
func (r *recording) Records() ([]kafka.Record, error) { return r.records() }

// Commit implements kafka.Recording.
func (r *recording) Commit(next int64) error { return r.commit(next) }

func onKafka(records []journal.Record) []kafka.Record {
	out := make([]kafka.Record, len(records))
	for i, r := range records {
		out[i] = kafka.Record(r)
	}
	return out
}
