package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/events"
)

// An Intent is what is about to be sent of a batch, for the caller to write down: its records, but for those of the watermarks.
// Sent again, they are the same to the byte.
type Intent []Intended

// Intended is one record of an Intent.
type Intended struct {
	Topic      string      // without the prefix
	Type       events.Type // of the event that it carries; empty for none
	Feed       bool        // it moves the offsets of the batch's first feed
	Key, Value []byte      // a nil value is a tombstone
	Timestamp  time.Time   // zero: when it is sent
	Headers    []kgo.RecordHeader
}

// intent returns what the outbox is about to send.
func (e *Encoder) intent(o *outbox) Intent {
	out := make(Intent, 0, len(o.letters))
	for _, l := range o.letters {
		r := Intended{
			Topic: strings.TrimPrefix(l.record.Topic, e.topics.of("")), Feed: l.feed,
			Key: l.record.Key, Value: l.record.Value, Timestamp: l.record.Timestamp, Headers: l.record.Headers,
		}
		if l.event != nil {
			r.Type = l.event.Event.EventType()
		}
		out = append(out, r)
	}
	return out
}

// intentVersion leads the binary form.
const intentVersion = 1

// What the first byte of a record tells.
const (
	intentFeed = 1 << iota
	intentTombstone
)

// AppendBinary appends what ParseIntent reads.
func (i Intent) AppendBinary(b []byte) []byte {
	const lengths = 32 // of a record's parts
	size := 1
	for k := range i {
		size += lengths + len(i[k].Topic) + len(i[k].Key) + len(i[k].Value)
		for _, h := range i[k].Headers {
			size += lengths/8 + len(h.Key) + len(h.Value)
		}
	}
	b = append(slices.Grow(b, size), intentVersion)
	for k := range i {
		r := &i[k]
		flags := byte(0)
		if r.Feed {
			flags |= intentFeed
		}
		if r.Value == nil {
			flags |= intentTombstone
		}
		b = binform.AppendBytes(append(b, flags), r.Topic)
		b = binform.AppendBytes(b, r.Type)
		b = binform.AppendBytes(b, r.Key)
		b = binform.AppendBytes(b, r.Value)
		b = binary.AppendVarint(b, r.Timestamp.UnixMilli())
		b = binary.AppendUvarint(b, uint64(len(r.Headers)))
		for _, h := range r.Headers {
			b = binform.AppendBytes(binform.AppendBytes(b, h.Key), h.Value)
		}
	}
	return b
}

// ParseIntent reads what AppendBinary wrote, and refers to it.
func ParseIntent(b []byte) (Intent, error) {
	r := binform.NewReader(b)
	if r.Byte() != intentVersion {
		return nil, errors.New("read records of a batch: they were written by another release; run that one once more, until it has ended in order")
	}
	out := Intent{}
	for r.More() {
		flags := r.Byte()
		record := Intended{
			Feed: flags&intentFeed != 0, Topic: string(r.Bytes()), Type: events.Type(r.Bytes()), Key: r.Bytes(), Value: r.Bytes(),
			Timestamp: time.UnixMilli(r.Varint()).UTC(),
		}
		if flags&intentTombstone != 0 {
			record.Value = nil
		}
		for range r.Count(2) {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: string(r.Bytes()), Value: r.Bytes()})
		}
		out = append(out, record)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read records of a batch: %w", err)
	}
	return out, nil
}

// again makes the outbox of a batch that was intended. Records for topics that are not written to any more are left out.
func (e *Encoder) again(b *Batch) *outbox {
	o := &outbox{}
	for _, r := range b.Again {
		name := e.topics.of(r.Topic)
		if e.topics.Partitions(name) == 0 {
			continue
		}
		l := &letter{record: kgo.Record{Topic: name, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}}
		l.size = sizeOf(&l.record)
		l.feed = r.Feed
		if event := events.New(r.Type); event != nil {
			// Another release may have written it: what cannot be decoded lacks only what a dead letter would say of it.
			_ = events.DecodeAvro(r.Type, body(r.Value), event)
			l.event = &Outgoing{Event: event}
			if name == e.topics.Event(r.Type) {
				l.typ = r.Type
			}
		}
		o.add(l)
	}
	return o
}
