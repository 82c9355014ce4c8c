package kafkaread

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"agentassist-poller/internal/events"
)

// A Decoder decodes values in Confluent's wire format and in Avro's single-object encoding, by the schema that the bytes
// name. It is safe for concurrent use.
type Decoder struct {
	registry *sr.Client // nil: single-object encoding only

	mu            sync.Mutex
	byID          map[uint32]*avro.Schema
	byFingerprint map[[8]byte]*avro.Schema
}

// NewDecoder returns a decoder that asks this registry for schemas. Without a registry it knows the schemas of this build.
func NewDecoder(registry *sr.Client) *Decoder {
	return &Decoder{registry: registry, byID: map[uint32]*avro.Schema{}}
}

// Decode returns the fields of a value by name. Unions come as their value.
func (d *Decoder) Decode(ctx context.Context, value []byte) (map[string]any, error) {
	schema, body, err := d.schema(ctx, value)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	rest, err := schema.Decode(body, &fields)
	if err != nil {
		return nil, fmt.Errorf("decode value: %w", err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("decode value: %d bytes left over", len(rest))
	}
	return fields, nil
}

func (d *Decoder) schema(ctx context.Context, value []byte) (*avro.Schema, []byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(value) >= 5 && value[0] == 0:
		schema, err := d.registered(ctx, binary.BigEndian.Uint32(value[1:5]))
		return schema, value[5:], err
	case len(value) >= 10 && value[0] == 0xC3:
		print, body, err := avro.SingleObjectFingerprint(value)
		if err != nil {
			return nil, nil, err
		}
		schema, err := d.known(print)
		return schema, body, err
	}
	return nil, nil, errors.New("decode value: neither in Confluent's wire format nor in single-object encoding")
}

func (d *Decoder) registered(ctx context.Context, id uint32) (*avro.Schema, error) {
	if s := d.byID[id]; s != nil {
		return s, nil
	}
	if d.registry == nil {
		return nil, fmt.Errorf("decode value: it names schema %d, and there is no registry to ask", id)
	}
	text, err := d.registry.SchemaByID(ctx, int(id))
	if err != nil {
		return nil, fmt.Errorf("get schema %d: %w", id, err)
	}
	s, err := avro.Parse(text.Schema)
	if err != nil {
		return nil, fmt.Errorf("parse schema %d: %w", id, err)
	}
	d.byID[id] = s
	return s, nil
}

func (d *Decoder) known(print [8]byte) (*avro.Schema, error) {
	if d.byFingerprint == nil {
		d.byFingerprint = map[[8]byte]*avro.Schema{}
		for _, t := range append(events.Types(), events.TypeWatermark, events.TypeDeadLetter) {
			s, err := avro.Parse(events.Schema(t))
			if err != nil {
				return nil, fmt.Errorf("parse schema of %s: %w", t, err)
			}
			var own [8]byte
			binary.LittleEndian.PutUint64(own[:], binary.BigEndian.Uint64(s.Fingerprint(avro.NewRabin())))
			d.byFingerprint[own] = s
		}
	}
	s := d.byFingerprint[print]
	if s == nil {
		return nil, fmt.Errorf("decode value: no schema has fingerprint %x", print)
	}
	return s, nil
}
