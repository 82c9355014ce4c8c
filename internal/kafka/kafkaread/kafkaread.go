// Package kafkaread reads topics back the way a consumer of ours would: read_committed, values decoded by the schema that
// they name, with an Avro implementation that has nothing in common with the one that wrote them.
//
// It is for audits and tests: it reads from the start to what is the end when it is called, and then stops.
package kafkaread

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A Record is one record of a topic.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       string
	Timestamp time.Time
	Headers   map[string]string
	// Value holds fields by name as Avro has them: string, int64, float64, bool, time.Time, []byte, []any,
	// map[string]any, nil. It is nil for a tombstone.
	Value map[string]any
	// Raw is the value undecoded.
	Raw []byte
}

// Field returns a string field, empty if it is null or not there.
func (r *Record) Field(name string) string {
	s, _ := r.Value[name].(string)
	return s
}

// A Reader reads topics back. It is safe for concurrent use.
type Reader struct {
	client  []kgo.Opt
	decoder *Decoder
}

// NewReader returns a reader. The options say where Kafka is.
func NewReader(decoder *Decoder, client ...kgo.Opt) *Reader {
	return &Reader{client: client, decoder: decoder}
}

// All returns the records of the topics, ordered within each partition.
func (r *Reader) All(ctx context.Context, topics ...string) ([]Record, error) {
	var all []Record
	err := r.Each(ctx, func(rec *Record) error {
		all = append(all, *rec)
		return nil
	}, topics...)
	return all, err
}

// Each calls fn for every record of the topics up to what is their end now, ordered within each partition. It stops at the
// first error.
func (r *Reader) Each(ctx context.Context, fn func(*Record) error, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	// Control records are kept, since the last offset of a partition may belong to one.
	opts := append(append([]kgo.Opt(nil), r.client...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.MetadataMinAge(250*time.Millisecond))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("build Kafka client: %w", err)
	}
	defer client.Close()
	left, err := unread(ctx, kadm.NewClient(client), topics)
	if err != nil {
		return err
	}
	start := map[string]map[int32]kgo.Offset{}
	for p := range left {
		if start[p.topic] == nil {
			start[p.topic] = map[int32]kgo.Offset{}
		}
		start[p.topic][p.partition] = kgo.NewOffset().AtStart()
	}
	client.AddConsumePartitions(start)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read topics: %w", err)
		}
		var failed error
		fetches.EachRecord(func(k *kgo.Record) {
			p := partition{k.Topic, k.Partition}
			end, open := left[p]
			if failed != nil || !open || k.Offset >= end {
				return
			}
			if k.Offset == end-1 {
				delete(left, p)
			}
			if k.Attrs.IsControl() {
				return
			}
			rec, err := r.record(ctx, k)
			if err == nil {
				err = fn(rec)
			}
			failed = err
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

type partition struct {
	topic     string
	partition int32
}

// unread returns the ends of the partitions that hold anything.
func unread(ctx context.Context, admin *kadm.Client, topics []string) (map[partition]int64, error) {
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, topics...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	left := map[partition]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && start.Offset < end.Offset {
			left[partition{end.Topic, end.Partition}] = end.Offset
		}
	})
	return left, nil
}

func (r *Reader) record(ctx context.Context, k *kgo.Record) (*Record, error) {
	rec := &Record{
		Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Key: string(k.Key), Timestamp: k.Timestamp.UTC(),
		Headers: map[string]string{}, Raw: k.Value,
	}
	for _, h := range k.Headers {
		rec.Headers[h.Key] = string(h.Value)
	}
	if k.Value == nil {
		return rec, nil
	}
	value, err := r.decoder.Decode(ctx, k.Value)
	if err != nil {
		return nil, fmt.Errorf("topic %s, partition %d, offset %d: %w", k.Topic, k.Partition, k.Offset, err)
	}
	rec.Value = value
	return rec, nil
}
