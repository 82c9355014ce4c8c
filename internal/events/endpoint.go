package events

import (
	"fmt"
	"time"
)

// Endpoint names an upstream endpoint as the configuration, the events and the status spell it.
type Endpoint string

// The endpoints. A new one gets a constant, a line in endpoints and a parameter of ForEach; what else must know it then does
// not compile, or its test names it.
const (
	Interactions       Endpoint = "interactions"
	Conversations      Endpoint = "conversations"
	InteractionDetails Endpoint = "interaction-details"
	CallDetails        Endpoint = "call-details"
)

// EndpointSpec is what is known of an endpoint before it has been asked anything.
type EndpointSpec struct {
	Name Endpoint
	// PerAccount is set where the URL names only the account. The others are asked for each bot.
	PerAccount bool
	// Row is what one row describes: a segment, a conversation or a session.
	Row string
	// Peer is the endpoint that shows the same things.
	Peer Endpoint
	// Feeds are the event types that rows show things of. A watermark of the endpoint waits for the topics of all of them, and
	// names them in this order.
	Feeds []Type
	// Takes says what one query may ask for.
	Takes Takes
	// Timeout is how long one attempt may take unless the configuration says otherwise, Latency how long it is taken to take
	// until it has been measured.
	Timeout, Latency time.Duration
	// Scope is the API scope that the JWT app needs, as the platform spells it.
	Scope string
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// endpoints is the table of endpoints, in the order of the documentation.
var endpoints = [...]EndpointSpec{
	{
		Name: Interactions, Row: "segment", Peer: Conversations,
		Feeds: []Type{
			TypeSearch, TypeSuggestionUsed, TypeFeedback, TypeCoachingTriggered, TypePlaybookStep, TypeAgenticRequest,
			TypeSuggestionShown, TypeSegment, TypeSummary,
		},
		Takes:   Takes{Range: week, Limit: 100, IDs: true, Filters: true},
		Timeout: time.Minute, Latency: time.Second,
		Scope: "AgentAssist Analytics",
	},
	{
		Name: Conversations, Row: "conversation", Peer: Interactions,
		Feeds: []Type{TypeSearch, TypeSuggestionUsed, TypeFeedback, TypeAgenticRequest, TypeSummary, TypeMessage},
		Takes: Takes{Days: true, Range: week, Limit: 20, FirstOffset: 1, IDs: true},
		// A page with all its histories takes minutes: the API's own sample request allows for 2,000 seconds.
		Timeout: 15 * time.Minute, Latency: 5 * time.Second,
		Scope: "AgentAssist Analytics",
	},
	{
		Name: InteractionDetails, PerAccount: true, Row: "session", Peer: CallDetails,
		Feeds:   []Type{TypeConversation, TypeAgentEngagement, TypeFeedback},
		Takes:   Takes{Range: week, Limit: 100, MaxOffset: 10},
		Timeout: 2 * time.Minute, Latency: time.Second,
		Scope: "SmartAssist Analytics",
	},
	{
		Name: CallDetails, PerAccount: true, Row: "session", Peer: InteractionDetails,
		Feeds:   []Type{TypeConversation, TypeAgentEngagement, TypeFeedback},
		Takes:   Takes{Range: week, Limit: 100, MaxOffset: 10},
		Timeout: 2 * time.Minute, Latency: time.Second,
		Scope: "SmartAssist Analytics",
	},
}

// EndpointCount is how many endpoints there are.
const EndpointCount = len(endpoints)

// Endpoints returns all endpoints in the order of the documentation.
func Endpoints() []Endpoint {
	out := make([]Endpoint, EndpointCount)
	for i := range endpoints {
		out[i] = endpoints[i].Name
	}
	return out
}

// find returns the place of the endpoint in the table, or -1 if there is no such endpoint.
func (e Endpoint) find() int {
	for i := range endpoints {
		if endpoints[i].Name == e {
			return i
		}
	}
	return -1
}

// Known reports whether there is such an endpoint. What comes from outside is asked this first: the other methods panic if
// there is none.
func (e Endpoint) Known() bool { return e.find() >= 0 }

// Index returns the place of the endpoint in Endpoints.
func (e Endpoint) Index() int {
	i := e.find()
	if i < 0 {
		panic(fmt.Sprintf("events: there is no endpoint %q", string(e)))
	}
	return i
}

// Spec returns what is known of the endpoint. The caller must not change it.
func (e Endpoint) Spec() *EndpointSpec { return &endpoints[e.Index()] }

// PerAccount reports whether the endpoint has only the account in its URL.
func (e Endpoint) PerAccount() bool { return e.Spec().PerAccount }

// Takes describes the queries that an endpoint answers: the plan sizes its windows by it, and the client refuses a query that
// is outside of it.
type Takes struct {
	// Days is set where From and To are calendar days, and every row that starts on one of them is meant. The others take
	// them to the second.
	Days bool
	// Range is what From and To must be less than apart.
	Range time.Duration
	// Limit is the most rows that one page may be asked to have.
	Limit int
	// FirstOffset is the offset of the first page, MaxOffset the last that is answered; 0 if there is no last.
	FirstOffset, MaxOffset int
	// IDs is set where a query can name the conversations that it is about, Filters where it can name channels and agents.
	IDs, Filters bool
}

// Widen returns the bounds as a query has to give them for all between from and to to be answered: whole seconds or whole days,
// in UTC.
func (t *Takes) Widen(from, to time.Time) (time.Time, time.Time) {
	from, to = from.UTC(), to.UTC()
	if t.Days {
		return from.Truncate(day), to.Truncate(day)
	}
	whole := to.Truncate(time.Second)
	if whole.Before(to) {
		whole = whole.Add(time.Second)
	}
	return from.Truncate(time.Second), whole
}

// CheckRange returns why there is no query from from to to, or nil.
func (t *Takes) CheckRange(from, to time.Time) error {
	if from.IsZero() || to.Before(from) {
		return fmt.Errorf("from %v to %v is no range", from, to)
	}
	if from, to := t.Widen(from, to); to.Sub(from) >= t.Range {
		return fmt.Errorf("from %v to %v: the API takes ranges below %d days", from, to, int(t.Range/day))
	}
	return nil
}

// CheckPage returns why there is no query for a page of limit rows at an offset, or nil.
func (t *Takes) CheckPage(offset, limit int) error {
	switch {
	case offset < t.FirstOffset:
		return fmt.Errorf("offset %d: the first is %d", offset, t.FirstOffset)
	case t.MaxOffset > 0 && offset > t.MaxOffset:
		return fmt.Errorf("offset %d is over %d: split the window", offset, t.MaxOffset)
	case limit < 1 || limit > t.Limit:
		return fmt.Errorf("limit %d: want 1 to %d", limit, t.Limit)
	}
	return nil
}

// PerEndpoint holds a value for each endpoint, at the endpoint's Index.
type PerEndpoint[T any] [EndpointCount]T

// ForEach returns a value for each endpoint. It has a parameter for each of them, so that code which must say something of every
// endpoint does not compile until it says something of a new one.
func ForEach[T any](interactions, conversations, interactionDetails, callDetails T) PerEndpoint[T] {
	return [...]T{interactions, conversations, interactionDetails, callDetails}
}
