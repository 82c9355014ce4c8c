package extract_test

import (
	"testing"

	"agentassist-poller/internal/events"

	"github.com/stretchr/testify/require"
)

func TestUsage(t *testing.T) {
	for used, want := range map[string]string{
		`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","status":"Sent"}}}`:                                  events.UsageSent,
		`{"targetType":"Answer","target":{"positionId":"dg-1","status":"send"}}`:                                             events.UsageSent,
		`{"targetType":"FAQ","target":{"faq":{"title":"T","status":"Copied"}}}`:                                              events.UsageCopied,
		`{"targetType":"FAQ","target":{"title":"T","status":"copy"},"feedback":{"response":"down"}}`:                         events.UsageCopied,
		`{"targetType":"DialogTask","target":{"name":"Pay","startTime":"2026-02-25T09:00:20Z","status":""}}`:                 events.UsageRun,
		`{"targetType":"DialogTask","target":{"name":"Pay","status":"PrematurelyTerminated"}}`:                               events.UsageRun,
		`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","status":"","showMoreClicked":true}}}`:               events.UsageOpened,
		`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","answerLinkClicked":["https://a.example"]}}}`:        events.UsageOpened,
		`{"targetType":"File","target":{"file":{"path":"/a","status":""}},"feedback":{"response":"down"}}`:                   events.UsageRated,
		`{"targetType":"File","target":{"file":{"path":"/a","status":"","feedback":{"response":"","comment":""}}}}`:          events.UsageUnknown,
		`{"targetType":"File","target":{"file":{"path":"/a","status":"Bookmarked","usedTime":"2026-02-25T09:00:20Z"}}}`:      events.UsageUnknown,
		`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","showMoreClicked":false,"answerLinkClicked":[""]}}}`: events.UsageUnknown,
		`{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","status":" SENT ","showMoreClicked":true}}}`:         events.UsageSent,
	} {
		require.Equal(t, want, only[*events.SuggestionUsed](t, events.Interactions, use(used)).Usage, used)
	}
}

// An override alone is no acceptance, whichever endpoint shows it first; an answer that was sent was accepted, overridden or not.
func TestUsageOfAgenticAnswers(t *testing.T) {
	for _, c := range []struct{ activity, message, want string }{
		{`"usageDetails":{"usedType":"send"}`, `"isSent":false`, events.UsageSent},
		{`"usageDetails":{"usedType":"override"}`, `"isSent":false,"isCopied":false,"isOverride":true`, events.UsageOverridden},
		{``, `"isSent":false,"isCopied":false,"isOverride":true`, events.UsageOverridden},
		{``, `"isSent":true,"isCopied":false,"isOverride":true`, events.UsageSent},
		{`"usageDetails":{"usedType":"pin"}`, `"isCopied":true`, events.UsageCopied},
		{`"usageDetails":{"usedType":"pin"}`, `"isCopied":false`, events.UsageUnknown},
	} {
		if c.activity != "" {
			c.activity = "," + c.activity
		}
		one := all[*events.SuggestionUsed](decode(t, events.Interactions, segments(`"agenticActivities":[{"requestId":"aa-1"`+c.activity+`}]`)).Rows[0].Observations)
		other := all[*events.SuggestionUsed](decode(t, events.Conversations, `{"results":[{"_id":"1","convId":"c-1","startTime":"2026-02-25T08:59:00Z",
			"messages":[{"type":"AGENTIC","requestId":"aa-1",`+c.message+`}]}]}`).Rows[0].Observations)
		var merged events.Event
		switch {
		case len(one) == 0:
			merged = other[0]
		case len(other) == 0:
			merged = one[0]
		default:
			merged = events.Merge(other[0], events.Conversations, one[0], events.Interactions)
		}
		require.Equal(t, c.want, merged.(*events.SuggestionUsed).Usage, "%+v", c)
	}
}

func TestSuggestionsShownIsWhatWasDisplayed(t *testing.T) {
	shown := func(t *testing.T, segment string) []*events.SuggestionShown {
		return all[*events.SuggestionShown](decode(t, events.Interactions, segments(segment)).Rows[0].Observations)
	}
	for name, c := range map[string]struct {
		list  string
		total int64 // 0 for none
	}{
		"nothing":               {`"x":null`, 0},
		"counts of zero":        {`"countDisplayedAnswers":{"countFaqs":0,"countAnswers":"0"}`, 0},
		"empty lists":           {`"countDisplayedAnswers":{"countFaqs":0},"suggestions":{"faqs":[],"answers":[]}`, 0},
		"counts without a list": {`"countDisplayedAnswers":{"countFaqs":3,"countAnswers":"1"}`, 4},
		"a list without counts": {`"suggestions":{"faqs":[{"content":"a"},{"content":"b"}]}`, 2},
		"an uncounted kind":     {`"countDisplayedAnswers":{"countFaqs":0},"suggestions":{"snippets":[{"content":"a"}]}`, 1},
		"both":                  {`"countDisplayedAnswers":{"countFaqs":2},"suggestions":{"faqs":[{"content":"a"}]}`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for _, segment := range []string{
				`"proActiveSuggestions":[{"displayTime":"2026-02-25T09:00:10Z","utterance":"purchase TV",` + c.list + `}]`,
				`"agentActions":[{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:10Z","displayTime":"2026-02-25T09:00:11Z",` + c.list + `}}]`,
			} {
				lists := shown(t, segment)
				if c.total == 0 {
					require.Empty(t, lists)
					continue
				}
				require.Len(t, lists, 1)
				require.Equal(t, c.total, *lists[0].CountTotal)
			}
		})
	}
}

