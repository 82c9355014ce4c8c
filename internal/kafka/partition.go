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

// A PartitionInfo describes a partition of the checkpoint topic.
type PartitionInfo struct {
	Start, End int64
	// Owner is the last process that took the partition over; nil for none.
	Owner *Owner
}

// inspectTimeout bounds the reading of a partition by Inspect.
const inspectTimeout = time.Minute

// Inspect calls each for every record of a partition of the checkpoint topic from an offset on, or from its start, in order. It does
// not take the partition over.
func (p *Publisher) Inspect(ctx context.Context, partition int32, from int64, each func(key, value []byte, next int64) error) (info PartitionInfo, err error) {
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

// Successor returns the last process that took the partition over at or after the offset since; nil for none.
func (s *Shard) Successor(ctx context.Context, since int64) (*Owner, error) {
	info, err := s.publisher.Inspect(ctx, s.Partition, max(since, s.End+1), nil)
	if err != nil {
		return nil, fmt.Errorf("look up the owner of partition %d: %w", s.Partition, err)
	}
	return info.Owner, nil
}
