package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// A CheckpointError says why an account is not read: its checkpoint is not what it must be, and a person is to say how to go on. To
// begin anew in silence would lose or repeat what nobody notices.
type CheckpointError struct {
	Account string
	What    error
	Command string // of poller checkpoint, with its flags
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("account %s is not read: %v; run: %s", e.Account, e.What, e.command())
}

func (e *CheckpointError) Unwrap() error { return e.What }

func (e *CheckpointError) command() string {
	return fmt.Sprintf("poller checkpoint %s --config poller.yaml --account %s", e.Command, e.Account)
}

const (
	commandRecover = "recover"
	commandAdopt   = "adopt --rewind 24h"
)

// trust returns a *CheckpointError if what was replayed of an account is not to be gone on from.
func (o *owner) trust(s *seat, j *journal.Journal, lastWatermarks watermarkReader) error {
	is := o.publisher.Topics.Cluster
	switch was := j.Cluster(); {
	case o.lost != nil:
		return &CheckpointError{s.Name, o.lost, commandRecover}
	case o.broken[s.AccountID] != nil:
		return &CheckpointError{s.Name, o.broken[s.AccountID], commandRecover}
	case j.Exists() && was != "" && was != is:
		return &CheckpointError{s.Name, fmt.Errorf("its checkpoint was written for Kafka cluster %s, and this is cluster %s", was, is), commandAdopt}
	case j.Exists():
		j.SetCluster(is)
		return nil
	}
	recorded, err := o.memory().AllProgress(s.AccountID)
	if err != nil {
		return err
	}
	if len(recorded) == 0 { // else it was read without transactions until now
		last, err := lastWatermarks()
		if err != nil {
			return err
		}
		for _, w := range last {
			if w.AccountID == s.AccountID && w.Source == s.Name {
				return &CheckpointError{s.Name, fmt.Errorf("its checkpoint is lost: partition %d of %s has no manifest of it, and %s has its watermarks",
					o.partition, o.publisher.Topics.Checkpoint(), o.publisher.Topics.Watermark()), commandRecover}
			}
		}
	}
	j.SetCluster(is)
	return nil
}

// refuse leaves a seat empty and says why.
func (o *owner) refuse(s *seat, err *CheckpointError) {
	o.mu.Lock()
	defer o.mu.Unlock()
	trouble := &status.Error{Text: err.Error(), Hint: "run: " + err.command(), Class: status.ClassPermanent, Since: time.Now().UTC(), Count: 1}
	if was := s.owner; was != nil && was.LastError != nil && was.LastError.Text == trouble.Text {
		trouble = trouble.After(was.LastError)
	}
	if trouble.Count == 1 {
		o.log.Error("account is not read", "account", s.Name, "partition", o.partition, "err", err)
	}
	s.account, s.owner = nil, &status.Owner{State: status.Failing, Partition: o.partition, Instance: o.o.Instance, Mine: true, LastError: trouble}
}

// witnessEvery is how often the witness is told how far the checkpoint has come. It must be far less than Kafka keeps what it
// was told.
const witnessEvery = 5 * time.Minute

// hear asks the witness whether the partition holds what it did, and tells it how far it has come. A witness that cannot be asked
// stops nobody: it is the second one.
func (o *owner) hear(ctx context.Context, shard *kafka.Shard) {
	o.lost = nil
	witness := o.publisher.Witness()
	err := witness.Check(ctx, o.partition, shard.End)
	if lost, ok := errors.AsType[*kafka.LostRecordsError](err); ok {
		o.lost = lost
		return
	}
	if err == nil {
		err = witness.Saw(ctx, o.partition, shard.End+1)
	}
	if err != nil && ctx.Err() == nil {
		o.log.Warn("whether the checkpoint is whole is not witnessed", "partition", o.partition, "err", err)
	}
}

// tell goes on to tell the witness, until ctx ends.
func (o *owner) tell(ctx context.Context) {
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	witness := o.publisher.Witness()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		record, err := o.memory().Identity(o.nextName())
		if next, ok := decodeOffset(record); err == nil && ok {
			err = witness.Saw(ctx, o.partition, next)
		}
		if err != nil && ctx.Err() == nil {
			o.log.Debug("the witness of the checkpoint could not be told", "partition", o.partition, "err", err)
		}
	}
}

// byCommand reports whether the partition was lost to a command of a person, which is done in a moment.
func (o *owner) byCommand(ctx context.Context, err error) bool {
	if !fenced(err) || o.shard == nil || ctx.Err() != nil {
		return false
	}
	successor, err := o.successor(ctx)
	return err == nil && successor != nil && successor.Command != ""
}

// stays reports, of an instance without a group that has lost the partition to another, whether it takes it back. Of two that start
// at once, each may have taken something from the other: who was last to take the lowest partition is the one that stays.
func (o *owner) stays(ctx context.Context) bool {
	if o.lead == nil {
		return false
	}
	o.lead.taking.Lock()
	defer o.lead.taking.Unlock()
	if o.lead.shard == nil {
		return true // that is yet to be decided
	}
	successor, err := o.lead.successor(ctx)
	return err != nil || successor == nil
}

// successor returns who has taken the partition over after the last term; nil if nobody has.
func (o *owner) successor(ctx context.Context) (*kafka.Owner, error) {
	record, err := o.memory().Identity(o.nextName())
	if err != nil {
		return nil, err
	}
	since, _ := decodeOffset(record)
	return o.shard.Successor(ctx, since)
}

func fenced(err error) bool {
	lost, ok := errors.AsType[*kafka.LostError](err)
	return ok && lost.Fenced
}
