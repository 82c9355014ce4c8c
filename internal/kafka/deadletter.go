package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
)

// StagePublish is the stage of dead letters of what Kafka does not take.
const StagePublish = "publish"

// RawHash returns the hash of a dead letter's raw bytes, all of them, as raw_hash has it.
func RawHash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// deadLetter adds a dead letter. The caller gives all raw bytes; deadLetter shortens them.
func (w *writer) deadLetter(d *events.DeadLetter) {
	w.out.add(w.Encoder.deadLetter(*d, w.room(w.dead)))
}

// deadLetter makes the record of a dead letter of at most so many bytes, as far as that is possible: the ids and the reason are cut,
// and then the quotation is.
func (e *Encoder) deadLetter(d events.DeadLetter, most int) *letter {
	if d.RawHash == "" {
		d.RawHash = RawHash(d.RawBytes)
	}
	raw := d.RawBytes
	texts := min(bound.ID, max(most/32, leastText)) // there are eleven of them, one twice
	key := d.RawHash
	if id := d.ConversationID; id != nil && *id != "" && len(*id) <= texts {
		key = *id
	}
	d.Reason = bound.Cut(d.Reason, min(bound.Reason, max(most/8, leastText)))
	for _, text := range []*string{&d.Stage, &d.Endpoint, &d.Source, &d.AccountID, &d.RawHash} {
		*text = bound.Cut(*text, texts)
	}
	for _, id := range []**string{&d.BotID, &d.ConversationID, &d.SessionID, &d.SegmentID, &d.EventType, &d.EntityID} {
		if *id != nil && len(**id) > texts {
			cut := bound.Cut(**id, texts)
			*id = &cut
		}
	}
	encode := func() *letter {
		value, err := d.AppendAvro(append([]byte(nil), e.dead.prefix...))
		if err != nil { // of what it is about, nothing can be said but this
			d = events.DeadLetter{
				Stage: "encode", Reason: bound.Cut("encode dead letter: "+err.Error(), texts), Endpoint: d.Endpoint, Source: d.Source,
				AccountID: d.AccountID, RawHash: d.RawHash, ObservedTime: d.ObservedTime,
			}
			value, _ = d.AppendAvro(append([]byte(nil), e.dead.prefix...))
		}
		l := &letter{kind: deadLetter, dead: &d, record: kgo.Record{
			Topic: e.dead.topic, Key: []byte(key), Value: value, Timestamp: d.ObservedTime,
		}}
		l.size = sizeOf(&l.record)
		return l
	}
	d.RawBytes = nil
	room := min(bound.DeadRaw, most/2, most-encode().size)
	if d.RawBytes = raw; len(raw) > room {
		room = max(room, 0)
		d.RawBytes, d.RawTruncated = raw[:room:room], true
	}
	return encode()
}

// leastText is how much of an id or a reason is kept in the smallest of dead letters: a hash, whole.
const leastText = 64

// undeliverable makes a dead letter of an event. Raw is its record's value, nil if there is none: then the event is quoted
// as JSON.
func (w *writer) undeliverable(o *Outgoing, stage, reason string, raw []byte) {
	d := DeadLetterOf(*o, stage, reason)
	if raw != nil {
		d = letterOf(o, stage, reason, raw)
	}
	l := w.Encoder.deadLetter(d, w.room(w.dead))
	l.instead = true
	w.out.add(l)
}

// DeadLetterOf makes a dead letter of an event that is not to be published. It quotes the event as JSON, without what differs each time
// that it is read.
func DeadLetterOf(o Outgoing, stage, reason string) events.DeadLetter {
	raw, _ := json.Marshal(o.Event) // else nothing is quoted
	return letterOf(&o, stage, reason, raw)
}

func letterOf(o *Outgoing, stage, reason string, raw []byte) events.DeadLetter {
	h := o.Event.Head()
	typ := string(o.Event.EventType())
	return events.DeadLetter{
		Stage: stage, Reason: reason, Endpoint: h.Endpoint, Source: h.Source, AccountID: h.AccountID,
		BotID: h.BotID, ConversationID: h.ConversationID, SessionID: h.SessionID, SegmentID: h.SegmentID,
		EventType: &typ, EntityID: &h.EntityID, RawBytes: raw, ObservedTime: h.ObservedTime,
	}
}

// instead makes what is sent in place of a record that the broker has refused: a dead letter of an event, a smaller one of a dead
// letter. It returns nil if there is nothing.
func (e *Encoder) instead(l *letter) *letter {
	most := e.limits.record(e.dead.topic)
	switch {
	case l.event != nil:
		reason := fmt.Sprintf("topic %s refuses the record: %v", l.record.Topic, l.err)
		if taken := e.limits.taken(l.record.Topic); taken > 0 {
			reason += fmt.Sprintf("; the record has %d bytes, and %s of the topic is %d", l.size, maxMessageBytes, taken)
		}
		dead := e.deadLetter(letterOf(l.event, StagePublish, reason, l.record.Value), most)
		dead.instead = true
		return dead
	case l.kind == deadLetter && len(l.dead.RawBytes) > 0:
		if most >= l.size { // so that its size is not known to be what is wrong
			most = l.size / 4
		}
		dead := e.deadLetter(*l.dead, most)
		dead.instead = l.instead
		return dead
	}
	return nil
}
