package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// Schemas say what the values of each topic begin with: the id of the schema in the registry, or its fingerprint.
type Schemas struct {
	prefix map[string][]byte // by topic
	ref    map[string]string // by topic: the address of its schema, relative to the configured one
	ids    map[string]int    // by topic: the id in the registry; empty without one
}

// ResolveSchemas asks the registry for the schema ids of all topics. Without a registry, values are in single-object encoding.
func ResolveSchemas(ctx context.Context, r *Registry, t *Topics) (*Schemas, error) {
	s := &Schemas{prefix: map[string][]byte{}, ref: map[string]string{}, ids: map[string]int{}}
	for _, spec := range t.specs {
		typ := spec.valueType()
		if typ == "" {
			continue
		}
		if r == nil {
			print := events.Fingerprint(typ)
			s.prefix[spec.name] = append([]byte{0xC3, 0x01}, print[:]...)
			s.ref[spec.name] = "/" + hex.EncodeToString(print[:])
			continue
		}
		id, err := r.Resolve(ctx, spec.name, events.Schema(typ))
		if err != nil {
			return nil, err
		}
		s.ids[spec.name] = id
		s.prefix[spec.name] = binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
		s.ref[spec.name] = fmt.Sprintf("/schemas/ids/%d", id)
	}
	return s, nil
}

// An Encoder turns batches into records. It does no I/O and is safe for concurrent use.
type Encoder struct {
	topics   *Topics
	observed bool // records carry the time of reading
	limits   *limits
	traced   bool // events name the trace span that they were published in
	types    map[events.Type]*route
	dead     *topicCodec
	marks    *topicCodec
}

// A route says to which topics events of a type go.
type route struct {
	main     *topicCodec
	negative *topicCodec // feedback only
	latest   *topicCodec // nil unless configured
}

// A topicCodec holds what all records of a topic have in common.
type topicCodec struct {
	topic   string
	prefix  []byte
	headers *constantHeaders // nil: no headers
}

// NewEncoder returns an encoder for topics and schemas as they were found at start.
func NewEncoder(c Config, t *Topics, s *Schemas) *Encoder { return newEncoder(c, t, s, newLimits(c)) }

func newEncoder(c Config, t *Topics, s *Schemas, l *limits) *Encoder {
	e := &Encoder{
		topics: t, observed: c.Timestamp == TimestampObserved, traced: c.Traceparent, limits: l, types: map[events.Type]*route{},
	}
	for _, topic := range t.byName {
		l.note(topic.Name, topic.MaxMessageBytes)
	}
	codec := func(name string, typ events.Type) *topicCodec {
		tc := &topicCodec{topic: name, prefix: s.prefix[name]}
		if c.Headers && typ != "" {
			tc.headers = newConstantHeaders(typ, c.DataSchema, s.ref[name])
		}
		return tc
	}
	for _, spec := range t.specs {
		typ := spec.valueType()
		if e.types[typ] == nil {
			e.types[typ] = &route{}
		}
		switch {
		case spec.suffix == suffixNegative:
			e.types[typ].negative = codec(spec.name, typ)
		case spec.kind == kindLatest:
			e.types[typ].latest = codec(spec.name, typ)
		case spec.kind == kindEvents:
			e.types[typ].main = codec(spec.name, typ)
		}
	}
	e.marks, e.dead = codec(t.Watermark(), ""), codec(t.DeadLetter(), "")
	return e
}

// batch encodes everything but the watermarks, whose offsets are not known yet. It cannot fail: an event that cannot be encoded
// becomes a dead letter. The value of the header ce_traceparent is used where that is switched on; nil for none.
func (e *Encoder) batch(b *Batch, traceparent []byte) *outbox {
	if b.Again != nil {
		return e.again(b)
	}
	w := &writer{
		Encoder: e, out: &outbox{letters: make([]*letter, 0, len(b.Events)+len(b.Dead))}, arena: newArena(len(b.Events)),
		letters: make([]letter, len(b.Events)), rooms: map[*topicCodec]int{},
	}
	if e.traced {
		w.traceparent = traceparent
	}
	for i := range b.Events {
		w.event(&b.Events[i])
	}
	for i := range b.Dead {
		w.deadLetter(&b.Dead[i])
	}
	for _, t := range b.Tombstones {
		w.out.add(&letter{record: kgo.Record{Topic: t.Topic, Key: []byte(t.Key)}})
	}
	for _, r := range b.Control {
		w.out.add(&letter{record: kgo.Record{Topic: e.topics.Control(), Key: r.Key, Value: r.Value}})
	}
	return w.out
}

