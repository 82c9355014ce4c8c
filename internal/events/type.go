package events

import "slices"

// Type names an event type. Its topic is the prefix, a dot and the name; its schema is schemas/<name>.avsc.
type Type string

// The event types. Names are part of the contract.
const (
	TypeSearch            Type = "search"
	TypeSuggestionUsed    Type = "suggestion-used"
	TypeFeedback          Type = "feedback"
	TypeCoachingTriggered Type = "coaching-triggered"
	TypePlaybookStep      Type = "playbook-step"
	TypeAgenticRequest    Type = "agentic-request"
	TypeSuggestionShown   Type = "suggestion-shown"
	TypeSegment           Type = "segment"
	TypeSummary           Type = "summary"
	TypeConversation      Type = "conversation"
	TypeAgentEngagement   Type = "agent-engagement"
	TypeMessage           Type = "message"
)

// typeSpec is what is known of an event type beside its schema and its struct, which New makes. Which endpoints show things of
// the type is in the table of endpoints.
type typeSpec struct {
	name      Type
	published byDefault
}

type byDefault bool

const (
	on  byDefault = true
	off byDefault = false
)

// types is the table of event types, in the order of the documentation.
var types = [...]typeSpec{
	{TypeSearch, on},
	{TypeSuggestionUsed, on},
	{TypeFeedback, on},
	{TypeCoachingTriggered, on},
	{TypePlaybookStep, on},
	{TypeAgenticRequest, on},
	{TypeSuggestionShown, on},
	{TypeSegment, on},
	{TypeSummary, on},
	{TypeConversation, on},
	{TypeAgentEngagement, on},
	{TypeMessage, off},
}

// A schema without a line in the table does not compile.
var _ [eventSchemas]typeSpec = types

// Types returns all event types in the order of the documentation.
func Types() []Type {
	out := make([]Type, len(types))
	for i := range types {
		out[i] = types[i].name
	}
	return out
}

// OnByDefault reports whether events of type t are published unless the configuration says otherwise. It is false if there is
// no such type.
func (t Type) OnByDefault() bool {
	i := slices.IndexFunc(types[:], func(s typeSpec) bool { return s.name == t })
	return i >= 0 && bool(types[i].published)
}

// Endpoints returns the endpoints that show things of type t.
func (t Type) Endpoints() []Endpoint {
	return slices.DeleteFunc(Endpoints(), func(e Endpoint) bool { return !slices.Contains(e.Spec().Feeds, t) })
}
