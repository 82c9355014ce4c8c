// Package privacy keeps personal data out of what the poller publishes and stores. Schemas say which fields hold such data, and of which
// class ("personal"); a Policy says what becomes of each.
//
//	upstream ── Conceal ──> token ── Publish ──> the text | nothing | *** | a hash
//	                        │   ^
//	                  Store v   │ Recall
//	                     checkpoint: the text or the token
//
// Everything that decides what is news works on tokens, of fields that are kept too. A token stands for one text: it is the text's keyed
// hash. So a text that is dropped still makes a revision when it changes, and another mode for a field, under the same key, makes none.
package privacy

import (
	"crypto/hmac"
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
	sites   map[events.Type][]site
	keepRaw bool
}

// keepAll is the Policy that a nil Policy stands for.
var keepAll = newPolicy(func(events.Type, string, Class) Mode { return Keep }, nil)

func newPolicy(mode func(events.Type, string, Class) Mode, key []byte) *Policy {
	p := &Policy{key: key, sites: map[events.Type][]site{}}
	for _, t := range events.Types() {
		p.sites[t] = sitesOf(t, func(path string, class Class) Mode { return mode(t, path, class) })
	}
	p.keepRaw = mode(deadLetter, rawBytes, Raw) == Keep
	return p
}

// hides returns how many fields are not kept.
func (p *Policy) hides() (n int) {
	for _, sites := range p.sites {
		n += hidden(sites)
	}
	return n
}

// String says how many fields are not kept.
func (p *Policy) String() string {
	if p == nil {
		return "everything is kept"
	}
	return fmt.Sprintf("%d fields of events are dropped, hashed or masked", p.hides())
}

// Forget returns e, an event that was stored, with a token in place of all personal data that stands for nothing any more.
func Forget(e events.Event) events.Event {
	return rewrite(e, keepAll.sites[e.EventType()], func(*site, string) string { return forgotten })
}

// Mentions reports whether an event of the type, decoded as maps and lists by the names of its schema, has the id or the address of a person in a
// field of class ID or Contact, as it is or hashed with the policy's key. Upper and lower case are the same.
func (p *Policy) Mentions(t events.Type, fields map[string]any, person string) bool {
	if person == "" {
		return false
	}
	hashed := person
	if p != nil {
		hashed = strings.TrimPrefix(p.token(person), tokenMark)
	}
	return mentioned(fields, keepAll.sites[t], func(s *site, text string) bool {
		return (s.class == ID || s.class == Contact) && (text == hashed || strings.EqualFold(text, person))
	})
}

// A Page conceals the events of a page, and knows the texts that its tokens stand for. It is not safe for concurrent use. That of a nil Policy
// changes nothing but what was stored under another one.
type Page struct {
	policy *Policy
	texts  map[string]string // by token
}

// Page returns a page without events.
func (p *Policy) Page() *Page { return &Page{policy: p, texts: map[string]string{}} }

// Conceal returns e, as upstream shows it, with tokens in place of personal data. It changes nothing in e. The result may share memory with
// it, and is e itself under a nil Policy.
func (p *Page) Conceal(e events.Event) events.Event {
	if p.policy == nil {
		return e
	}
	return rewrite(e, p.policy.sites[e.EventType()], p.conceal)
}

func (p *Page) conceal(_ *site, text string) string {
	token := p.policy.token(text)
	p.texts[token] = text
	return token
}

// Store returns e, in which personal data is concealed, as it is stored.
func (p *Page) Store(e events.Event) events.Event {
	if p.policy == nil {
		return e
	}
	return rewrite(e, p.policy.sites[e.EventType()], func(s *site, token string) string {
		if s.mode == Keep {
			return p.texts[token]
		}
		return token
	})
}

// Recall returns e, an event that was stored, perhaps under another policy, as Conceal would have returned it. Where a text was not stored, its
// token is all that is known; without a policy, nothing is.
func (p *Page) Recall(e events.Event) events.Event {
	policy := p.policy
	if policy == nil {
		policy = keepAll
	}
	return rewrite(e, policy.sites[e.EventType()], func(s *site, text string) string {
		switch {
		case !isToken(text) && p.policy == nil:
			return text
		case !isToken(text):
			return p.conceal(s, text)
		case p.policy == nil:
			return ""
		}
		return text
	})
}

// Publish returns e, in which personal data is concealed, as it is published: without the texts of fields that are kept now and were not when
// they were stored.
func (p *Page) Publish(e events.Event) events.Event {
	if p.policy == nil {
		return e
	}
	return rewrite(e, p.policy.sites[e.EventType()], func(s *site, token string) string {
		text := ""
		switch {
		case s.mode == Keep:
			return p.texts[token]
		case token == forgotten:
		case s.mode == Hash:
			text = strings.TrimPrefix(token, tokenMark)
		case s.mode == Mask:
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

// hashSize is how many bytes of a hash are kept.
const hashSize = 16

// forgotten is the token of a text that was forgotten.
var forgotten = tokenMark + strings.Repeat("0", 2*hashSize)

// token returns what stands for a text.
func (p *Policy) token(text string) string {
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(text))
	return tokenMark + hex.EncodeToString(h.Sum(nil)[:hashSize])
}

func isToken(text string) bool {
	digits, ok := strings.CutPrefix(text, tokenMark)
	return ok && len(digits) == 2*hashSize && strings.Trim(digits, "0123456789abcdef") == ""
}
