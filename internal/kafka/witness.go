package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// A Witness remembers outside of the checkpoint topic how far its partitions had come: as offsets that a group has committed, with the
// id of the topic. If a partition ends before the offset that its witness holds, or the topic has another id, records of the checkpoint
// are lost.
//
// The group has no members, so that every owner of a partition can commit offsets for it, with or without a group that divides the
// partitions. Kafka keeps such offsets for a week after the last commit (offsets.retention.minutes), so owners commit now and then.
type Witness struct {
	admin  *kadm.Client
	topics *Topics
	group  string
}

// witnessTimeout bounds each request of a witness.
const witnessTimeout = 10 * time.Second

// WitnessGroup is the group that holds the witness's offsets.
func (c *Config) WitnessGroup() string {
	name := c.Group
	if name == "" {
		name = c.TopicPrefix
	}
	return name + ".checkpoint"
}

// Witness returns the witness of the checkpoint topic. It must not be used after the publisher is closed.
func (p *Publisher) Witness() *Witness {
	return &Witness{kadm.NewClient(p.client), p.Topics, p.options.Config.WitnessGroup()}
}

// testimony is the metadata of a committed offset.
type testimony struct {
	Topic   string `json:"topic"` // its id
	Cluster string `json:"cluster"`
}

// Note tells the witness how far the partition has come: to the offset after a committed record.
func (w *Witness) Note(ctx context.Context, partition int32, offset int64) error {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	metadata, err := json.Marshal(testimony{w.topics.CheckpointID, w.topics.Cluster})
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: w.topics.Checkpoint(), Partition: partition, At: offset, LeaderEpoch: -1, Metadata: string(metadata)})
	committed, err := w.admin.CommitOffsets(ctx, w.group, offsets)
	if err = errors.Join(err, committed.Error()); err != nil {
		return groupError("commit an offset", w.group, err)
	}
	return nil
}

// Check returns a *LostRecordsError if the partition, which ends at the offset end, does not hold what the witness was told.
func (w *Witness) Check(ctx context.Context, partition int32, end int64) error {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	committed, err := w.admin.FetchOffsets(ctx, w.group)
	if err == nil {
		err = committed.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	if err != nil {
		return groupError("look up the offsets", w.group, err)
	}
	seen, ok := committed.Lookup(w.topics.Checkpoint(), partition)
	if !ok || seen.At < 0 {
		return nil
	}
	var said testimony
	if json.Unmarshal([]byte(seen.Metadata), &said) != nil || said.Cluster != w.topics.Cluster {
		return nil // committed by another program, or copied by a mirror
	}
	lost := &LostRecordsError{Topic: w.topics.Checkpoint(), Partition: partition, Seen: seen.At, End: end}
	if lost.Recreated = said.Topic != w.topics.CheckpointID; lost.Recreated || seen.At > end {
		return lost
	}
	return nil
}

// LostRecordsError says that records of the checkpoint are gone.
type LostRecordsError struct {
	Topic     string
	Partition int32
	Recreated bool  // the topic was deleted and created again
	Seen, End int64 // how far it had come, and where it ends now
}

func (e *LostRecordsError) Error() string {
	if e.Recreated {
		return fmt.Sprintf("topic %s is not the one that was written to: it was deleted and made anew", e.Topic)
	}
	return fmt.Sprintf("partition %d of %s ends at offset %d and had come to %d: records of it are lost", e.Partition, e.Topic, e.End, e.Seen)
}

// Retryable returns false: a person has to decide how to go on.
func (e *LostRecordsError) Retryable() bool { return false }
