package extract_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

func use(used string) string {
	return segments(`"agentActions":[{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:10Z"},"used":[` + used + `]}]`)
}

// Targets come flat and nested, with the feedback beside, in and under them: all mean the same.
func TestTargets(t *testing.T) {
	for name, c := range map[string]struct{ used, targetType, event, response string }{
		"flat answer":            {`{"targetType":"Answer","target":{"positionId":"dg-1","status":"send","showmoreClicked":true},"feedback":{"response":"Up"}}`, "Answer", `"position_id":"dg-1","status":"send","show_more_clicked":true`, "Up"},
		"nested answer":          {`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","status":"Sent","showMoreClicked":false,"answerLinkClicked":["https://a.example"],"feedback":{"response":"up"}}}}`, "Answer", `"position_id":"dg-1","status":"Sent","show_more_clicked":false,"answer_link_clicked":["https://a.example"]`, "up"},
		"feedback in target":     {`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1"},"feedback":{"response":"down"}}}`, "Answer", `"position_id":"dg-1"`, "down"},
		"deepest feedback":       {`{"feedback":{"response":"1"},"targetType":"Answer","target":{"answer":{"positionId":"dg-1","feedback":{"response":"3"}},"feedback":{"response":"2"}}}`, "Answer", `"position_id":"dg-1"`, "3"},
		"no type":                {`{"target":{"faq":{"title":"FAQ 3.2","status":"Copied"}}}`, "FAQ", `"status":"Copied","title":"FAQ 3.2"`, ""},
		"flat page":              {`{"targetType":"WebPage","target":{"url":"https://a.example"}}`, "WebPage", `"url":"https://a.example"`, ""},
		"nested page":            {`{"targetType":"WebPage","target":{"webpage":{"url":"https://a.example"}}}`, "WebPage", `"url":"https://a.example"`, ""},
		"nested file":            {`{"targetType":"File","target":{"file":{"path":"/a.doc"}}}`, "File", `"path":"/a.doc"`, ""},
		"nested source":          {`{"targetType":"GeneralDataSource","target":{"general-data-source":{"connector":"MSSharepoint","uri":"https://s/r.rdl"}}}`, "GeneralDataSource", `"connector":"MSSharepoint","uri":"https://s/r.rdl"`, ""},
		"dialog of the tables":   {`{"targetType":"DialogTask","target":{"name":"Cancel account","runType":"RunAssist","status":"Completed","startTime":"2026-02-25T09:00:20Z","endTime":null,"SuggestionsCount":{"askSuggestions":1,"tellSuggestions":"2","askUsed":0,"tellUsed":1}}}`, "DialogTask", `"status":"Completed","dialog_name":"Cancel account","run_type":"RunAssist","dialog_start_time":"2026-02-25T09:00:20Z","ask_suggestions":1,"tell_suggestions":2,"ask_used":0,"tell_used":1`, ""},
		"new type":               {`{"targetType":"Podcast","target":{"positionId":"dg-1","url":"https://p","minutes":{"b":1,"a":2}}}`, "Podcast", `"position_id":"dg-1","url":"https://p","target_json":"{\"minutes\":{\"a\":2,\"b\":1},\"positionId\":\"dg-1\",\"url\":\"https://p\"}"`, ""},
		"nested new type":        {`{"targetType":"VideoClip","target":{"videoClip":{"positionId":"dg-1","status":"Sent","title":"How to","seconds":7,"feedback":{"response":"down"}}}}`, "VideoClip", `"position_id":"dg-1","status":"Sent","title":"How to","target_json":"{\"videoClip\":{\"feedback\":{\"response\":\"down\"},\"positionId\":\"dg-1\",\"seconds\":7,\"status\":\"Sent\",\"title\":\"How to\"}}"`, "down"},
		"type behind the target": {`{"target":{"video-clip":{"status":"Sent"},"feedback":{"response":"up"}},"targetType":"VideoClip"}`, "VideoClip", `"status":"Sent","target_json":"{\"feedback\":{\"response\":\"up\"},\"video-clip\":{\"status\":\"Sent\"}}"`, "up"},
		"new type without type":  {`{"target":{"videoClip":{"title":"How to"}}}`, "videoClip", `"title":"How to","target_json":"{\"videoClip\":{\"title\":\"How to\"}}"`, ""},
		"new name of the object": {`{"targetType":"VideoClip","target":{"details":{"x":1},"clip":{"url":"https://v","feedback":{"response":"up"}}}}`, "VideoClip", `"url":"https://v","target_json":"{\"clip\":{\"feedback\":{\"response\":\"up\"},\"url\":\"https://v\"},\"details\":{\"x\":1}}"`, "up"},
		"new name, known type":   {`{"targetType":"FAQ","target":{"question":{"title":"T","status":"Sent"}}}`, "FAQ", `"status":"Sent","title":"T","target_json":"{\"question\":{\"status\":\"Sent\",\"title\":\"T\"}}"`, ""},
		"something else beside":  {`{"targetType":"Podcast","target":{"title":"T","owner":{"status":"away","name":"Ann"}}}`, "Podcast", `"title":"T","target_json":"{\"owner\":{\"name\":\"Ann\",\"status\":\"away\"},\"title\":\"T\"}"`, ""},
		"empty feedback is none": {`{"targetType":"FAQ","target":{"title":"T"},"feedback":{"response":"","reasonCode":[],"comment":""}}`, "FAQ", `"title":"T"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			row := decode(t, events.Interactions, use(c.used)).Rows[0]
			u := all[*events.SuggestionUsed](row.Observations)
			require.Len(t, u, 1)
			require.Equal(t, c.targetType, u[0].TargetType)
			require.Equal(t, "SEARCH", u[0].Via)
			require.Equal(t, all[*events.Search](row.Observations)[0].EntityID, *u[0].ParentEntityID)
			require.Equal(t, *u[0].ParentEntityID, *u[0].SearchEntityID)
			body := *u[0]
			body.Header, body.TargetType, body.Via, body.ActionType, body.ParentEntityID = events.Header{}, "", "", nil, nil
			body.Usage, body.SearchEntityID = "", nil
			empty := strings.TrimSuffix(text(t, events.SuggestionUsed{}), `,"usage":""}`)
			require.Equal(t, empty+","+c.event+`,"usage":""}`, text(t, body))
			feedback := all[*events.Feedback](row.Observations)
			if c.response == "" {
				require.Empty(t, feedback)
			} else {
				require.Len(t, feedback, 1)
				require.Equal(t, c.response, *feedback[0].Response)
				require.Equal(t, u[0].EntityID, *feedback[0].TargetEntityID)
				require.Equal(t, c.targetType, feedback[0].TargetType)
			}
		})
	}
}

func TestSentiment(t *testing.T) {
	for response, want := range map[string]string{
		"up": "POSITIVE", "Up": "POSITIVE", "like": "POSITIVE", "LIKE": "POSITIVE",
		"down": "NEGATIVE", "Down": "NEGATIVE", "dislike": "NEGATIVE",
		"neutral": "NEUTRAL", "shrug": "UNKNOWN",
	} {
		f := only[*events.Feedback](t, events.Interactions, use(`{"targetType":"FAQ","target":{"title":"T"},"feedback":{"response":"`+response+`","reasonCode":"Wrong Intent"}}`))
		require.Equal(t, want, f.Sentiment, response)
		require.Equal(t, response, *f.Response)
		require.Equal(t, []string{"Wrong Intent"}, f.ReasonCodes)
		require.Equal(t, "AGENT", f.GivenBy)
	}
}

// An alert says what was rated and what had been asked: it takes no join to read.
func TestWhatWasRated(t *testing.T) {
	long := strings.Repeat("é", 2001)
	list := func(at string) string {
		return `"suggestions":{"answers":[{"positionId":"dg-1","content":"Other."},{"positionId":"dg-2","content":"` + at + `"}],"dialogs":[{"name":"Pay Bill"}]}`
	}
	answer := `"used":[{"targetType":"Answer","target":{"answer":{"positionId":"dg-2","status":"Sent","feedback":{"response":"down"}}}}]`
	for name, c := range map[string]struct {
		endpoint         events.Endpoint
		record           string
		text, query      string
		cut, textMissing bool
	}{
		"an answer that was searched for": {endpoint: events.Interactions, text: "In 14 days.", query: "refund",
			record: `"agentActions":[{"actionType":"SearchBarEntry","action":{"searchPhrase":"refund","executionStartTime":"2026-02-25T09:00:01Z",` + list("In 14 days.") + `},` + answer + `}]`},
		"an answer that was displayed": {endpoint: events.Interactions, text: "In 14 days.", query: "My money!",
			record: `"proActiveSuggestions":[{"utterance":"My money!",` + list("In 14 days.") + `,` + answer + `}]`},
		"a long answer": {endpoint: events.Interactions, text: long[:2*2000], query: long[:2*2000], cut: true,
			record: `"proActiveSuggestions":[{"utterance":"` + long + `",` + list(long) + `,` + answer + `}]`},
		"an answer that no list shows": {endpoint: events.Interactions, textMissing: true, query: "My money!",
			record: `"proActiveSuggestions":[{"utterance":"My money!",` + answer + `}]`},
		"a document": {endpoint: events.Interactions, text: "https://a.example/kb", query: "refund",
			record: `"agentActions":[{"actionType":"SearchBarEntry","action":{"searchPhrase":"refund"},"used":[{"targetType":"WebPage","target":{"url":"https://a.example/kb","feedback":{"response":"down"}}}]}]`},
		"a dialog of the library": {endpoint: events.Interactions, text: "Pay Bill",
			record: `"agentActions":[{"actionType":"LibrarySelection","used":[{"targetType":"DialogTask","target":{"name":"Pay Bill"},"feedback":{"response":"down"}}]}]`},
		"a summary": {endpoint: events.Interactions, text: "They talked.",
			record: `"summary":{"summaryId":"smr-1","summary":"They talked.","editedSummary":"They spoke.","feedback":{"response":"Down"}}`},
		"an agentic answer": {endpoint: events.Interactions, text: "One.\nTwo.", query: "Where?",
			record: `"agenticActivities":[{"requestId":"aa-1","utterance":"Where?","response":[{"type":"text","content":"One."},{"content":"Two."}],"feedback":{"response":"down"}}]`},
		"an agentic answer in a conversation": {endpoint: events.Conversations, text: "Here.", query: "Where?",
			record: `"messages":[{"type":"AGENTIC","requestId":"aa-1","query":"Where?","components":{"data":{"text":"Here."}},"feedbackInfo":{"feedback":"dislike"}}]`},
		"a message": {endpoint: events.Conversations, text: "Hello.",
			record: `"messages":[{"_id":"ms-1","components":[{"data":{"text":"Hello."}}],"feedbackInfo":{"feedback":"dislike"}}]`},
		"the widget":     {endpoint: events.Conversations, textMissing: true, record: `"widgetFeedbacks":[{"feedback":"dislike"}]`},
		"a conversation": {endpoint: events.InteractionDetails, textMissing: true, record: `"csatScore":1`},
	} {
		t.Run(name, func(t *testing.T) {
			ids := events.ForEach(`"segmentID":"ac-1","segmentStartTime":"2026-02-25T09:00:00Z"`, `"convId":"c-1","startTime":"2026-02-25T09:00:00Z"`,
				`"sessionId":"s-1","sessionStartTime":"2026-02-25T09:00:00"`, "")[c.endpoint.Index()]
			f := only[*events.Feedback](t, c.endpoint, `{"data":[{`+ids+`,`+c.record+`}]}`)
			require.Equal(t, "NEGATIVE", f.Sentiment)
			require.Equal(t, c.text, orNone(f.TargetText))
			require.Equal(t, c.textMissing, f.TargetText == nil)
			require.Equal(t, c.cut, f.TargetTextTruncated)
			require.Equal(t, c.query, orNone(f.TargetQuery))
		})
	}
}

// What customers say is feedback, on whichever scale a channel asks them.
func TestCustomerScore(t *testing.T) {
	strict := extract.Scores{CSAT: extract.Thresholds{NegativeUpTo: 3, PositiveFrom: 5}, NPS: extract.Thresholds{NegativeUpTo: 0, PositiveFrom: 1}}
	type said struct{ scale, sentiment, response, comment string }
	for members, c := range map[string]struct {
		scores extract.Scores
		want   []said
	}{
		`,"csatScore":1`:                             {want: []said{{"CSAT", "NEGATIVE", "1", ""}}},
		`,"csatScore":"2"`:                           {want: []said{{"CSAT", "NEGATIVE", "2", ""}}},
		`,"csatScore":2.5`:                           {want: []said{{"CSAT", "NEUTRAL", "2.5", ""}}},
		`,"csatScore":3`:                             {want: []said{{"CSAT", "NEUTRAL", "3", ""}}},
		`,"csatScore":4,"csatFeedback":""`:           {want: []said{{"CSAT", "POSITIVE", "4", ""}}},
		`,"csatScore":4.5`:                           {want: []said{{"CSAT", "POSITIVE", "4.5", ""}}},
		`,"csatScore":5,"csatFeedback":"well done"`:  {want: []said{{"CSAT", "POSITIVE", "5", "well done"}}},
		`,"csatScore":4 ,"conversationId":"c-1"`:     {strict, []said{{"CSAT", "NEUTRAL", "4", ""}}},
		`,"csatScore":3 ,"conversationId":"c-1"`:     {strict, []said{{"CSAT", "NEGATIVE", "3", ""}}},
		`,"csatScore":null,"csatFeedback":"meh"`:     {want: []said{{"CSAT", "UNKNOWN", "", "meh"}}},
		`,"csatScore":0`:                             {},
		`,"csatScore":"0.0"`:                         {},
		`,"csatScore":null`:                          {},
		`,"csatScore":"","csatFeedback":null`:        {},
		`,"npsScore":0`:                              {want: []said{{"NPS", "NEGATIVE", "0", ""}}},
		`,"npsScore":"6","csatFeedback":"well"`:      {want: []said{{"NPS", "NEGATIVE", "6", "well"}}},
		`,"npsScore":7`:                              {want: []said{{"NPS", "NEUTRAL", "7", ""}}},
		`,"npsScore":8`:                              {want: []said{{"NPS", "NEUTRAL", "8", ""}}},
		`,"npsScore":9`:                              {want: []said{{"NPS", "POSITIVE", "9", ""}}},
		`,"npsScore":10`:                             {want: []said{{"NPS", "POSITIVE", "10", ""}}},
		`,"npsScore":1,"conversationId":"c-1"`:       {strict, []said{{"NPS", "POSITIVE", "1", ""}}},
		`,"npsScore":0,"csatScore":0`:                {},
		`,"npsScore":0,"csatScore":4`:                {want: []said{{"CSAT", "POSITIVE", "4", ""}}},
		`,"npsScore":-1`:                             {},
		`,"likeDislikeScore":"dislike"`:              {want: []said{{"LIKE", "NEGATIVE", "dislike", ""}}},
		`,"likeDislikeScore":"Like"`:                 {want: []said{{"LIKE", "POSITIVE", "Like", ""}}},
		`,"npsScore":9,"likeDislikeScore":"dislike"`: {want: []said{{"NPS", "POSITIVE", "9", ""}, {"LIKE", "NEGATIVE", "dislike", ""}}},
	} {
		s := scope(events.InteractionDetails)
		s.Scores = c.scores
		page, err := extract.Decode(s, []byte(session(members)))
		require.NoError(t, err)
		var got []said
		ids := map[string]bool{}
		for _, f := range all[*events.Feedback](page.Rows[0].Observations) {
			got = append(got, said{*f.Scale, f.Sentiment, orNone(f.Response), orNone(f.CommentText)})
			ids[f.EntityID] = true
			require.Equal(t, "CUSTOMER", f.GivenBy)
			require.Equal(t, "Conversation", f.TargetType)
			require.Equal(t, page.Rows[0].Observations[0].Event.Head().EntityID, *f.TargetEntityID)
			require.Equal(t, "sessionStartTime", f.EventTimeBasis)
			require.Equal(t, f.Scale != nil && *f.Scale == "CSAT" && f.Response != nil, f.CSATScore != nil)
			require.Equal(t, *f.Scale == "NPS", f.NPSScore != nil)
		}
		require.Equal(t, c.want, got, members)
		require.Len(t, ids, len(c.want), "each scale is a feedback of its own")
	}
}

// What a customer says is put down to the queue and the agent that responded last.
func TestWhoServedTheCustomer(t *testing.T) {
	served := func(destinations string) string {
		f := only[*events.Feedback](t, events.InteractionDetails, session(`,"conversationId":"c-1","csatScore":2,"destinations":[`+destinations+`]`))
		if f.Agent == nil {
			return "nobody"
		}
		queue := "none"
		if f.Queue != nil {
			queue = *f.Queue.QueueID
		}
		return *f.Agent.AgentID + " in " + queue
	}
	queue := func(id, responding string) string {
		return `{"destinationType":"QueueEntry","queueId":"` + id + `","EnterTime":"2026-02-25T09:00:00"` + responding + `}`
	}
	agent := func(id, accepted string) string {
		return `,"respondingAgent":{"agentId":"` + id + `","acceptedTime":"` + accepted + `"}`
	}
	first, second := queue("q-1", agent("ann", "2026-02-25T09:01:00")), queue("q-2", agent("bo", "2026-02-25T09:20:00"))
	require.Equal(t, "ann in q-1", served(first))
	require.Equal(t, "bo in q-2", served(first+","+second))
	require.Equal(t, "bo in q-2", served(second+","+first))
	require.Equal(t, "ann in q-1", served(first+","+queue("q-3", `,"nonRespondingAgents":[{"agentId":"cy","assignedAt":"2026-02-25T09:30:00"}]`)))
	require.Equal(t, "dee in none", served(first+`,{"destinationType":"AgentSegment","agentId":"dee","acceptedTime":"2026-02-25T09:40:00"}`))
	require.Equal(t, "bo in q-2", served(queue("q-1", agent("ann", ""))+","+queue("q-2", agent("bo", ""))), "times do not tell")
	require.Equal(t, "nobody", served(queue("q-1", "")))
}

// A CSAT of 0 stands for none, and one may have decimals: in conversation as in feedback, so that averages are right.
func TestScoresOfAConversation(t *testing.T) {
	score := func(members string) *events.Conversation {
		return only[*events.Conversation](t, events.InteractionDetails, session(members))
	}
	require.Nil(t, score(`,"csatScore":0`).CSATScore)
	require.InDelta(t, 4.5, *score(`,"csatScore":"4.5"`).CSATScore, 0)
	require.Nil(t, score(`,"csatScore":0,"npsScore":0`).NPSScore)
	require.Zero(t, *score(`,"npsScore":0`).NPSScore)
}

func orNone(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// A thing without a time of its own takes the time of the nearest thing that has one.
func TestEventTimes(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint events.Endpoint
		body     string
		kind     events.Type
		basis    string
		time     string
	}{
		"answer not sent":        {events.Interactions, use(`{"targetType":"Answer","target":{"answer":{"positionId":"d","usedTime":""}}}`), events.TypeSuggestionUsed, "agentActions[].action.executionStartTime", "09:00:10.000"},
		"answer sent":            {events.Interactions, use(`{"targetType":"Answer","target":{"answer":{"usedTime":"2026-02-25T09:00:20Z"}}}`), events.TypeSuggestionUsed, "used[].target.usedTime", "09:00:20.000"},
		"feedback":               {events.Interactions, use(`{"targetType":"DialogTask","target":{"startTime":"2026-02-25T09:00:30Z"},"feedback":{"response":"up"}}`), events.TypeFeedback, "used[].target.startTime", "09:00:30.000"},
		"search, only displayed": {events.Interactions, segments(`"agentActions":[{"actionType":"SearchBarEntry","action":{"displayTime":"2026-02-25T09:00:12Z"}}]`), events.TypeSearch, "agentActions[].action.displayTime", "09:00:12.000"},
		"search without times":   {events.Interactions, segments(`"agentActions":[{"actionType":"SearchBarEntry"}]`), events.TypeSearch, "segmentStartTime", "09:00:00.000"},
		"library":                {events.Interactions, segments(`"agentActions":[{"actionType":"LibrarySelection","used":[{"targetType":"DialogTask","target":{"name":"Pay Bill"}}]}]`), events.TypeSuggestionUsed, "segmentStartTime", "09:00:00.000"},
		"step not followed":      {events.Interactions, segments(`"playbookRuntimeData":[{"openedAt":"2026-02-25T09:00:40Z","stages":[{"steps":[{"name":"Greet"}]}]}]`), events.TypePlaybookStep, "playbookRuntimeData[].openedAt", "09:00:40.000"},
		"summary of a segment":   {events.Interactions, segments(`"summary":{"summary":"S","exeStartTime":1772010050123}`), events.TypeSummary, "summary.exeStartTime", "09:00:50.123"},
		"summary elsewhere":      {events.Conversations, `{"results":[{"convId":"c","startTime":"2026-02-25T09:00:00Z","summaries":[{"summaryId":"smr-1"}]}]}`, events.TypeSummary, "startTime", "09:00:00.000"},
		"segment without start":  {events.Interactions, `{"data":[{"segmentID":"ac-1","tags":[{"createdAt":"2026-02-25T09:00:05Z"},{"createdAt":"2026-02-25T09:00:03Z"}]}]}`, events.TypeSegment, "earliest time in the record", "09:00:03.000"},
		"engagement":             {events.CallDetails, session(`,"conversationId":"c","destinations":[{"destinationType":"QueueEntry","EnterTime":"2026-02-25T09:00:01","respondingAgent":{"agentId":"a"}}]`), events.TypeAgentEngagement, "destinations[].EnterTime", "09:00:01.000"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range decode(t, c.endpoint, c.body).Rows[0].Observations {
				h := s.Event.Head()
				if s.Event.EventType() == c.kind {
					require.Equal(t, c.basis, h.EventTimeBasis)
					require.Equal(t, c.time, h.EventTime.Format("15:04:05.000"))
				}
				require.False(t, h.EventTime.IsZero())
				require.False(t, s.Anchor.IsZero())
			}
		})
	}
}

func TestPlaybooks(t *testing.T) {
	row := decode(t, events.Interactions, segments(`"playbookRuntimeData":[{"_id":"run-1","playbookId":"acl-1","adherenceRate":"66.5%","totalStages":{"Open":2,"Close":{"n":1}},"stages":[
		{"_id":"acs-1","name":"Open","steps":[{"_id":"acst-1","name":"Greet","isAdhered":"true","adheredAt":"2026-02-25T09:00:15Z","adheredBy":"manual","extra":[1]},{"name":"Verify"}]},
		{"_id":"acs-2","name":"Close","steps":[],"completed":false}]}]`)).Rows[0]
	list := all[*events.PlaybookStep](row.Observations)
	require.Len(t, list, 5)
	scopes := []string{}
	for _, e := range list {
		scopes = append(scopes, e.Level)
		require.Equal(t, "run-1", *e.RunID)
		require.Equal(t, "acl-1", *e.PlaybookID)
	}
	require.Equal(t, []string{"PLAYBOOK", "STAGE", "STEP", "STEP", "STAGE"}, scopes)
	require.Equal(t, 66.5, *list[0].AdherenceRate)
	require.Equal(t, map[string]int64{"Open": 2}, list[0].TotalStages)
	require.Equal(t, `{"Close":{"n":1},"Open":2}`, *list[0].TotalStagesJSON)
	require.Equal(t, `{"_id":"acs-1","name":"Open","steps":[]}`, *list[1].StageJSON)
	require.True(t, *list[2].IsAdhered)
	require.Equal(t, events.AdherenceIsAdhered, *list[2].AdherenceBasis)
	require.Equal(t, "Open", *list[2].StageName)
	require.Equal(t, `{"_id":"acst-1","adheredAt":"2026-02-25T09:00:15Z","adheredBy":"manual","extra":[1],"isAdhered":"true","name":"Greet"}`, *list[2].StepJSON)
	require.EqualValues(t, 2, *list[3].StepOrdinal)
	require.Nil(t, list[3].IsAdhered)
	require.Nil(t, list[3].AdherenceBasis)
	require.False(t, *list[4].StageCompleted)
	require.Equal(t, `{"_id":"acs-2","completed":false,"name":"Close","steps":[]}`, *list[4].StageJSON)
}

// A stage has an event of its own with its values, and keeps it when steps are added: the same, as they are events themselves.
func TestStageThatGainsSteps(t *testing.T) {
	const members = `"_id":"acs-1","name":"Open","status":"completed","completed":true,"openedAt":"2026-02-25T09:00:10Z","closedAt":"2026-02-25T09:00:50Z","adherenceRate":50`
	stage := func(steps string) *events.PlaybookStep {
		list := all[*events.PlaybookStep](decode(t, events.Interactions, segments(`"playbookRuntimeData":[{"_id":"run-1","stages":[{`+members+`,"steps":`+steps+`}]}]`)).Rows[0].Observations)
		require.Equal(t, "STAGE", list[1].Level)
		return list[1]
	}
	before, after := stage(`[]`), stage(`[{"_id":"acst-1","completed":true}]`)
	require.Equal(t, before.EntityID, after.EntityID)
	require.Equal(t, events.ContentHash(before, events.Recipe()), events.ContentHash(after, events.Recipe()))
	require.Equal(t, "completed", *after.StageStatus)
	require.True(t, *after.StageCompleted)
	require.NotNil(t, after.StageOpenedAt)
	require.NotNil(t, after.StageClosedAt)
	require.Equal(t, "playbookRuntimeData[].stages[].openedAt", after.EventTimeBasis)
	require.Contains(t, *after.StageJSON, `"adherenceRate":50`)
}

func TestAdherence(t *testing.T) {
	for members, want := range map[string]string{
		`"isAdhered":true,"completed":false,"status":"incomplete"`: "true by isAdhered",
		`"isAdhered":null,"completed":false,"status":"completed"`:  "false by completed",
		`"complete":true`:         "true by completed",
		`"status":"Completed"`:    "true by status",
		`"status":"not_adhered"`:  "false by status",
		`"status":"under review"`: "null",
		`"name":"Greet"`:          "null",
	} {
		list := all[*events.PlaybookStep](decode(t, events.Interactions, segments(`"playbookRuntimeData":[{"_id":"run-1","stages":[{"steps":[{"_id":"s",`+members+`}]}]}]`)).Rows[0].Observations)
		e := list[len(list)-1]
		got := "null"
		if e.IsAdhered != nil {
			got = fmt.Sprint(*e.IsAdhered, " by ", *e.AdherenceBasis)
		}
		require.Equal(t, want, got, members)
	}
}

// What is not known is kept, and counted as drift besides.
func TestUnknownMembersAreKept(t *testing.T) {
	page := decode(t, events.Interactions, segments(`"customTabDetails":{"b":[1],"a":"x"},"assistTabDetails":"y","later":null,
		"playbookRuntimeData":[{"_id":"run-1","name":"Returns","scenarioStatus":"completed"}]`))
	require.Equal(t, `{"assistTabDetails":"y","customTabDetails":{"a":"x","b":[1]}}`, *all[*events.Segment](page.Rows[0].Observations)[0].ExtraJSON)
	require.Equal(t, `{"name":"Returns","scenarioStatus":"completed"}`, *all[*events.PlaybookStep](page.Rows[0].Observations)[0].RunJSON)
	require.Equal(t, map[string]int64{"data[].customTabDetails": 1, "data[].assistTabDetails": 1, "data[].later": 1,
		"data[].playbookRuntimeData[].name": 1, "data[].playbookRuntimeData[].scenarioStatus": 1}, page.Drift)
	page = decode(t, events.CallDetails, session(`,"aiTopics":["billing"]`))
	require.Equal(t, `{"aiTopics":["billing"]}`, *all[*events.Conversation](page.Rows[0].Observations)[0].ExtraJSON)

	huge := `"` + strings.Repeat("x", bound.Extra) + `"`
	page = decode(t, events.Interactions, segments(`"a":`+huge+`,"b":1`))
	require.Equal(t, `{"b":1}`, *all[*events.Segment](page.Rows[0].Observations)[0].ExtraJSON)
	page = decode(t, events.Interactions, segments(`"a":`+huge))
	require.Nil(t, all[*events.Segment](page.Rows[0].Observations)[0].ExtraJSON)
}

// The engagements of a session that gains a conversation are replaced by those of the conversation, twins one by one.
func TestEngagementsOfSessionThatGainsConversation(t *testing.T) {
	const destinations = `,"destinations":[{"destinationType":"QueueEntry","queueId":"qu-1","respondingAgent":{"agentId":"u-1","assignedAt":"2026-02-25T09:00:10"}},
		{"destinationType":"QueueEntry","queueId":"qu-1","respondingAgent":{"agentId":"u-1","assignedAt":"2026-02-25T09:00:10"}}]`
	engagements := func(members string) (ids, supersedes []string) {
		for _, o := range decode(t, events.InteractionDetails, session(members+destinations)).Rows[0].Observations {
			if o.Event.EventType() == events.TypeAgentEngagement {
				ids, supersedes = append(ids, o.Event.Head().EntityID), append(supersedes, o.Supersedes)
			}
		}
		return ids, supersedes
	}
	before, none := engagements("")
	_, replaced := engagements(`,"conversationId":"c-1"`)
	require.Equal(t, []string{"", ""}, none)
	require.Equal(t, before, replaced)
}

func TestEngagements(t *testing.T) {
	row := decode(t, events.InteractionDetails, session(`,"conversationId":"c-1","destinations":[
		{"destinationType":"QueueEntry","queueId":"qu-1","nonRespondingAgents":[{"agentId":"u-1","assignedAt":"2026-02-25T09:00:05","nonResponseEvent":"Ignored"}],
			"respondingAgent":[{"agentId":"u-2","destinationType":"AgentSegment","assignedAt":"2026-02-25T09:00:10","ConsultingAgents":[],"JoinedUsers":[{"b":1,"a":"x"}]}]},
		{"destinationType":"AgentSegment","agentId":"u-3","name":"Jo","status":"Answered","assignedAt":"2026-02-25T09:01:00"},
		{"destinationType":"QueueEntry","queueId":"qu-2","respondingAgent":{}}]`)).Rows[0]
	list := all[*events.AgentEngagement](row.Observations)
	require.Len(t, list, 3)
	require.Equal(t, `{"agent_id":"u-1"}`, text(t, list[0].Agent))
	require.False(t, list[0].Responding)
	require.Equal(t, "Ignored", *list[0].NonResponseEvent)
	require.True(t, list[1].Responding)
	require.Nil(t, list[1].ConsultingAgentsJSON)
	require.Equal(t, `[{"a":"x","b":1}]`, *list[1].JoinedUsersJSON)
	require.Equal(t, "qu-1", *list[1].Queue.QueueID)
	require.True(t, list[2].Responding)
	require.Nil(t, list[2].Queue)
	require.Equal(t, "AgentSegment", *list[2].DestinationType)

	c := all[*events.Conversation](row.Observations)[0]
	require.Len(t, c.Destinations, 3)
	require.Equal(t, []string{"u-1"}, c.Destinations[0].NonRespondingAgentIDs)
	require.Equal(t, "u-2", *c.Destinations[0].RespondingAgentID)
	require.Equal(t, "u-3", *c.Destinations[1].RespondingAgentID)
}

func TestSessionOddities(t *testing.T) {
	page := decode(t, events.InteractionDetails, session(`,"reason":"low","Reason":"Upper","metaInfo":{"free":{"form":1},"customerinfo":{"CustomerPhone":"+1","Direction":"Outbound"},"identities":{"val":"v"}},
		"customerinfo":{"CustomerEmail":"a@b.example","CustomerTier":"gold"},"campaigninfo":{"b":1,"a":2},"snoozeinfo":[]`))
	require.Equal(t, map[string]int64{"data[].customerinfo.CustomerTier": 1}, page.Drift)
	c := all[*events.Conversation](page.Rows[0].Observations)[0]
	require.Equal(t, "low", *c.Reason)
	require.Equal(t, "Upper", *c.ReasonCapitalized)
	require.Equal(t, "+1", *c.CustomerPhone)
	require.Equal(t, "a@b.example", *c.CustomerEmail)
	require.Equal(t, "Outbound", *c.Direction)
	require.Equal(t, `{"CustomerEmail":"a@b.example","CustomerTier":"gold"}`, *c.CustomerInfoJSON)
	require.Equal(t, `{"a":2,"b":1}`, *c.CampaignInfoJSON)
	require.Nil(t, c.SnoozeInfoJSON)
	require.Equal(t, `{"customerinfo":{"CustomerPhone":"+1","Direction":"Outbound"},"free":{"form":1},"identities":{"val":"v"}}`, *c.MetaInfoJSON)
	require.Len(t, c.MetaInfo.Identities, 1)
}

// What is more than the known members is kept as JSON beside them.
func TestComponents(t *testing.T) {
	page := decode(t, events.Conversations, `{"results":[{"convId":"c","startTime":"2026-02-25T09:00:00Z","messages":[
		{"_id":"ms-1","components":[{"_id":"cp-1","cT":"text","data":{"text":"hi"}},{"cT":"file","data":{"name":"a","text":"b"},"thumbnails":[{"z":1}]},{"data":"plain"},"bare"]},
		{"_id":"m-2","type":"AGENTIC","requestId":"aa-1","components":{"cT":"text","data":{"text":"yes"}},"sessionInfo":{"status":"idle","tier":1}}]}]}`)
	require.Equal(t, map[string]int64{"results[].messages[].sessionInfo.tier": 1}, page.Drift)
	m := all[*events.Message](page.Rows[0].Observations)[0]
	require.Equal(t, `[{"component_id":"cp-1","component_type":"text","text":"hi"},`+
		`{"component_type":"file","text":"b","data_json":"{\"name\":\"a\",\"text\":\"b\"}","thumbnails_json":"[{\"z\":1}]"},{"text":"plain"},{"text":"bare"}]`, text(t, m.Components))
	q := all[*events.AgenticRequest](page.Rows[0].Observations)[0]
	require.Equal(t, `[{"component_type":"text","text":"yes"}]`, text(t, q.Components))
	require.Equal(t, "idle", *q.AgenticStatus)
	require.Equal(t, `{"status":"idle","tier":1}`, *q.SessionInfoJSON)

	c := only[*events.CoachingTriggered](t, events.Interactions, segments(`"coachingRuntimeData":[{"_id":"co","adherence":{"criteria":"said so","adType":"ack"},"emails":["a@b.example",{"to":"c"}],"message":"plain"}]`))
	require.Equal(t, "said so", *c.AdherenceCriteria)
	require.Equal(t, `{"adType":"ack","criteria":"said so"}`, *c.AdherenceJSON)
	require.Equal(t, []string{"a@b.example", `{"to":"c"}`}, c.Emails)
	require.Equal(t, "plain", *c.MessageBody)
}

// A segment counts the phrases of its searches; where no search gives a count, there is none.
func TestPhrases(t *testing.T) {
	search := func(members string) string {
		return `{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:10Z",` + members + `}}`
	}
	e := only[*events.Segment](t, events.Interactions, segments(`"agentActions":[`+
		search(`"suggestionsShown":["a","b"],"suggestionUsed":1,"phraseInput":"x"`)+`,`+
		search(`"suggestionsShown":["c"],"suggestionUsed":2,"phraseInput":"","correctionsPresented":4`)+`,{"actionType":"LibrarySelection"}]`))
	require.EqualValues(t, 3, *e.PhrasesSuggested)
	require.EqualValues(t, 3, *e.PhrasesAccepted)
	require.EqualValues(t, 1, *e.PhrasesEntered)
	require.EqualValues(t, 4, *e.CorrectionsPresented)
	require.Nil(t, e.CorrectionsAccepted)
	require.Nil(t, only[*events.Segment](t, events.Interactions, segments(``)).PhrasesSuggested)

	e = only[*events.Segment](t, events.Interactions, segments(`"agentActions":[`+search(`"searchPhrase":"x","suggestionsShown":null`)+`]`))
	require.Nil(t, e.PhrasesSuggested)
	require.Nil(t, e.PhrasesEntered)
	e = only[*events.Segment](t, events.Interactions, segments(`"agentActions":[`+search(`"suggestionsShown":[],"phraseInput":""`)+`]`))
	require.Zero(t, *e.PhrasesSuggested)
	require.Zero(t, *e.PhrasesEntered)
}

