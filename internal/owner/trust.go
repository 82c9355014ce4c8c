package owner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
)

// A CheckpointError says why an account is not read: its checkpoint is not what it must be, and a person has to say how to go on. To
// start from scratch silently would lose or repeat events unnoticed.
type CheckpointError struct {
	Account string
	What    error
	Command string // that a person is to run, whole
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("account %s is not read: %v; run: %s", e.Account, e.What, e.Command)
}

func (e *CheckpointError) Unwrap() error { return e.What }

// What a person may do about a checkpoint, as arguments of poller checkpoint.
const (
	commandRecover = "recover"
	commandAdopt   = "adopt --rewind 24h"
)

// untrusted returns the error for an account whose checkpoint must not be used, with the command that repairs it.
func (p *partition) untrusted(a *assignment, what error, command string) error {
	return &CheckpointError{
		Account: a.Name, What: what,
		Command: fmt.Sprintf("poller checkpoint %s --config %s --account %s", command, shellWord(p.in.o.Config), shellWord(a.Name)),
	}
}

// shellWord quotes text where a shell would not take it as one word.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// findings are what a term knows of the checkpoint besides the file.
type findings struct {
	lost       error            // what is gone of the partition according to the witness; nil for nothing
	incomplete map[string]error // accounts of which the topic does not hold all, with what is missing
	// lastWatermarks returns the last watermarks on Kafka by kafka.WatermarkKey. It reads them once, when it is first called.
	lastWatermarks func() (map[string]*events.Watermark, error)
}

// trust returns a *CheckpointError if the replayed checkpoint of an account must not be used. Else the journal names this cluster.
func (p *partition) trust(a *assignment, store *checkpoint.Store, j *journal.Journal, found *findings) error {
	topics := p.in.o.Publisher.Topics
	is := topics.Cluster
	switch was := j.Cluster(); {
	case found.lost != nil:
		return p.untrusted(a, found.lost, commandRecover)
	case found.incomplete[a.ID] != nil:
		return p.untrusted(a, found.incomplete[a.ID], commandRecover)
	case j.Exists() && was != "" && was != is:
		return p.untrusted(a, fmt.Errorf("its checkpoint was written for Kafka cluster %s, and this is cluster %s", was, is), commandAdopt)
	case j.Exists():
		j.SetCluster(is)
		return nil
	}
	recorded, err := store.AllProgress(a.ID)
	if err != nil {
		return err
	}
	if len(recorded) == 0 { // else it was read without transactions until now
		last, err := found.lastWatermarks()
		if err != nil {
			return err
		}
		for _, w := range last {
			if w.AccountID == a.ID && w.Source == a.Name {
				return p.untrusted(a, fmt.Errorf("its checkpoint is lost: partition %d of %s has no manifest of it, and %s has its watermarks",
					p.number, topics.Checkpoint(), topics.Watermark()), commandRecover)
			}
		}
	}
	j.SetCluster(is)
	return nil
}

// witnessEvery is how often the witness is told how far the checkpoint has come. It must be far less than Kafka keeps what it
// was told.
const witnessEvery = 5 * time.Minute

// checkWitness asks the witness whether the partition holds what it did, and tells it how far the partition has come. It returns what
// is gone, nil for nothing. A witness that cannot be asked stops nobody: it is the second one.
func (p *partition) checkWitness(ctx context.Context, shard *kafka.Shard) (lost error) {
	witness := p.in.o.Publisher.Witness()
	err := witness.Check(ctx, p.number, shard.End)
	if lost, ok := errors.AsType[*kafka.LostRecordsError](err); ok {
		return lost
	}
	if err == nil {
		err = witness.Note(ctx, p.number, shard.End+1)
	}
	p.reportWitness(ctx, err)
	return nil
}

// reportWitness says whether the witness could be asked and told.
func (p *partition) reportWitness(ctx context.Context, err error) {
	var found []error
	if err != nil {
		found = []error{&WitnessError{Partition: p.number, Err: err}}
	}
	if ctx.Err() == nil {
		p.in.o.Problems(fmt.Sprintf("witness of partition %d", p.number), found)
	}
}

// A WitnessError says that nobody would notice if the checkpoint of a partition were lost.
type WitnessError struct {
	Partition int32
	Err       error
}

func (e *WitnessError) Error() string {
	return fmt.Sprintf("a loss of partition %d of the checkpoint would not be noticed: %v", e.Partition, e.Err)
}

func (e *WitnessError) Unwrap() error { return e.Err }

// keepWitness tells the witness every witnessEvery how far the partition has come, until ctx ends.
func (p *partition) keepWitness(ctx context.Context, store *checkpoint.Store) {
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	defer p.in.o.Problems(fmt.Sprintf("witness of partition %d", p.number), nil)
	witness := p.in.o.Publisher.Witness()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		record, err := store.Identity(nextName(p.number))
		if next, ok := decodeOffset(record); err == nil && ok {
			err = witness.Note(ctx, p.number, next)
		}
		p.reportWitness(ctx, err)
	}
}

// takenByCommand reports whether the term ended because a person's command took the partition over. The command is done in a moment.
func (p *partition) takenByCommand(ctx context.Context, err error) bool {
	if !fenced(err) || p.shard == nil || ctx.Err() != nil {
		return false
	}
	successor, err := p.successor(ctx)
	return err == nil && successor != nil && successor.Command != ""
}

// takesBack reports whether this instance, which has no group, takes the partition back from another one. Of two that start at once,
// each may have taken something from the other: the last to take the lowest partition is the one that stays.
func (p *partition) takesBack(ctx context.Context) bool {
	if p.lead == nil {
		return false
	}
	p.lead.taking.Lock()
	defer p.lead.taking.Unlock()
	if p.lead.shard == nil {
		return true // that is yet to be decided
	}
	successor, err := p.lead.successor(ctx)
	return err != nil || successor == nil
}

// successor returns who has taken the partition over since this instance last wrote to it; nil if nobody has.
func (p *partition) successor(ctx context.Context) (*kafka.Owner, error) {
	record, err := p.in.o.File.Store().Identity(nextName(p.number))
	if err != nil {
		return nil, err
	}
	since, _ := decodeOffset(record)
	return p.shard.Successor(ctx, since)
}

// fenced reports whether the term ended because somebody else owns the partition.
func fenced(err error) bool {
	lost, ok := errors.AsType[*kafka.LostError](err)
	return ok && lost.Fenced
}
