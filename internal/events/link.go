package events

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A Link makes addresses at which a person can look at what an event is about. The zero value makes none.
type Link struct{ parts []linkPart }

// linkPart is text, or the id of an event.
type linkPart struct {
	text string
	id   func(*Header) *string // nil for text
}

var linkIDs = map[string]func(*Header) *string{
	"account_id":      func(h *Header) *string { return &h.AccountID },
	"bot_id":          func(h *Header) *string { return h.BotID },
	"conversation_id": func(h *Header) *string { return h.ConversationID },
	"session_id":      func(h *Header) *string { return h.SessionID },
	"segment_id":      func(h *Header) *string { return h.SegmentID },
}

// maxLink bounds an address: some browsers and proxies take no more.
const maxLink = 2 << 10

// ParseLink reads a template of addresses, in which {account_id}, {bot_id}, {conversation_id}, {session_id} and {segment_id} stand for ids.
func ParseLink(template string) (Link, error) {
	var l Link
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return Link{}, errors.New("a } without a { before it")
		}
		if text != "" {
			l.parts = append(l.parts, linkPart{text: text})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		id := linkIDs[name]
		switch {
		case !found:
			return Link{}, fmt.Errorf("{%s has no }", name)
		case id == nil:
			return Link{}, fmt.Errorf("{%s} is not known; want {account_id}, {bot_id}, {conversation_id}, {session_id} or {segment_id}", name)
		}
		l.parts = append(l.parts, linkPart{id: id})
		rest = after
	}
	if template == "" {
		return l, nil
	}
	known := "x"
	address := l.Of(&Header{AccountID: known, BotID: &known, ConversationID: &known, SessionID: &known, SegmentID: &known})
	if address == nil {
		return Link{}, fmt.Errorf("it has more than %d bytes", maxLink)
	}
	if u, err := url.Parse(*address); err != nil || !u.IsAbs() || u.Host == "" {
		return Link{}, errors.New("it is no address; want one such as https://desk.example.com/conversations/{conversation_id}")
	}
	return l, nil
}

// Of returns the address for an event; nil if there is no template, or if the event lacks an id that the template names. Ids are escaped,
// so that they cannot change what else the address says.
func (l Link) Of(h *Header) *string {
	if len(l.parts) == 0 {
		return nil
	}
	var b strings.Builder
	for _, p := range l.parts {
		if p.id == nil {
			b.WriteString(p.text)
			continue
		}
		id := p.id(h)
		if blank(id) {
			return nil
		}
		// A space is + in a query only, but %20 everywhere.
		b.WriteString(strings.ReplaceAll(url.QueryEscape(*id), "+", "%20"))
	}
	if b.Len() > maxLink {
		return nil
	}
	address := b.String()
	return &address
}
