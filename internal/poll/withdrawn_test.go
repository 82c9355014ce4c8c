package poll_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// Each place that holds feedback, with what an API shows where somebody had an opinion and has none any more.
var takenBack = map[string]struct {
	endpoint   events.Endpoint
	row        string // with %s where the opinion is
	said, none []string
}{
	"beside a target": {
		events.Interactions,
		`"agentActions":[{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-06-07T11:00:03Z"},"used":[{"targetType":"FAQ","target":{"title":"T"}%s}]}]`,
		[]string{`,"feedback":{"response":"down","comment":"c"}`},
		[]string{``, `,"feedback":null`, `,"feedback":[]`, `,"feedback":{"response":"","reasonCode":[],"comment":""}`},
	},
	"inside a target": {
		events.Interactions,
		`"proActiveSuggestions":[{"displayTime":"2026-06-07T11:00:03Z","used":[{"targetType":"FAQ","target":{"faq":{"title":"T"%s}}}]}]`,
		[]string{`,"feedback":{"response":"down"}`},
		[]string{``, `,"feedback":{"response":""}`},
	},
	"on a summary": {
		events.Interactions, `"summary":{"summaryId":"smr-1","summary":"They talked."%s}`,
		[]string{`,"feedback":{"response":"Down"}`}, []string{``, `,"feedback":{}`},
	},
	"on an agentic answer": {
		events.Interactions, `"agenticActivities":[{"requestId":"aa-1","requestTime":"2026-06-07T11:00:03Z"%s}]`,
		[]string{`,"feedback":{"response":"down"}`}, []string{``},
	},
	"on an agentic answer in a conversation": {
		events.Conversations, `"messages":[{"_id":"m-1","type":"AGENTIC","requestId":"aa-1"%s}]`,
		[]string{`,"feedbackInfo":{"feedback":"dislike","type":"agentic","agentDetails":{"identity":"a-1"}}`},
		[]string{``, `,"feedbackInfo":{"feedback":"","type":"agentic","agentDetails":{"identity":"a-1"}}`, `,"feedbackInfo":null`},
	},
	"on a message": {
		events.Conversations, `"messages":[{"_id":"ms-1","components":[{"data":{"text":"Hello."}}]%s}]`,
		[]string{`,"feedbackInfo":{"feedback":"dislike","agentDetails":{"identity":"a-1"}}`}, []string{``},
	},
	"on the widget": {
		events.Conversations, `"isExtAD":true%s`,
		[]string{`,"widgetFeedbacks":[{"feedback":"dislike","agentDetails":{"identity":"a-1"}}]`},
		[]string{``, `,"widgetFeedbacks":[]`, `,"widgetFeedbacks":[{"feedback":"","agentDetails":{"identity":"a-1"}}]`},
	},
	"a CSAT": {events.InteractionDetails, `"userId":"u"%s`, []string{`,"csatScore":1,"csatFeedback":"never again"`}, []string{``, `,"csatScore":0`, `,"csatScore":null`}},
	"an NPS": {events.CallDetails, `"userId":"u"%s`, []string{`,"npsScore":0`}, []string{``, `,"npsScore":null`}},
	"a like": {events.InteractionDetails, `"userId":"u"%s`, []string{`,"likeDislikeScore":"dislike"`}, []string{``, `,"likeDislikeScore":""`}},
}

func rowOf(e events.Endpoint, members string) string {
	ids := events.ForEach(
		`"segmentID":"ac-1","conversationID":"c-1","segmentStartTime":"2026-06-07T11:00:00Z","agent":{"agentId":"a-1"}`,
		`"_id":"i-1","convId":"c-1","startTime":"2026-06-07T11:00:00Z"`,
		`"sessionId":"s-1","conversationId":"c-1","sessionStartTime":"2026-06-07T11:00:00"`,
		`"sessionId":"s-1","conversationId":"c-1","sessionStartTime":"2026-06-07T11:00:00"`)[e.Index()]
	return `{"data":[{` + ids + `,` + members + `}]}`
}

