package events

import (
	"bytes"
	"fmt"
)

// Merge makes one event from two observations of the same entity, by the endpoints aFrom and bFrom. The schema names an owner for each
// field: the owner's value is taken unless it is empty, otherwise the other's. The header is that of the owner of the type, with empty
// ids filled in. The result does not depend on the order of the arguments, and merging an observation with itself changes nothing.
// Merge changes neither argument. The result may share memory with both.
//
// Merge panics if the arguments are of different types.
func Merge(a Event, aFrom Endpoint, b Event, bFrom Endpoint) Event {
	if a.EventType() != b.EventType() {
		panic(fmt.Sprintf("events: merge of %s with %s", a.EventType(), b.EventType()))
	}
	by := order{aFrom: aFrom, bFrom: bFrom}
	if aFrom == bFrom {
		by.tie = tie(a, b)
	}
	merged := a.(merger).merge(b, by)
	if used, ok := merged.(*SuggestionUsed); ok {
		used.SetUsage(a.(*SuggestionUsed).Usage == UsageRated || b.(*SuggestionUsed).Usage == UsageRated)
	}
	return merged
}

// TakeVerdict makes what from says of its target what into says, if both are feedback: verdict, reasons and comment, all of them. It
// changes into.
func TakeVerdict(into, from Event) {
	if f, ok := into.(*Feedback); ok {
		f.take(from.(*Feedback))
	}
}

// merger is implemented by every generated event.
type merger interface {
	merge(other Event, by order) Event
}

// order says which of two observations comes first.
type order struct {
	aFrom, bFrom Endpoint
	tie          bool // both are by one endpoint, and b comes first
}

// swap reports whether the second observation comes first in fields that belong to owner.
func (o order) swap(owner Endpoint) bool {
	if o.aFrom == o.bFrom {
		return o.tie
	}
	return rank(o.bFrom, owner) < rank(o.aFrom, owner)
}

// rank returns the place of an endpoint in the order in which values are taken: the owner first, then the others as in Endpoints.
func rank(e, owner Endpoint) int {
	if e == owner {
		return -1
	}
	return e.Index()
}

// tie orders two observations by one endpoint by their bytes. The order has no meaning, but does not depend on the order of the arguments.
func tie(a, b Event) bool {
	x, errA := appendRecord(nil, a.(record))
	y, errB := appendRecord(nil, b.(record))
	return errA == nil && errB == nil && bytes.Compare(x, y) < 0
}

func mergeHeader(hi, lo *Header) Header {
	h := *hi
	if h.EventTime.IsZero() {
		h.EventTime, h.EventTimeBasis = lo.EventTime, lo.EventTimeBasis
	}
	h.BotID = eitherStr(hi.BotID, lo.BotID)
	h.ConversationID = eitherStr(hi.ConversationID, lo.ConversationID)
	h.SessionID = eitherStr(hi.SessionID, lo.SessionID)
	h.SegmentID = eitherStr(hi.SegmentID, lo.SegmentID)
	h.Channel = eitherStr(hi.Channel, lo.Channel)
	h.Agent = mergeAgent(hi.Agent, lo.Agent)
	h.Queue = mergeQueue(hi.Queue, lo.Queue)
	return h
}

// mergeAgent fills in missing fields only if both are the same agent.
func mergeAgent(hi, lo *Agent) *Agent {
	if hi == nil || lo == nil || !sameText(hi.AgentID, lo.AgentID) {
		return eitherPtr(hi, lo)
	}
	return &Agent{AgentID: hi.AgentID, Name: eitherStr(hi.Name, lo.Name), Email: eitherStr(hi.Email, lo.Email)}
}

func mergeQueue(hi, lo *Queue) *Queue {
	if hi == nil || lo == nil || !sameText(hi.QueueID, lo.QueueID) {
		return eitherPtr(hi, lo)
	}
	return &Queue{QueueID: hi.QueueID, QueueName: eitherStr(hi.QueueName, lo.QueueName)}
}

func sameText(a, b *string) bool { return a != nil && b != nil && *a == *b }

func blank(s *string) bool { return s == nil || *s == "" }

func eitherStr(hi, lo *string) *string {
	if blank(hi) && lo != nil {
		return lo
	}
	return hi
}

func eitherPtr[T any](hi, lo *T) *T {
	if hi == nil {
		return lo
	}
	return hi
}

func eitherList[T any](hi, lo []T) []T {
	if len(hi) == 0 {
		return lo
	}
	return hi
}

func eitherMap[K comparable, V any](hi, lo map[K]V) map[K]V {
	if len(hi) == 0 {
		return lo
	}
	return hi
}