// One rule joins what was used to where it was displayed and to the search behind it.
func TestUsesAreJoinedToListsAndSearches(t *testing.T) {
	const used = `"used":[{"targetType":"FAQ","target":{"title":"T","status":"Sent","usedTime":"2026-02-25T09:00:16Z"}}]`
	row := decode(t, events.Interactions, segments(`
		"proActiveSuggestions":[{"displayTime":"2026-02-25T09:00:10Z","countDisplayedAnswers":{"countFaqs":1},`+used+`}],
		"agentActions":[
			{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:20Z","displayTime":"2026-02-25T09:00:21Z","countDisplayedAnswers":{"countFaqs":1}},`+used+`},
			{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:30Z","displayTime":"2026-02-25T09:00:31Z"},`+used+`},
			{"actionType":"LibrarySelection",`+used+`}],
		"agenticActivities":[
			{"requestId":"ua-1","requestTime":"2026-02-25T09:00:40Z","responseTime":"2026-02-25T09:00:41Z","usageDetails":{"usedType":"send"}},
			{"requestId":"aa-1","requestTime":"2026-02-25T09:00:50Z","responseTime":"2026-02-25T09:00:51Z","usageDetails":{"usedType":"send"}}]`)).Rows[0]
	byID := map[string]events.Event{}
	for _, o := range row.Observations {
		byID[o.Event.Head().EntityID] = o.Event
	}
	var said []string
	for _, u := range all[*events.SuggestionUsed](row.Observations) {
		line := u.Via
		if u.DisplayTime != nil {
			line += " " + u.DisplayTime.Format("05")
		}
		for _, id := range []*string{u.ShownEntityID, u.SearchEntityID} {
			switch e := byID[deref(id)].(type) {
			case nil:
				require.Nil(t, id)
				line += " -"
			case *events.SuggestionShown:
				line += " " + e.DisplayTime.Format("05")
			case *events.AgenticRequest:
				line += " " + *e.RequestID
			case *events.Search:
				line += " " + e.ExecutionStartTime.Format("05")
			}
		}
		said = append(said, line)
	}
	require.ElementsMatch(t, []string{
		"PROACTIVE 10 10 -", "SEARCH 21 21 20", "SEARCH 31 - 30", "LIBRARY - -", "AGENTIC 41 ua-1 40", "AGENTIC 51 aa-1 -",
	}, said)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Agentic searches have the agent, queue and segment of the segment that lists them, or the agent who rated the answer.
func TestAgenticSearches(t *testing.T) {
	one := all[*events.Search](decode(t, events.Interactions, segments(`"agent":{"agentId":"agent-A"},"queueInfo":{"queueName":"Cards"},
		"agenticActivities":[{"requestId":"ua-900","utterance":"refund","requestTime":"2026-02-25T09:00:40Z","responseTime":"2026-02-25T09:00:41Z"},{"requestId":"aa-1"}]`)).Rows[0].Observations)
	require.Len(t, one, 1)
	require.Equal(t, "AGENTIC", one[0].Via)
	require.Equal(t, "refund", *one[0].SearchPhrase)
	require.Equal(t, "agent-A", *one[0].Agent.AgentID)
	require.Equal(t, "Cards", *one[0].Queue.QueueName)
	require.NotNil(t, one[0].SegmentID)

	page := decode(t, events.Conversations, `{"results":[{"_id":"1","convId":"c-1","startTime":"2026-02-25T08:59:00Z","searchHistory":[
		{"_id":"m1","type":"AGENTIC","requestId":"ua-900","query":"refund","requestedAt":"2026-02-25T09:00:40Z","isSent":true,
		"feedbackInfo":{"feedback":"like","agentDetails":{"identity":"agent-B"}}}]}]}`)
	for _, o := range page.Rows[0].Observations {
		require.Equal(t, "agent-B", *o.Event.Head().Agent.AgentID, "%s", o.Event.EventType())
		if s, ok := o.Event.(*events.Search); ok {
			require.Equal(t, one[0].EntityID, s.EntityID)
			merged := events.Merge(s, events.Conversations, one[0], events.Interactions).(*events.Search)
			require.Equal(t, "agent-A", *merged.Agent.AgentID)
			require.Equal(t, "m1", *merged.SearchID)
		}
	}
}
