package extract_test

import (
	"testing"

	"github.com/stretchr/testify/require"

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
			body := *u[0]
			body.Header, body.TargetType, body.Via, body.ActionType, body.ParentEntityID = events.Header{}, "", "", nil, nil
			empty := text(t, events.SuggestionUsed{})
			require.Equal(t, empty[:len(empty)-1]+","+c.event+"}", text(t, body))
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

func TestCustomerScore(t *testing.T) {
	strict := extract.CSAT{NegativeUpTo: 3, PositiveFrom: 5}
	for members, c := range map[string]struct {
		csat      extract.CSAT
		sentiment string // empty: no feedback
		response  string
	}{
		`,"csatScore":1`:                             {extract.CSAT{}, "NEGATIVE", "1"},
		`,"csatScore":"2"`:                           {extract.CSAT{}, "NEGATIVE", "2"},
		`,"csatScore":3`:                             {extract.CSAT{}, "NEUTRAL", "3"},
		`,"csatScore":4,"csatFeedback":""`:           {extract.CSAT{}, "POSITIVE", "4"},
		`,"csatScore":5,"csatFeedback":"well done"`:  {extract.CSAT{}, "POSITIVE", "5"},
		`,"csatScore":4 ,"conversationId":"c-1"`:     {strict, "NEUTRAL", "4"},
		`,"csatScore":3 ,"conversationId":"c-1"`:     {strict, "NEGATIVE", "3"},
		`,"csatScore":null,"csatFeedback":"meh"`:     {extract.CSAT{}, "UNKNOWN", ""},
		`,"csatScore":0`:                             {extract.CSAT{}, "", ""},
		`,"csatScore":null`:                          {extract.CSAT{}, "", ""},
		`,"csatScore":"","csatFeedback":null`:        {extract.CSAT{}, "", ""},
		`,"npsScore":9,"likeDislikeScore":"dislike"`: {extract.CSAT{}, "", ""},
	} {
		s := scope(events.InteractionDetails)
		s.CSAT = c.csat
		page, err := extract.Decode(s, []byte(session(members)))
		require.NoError(t, err)
		got := all[*events.Feedback](page.Rows[0].Observations)
		if c.sentiment == "" {
			require.Empty(t, got, members)
			continue
		}
		require.Len(t, got, 1, members)
		f := got[0]
		require.Equal(t, c.sentiment, f.Sentiment, members)
		require.Equal(t, "CUSTOMER", f.GivenBy)
		require.Equal(t, "Conversation", f.TargetType)
		require.Equal(t, page.Rows[0].Observations[0].Event.Head().EntityID, *f.TargetEntityID)
		require.Equal(t, "sessionStartTime", f.EventTimeBasis)
		if c.response == "" {
			require.Nil(t, f.Response)
		} else {
			require.Equal(t, c.response, *f.Response)
		}
	}
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
	require.Len(t, list, 4)
	scopes := []string{}
	for _, e := range list {
		scopes = append(scopes, e.Scope)
		require.Equal(t, "run-1", *e.RunID)
		require.Equal(t, "acl-1", *e.PlaybookID)
	}
	require.Equal(t, []string{"PLAYBOOK", "STEP", "STEP", "STAGE"}, scopes)
	require.Equal(t, 66.5, *list[0].AdherenceRate)
	require.Equal(t, map[string]int64{"Open": 2}, list[0].TotalStages)
	require.Equal(t, `{"Close":{"n":1},"Open":2}`, *list[0].TotalStagesJSON)
	require.True(t, *list[1].IsAdhered)
	require.Equal(t, "Open", *list[1].StageName)
	require.Equal(t, `{"_id":"acst-1","adheredAt":"2026-02-25T09:00:15Z","adheredBy":"manual","extra":[1],"isAdhered":"true","name":"Greet"}`, *list[1].StepJSON)
	require.EqualValues(t, 2, *list[2].StepOrdinal)
	require.False(t, *list[3].StageCompleted)
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
