// Package feed reads a topic of the poller as a service in Go does: committed records only, each decoded into a struct by the schema that
// the record names, and offsets committed once the records were handled. The examples share it; copy it into a service of your own.
package feed

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// Config says what to read.
type Config struct {
	Brokers  []string
	Registry string // address of the schema registry
	Topic    string
	// Group is the consumer group whose offsets are committed. Without one, Read begins with the oldest record and commits nothing.
	Group string
}

// Read calls handle for each event of the topic, in the order of its partition, and waits for more until ctx ends; then it returns nil.
// T is a struct whose JSON tags name the fields that handle needs; a null becomes the zero value, a time takes a time.Time. An error of
// handle ends Read, before the offset of that event is committed: an event comes again if the process ends between handle and the commit.
func Read[T any](ctx context.Context, cfg Config, handle func(context.Context, T) error) error {
	registry, err := sr.NewClient(sr.URLs(cfg.Registry))
	if err != nil {
		return fmt.Errorf("use schema registry %s: %w", cfg.Registry, err)
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...), kgo.ConsumeTopics(cfg.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // not the default, and events are published in transactions
		kgo.FetchMaxWait(200 * time.Millisecond), kgo.MetadataMaxAge(5 * time.Second),
	}
	if cfg.Group != "" {
		opts = append(opts, kgo.ConsumerGroup(cfg.Group), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("build Kafka client: %w", err)
	}
	defer client.CloseAllowingRebalance()

	schemas := map[uint32]*avro.Schema{}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, kerr.UnknownTopicOrPartition) { // the poller may not have created it yet
				return fmt.Errorf("read topic %s: %w", failed.Topic, failed.Err)
			}
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			var event T
			err := decode(ctx, registry, schemas, r.Value, &event)
			if err == nil {
				err = handle(ctx, event)
			}
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("event at offset %d of partition %d of %s: %w", r.Offset, r.Partition, r.Topic, err)
			}
		}
		if cfg.Group == "" {
			continue
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("commit offsets of group %s: %w", cfg.Group, err)
		}
		client.AllowRebalance()
	}
}

// decode reads a value in Confluent's wire format: a zero, the schema's id in four bytes, and the Avro body.
func decode(ctx context.Context, registry *sr.Client, schemas map[uint32]*avro.Schema, value []byte, event any) error {
	if len(value) < 5 || value[0] != 0 {
		return errors.New("the value is not in Confluent's wire format: does the poller use a schema registry?")
	}
	id := binary.BigEndian.Uint32(value[1:5])
	schema := schemas[id]
	if schema == nil {
		text, err := registry.SchemaByID(ctx, int(id))
		if err != nil {
			return fmt.Errorf("get schema %d: %w", id, err)
		}
		if schema, err = avro.Parse(text.Schema); err != nil {
			return fmt.Errorf("parse schema %d: %w", id, err)
		}
		schemas[id] = schema
	}
	// By way of JSON, since the struct has only some of the fields.
	var fields map[string]any
	_, err := schema.Decode(value[5:], &fields)
	if err != nil {
		return fmt.Errorf("decode by schema %d: %w", id, err)
	}
	text, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(text, event)
	}
	if err != nil {
		return fmt.Errorf("fill a struct with the fields of schema %d: %w", id, err)
	}
	return nil
}
