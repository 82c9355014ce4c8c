package poll

import (
	"bytes"
	"context"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/kafka"
)

// intent is the write-ahead record of a batch in at-least-once mode: its records. The entities are recorded with it as they will be
// after the batch. Whatever a crash leaves of the batch on Kafka, the next process publishes it again before it decides on anything: a
// revision that a consumer may have read is never forgotten, and its number never given to another.
type intent struct {
	unit    string // whose offsets it moves, by its progressName; empty for none
	records kafka.Intent
}

// intentName is the key of the record.
const intentName = "intent"

func (i *intent) encode() []byte { return i.records.AppendBinary(append([]byte(i.unit), '\n')) }

// Unfinished reports whether the store has a batch of the account that was cut off, which the next start publishes again as it was.
func Unfinished(store *checkpoint.Store, account string) (bool, error) {
	record, err := store.Progress(account, intentName)
	return record != nil, err
}

func decodeIntent(record []byte) (*intent, error) {
	unit, rest, _ := bytes.Cut(record, []byte{'\n'})
	records, err := kafka.ParseIntent(rest)
	if err != nil {
		return nil, err
	}
	return &intent{string(unit), records}, nil
}

// finishIntent publishes the batch that the process before was publishing when it ended, if there is one.
func (a *Account) finishIntent(ctx context.Context) error {
	if a.intent == nil {
		return nil
	}
	record := a.newRecording()
	record.changes.Progress[intentName] = nil
	batch := &kafka.Batch{Account: a.cfg.Name, Again: a.intent.records, Recording: record}
	for _, u := range a.units {
		if u.progressName() == a.intent.unit {
			record.feed, record.moved, batch.Feeds = u, []*unit{u}, []kafka.Feed{u.feed(nil)}
		}
	}
	a.log.Info("a batch that was being published at the end is published again", "records", len(batch.Again))
	if err := a.deliver(ctx, batch); err != nil {
		return err
	}
	a.intent = nil
	return nil
}
