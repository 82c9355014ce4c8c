// Package eventstest tests code that must know every endpoint, or every event type.
//
// Most such code is built with events.ForEach and does not compile until it knows a new endpoint. The rest is named in a test of
// its own package: the test names what does not know an endpoint of the table, and also what would have taken an endpoint that
// is not in the table for another one.
package eventstest

import (
	"errors"
	"fmt"
	"testing"

	"agentassist-poller/internal/events"
)

// unknown is in no table.
const unknown = "no-such-name"

// Endpoints fails t for every place that does not know an endpoint of the table, and for every place that knows one which is not
// in it. A place returns an error, or panics, for an endpoint that it does not know. The key of places says where it is.
func Endpoints(t *testing.T, places map[string]func(e events.Endpoint) error) {
	t.Helper()
	walk(t, places, events.Endpoints())
}

// Types does the same for event types.
func Types(t *testing.T, places map[string]func(typ events.Type) error) {
	t.Helper()
	walk(t, places, events.Types())
}

func walk[T ~string](t *testing.T, places map[string]func(T) error, table []T) {
	t.Helper()
	for name, place := range places {
		for _, v := range table {
			if err := try(place, v); err != nil {
				t.Errorf("%s: %s is not known: %v", name, v, err)
			}
		}
		if try(place, T(unknown)) == nil {
			t.Errorf("%s: %s is known, which does not exist: a new name would be taken for one of %v", name, unknown, table)
		}
	}
}

func try[T ~string](place func(T) error, v T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return place(v)
}

// Want returns an error unless ok: for places whose knowledge is a value.
func Want(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}