// What upstream calls by a new name is read as far as it is like what has a name, and the rest is kept as JSON.
func TestNewNames(t *testing.T) {
	row := decode(t, events.Interactions, segments(`"agentActions":[{"actionType":"VoiceEntry","voiceAction":{
		"executionStartTime":"2026-02-25T09:00:10Z","searchPhrase":"where","suggestions":{"videoClips":[{"positionId":"dg-1","content":"C","seconds":9}]}},
		"used":[{"targetType":"VideoClip","target":{"videoClip":{"positionId":"dg-1"}}}]}]`)).Rows[0]
	search := all[*events.Search](row.Observations)
	require.Len(t, search, 1)
	require.Equal(t, "VoiceEntry", *search[0].ActionType)
	require.Equal(t, "where", *search[0].SearchPhrase)
	shown := all[*events.SuggestionShown](row.Observations)
	require.Len(t, shown, 1)
	require.Equal(t, `[{"list":"videoClips","position_id":"dg-1","content":"C","suggestion_json":"{\"content\":\"C\",\"positionId\":\"dg-1\",\"seconds\":9}"}]`,
		text(t, shown[0].Suggestions))
	used := all[*events.SuggestionUsed](row.Observations)
	require.Len(t, used, 1)
	require.Equal(t, "SEARCH", used[0].Via)
	require.Equal(t, search[0].EntityID, *used[0].ParentEntityID)
}
