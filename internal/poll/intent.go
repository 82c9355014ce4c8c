package poll

import (
	"bytes"
	"context"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/kafka"
)

// intent is what is recorded of a batch before it is published without transactions, together with the entities as they are
// after it. Whatever a crash leaves of the batch on Kafka, the next process publishes it again, and only then decides on anything: a
// version of a thing that somebody may have read is never forgotten, nor is its number given to another one.
type intent struct {
	unit    string // whose offsets it moves, by its progressName; empty for none
	records kafka.Intent
}

// intentName is the key of the record.
const intentName = "intent"

func (i *intent) encode() []byte { return i.records.AppendBinary(append([]byte(i.unit), '\n')) }

func decodeIntent(record []byte) (*intent, error) {
	unit, rest, _ := bytes.Cut(record, []byte{'\n'})
	records, err := kafka.ParseIntent(rest)
	if err != nil {
		return nil, err
	}
	return &intent{string(unit), records}, nil
}

// intend records a batch that is about to be published. What is left of the changes is to be recorded after.
func (a *Account) intend(records kafka.Intent, changes *checkpoint.Changes, moved []*unit) error {
	i := intent{records: records}
	if len(moved) > 0 {
		i.unit = progressName(moved[0].Endpoint, moved[0].Bot)
	}
	ahead := *changes
	ahead.Progress = map[string][]byte{intentName: i.encode()}
	if err := a.Store.Commit(ahead); err != nil {
		return err
	}
	changes.Puts, changes.Touched, changes.Dead = nil, nil, nil
	changes.Progress[intentName] = nil
	return nil
}

// finishIntent publishes the batch that the process before had in hand when it ended, if it had one.
func (a *Account) finishIntent(ctx context.Context) error {
	if a.intent == nil {
		return nil
	}
	batch := &kafka.Batch{Account: a.Name, Again: a.intent.records}
	var moved []*unit
	for _, u := range a.units {
		if progressName(u.Endpoint, u.Bot) == a.intent.unit {
			moved, batch.Feeds = []*unit{u}, []*kafka.Feed{u.feed}
		}
	}
	a.record(batch, &checkpoint.Changes{
		Account: a.AccountID, Seen: a.API.Now(), Progress: map[string][]byte{intentName: nil},
	}, moved)
	a.Log.Info("a batch that was being published at the end is published again", "records", len(batch.Again))
	if err := a.deliver(ctx, batch); err != nil {
		return err
	}
	a.intent = nil
	return nil
}