// An opinion that is gone from a row, or blank in it, is taken back: one revision, however often the row is read again, with whoever had
// it, where whoever learned of it learns of this. One that comes back is another revision.
func TestFeedbackIsTakenBack(t *testing.T) {
	for name, c := range takenBack {
		for _, none := range c.none {
			t.Run(name+" "+none, func(t *testing.T) {
				r := newReader(t, c.endpoint, inCheckpoint(t))
				read := func(members string) *events.Feedback {
					body := rowOf(c.endpoint, fmt.Sprintf(c.row, members))
					require.True(t, json.Valid([]byte(body)), body)
					var found *events.Feedback
					for _, o := range r.read("page", body) {
						if f, ok := o.Event.(*events.Feedback); ok {
							require.Nil(t, found, "two revisions")
							require.True(t, o.Negative)
							found = f
						}
					}
					return found
				}
				require.Nil(t, read(none), "nothing was ever said")
				first := read(c.said[0])
				require.Equal(t, "NEGATIVE", first.Sentiment)
				require.EqualValues(t, 1, first.Revision)
				require.Nil(t, read(c.said[0]))

				gone := read(none)
				require.NotNil(t, gone)
				require.Equal(t, "WITHDRAWN", gone.Sentiment)
				require.EqualValues(t, 2, gone.Revision)
				require.Nil(t, gone.Response)
				require.Nil(t, gone.CommentText)
				require.Nil(t, gone.CSATScore)
				require.Nil(t, gone.NPSScore)
				require.Empty(t, gone.ReasonCodes)
				require.Equal(t, first.EntityID, gone.EntityID)
				require.Equal(t, first.Agent, gone.Agent, "whose it was is known")
				require.Equal(t, first.TargetEntityID, gone.TargetEntityID)
				require.Equal(t, [2]string{first.GivenBy, first.TargetType}, [2]string{gone.GivenBy, gone.TargetType})
				for range 3 {
					for _, again := range c.none {
						require.Nil(t, read(again), "%q", again)
					}
				}
				back := read(c.said[0])
				require.Equal(t, "NEGATIVE", back.Sentiment)
				require.EqualValues(t, 3, back.Revision)
				gone = read(none)
				if gone == nil { // what comes back a second time has to be read twice
					gone = read(none)
				}
				require.EqualValues(t, 4, gone.Revision)
				require.Equal(t, "WITHDRAWN", gone.Sentiment)
				require.Nil(t, read(none))
			})
		}
	}
}

// Of two endpoints that show one opinion, the one that changed last counts: it is taken back once, when the first of them shows it no more.
func TestFeedbackIsTakenBackInTwoPlaces(t *testing.T) {
	p := inCheckpoint(t)
	interactions, conversations := newReader(t, events.Interactions, p), newReader(t, events.Conversations, p)
	activity, message := takenBack["on an agentic answer"], takenBack["on an agentic answer in a conversation"]
	feedback := func(r *reader, row, members string) (list []string) {
		for _, o := range r.read("page", rowOf(r.scope.Endpoint, fmt.Sprintf(row, members))) {
			if f, ok := o.Event.(*events.Feedback); ok {
				list = append(list, fmt.Sprint(f.Revision, " ", f.Sentiment))
			}
		}
		return list
	}
	a := func(members string) []string { return feedback(interactions, activity.row, members) }
	b := func(members string) []string { return feedback(conversations, message.row, members) }
	down, dislike := activity.said[0], message.said[0]
	require.Equal(t, []string{"1 NEGATIVE"}, a(down))
	require.Empty(t, b(``), "the other endpoint is behind")
	require.Equal(t, []string{"2 NEGATIVE"}, b(dislike), "it names the message")
	require.Equal(t, []string{"3 WITHDRAWN"}, a(``))
	require.Empty(t, b(dislike), "which is as it was")
	require.Empty(t, b(``))
	require.Empty(t, a(``))
	require.Equal(t, []string{"4 NEGATIVE"}, b(dislike))
	require.Empty(t, a(down))
	require.Equal(t, []string{"5 WITHDRAWN"}, append(b(``), b(``)...), "what comes back a second time has to be read twice")
	require.Empty(t, a(``))
	require.Empty(t, a(``))
	require.Empty(t, b(``))
}

