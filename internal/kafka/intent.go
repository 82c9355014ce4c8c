package kafka

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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
		b = appendText(append(b, flags), r.Topic)
		b = appendText(b, r.Type)
		b = appendText(b, r.Key)
		b = appendText(b, r.Value)
		b = binary.AppendVarint(b, r.Timestamp.UnixMilli())
		b = binary.AppendUvarint(b, uint64(len(r.Headers)))
		for _, h := range r.Headers {
			b = appendText(appendText(b, h.Key), h.Value)
		}
	}
	return b
}

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// ParseIntent reads what AppendBinary wrote, and refers to it.
func ParseIntent(b []byte) (Intent, error) {
	if len(b) == 0 || b[0] != intentVersion {
		return nil, errors.New("read records of a batch: they were written by another release; run that one once more, until it has ended in order")
	}
	b = b[1:]
	failed := false
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if failed = failed || n <= 0; failed {
			return 0
		}
		b = b[n:]
		return v
	}
	text := func() []byte {
		n := number()
		if failed = failed || n > uint64(len(b)); failed {
			return nil
		}
		out := b[:n:n]
		b = b[n:]
		return out
	}
	out := Intent{}
	for len(b) > 0 && !failed {
		flags := b[0]
		b = b[1:]
		r := Intended{Feed: flags&intentFeed != 0, Topic: string(text()), Type: events.Type(text()), Key: text(), Value: text()}
		if flags&intentTombstone != 0 {
			r.Value = nil
		}
		millis, n := binary.Varint(b)
		if failed = failed || n <= 0; failed {
			break
		}
		b = b[n:]
		r.Timestamp = time.UnixMilli(millis).UTC()
		for left := number(); left > 0 && !failed; left-- {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(text()), Value: text()})
		}
		out = append(out, r)
	}
	if failed {
		return nil, errors.New("read records of a batch: they are cut off")
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
