package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// EntityID names one thing upstream, whatever version of it: 32 hex digits over the ids of account and bot, the type and
// the parts that identify it. The parts are told apart by their lengths, so that ("ab", "c") and ("a", "bc") differ.
// Names that a configuration chose must not enter.
func EntityID(account, bot string, t Type, parts ...string) string {
	var space [512]byte
	b := appendPart(space[:0], account)
	b = appendPart(b, bot)
	b = appendPart(b, string(t))
	for _, p := range parts {
		b = appendPart(b, p)
	}
	return digest(b)
}

// EventID names one published version of an entity: 32 hex digits over the entity, its revision and its content. The
// same version published again has the same id; up, down, up again has three.
func EventID(entityID string, revision int64, content []byte) string {
	buf := contentBuffers.Get().(*[]byte)
	defer contentBuffers.Put(buf)
	*buf = append(binary.AppendVarint(appendPart((*buf)[:0], entityID), revision), content...)
	return digest(*buf)
}

func appendPart(b []byte, part string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Key is the Kafka key of an event: its conversation, else its session, else its segment. Empty if it has none of them, in
// which case it cannot be published.
func Key(h *Header) string {
	for _, id := range []*string{h.ConversationID, h.SessionID, h.SegmentID} {
		if !blank(id) {
			return *id
		}
	}
	return ""
}

// The values of Feedback.Sentiment.
const (
	SentimentPositive = "POSITIVE"
	SentimentNegative = "NEGATIVE"
	SentimentNeutral  = "NEUTRAL"
	SentimentUnknown  = "UNKNOWN"
	// SentimentWithdrawn is that of feedback that was taken back.
	SentimentWithdrawn = "WITHDRAWN"
)

// Withdrawn reports whether e says that there is no feedback, or none any more.
func Withdrawn(e Event) bool {
	f, ok := e.(*Feedback)
	return ok && f.Sentiment == SentimentWithdrawn
}

// Negative reports whether e is negative feedback.
func Negative(e Event) bool {
	f, ok := e.(*Feedback)
	return ok && f.Sentiment == SentimentNegative
}
