package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// maxRaw bounds what a dead letter quotes.
const maxRaw = 256 << 10

// RawHash returns the hash of a dead letter's raw bytes, all of them, as raw_hash has it.
func RawHash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// deadLetter adds a dead letter. Its raw bytes are given whole; they are cut here.
func (w *writer) deadLetter(d *events.DeadLetter) {
	l, err := w.Encoder.deadLetter(*d)
	if err != nil {
		// Nothing is left to say about it but this.
		l, _ = w.Encoder.deadLetter(events.DeadLetter{
			Stage: "encode", Reason: err.Error(), Endpoint: d.Endpoint, Source: d.Source, AccountID: d.AccountID,
			RawHash: d.RawHash, ObservedTime: d.ObservedTime,
		})
	}
	w.out.add(l)
}

func (e *Encoder) deadLetter(d events.DeadLetter) (*letter, error) {
	if d.RawHash == "" {
		d.RawHash = RawHash(d.Raw)
	}
	if limit := min(maxRaw, e.maxBytes/2); len(d.Raw) > limit {
		d.Raw, d.RawTruncated = d.Raw[:limit:limit], true
	}
	key := d.RawHash
	if d.ConversationID != nil && *d.ConversationID != "" {
		key = *d.ConversationID
	}
	value, err := d.AppendAvro(append([]byte(nil), e.dead.prefix...))
	if err != nil {
		return nil, fmt.Errorf("encode dead letter: %w", err)
	}
	l := &letter{dead: &d, record: kgo.Record{
		Topic: e.dead.topic, Key: []byte(key), Value: value, Timestamp: d.ObservedTime,
	}}
	l.size = sizeOf(&l.record)
	return l, nil
}

// undeliverable makes a dead letter of an event. Raw is its record's value, nil if there is none: then the event is quoted
// as JSON.
func (w *writer) undeliverable(o *Outgoing, stage, reason string, raw []byte) {
	if raw == nil {
		raw, _ = json.Marshal(o.Event)
	}
	d := letterOf(o, stage, reason, raw)
	w.deadLetter(&d)
}

func letterOf(o *Outgoing, stage, reason string, raw []byte) events.DeadLetter {
	h := o.Event.Head()
	typ := string(o.Event.EventType())
	return events.DeadLetter{
		Stage: stage, Reason: reason, Endpoint: h.Endpoint, Source: h.Source, AccountID: h.AccountID,
		BotID: h.BotID, ConversationID: h.ConversationID, SessionID: h.SessionID, SegmentID: h.SegmentID,
		EventType: &typ, EntityID: &h.EntityID, Raw: raw, ObservedTime: h.ObservedTime,
	}
}

// refusedLetter makes a dead letter of a record that the broker has refused.
func (e *Encoder) refusedLetter(l *letter, refusal error) (*letter, error) {
	if l.event == nil {
		return nil, fmt.Errorf("topic %s refuses what every topic of ours must take: %w; check its max.message.bytes and message.timestamp settings", l.record.Topic, refusal)
	}
	return e.deadLetter(letterOf(l.event, "publish", fmt.Sprintf("topic %s refuses the record: %v", l.record.Topic, refusal), l.record.Value))
}
