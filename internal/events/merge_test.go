package events_test

import (
	"testing"
	"time"

	"agentassist-poller/internal/events"

	"github.com/stretchr/testify/require"
)

func TestMergeDoesNotDependOnOrder(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		a, b := randomEvent(r, typ), randomEvent(r, typ)
		for _, from := range events.Endpoints() {
			for _, to := range events.Endpoints() {
				require.Equal(t, events.Merge(a, from, b, to), events.Merge(b, to, a, from), "%s with %s", from, to)
			}
		}
	})
}

func TestMergeIsIdempotent(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		a, b := randomEvent(r, typ), randomEvent(r, typ)
		for _, from := range events.Endpoints() {
			require.Equal(t, a, events.Merge(a, from, a, from))
		}
		once := events.Merge(a, events.Interactions, b, events.Conversations)
		require.Equal(t, once, events.Merge(once, events.Interactions, b, events.Conversations))
	})
}

func TestMergeLeavesItsArgumentsAlone(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		a, b := randomEvent(r, typ), randomEvent(r, typ)
		beforeA, beforeB := encode(t, a), encode(t, b)
		events.Merge(a, events.InteractionDetails, b, events.CallDetails)
		require.Equal(t, beforeA, encode(t, a))
		require.Equal(t, beforeB, encode(t, b))
	})
}

func TestMergeTakesTheOwnersWord(t *testing.T) {
	early, late := time.UnixMilli(1000).UTC(), time.UnixMilli(2000).UTC()
	fast := &events.AgenticRequest{
		Header: events.Header{EventTime: early, EventTimeBasis: "requestTime", SegmentID: new("ac-1"),
			Agent: &events.Agent{AgentID: new("a-1")}},
		RequestID: new("aa-1"), Query: new("fast"), ReqStatus: new("200"), LanguageCode: new("fast"),
	}
	slow := &events.AgenticRequest{
		Header: events.Header{EventTime: late, EventTimeBasis: "requestedAt", SessionID: new("s-1"),
			Agent: &events.Agent{AgentID: new("a-1"), Name: new("Ann")}},
		RequestID: new("aa-1"), Query: new("slow"), LanguageCode: new("slow"), OrgID: new("o-1"),
	}
	got := events.Merge(slow, events.Conversations, fast, events.Interactions).(*events.AgenticRequest)
	require.Equal(t, &events.AgenticRequest{
		Header: events.Header{EventTime: early, EventTimeBasis: "requestTime", SegmentID: new("ac-1"), SessionID: new("s-1"),
			Agent: &events.Agent{AgentID: new("a-1"), Name: new("Ann")}},
		RequestID: new("aa-1"), Query: new("fast"), ReqStatus: new("200"), LanguageCode: new("slow"), OrgID: new("o-1"),
	}, got)
}

func TestMergeFillsWhatIsBlank(t *testing.T) {
	got := events.Merge(
		&events.Conversation{FinalStatus: new(""), SmartStatus: new("CLOSED")}, events.InteractionDetails,
		&events.Conversation{FinalStatus: new("CLOSED"), SmartStatus: new("OTHER"), DisconnectingEvent: new("Agent Closed")}, events.CallDetails,
	).(*events.Conversation)
	require.Equal(t, "CLOSED", *got.FinalStatus)
	require.Equal(t, "CLOSED", *got.SmartStatus)
	require.Equal(t, "Agent Closed", *got.DisconnectingEvent)
}

// Verdict, reasons and comment are one statement, and are never mixed.
func TestMergeTakesAVerdictWhole(t *testing.T) {
	rated := &events.Feedback{Sentiment: events.SentimentNegative, Response: new("dislike"), CommentText: new("wrong"), ReasonCodes: []string{"a"}}
	other := &events.Feedback{Sentiment: events.SentimentPositive, Response: new("up")}
	silent := &events.Feedback{Sentiment: events.SentimentUnknown, MessageID: new("ms-1")}

	got := events.Merge(silent, events.Interactions, rated, events.Conversations).(*events.Feedback)
	require.Equal(t, &events.Feedback{
		Sentiment: events.SentimentNegative, Response: new("dislike"), CommentText: new("wrong"), ReasonCodes: []string{"a"}, MessageID: new("ms-1"),
	}, got)
	got = events.Merge(rated, events.Conversations, other, events.Interactions).(*events.Feedback)
	require.Equal(t, other, got)
	events.TakeVerdict(got, rated)
	require.Equal(t, rated, got)
	events.TakeVerdict(&events.Summary{}, &events.Summary{})
}

func TestMergeAgentsOfDifferentIDsAreNotMixed(t *testing.T) {
	a := &events.Summary{Header: events.Header{Agent: &events.Agent{AgentID: new("a-1")}}}
	b := &events.Summary{Header: events.Header{Agent: &events.Agent{AgentID: new("a-2"), Name: new("Bob")}}}
	got := events.Merge(a, events.Interactions, b, events.Conversations)
	require.Equal(t, &events.Agent{AgentID: new("a-1")}, got.Head().Agent)
}

func TestMergeOfDifferentTypesPanics(t *testing.T) {
	require.PanicsWithValue(t, "events: merge of search with feedback", func() {
		events.Merge(&events.Search{}, events.Interactions, &events.Feedback{}, events.Interactions)
	})
}