// A writer encodes one batch.
type writer struct {
	*Encoder
	out     *outbox
	arena   arena
	headers headerArena
	letters []letter            // one for each event, not used yet
	rooms   map[*topicCodec]int // how many bytes a record may have
	// traceparent is the value of that header; nil for none.
	traceparent []byte
}

// room returns how many bytes a record for a topic may have. For the whole batch it is the same.
func (w *writer) room(to *topicCodec) int {
	room, ok := w.rooms[to]
	if !ok {
		room = w.limits.record(to.topic)
		w.rooms[to] = room
	}
	return room
}

// tooLarge returns why a record is too large for a topic, empty if it is not.
func (w *writer) tooLarge(size int, to *topicCodec) string {
	room := w.room(to)
	switch {
	case size <= room:
		return ""
	case w.limits.taken(to.topic) > 0:
		return fmt.Sprintf("a record of %d bytes is larger than the %s %d of topic %s, less %d", size, maxMessageBytes, room+batchOverhead, to.topic, batchOverhead)
	}
	return fmt.Sprintf("a record of %d bytes is larger than kafka.max_record_bytes %d", size, room)
}

// event adds the record of an event, and its copies on other topics.
func (w *writer) event(o *Outgoing) {
	r := w.types[o.Event.EventType()]
	switch {
	case r == nil || r.main == nil:
		w.undeliverable(o, "encode", "the event type is switched off", nil)
		return
	case o.Key == "":
		w.undeliverable(o, "encode", "there is no conversation, session or segment to make a key of", nil)
		return
	}
	body, err := w.arena.encode(func(dst []byte) ([]byte, error) {
		return events.AppendAvro(append(dst, r.main.prefix...), o.Event)
	})
	if err != nil {
		w.undeliverable(o, "encode", err.Error(), nil)
		return
	}
	h := o.Event.Head()
	l := &w.letters[0]
	w.letters = w.letters[1:]
	*l = letter{kind: eventLetter, event: o, feed: true}
	l.record = kgo.Record{
		Topic: r.main.topic, Key: w.arena.text(o.Key), Value: body, Timestamp: h.EventTime,
		Headers: w.eventHeaders(r.main.headers, o.Event),
	}
	if w.observed {
		l.record.Timestamp = h.ObservedTime
	}
	l.size = sizeOf(&l.record)
	if reason := w.tooLarge(l.size, r.main); reason != "" {
		w.undeliverable(o, StagePublish, reason, body)
		return
	}
	w.out.add(l)
	refused := "" // why a copy is not sent
	if o.Negative && r.negative != nil {
		refused = w.addCopy(w.copy(l, r.main, r.negative), r.negative)
	}
	if r.latest != nil {
		refused = cmp.Or(refused, w.addCopy(w.latest(l, r), r.latest))
	}
	if refused != "" {
		w.undeliverable(o, StagePublish, refused, body)
	}
}

// TooLarge returns why an event is too large to be published, empty if it is not.
func (e *Encoder) TooLarge(o Outgoing) string {
	w := &writer{Encoder: e, out: &outbox{}, arena: newArena(1), letters: make([]letter, 1), rooms: map[*topicCodec]int{}}
	if e.traced {
		w.traceparent = anyTraceparent
	}
	w.event(&o)
	if dead := w.out.letters[0].dead; dead != nil && dead.Stage == StagePublish {
		return dead.Reason
	}
	return ""
}

// copy returns the same record for another topic.
func (w *writer) copy(l *letter, from, to *topicCodec) *letter {
	c := &letter{kind: copyLetter, record: l.record, event: l.event, size: l.size, feed: l.feed}
	c.record.Topic = to.topic
	c.record.Value = w.withPrefix(l.record.Value, from, to)
	return c
}

