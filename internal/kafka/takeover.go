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
	// takeOverTimeout bounds the steps of a takeover that wait for Kafka: it must have let go of the owner before.
	takeOverTimeout = 30 * time.Second
	// replayFetch is how much of the checkpoint is asked for at once.
	replayFetch = 8 << 20
	// ownerKey is the key of the record that an owner begins with.
	ownerKey = "owner"
)

// A Shard is the ownership of one partition of the checkpoint topic: the right to publish for the accounts that belong to
// it, until somebody else takes it over.
type Shard struct {
	Delivery
	Partition int32
	// Start and End bound what the partition held when it was taken over.
	Start, End int64

	publisher *Publisher
	confirmed *atomic.Pointer[time.Time]
}

// OwnedFor is how long an owner may go on as if it were one after Kafka has shown it that it is.
const OwnedFor = transactionTimeout

// Owned reports whether Kafka has shown within OwnedFor that nobody else had taken the partition over. If not, a transaction
// that succeeds shows it. Time when the process or the machine stood still counts.
func (s *Shard) Owned() bool { return silence(*s.confirmed.Load(), time.Now()) < OwnedFor }

// TakeOver makes this process the owner of a partition. Whoever was it before can publish nothing more; what that owner left
// unfinished is aborted. Its errors say whether waiting may help, by a method Retryable.
func (p *Publisher) TakeOver(ctx context.Context, partition int32) (_ *Shard, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeOverTimeout)
	defer cancel()
	c := p.options.Config
	client, err := p.connect.client(nil, kgo.TransactionalID(c.TransactionalID(partition)), kgo.TransactionTimeout(transactionTimeout))
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
		sender: newSender(client, p.encoder, transactionTimeout, p.metrics), partition: partition,
		topic: p.Topics.Checkpoint(), busy: make(chan struct{}, 1), next: end + 1,
		signed: func(ctx context.Context, from int64) (bool, error) { return p.signed(ctx, partition, from) },
	}
	delivery.exclusive = true
	delivery.confirmed.Store(&asked)
	return &Shard{
		Delivery: delivery, Partition: partition, Start: start, End: end, publisher: p, confirmed: &delivery.confirmed,
	}, nil
}

// An Owner is who has taken a partition over, as its record says.
type Owner struct {
	Instance string    `json:"instance"`
	Command  string    `json:"command,omitempty"` // of a person, which is done in a moment; empty if it is poller run
	Since    time.Time `json:"since"`
}

// sign writes who owns the partition now, in a transaction of its own, and returns its offset. All that comes before it is
// decided, so that it is where a replay ends; and what an owner must be able to do has been done once.
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

// signed tells whether the partition holds an owner's record from an offset on.
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

// Replay reads the partition from an offset up to where it was taken over, in order. Next is the offset after the record. It returns a
// *LostError if the record that this owner began with is not there.
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

// partitionRange is what to read: records from one offset to before another.
type partitionRange struct {
	topic     string
	partition int32
	from, to  int64
}

// offsetOf looks up an offset of one partition, by one of kadm's ways to list them.
func offsetOf(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topic string, partition int32) (int64, error) {
	listed, err := list(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	offset, _ := listed.Lookup(topic, partition)
	return offset.Offset, err
}

// newReader returns a client that reads the committed records of one partition. Control records are kept, as the last offset may
// be that of one.
func newReader(connect *connector, topic string, partition int32, from kgo.Offset, more ...kgo.Opt) (*kgo.Client, error) {
	return connect.client(nil, slices.Concat([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
	}, more)...)
}

// readTo reads the committed records of a range. A record right before its end must exist.
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
