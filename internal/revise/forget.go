package revise

import (
	"bytes"
	"fmt"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/privacy"
)

// Forget returns what to store in place of an entity of a type so that nothing is left of the personal data in it but the hashes of its content; nil
// if there is none. The entity stays remembered: where it is observed as it was, that is no news, and what is forgotten stays so. If a place
// shows something else, the next revision has what is observed from then on.
func Forget(store Store, t events.Type, at checkpoint.Key, value []byte) ([]checkpoint.Entry, error) {
	found := []checkpoint.Found{{Known: true, Key: at, Value: value}}
	if err := joinParts(store, found); err != nil {
		return nil, err
	}
	s, err := decodeState(found[0].Value)
	if err != nil {
		return nil, fmt.Errorf("read stored entity %x: %w", at.Hash, err)
	}
	if s.unfold() > 0 {
		return nil, fmt.Errorf("read stored entity %x: %w", at.Hash, errState)
	}
	held := false
	for i := range s.observations {
		o := &s.observations[i]
		if len(o.body) == 0 {
			continue
		}
		event, err := decodeObservation(t, &events.Header{}, o.body)
		if err != nil {
			return nil, err
		}
		body := encodeObservation(privacy.Forget(event))
		held = held || !bytes.Equal(body, o.body)
		o.body = body
	}
	if !held {
		return nil, nil
	}
	puts := appendEntries(nil, at, s.encode())
	if size, sum, ok := partsOf(value); ok {
		for n := range partsIn(size) {
			puts = append(puts, checkpoint.Entry{Key: partKey(at, sum, n), Value: []byte{emptyPart}})
		}
	}
	return puts, nil
}

// emptyPart is stored in place of a part that is not needed any more: an entry goes with its day only.
const emptyPart = 0
