// Package kafkaread reads topics back the way a consumer of ours would: read_committed, values decoded by the schema that
// they name, with an Avro implementation that has nothing in common with the one that wrote them.
//
// A reader reads to what is the end when it is called, for audits and tests, or follows the topics as they grow, for people.
package kafkaread

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
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
	since   time.Time
}

// NewReader returns a reader. The options say where Kafka is.
func NewReader(decoder *Decoder, client ...kgo.Opt) *Reader {
	return &Reader{client: client, decoder: decoder}
}

// Since returns a reader that begins, in each partition, with the first record whose timestamp is not before t.
func (r *Reader) Since(t time.Time) *Reader {
	since := *r
	since.since = t
	return &since
}

// begin is the offset to begin with.
func (r *Reader) begin() kgo.Offset {
	if r.since.IsZero() {
		return kgo.NewOffset().AtStart()
	}
	return kgo.NewOffset().AfterMilli(r.since.UnixMilli())
}

// Follow calls fn for every record of the topics, as they come, ordered within each partition. It waits for topics that do not exist
// yet. It returns nil when ctx ends, and stops at the first error.
func (r *Reader) Follow(ctx context.Context, fn func(*Record) error, topics ...string) error {
	client, err := kgo.NewClient(append(r.client[:len(r.client):len(r.client)], kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(r.begin()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(followWait), kgo.MetadataMaxAge(followTopics))...)
	if err != nil {
		return fmt.Errorf("build Kafka client: %w", err)
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, kerr.UnknownTopicOrPartition) {
				return fmt.Errorf("read topic %s: %w", failed.Topic, failed.Err)
			}
		}
		for records := fetches.RecordIter(); !records.Done(); {
			rec, err := r.record(ctx, records.Next())
			if err == nil {
				err = fn(rec)
			}
			if err != nil {
				return err
			}
		}
	}
}

const (
	// followWait is how long a broker holds back an answer for more records: people watch.
	followWait = 200 * time.Millisecond
	// followTopics is how soon a topic that is created meanwhile is found.
	followTopics = time.Second
)

// Topics returns the names of the topics that exist and begin with a prefix.
func (r *Reader) Topics(ctx context.Context, prefix string) ([]string, error) {
	client, err := kgo.NewClient(r.client...)
	if err != nil {
		return nil, fmt.Errorf("build Kafka client: %w", err)
	}
	defer client.Close()
	all, err := kadm.NewClient(client).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	return slices.DeleteFunc(all.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
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
// first error. What Kafka deletes before it is read is passed over.
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
	admin := kadm.NewClient(client)
	ends, err := admin.ListCommittedOffsets(ctx, topics...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	starts, err := r.starts(ctx, admin, topics)
	if err != nil {
		return err
	}
	left := map[partition]span{}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition) // 0 if nothing was asked for
		if start.Offset < end.Offset {
			left[partition{end.Topic, end.Partition}] = span{next: start.Offset, to: end.Offset}
		}
	})
	for {
		err := r.read(ctx, opts, left, fn)
		if !errors.Is(err, kerr.OffsetOutOfRange) {
			return err
		}
		gone, listed := passOver(ctx, admin, topics, left)
		switch {
		case listed != nil:
			return listed
		case !gone:
			return err
		}
	}
}

// starts returns the offsets to begin with; none if that is the start of each topic.
func (r *Reader) starts(ctx context.Context, admin *kadm.Client, topics []string) (kadm.ListedOffsets, error) {
	if r.since.IsZero() {
		return nil, nil
	}
	starts, err := admin.ListOffsetsAfterMilli(ctx, r.since.UnixMilli(), topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, fmt.Errorf("list offsets after %s: %w", r.since.Format(time.RFC3339), err)
	}
	return starts, nil
}

// passOver takes from what is left what Kafka has deleted, and says whether there was any.
func passOver(ctx context.Context, admin *kadm.Client, topics []string, left map[partition]span) (bool, error) {
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return false, fmt.Errorf("list start offsets: %w", err)
	}
	gone := false
	for p, s := range left {
		start, _ := starts.Lookup(p.topic, p.number)
		if start.Offset <= s.next {
			continue
		}
		gone = true
		if s.next = start.Offset; s.next >= s.to {
			delete(left, p)
			continue
		}
		left[p] = s
	}
	return gone, nil
}

type partition struct {
	topic  string
	number int32
}

// span is what is yet to be read of a partition: from one offset to before another.
type span struct{ next, to int64 }

// read reads what is left, and takes from it what it has read. It ends with kerr.OffsetOutOfRange if Kafka has deleted some.
func (r *Reader) read(ctx context.Context, opts []kgo.Opt, left map[partition]span, fn func(*Record) error) error {
	offsets := map[string]map[int32]kgo.Offset{}
	for p, s := range left {
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.Offset{}
		}
		offsets[p.topic][p.number] = kgo.NewOffset().At(s.next)
	}
	client, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.ConsumePartitions(offsets), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return fmt.Errorf("build Kafka client: %w", err)
	}
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		var failed error
		fetches.EachRecord(func(k *kgo.Record) {
			p := partition{k.Topic, k.Partition}
			s, open := left[p]
			if failed != nil || !open || k.Offset >= s.to {
				return
			}
			s.next = k.Offset + 1
			if left[p] = s; s.next == s.to {
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
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read topics: %w", err)
		}
	}
	return nil
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
