package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A CheckpointPartitionInfo is what a partition of the checkpoint topic says of itself.
type CheckpointPartitionInfo struct {
	Start, End int64
	// Owner is who took the partition over last; nil if nobody has.
	Owner *Owner
}

// inspectTimeout bounds the looking at a partition between two answers of the broker.
const inspectTimeout = time.Minute

// Inspect reads a partition of the checkpoint topic without taking it over, from an offset or from its start to its end, in order.
func (p *Publisher) Inspect(ctx context.Context, partition int32, from int64, each func(key, value []byte, next int64) error) (info CheckpointPartitionInfo, err error) {
	topic := p.Topics.Checkpoint()
	admin := kadm.NewClient(p.client)
	if info.Start, err = offsetOf(ctx, admin.ListStartOffsets, topic, partition); err != nil {
		return info, &requestError{"look up the start of " + topic, err}
	}
	if info.End, err = offsetOf(ctx, admin.ListCommittedOffsets, topic, partition); err != nil {
		return info, &requestError{"look up the end of " + topic, err}
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	var failed error
	err = readTo(ctx, p.connect, partitionRange{topic, partition, max(from, info.Start), info.End}, func(r *kgo.Record) {
		switch {
		case r.Attrs.IsControl() || failed != nil:
		case string(r.Key) == ownerKey:
			o := &Owner{}
			if json.Unmarshal(r.Value, o) == nil {
				info.Owner = o
			}
		case each != nil:
			failed = each(r.Key, r.Value, r.Offset+1)
		}
	})
	return info, errors.Join(err, failed)
}

// Successor returns who has taken the partition over last since it was at an offset; nil if nobody has.
func (s *Shard) Successor(ctx context.Context, since int64) (*Owner, error) {
	info, err := s.publisher.Inspect(ctx, s.Partition, max(since, s.End+1), nil)
	if err != nil {
		return nil, fmt.Errorf("look who has taken partition %d over: %w", s.Partition, err)
	}
	return info.Owner, nil
}

// EventEnds returns where the topics of events end: whatever was published so far lies before.
func (p *Publisher) EventEnds(ctx context.Context) (Offsets, error) {
	var names []string
	for _, s := range p.Topics.specs {
		if s.kind == kindEvents {
			names = append(names, s.name)
		}
	}
	ends, err := kadm.NewClient(p.client).ListEndOffsets(ctx, names...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, &requestError{"look up the ends of the event topics", err}
	}
	out := Offsets{}
	ends.Each(func(o kadm.ListedOffset) { out.Raise(o.Topic, o.Partition, o.Offset) })
	return out, nil
}