// A row that lists the thing and never showed the opinion takes nothing back, and neither does one of which the opinion cannot be read.
func TestSilenceTakesNothingBack(t *testing.T) {
	r := newReader(t, events.Interactions, inCheckpoint(t))
	segment := func(id, feedback string) string {
		return `{"data":[{"segmentID":"` + id + `","conversationID":"c-1","segmentStartTime":"2026-06-07T11:00:00Z","agent":{"agentId":"a-1"},
			"agenticActivities":[{"requestId":"aa-1","requestTime":"2026-06-07T11:00:03Z"` + feedback + `}]}]}`
	}
	sentiments := func(body string) (list []string) {
		for _, o := range r.read("page", body) {
			if f, ok := o.Event.(*events.Feedback); ok {
				list = append(list, f.Sentiment)
			}
		}
		return list
	}
	require.Equal(t, []string{"NEGATIVE"}, sentiments(segment("ac-1", `,"feedback":{"response":"down"}`)))
	for range 2 {
		require.Empty(t, sentiments(segment("ac-2", ``)), "the next segment lists the request")
		require.Empty(t, sentiments(segment("ac-1", `,"feedback":17`)))
		require.Empty(t, sentiments(segment("ac-1", `,"feedback":{"response":{"text":"down"}}`)))
	}
	require.Equal(t, []string{"WITHDRAWN"}, sentiments(segment("ac-1", ``)))
}

// Of several people who rated the widget, the one is told who does no more.
func TestOneOfSeveralTakesItBack(t *testing.T) {
	r := newReader(t, events.Conversations, inCheckpoint(t))
	read := func(agents ...string) (list []string) {
		rated := []any{}
		for _, a := range agents {
			rated = append(rated, object{"feedback": "dislike", "agentDetails": object{"identity": a}})
		}
		text, err := json.Marshal(rated)
		require.NoError(t, err)
		for _, o := range r.read("page", rowOf(events.Conversations, `"widgetFeedbacks":`+string(text))) {
			f := o.Event.(*events.Feedback)
			list = append(list, fmt.Sprint(*f.Agent.AgentID, " ", f.Sentiment))
		}
		return list
	}
	require.Equal(t, []string{"ann NEGATIVE"}, read("ann"))
	require.Equal(t, []string{"bo NEGATIVE"}, read("ann", "bo"))
	require.Equal(t, []string{"ann WITHDRAWN"}, read("bo"))
	require.Empty(t, read("bo"))
	require.Equal(t, []string{"bo WITHDRAWN"}, read())
	require.Empty(t, read())
}

// When a session gains a conversation, the conversation's score replaces the session's. If the conversation has none, the session's score is
// taken back.
func TestScoreOfASessionThatGainsAConversation(t *testing.T) {
	for name, c := range map[string]struct {
		score string
		want  []string
	}{
		"kept":    {`,"csatScore":1`, []string{"NEGATIVE superseded", "NEGATIVE"}},
		"changed": {`,"csatScore":5`, []string{"NEGATIVE superseded", "POSITIVE"}},
		"gone":    {``, []string{"WITHDRAWN"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t, events.InteractionDetails, inCheckpoint(t))
			read := func(members string) (list []string) {
				for _, o := range r.read("page", `{"data":[{"sessionId":"6a24dfe0b84ec657a31c0001","channel":"voice","botId":"st-1",
					"sessionStartTime":"2026-06-07T11:00:00","sessionEndTime":"2026-06-07T11:05:00"`+members+`}]}`) {
					if f, ok := o.Event.(*events.Feedback); ok {
						text := f.Sentiment
						if f.SupersededBy != nil {
							text += " superseded"
						}
						list = append(list, text)
					}
				}
				return list
			}
			require.Equal(t, []string{"NEGATIVE"}, read(`,"csatScore":1`))
			require.Equal(t, c.want, read(`,"conversationId":"c-1"`+c.score))
			require.Empty(t, read(`,"conversationId":"c-1"`+c.score))
		})
	}
}
