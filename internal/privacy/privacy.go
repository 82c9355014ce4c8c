// Package privacy keeps personal data out of what the poller publishes and stores. Schemas say which fields hold such data, and of which
// class ("personal"); a Policy says what becomes of each.
//
// A text passes through two steps:
//
//	upstream ── Conceal ──> token ── Publish ──> nothing | *** | hash
//	                          │ ^
//	                          v │ Recall
//	                      checkpoint
//
// Everything that decides what is news works on tokens. A token stands for one text: it is the text's keyed hash. So a text that is
// dropped still makes a revision when it changes, and another mode for the same field, under the same key, makes none.
package privacy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"agentassist-poller/internal/events"
)

// A Class is a kind of personal data.
type Class string

// The classes, as schemas name them.
const (
	Name    Class = "name"    // names of persons, and what a profile says about them
	Contact Class = "contact" // e-mail addresses, telephone numbers, IP addresses
	Text    Class = "text"    // what persons wrote or said
	ID      Class = "id"      // ids of persons
	Raw     Class = "raw"     // JSON of upstream, which may hold any of the others
)

// A Mode is what becomes of a field.
type Mode string

// The modes.
const (
	Keep Mode = "keep"
	Drop Mode = "drop" // the field is empty
	Hash Mode = "hash" // 32 hexadecimal digits, the same for the same text wherever it stands
	Mask Mode = "mask" // *** in place of a text
)

// masked stands for a text that is masked.
const masked = "***"

// A Policy says what becomes of the personal data in events. It is safe for concurrent use. A nil Policy keeps everything.
type Policy struct {
	key     []byte
	all     map[events.Type][]site // every field that holds personal data
	hidden  map[events.Type][]site // those that are not kept
	keepRaw bool
}

// keepAll is the Policy that a nil Policy stands for.
var keepAll = newPolicy(func(events.Type, string, Class) Mode { return Keep }, nil)

// Nothing returns a policy that keeps nothing, under a key that nobody knows: no text can be found again by its token.
func Nothing() *Policy {
	return newPolicy(func(events.Type, string, Class) Mode { return Drop }, []byte(rand.Text()))
}

func newPolicy(mode func(events.Type, string, Class) Mode, key []byte) *Policy {
	p := &Policy{key: key, all: map[events.Type][]site{}, hidden: map[events.Type][]site{}}
	for _, t := range events.Types() {
		p.all[t] = sitesOf(t, func(path string, class Class) Mode { return mode(t, path, class) })
		p.hidden[t] = notKept(p.all[t])
	}
	p.keepRaw = mode(deadLetter, rawBytes, Raw) == Keep
	return p
}

// String says how many fields are not kept.
func (p *Policy) String() string {
	if p == nil {
		return "everything is kept"
	}
	n := 0
	for _, t := range events.Types() {
		n += count(p.hidden[t])
	}
	return fmt.Sprintf("%d fields of events are dropped, hashed or masked", n)
}

// Conceal returns e with tokens in place of the texts that are not kept. It changes nothing in e; the result may share memory with it, and
// is e itself if there is nothing to conceal.
func (p *Policy) Conceal(e events.Event) events.Event {
	if p == nil || len(p.hidden[e.EventType()]) == 0 {
		return e
	}
	return rewrite(e, p.hidden[e.EventType()], func(_ *site, text string) string { return p.token(text) })
}

// Recall returns e, an event that was stored, as Conceal would have returned it: e may have been stored under another policy. Of a field that
// is kept now and was not then, the text is not known: the field is empty.
func (p *Policy) Recall(e events.Event) events.Event {
	if p == nil {
		p = keepAll
	}
	return rewrite(e, p.all[e.EventType()], func(s *site, text string) string {
		switch {
		case s.mode != Keep:
			return p.token(text)
		case isToken(text):
			return ""
		}
		return text
	})
}

// Publish returns e, in which texts are concealed, as it is published. The result may share memory with e, and may be e itself.
func (p *Policy) Publish(e events.Event) events.Event {
	if p == nil || len(p.hidden[e.EventType()]) == 0 {
		return e
	}
	return rewrite(e, p.hidden[e.EventType()], func(s *site, token string) string {
		text := ""
		switch s.mode {
		case Hash:
			text = strings.TrimPrefix(token, tokenMark)
		case Mask:
			text = masked
		}
		if s.json && text != "" {
			return `"` + text + `"`
		}
		return text
	})
}

// KeepsRaw reports whether a dead letter quotes the record that could not be read. No field of such a record can be concealed.
func (p *Policy) KeepsRaw() bool { return p == nil || p.keepRaw }

// tokenMark begins a token. No text of upstream that makes sense begins with it.
const tokenMark = "\x00"

const tokenSize = len(tokenMark) + 2*hashSize

// hashSize is how many bytes of a hash are kept.
const hashSize = 16

// token returns what stands for a text; for a token and for no text itself.
func (p *Policy) token(text string) string {
	if text == "" || isToken(text) {
		return text
	}
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(text))
	return tokenMark + hex.EncodeToString(h.Sum(nil)[:hashSize])
}

func isToken(text string) bool { return len(text) == tokenSize && strings.HasPrefix(text, tokenMark) }
