package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/status"
)

// A trouble is one cause of red states, on which an operator should act once, however many endpoints it makes red; or something that is not
// red, and that an alert may have called somebody for.
type trouble struct {
	cause string
	Where []string // what is red, as far as a person reads on
	More  int      // what is red beside that
	// Unread is how many endpoints are not read because of what is red.
	Unread int
	State  status.State
	Text   string
	Do     string
	Since  time.Time
	Count  int // failures in a row, of what failed most often
}

// maxPlaces is how many of the things that one cause makes red are named.
const maxPlaces = 6

func (t *trouble) at(where string) {
	if len(t.Where) < maxPlaces {
		t.Where = append(t.Where, where)
	} else {
		t.More++
	}
}

// troubles returns why the status is red, each cause once: what makes all red comes first, then what makes endpoints red.
func troubles(s status.Status) []*trouble {
	var out []*trouble
	find := func(among []*trouble, cause string) *trouble {
		if i := slices.IndexFunc(among, func(t *trouble) bool { return t.cause == cause }); i >= 0 {
			return among[i]
		}
		return nil
	}
	add := func(where string, e *status.Error, names ...string) {
		cause := where
		if e != nil {
			where, cause = cmp.Or(e.About, where), causeOf(e, names...)
		}
		t := find(out, cause)
		if t == nil {
			t = &trouble{cause: cause, State: status.Failing}
			if e != nil {
				t.Text, t.Do, t.Since = strings.TrimSuffix(e.Text, "; "+e.Hint), hint(e), e.Since
			}
			out = append(out, t)
		}
		if !slices.Contains(t.Where, where) {
			t.at(where)
		}
		if e != nil {
			t.Count = max(t.Count, e.Count)
			if e.Since.Before(t.Since) {
				t.Since = e.Since
			}
		}
	}
	if s.Delivery.State.Red() {
		add("Kafka", s.Delivery.LastError)
	}
	if s.Checkpoint.State.Red() {
		add("checkpoint", s.Checkpoint.LastError)
	}
	for i := range s.Problems {
		add("topics, rights, registry, group", &s.Problems[i])
	}
	for _, a := range s.Accounts {
		if a.Owner != nil && a.Owner.State.Red() {
			add(a.Name, a.Owner.LastError)
		}
	}
	above := slices.Clone(out)
	for _, a := range s.Accounts {
		for _, e := range a.Endpoints {
			if !e.State.Red() {
				continue
			}
			if e.LastError != nil {
				if t := find(above, causeOf(e.LastError)); t != nil {
					t.Unread++
					continue
				}
			}
			add(place(a, e), e.LastError, e.Endpoint, e.BotID, e.BotName)
		}
	}
	return out
}

// place names an endpoint of an account.
func place(a status.Account, e status.Endpoint) string {
	where := a.Name + ", " + e.Endpoint
	if e.BotID != "" {
		where += " of " + cmp.Or(e.BotName, e.BotID)
	}
	return where
}

// causeOf returns what failures have in common that come from one cause: the same thing is to be done about them, or else the same is said of
// them, but for some names. What is to be done about a topic or a group depends on what is said of it.
func causeOf(e *status.Error, names ...string) string {
	text := cmp.Or(e.Hint, e.Text)
	if kind, name, _ := strings.Cut(e.About, " "); kind == "topic" || kind == "group" {
		text, names = e.Text, append(names, name)
	}
	for _, name := range names {
		if name != "" {
			text = strings.ReplaceAll(text, name, "")
		}
	}
	return fmt.Sprint(e.Class, ": ", text)
}

// hint says what to do about an error; empty where its text does.
func hint(e *status.Error) string {
	switch {
	case e.Hint != "":
		return e.Hint
	case e.Class == status.ClassRetry:
		return "nothing yet: it is tried again. If it lasts, look at the network and at what is asked"
	}
	return "" // the text says it
}
