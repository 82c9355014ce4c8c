package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/faultpoint"
)

const (
	// takeOverTimeout bounds the steps of a takeover that wait for Kafka, which first has to end the transaction of the owner before.
	takeOverTimeout = 30 * time.Second
	// replayFetch bounds the answer to one request for records of the checkpoint, in bytes.
	replayFetch = 8 << 20
	// ownerKey is the key of the record that an owner writes first.
	ownerKey = "owner"
)

// A Shard is the ownership of one partition of the checkpoint topic: the right to publish for the accounts that belong to
// it, until somebody else takes it over.
type Shard struct {
	Delivery
	Partition int32
	// Start is the first offset that the partition held when it was taken over, End the offset of the record that this owner wrote first.
	Start, End int64

	publisher *Publisher
	confirmed *atomic.Pointer[time.Time]
}

// OwnedFor is how long after its last proof of ownership an owner may still act as one.
const OwnedFor = transactionTimeout

// Owned reports whether a transaction has proved within the last OwnedFor that nobody else had taken the partition over. If not, the
// next transaction that succeeds proves it. Time during which the process or the machine was suspended counts.
func (s *Shard) Owned() bool { return silence(*s.confirmed.Load(), time.Now()) < OwnedFor }

// TakeOver makes this process the owner of a partition. The owner before can publish nothing more, and Kafka aborts its unfinished
// transaction. TakeOver blocks for at most half a minute. Its errors have a method Retryable that says whether waiting may help.
func (p *Publisher) TakeOver(ctx context.Context, partition int32) (_ *Shard, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeOverTimeout)
	defer cancel()
	c := p.options.Config
	id := c.TransactionalID(partition)
	client, err := p.connect.client(nil, kgo.TransactionalID(id), kgo.TransactionTimeout(transactionTimeout))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			client.Close()
			err = &requestError{fmt.Sprintf("take over partition %d of %s", partition, p.Topics.Checkpoint()), err}
		}
	}()
	if _, _, err := client.ProducerID(ctx); err != nil {
		return nil, err
	}
	faultpoint.Reach(faultpoint.TakeoverFenced)
	asked := time.Now()
	end, err := p.sign(ctx, client, partition)
	if err != nil {
		return nil, err
	}
	faultpoint.Reach(faultpoint.TakeoverSigned)
	start, err := offsetOf(ctx, kadm.NewClient(client).ListStartOffsets, p.Topics.Checkpoint(), partition)
	if err != nil {
		return nil, err
	}
	delivery := &exactlyOnce{
		sender: newSender(client, p.encoder, transactionTimeout, p.metrics), id: id, partition: partition,
		topic: p.Topics.Checkpoint(), busy: make(chan struct{}, 1), next: end + 1,
		signed: func(ctx context.Context, from int64) (bool, error) { return p.signed(ctx, partition, from) },
	}
	delivery.exclusive = true
	delivery.confirmed.Store(&asked)
	return &Shard{
		Delivery: delivery, Partition: partition, Start: start, End: end, publisher: p, confirmed: &delivery.confirmed,
	}, nil
}

// An Owner is the process that has taken a partition over, as it says in its record.
type Owner struct {
	Instance string    `json:"instance"`
	Command  string    `json:"command,omitempty"` // that a person runs, which ends in a moment; empty for poller run
	Since    time.Time `json:"since"`
}

// sign writes the owner's record in a transaction of its own, and returns its offset. Everything before it is committed or aborted,
// so a replay can stop there, and it proves that this owner can produce.
func (p *Publisher) sign(ctx context.Context, client *kgo.Client, partition int32) (int64, error) {
	value, err := json.Marshal(Owner{Instance: p.options.Instance, Command: p.options.Command, Since: time.Now().UTC()})
	if err != nil {
		return 0, err
	}
	if err := client.BeginTransaction(); err != nil {
		return 0, err
	}
	record, err := client.ProduceSync(ctx, &kgo.Record{
		Topic: p.Topics.Checkpoint(), Partition: partition, Key: []byte(ownerKey), Value: value,
	}).First()
	if err != nil {
		return 0, err
	}
	if err := endTransaction(ctx, client, kgo.TryCommit, "end transaction"); err != nil {
		return 0, &LostError{Partition: partition, Err: err}
	}
	return record.Offset, nil
}

// signed reports whether the partition holds an owner's record at or after an offset.
func (p *Publisher) signed(ctx context.Context, partition int32, from int64) (signed bool, err error) {
	topic := p.Topics.Checkpoint()
	end, err := offsetOf(ctx, kadm.NewClient(p.client).ListCommittedOffsets, topic, partition)
	if err != nil {
		return false, err
	}
	err = readTo(ctx, p.connect, partitionRange{topic, partition, from, end}, func(r *kgo.Record) {
		signed = signed || !r.Attrs.IsControl() && string(r.Key) == ownerKey
	})
	return signed, err
}

// Replay calls each for every record from an offset up to where the partition was taken over, in order; next is the offset after the
// record. It returns a *LostError if the record of this owner is not there.
func (s *Shard) Replay(ctx context.Context, from int64, each func(key, value []byte, next int64) error) error {
	var failed error
	signed := false
	err := readTo(ctx, s.publisher.connect, partitionRange{s.publisher.Topics.Checkpoint(), s.Partition, from, s.End + 1},
		func(r *kgo.Record) {
			switch {
			case failed != nil || r.Attrs.IsControl():
			case string(r.Key) == ownerKey:
				signed = signed || r.Offset == s.End
			default:
				faultpoint.Reach(faultpoint.TakeoverReplay)
				failed = each(r.Key, r.Value, r.Offset+1)
			}
		})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case !signed:
		return &LostError{Partition: s.Partition, Err: errors.New("the record of its owner was not committed")}
	}
	return nil
}

// A partitionRange is the records of a partition with offsets in [from, to).
type partitionRange struct {
	topic     string
	partition int32
	from, to  int64
}

// offsetOf returns an offset of one partition; list is the method of kadm that says which.
func offsetOf(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topic string, partition int32) (int64, error) {
	listed, err := list(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	offset, _ := listed.Lookup(topic, partition)
	return offset.Offset, err
}

// newReader returns a client that reads the committed records of one partition, and its control records, because the last offset may
// belong to one.
func newReader(connect *connector, topic string, partition int32, from kgo.Offset, more ...kgo.Opt) (*kgo.Client, error) {
	return connect.client(nil, slices.Concat([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
	}, more)...)
}

// readTo reads the committed records of a range. The record at r.to-1 must exist, or readTo does not return before ctx ends.
func readTo(ctx context.Context, connect *connector, r partitionRange, each func(*kgo.Record)) error {
	client, err := newReader(connect, r.topic, r.partition, kgo.NewOffset().At(r.from),
		kgo.FetchMaxBytes(replayFetch), kgo.FetchMaxPartitionBytes(replayFetch))
	if err != nil {
		return err
	}
	defer client.Close()
	for next := r.from; next < r.to; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); errors.Is(err, kerr.TopicAuthorizationFailed) {
			return denied(r.topic, err, "Read")
		} else if err != nil {
			return &requestError{fmt.Sprintf("read partition %d of %s from offset %d to %d", r.partition, r.topic, next, r.to), err}
		}
		fetches.EachRecord(func(record *kgo.Record) {
			next = record.Offset + 1
			if record.Offset < r.to {
				each(record)
			}
		})
	}
	return nil
}