// addCopy adds a copy, or returns why it is too large.
func (w *writer) addCopy(c *letter, to *topicCodec) (reason string) {
	if reason = w.tooLarge(c.size, to); reason == "" {
		w.out.add(c)
	}
	return reason
}

// latest returns the record for the compacted topic: keyed by entity, and a tombstone once another entity has taken over.
// It is no feed: what watermarks speak about are the events.
func (w *writer) latest(l *letter, r *route) *letter {
	h := l.event.Event.Head()
	c := w.copy(l, r.main, r.latest)
	c.feed = false
	c.record.Key = w.arena.text(h.EntityID)
	if h.SupersededBy != nil {
		c.record.Value, c.record.Headers = nil, nil
	}
	c.size = sizeOf(&c.record)
	return c
}

func (w *writer) withPrefix(value []byte, from, to *topicCodec) []byte {
	if string(from.prefix) == string(to.prefix) {
		return value
	}
	out, _ := w.arena.encode(func(dst []byte) ([]byte, error) {
		return append(append(dst, to.prefix...), value[len(from.prefix):]...), nil
	})
	return out
}

// body returns a value without the prefix that names its schema, nil if it is too short to have one.
func body(value []byte) []byte {
	const confluent, singleObject = 5, 10
	skip := confluent
	if len(value) > 0 && value[0] == 0xC3 {
		skip = singleObject
	}
	if len(value) < skip {
		return nil
	}
	return value[skip:]
}

// watermark encodes a watermark.
func (e *Encoder) watermark(m *events.Watermark) (*letter, error) {
	value, err := m.AppendAvro(append([]byte(nil), e.marks.prefix...))
	if err != nil {
		return nil, fmt.Errorf("encode watermark of %s: %w", WatermarkKey(m), err)
	}
	l := &letter{kind: watermarkLetter, record: kgo.Record{
		Topic: e.marks.topic, Key: []byte(WatermarkKey(m)), Value: value, Timestamp: m.PublishedTime,
	}}
	l.size = sizeOf(&l.record)
	return l, nil
}

// WatermarkKey returns the key of a watermark's record: source, bot and endpoint, with - in place of the bot for a whole account.
func WatermarkKey(m *events.Watermark) string {
	bot := "-"
	if m.BotID != nil {
		bot = *m.BotID
	}
	return m.Source + "/" + bot + "/" + m.Endpoint
}

// sizeOf returns an upper bound of the bytes that a record takes in a batch before compression.
func sizeOf(r *kgo.Record) int {
	const record, header = 64, 10
	n := record + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += header + len(h.Key) + len(h.Value)
	}
	return n
}

// valueType returns the type whose schema the topic's values have; empty for topics that are not Avro.
func (s topicSpec) valueType() events.Type {
	switch s.suffix {
	case suffixNegative:
		return events.TypeFeedback
	case suffixWatermark:
		return events.TypeWatermark
	case suffixDeadLetter:
		return events.TypeDeadLetter
	case suffixControl, suffixCheckpoint:
		return ""
	}
	if s.kind == kindLatest {
		return events.Type(s.suffix[:len(s.suffix)-len(suffixLatest)])
	}
	return events.Type(s.suffix)
}

// An arena holds the bytes of one batch in a few pieces. Bytes that it has returned are never moved.
type arena struct {
	free []byte // empty, with room
	next int    // size of the next piece
}

func newArena(events int) arena { return arena{next: min(max(events<<10, 4<<10), 256<<10)} }

// encode has fn append to an empty slice, and keeps the bytes that fn returns.
func (a *arena) encode(fn func(dst []byte) ([]byte, error)) ([]byte, error) {
	if cap(a.free) < a.next/8 {
		a.free = make([]byte, 0, a.next)
	}
	out, err := fn(a.free)
	if err != nil {
		return nil, err
	}
	if len(out) <= cap(a.free) {
		a.free = a.free[len(out):len(out):cap(a.free)]
	}
	return out[:len(out):len(out)], nil
}

func (a *arena) text(s string) []byte {
	out, _ := a.encode(func(dst []byte) ([]byte, error) { return append(dst, s...), nil })
	return out
}
