package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/status"
)

// A trouble is one cause of red states, on which an operator should act once, however many endpoints it makes red.
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

// troubles returns why the status is red, each cause once: what makes all red comes first, then what makes endpoints red.
func troubles(s status.Status) []*trouble {
	var out []*trouble
	find := func(cause string) *trouble {
		if i := slices.IndexFunc(out, func(t *trouble) bool { return t.cause == cause }); i >= 0 {
			return out[i]
		}
		return nil
	}
	add := func(where, cause string, state status.State, e *status.Error) {
		t := find(cause)
		if t == nil {
			t = &trouble{cause: cause, State: state}
			if e != nil {
				t.Text, t.Do, t.Since = e.Text, remedy(e), e.Since
			}
			out = append(out, t)
		}
		if len(t.Where) < maxPlaces {
			t.Where = append(t.Where, where)
		} else {
			t.More++
		}
		if e != nil {
			t.Count = max(t.Count, e.Count)
			if e.Since.Before(t.Since) {
				t.Since = e.Since
			}
		}
	}
	whole := func(where string, state status.State, e *status.Error) {
		if !state.Red() {
			return
		}
		cause := where
		if e != nil {
			cause = e.Text
		}
		add(where, cause, state, e)
	}
	whole("Kafka", s.Delivery.State, s.Delivery.LastError)
	whole("Checkpoint", s.Checkpoint.State, s.Checkpoint.LastError)
	for i := range s.Problems {
		whole("Topics, rights, registry, group", status.Failing, &s.Problems[i])
	}
	for _, a := range s.Accounts {
		if a.Owner != nil {
			whole(a.Name, a.Owner.State, a.Owner.LastError)
		}
	}
	above := slices.Clone(out)
	for _, a := range s.Accounts {
		for i := range a.Endpoints {
			e := &a.Endpoints[i]
			if !e.State.Red() {
				continue
			}
			where := a.Name + ", " + e.Endpoint
			if e.BotID != "" {
				where += " of " + cmp.Or(e.BotName, e.BotID)
			}
			if e.LastError == nil {
				add(where, where, e.State, nil)
			} else if i := slices.IndexFunc(above, func(t *trouble) bool { return t.Text == e.LastError.Text }); i >= 0 {
				above[i].Unread++
			} else {
				add(where, causeOf(e), e.State, e.LastError)
			}
		}
	}
	return out
}

// causeOf returns what the failures of endpoints have in common that come from one cause: the same thing is to be done about them, or else
// the same is said of them, but for their names.
func causeOf(e *status.Endpoint) string {
	text := cmp.Or(e.LastError.Hint, e.LastError.Text)
	for _, name := range []string{e.Endpoint, e.BotID, e.BotName} {
		if name != "" {
			text = strings.ReplaceAll(text, name, "")
		}
	}
	return fmt.Sprint(e.LastError.Class, ": ", text)
}

// remedy says what to do about an error; empty where its text does.
func remedy(e *status.Error) string {
	switch {
	case e.Hint != "":
		return e.Hint
	case e.Class == status.ClassRetry:
		return "nothing yet: it is tried again. If it lasts, look at the network and at what is asked"
	}
	return "" // the text says it
}
