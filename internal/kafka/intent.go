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

// An Intent is the write-ahead record of a batch: the records that are about to be sent, except for watermarks. The caller stores it
// before the batch is sent. Sent again, the records are the same to the byte.
//
// Its binary form:
//
//	+---------+--------+----
//	| version | record | ...              to the end of the input
//	+---------+--------+----
//	   byte
//
// A record:
//
//	+-------+-------+------+-----+-------+-----------+-------+-----+-------+----
//	| flags | topic | type | key | value | timestamp | count | key | value | ...      count headers
//	+-------+-------+------+-----+-------+-----------+-------+-----+-------+----
//	  byte    bytes  bytes  bytes  bytes    varint    uvarint bytes  bytes
//
//	version    1
//	flags      1: the record moves the offsets of the batch's first feed; 2: it is a tombstone
//	topic      without the prefix of topics
//	type       of the event in the record, empty if there is none
//	bytes      length, as an uvarint, and as many bytes (see package binform)
//	timestamp  milliseconds since 1970; -62135596800000, the zero time, if the record gets its timestamp when it is sent
//
// A reader refuses another version. The release that wrote the intent must then finish the batch.
type Intent []Intended

// Intended is one record of an Intent.
type Intended struct {
	Topic      string      // without the prefix
	Type       events.Type // of the event in the record; empty if there is none
	Feed       bool        // the record moves the offsets of the batch's first feed
	Key, Value []byte      // a nil value is a tombstone
	Timestamp  time.Time   // zero: the time at which the record is sent
	Headers    []kgo.RecordHeader
}

// intent returns the records that the outbox is about to send.
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

const intentVersion = 1

// The flags of a record.
const (
	intentFeed = 1 << iota
	intentTombstone
)

// AppendBinary appends the binary form of the intent, which ParseIntent reads.
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

// ParseIntent reads the binary form of an intent. The result refers to b.
func ParseIntent(b []byte) (Intent, error) {
	r := binform.NewReader(b)
	if r.Byte() != intentVersion {
		return nil, errors.New("read intent: another release wrote it; run that release once more and stop it, and it finishes the batch")
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
		return nil, fmt.Errorf("read intent: %w", err)
	}
	return out, nil
}

// again returns the outbox of the batch of an intent. It leaves out records for topics that are no longer configured.
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
		if value := events.New(r.Type); value != nil {
			// Another release may have written the value. If it cannot be decoded, only a dead letter about it will say less.
			_ = events.DecodeAvro(r.Type, body(r.Value), value)
			l.kind, l.event = copyLetter, &Outgoing{Event: value}
			if name == e.topics.Event(r.Type) {
				l.kind = eventLetter
			}
		}
		o.add(l)
	}
	return o
}
