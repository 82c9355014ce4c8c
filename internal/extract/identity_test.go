package extract_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

// contents maps every entity on a page to the hash of its content.
func contents(t *testing.T, page *extract.Page) map[string]string {
	t.Helper()
	byID := map[string]string{}
	for _, row := range page.Rows {
		for _, s := range row.Observations {
			id := s.Event.Head().EntityID
			require.NotEmpty(t, id)
			require.NotContains(t, byID, id, "two things with one identity: %s", text(t, s.Event))
			byID[id] = fmt.Sprintf("%s %x", s.Event.EventType(), events.ContentHash(s.Event, 1))
		}
	}
	return byID
}

// The order in which upstream lists things identifies nothing.
func TestShuffledPages(t *testing.T) {
	for name, endpoint := range pages {
		t.Run(name, func(t *testing.T) {
			body := readPage(t, name)
			want := contents(t, decode(t, endpoint, body))
			for seed := range uint64(50) {
				got := contents(t, decode(t, endpoint, shuffled(t, body, rand.New(rand.NewPCG(seed, 1)))))
				require.Equal(t, want, got, "seed %d", seed)
			}
		})
	}
}

// Lists whose order says something are left as they are.
var ordered = []string{"suggestionsShown", "dialogs", "faqs", "answers", "web", "file", "sources", "destinations",
	"nonRespondingAgents", "agentNotes", "stages", "steps", "identities", "dialog_tone", "reasonCode", "feedbackDetails",
	"components", "response", "linksClicked", "dispositions"}

// shuffled is the page with its records, their lists and the members of all objects in another order.
func shuffled(t *testing.T, body string, r *rand.Rand) string {
	var page any
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	var out []byte
	var write func(v any, keep bool)
	write = func(v any, keep bool) {
		switch v := v.(type) {
		case map[string]any:
			names := slices.Sorted(maps.Keys(v))
			r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			out = append(out, '{')
			for i, name := range names {
				if i > 0 {
					out = append(out, ',')
				}
				out = fmt.Appendf(out, "%q:", name)
				write(v[name], slices.Contains(ordered, name))
			}
			out = append(out, '}')
		case []any:
			if !keep {
				r.Shuffle(len(v), func(i, j int) { v[i], v[j] = v[j], v[i] })
			}
			out = append(out, '[')
			for i := range v {
				if i > 0 {
					out = append(out, ',')
				}
				write(v[i], false)
			}
			out = append(out, ']')
		default:
			b, err := json.Marshal(v)
			require.NoError(t, err)
			out = append(out, b...)
		}
	}
	write(page, false)
	return string(out)
}

// What both endpoints show are the same things, remembered within reach of one another.
func TestSharedByInteractionsAndConversations(t *testing.T) {
	interactions := decode(t, events.Interactions, segments(`
		"agenticActivities":[
			{"requestId":"aa-1","requestTime":"2026-02-25T09:01:00.000Z","usageDetails":{"usedType":"send"},"feedback":{"response":"up"}},
			{"requestId":"ua-2","requestTime":"2026-02-25T09:02:00.000Z","feedback":{"response":"down"}}],
		"summary":{"summaryId":"smr-1","type":"final","feedback":{"response":"Down"}}`))
	conversations := decode(t, events.Conversations, `{"results":[{"_id":"699ebd700000000000000000","convId":"c-1","botId":"st-other","startTime":"2026-02-25T08:59:00.000Z",
		"summaries":[{"summaryId":"smr-1","type":"final","feedbackInfo":{"feedback":"dislike","type":"summary"}}],
		"messages":[{"_id":"m1","type":"AGENTIC","requestId":"aa-1","requestedAt":"2026-02-25T09:01:00.250Z","isSent":true,"feedbackInfo":{"feedback":"like"}}],
		"searchHistory":[{"_id":"m2","type":"AGENTIC","requestId":"ua-2","requestedAt":"2026-02-25T09:02:00.250Z","isSent":false,"feedbackInfo":{"feedback":"dislike"}}]}]}`)
	require.True(t, interactions.Rows[0].Agentic)

	kinds := func(page *extract.Page) map[string]events.Observation {
		m := map[string]events.Observation{}
		for _, s := range page.Rows[0].Observations {
			if s.Merged {
				m[s.Event.Head().EntityID] = s
			}
		}
		return m
	}
	one, other := kinds(interactions), kinds(conversations)
	require.Len(t, one, 8)
	require.Equal(t, slices.Sorted(maps.Keys(one)), slices.Sorted(maps.Keys(other)))
	for id, s := range one {
		require.Equal(t, s.Event.EventType(), other[id].Event.EventType())
		require.LessOrEqual(t, s.Anchor.Sub(other[id].Anchor).Abs(), s.Slack)
		require.Equal(t, events.Key(s.Event.Head()), events.Key(other[id].Event.Head()))
		merged := events.Merge(s.Event, events.Interactions, other[id].Event, events.Conversations)
		require.Equal(t, id, merged.Head().EntityID)
	}
	for _, q := range all[*events.AgenticRequest](conversations.Rows[0].Observations) {
		require.Equal(t, map[string]string{"aa-1": "ASSIST", "ua-2": "SEARCH"}[*q.RequestID], q.Kind)
	}
}

// Both analytics endpoints show the same sessions, conversations, engagements and scores.
func TestSharedByAnalytics(t *testing.T) {
	body := readPage(t, "call-details-v1")
	one := decode(t, events.CallDetails, body)
	other := decode(t, events.InteractionDetails, body)
	require.Equal(t, contents(t, one), contents(t, other))
	for _, row := range one.Rows {
		for _, s := range row.Observations {
			require.True(t, s.Shared && s.Merged)
			require.Equal(t, row.Start, s.Anchor)
			if s.Event.EventType() == events.TypeConversation {
				require.Equal(t, events.Anywhere, s.Slack)
				require.Empty(t, s.Home)
			} else {
				require.Equal(t, 24*time.Hour, s.Slack)
				require.Equal(t, row.Observations[0].Event.Head().EntityID, s.Home)
			}
		}
	}
}

func session(members string) string {
	return `{"data":[{"sessionId":"66f4f3aa205c5afb97d30000","botId":"st-9","channel":"Voice","sessionStartTime":"2026-02-25T09:00:00"` + members + `}]}`
}

// A session that gains a conversation is another entity, which says whom it replaces.
func TestBotOnlySessionGainsConversation(t *testing.T) {
	before := decode(t, events.InteractionDetails, session(`,"csatScore":1`)).Rows[0]
	after := decode(t, events.CallDetails, session(`,"conversationId":"c-1","csatScore":1,"channel":"voice "`)).Rows[0]
	require.True(t, before.BotOnly)
	require.False(t, after.BotOnly)
	require.Equal(t, "66f4f3aa205c5afb97d30000/Voice", before.ID)
	require.Equal(t, "66f4f3aa205c5afb97d30000/c-1", after.ID)
	require.Len(t, before.Observations, 2)
	require.Len(t, after.Observations, 2)
	for i := range before.Observations {
		require.Empty(t, before.Observations[i].Supersedes)
		require.NotEqual(t, before.Observations[i].Event.Head().EntityID, after.Observations[i].Event.Head().EntityID)
		require.Equal(t, before.Observations[i].Event.Head().EntityID, after.Observations[i].Supersedes)
	}
}

func TestOpen(t *testing.T) {
	for members, open := range map[string]bool{
		``: true,
		`,"sessionEndTime":"2026-02-25T09:05:00"`:                                false,
		`,"sessionEndTime":"2026-02-25T09:05:00","finalStatus":"ACTIVE"`:         true,
		`,"sessionEndTime":"2026-02-25T09:05:00","finalStatus":"CLOSED"`:         false,
		`,"sessionEndTime":"2026-02-25T09:05:00","finalStatus":"USER ABANDONED"`: false,
	} {
		require.Equal(t, open, decode(t, events.CallDetails, session(members)).Rows[0].Open, members)
	}
	require.True(t, decode(t, events.Interactions, segments(``)).Rows[0].Open)
	require.False(t, decode(t, events.Interactions, segments(`"segmentEndTime":"2026-02-25T09:05:00Z"`)).Rows[0].Open)
}

// Runs that span segments are one entity; the newest segment's observation ranks highest.
func TestRunsThatSpanSegments(t *testing.T) {
	run := `"coachingRuntimeData":[{"_id":"co-1","triggeredAt":"2026-02-25T09:00:30Z"}],
		"playbookRuntimeData":[{"_id":"run-1","openedAt":"2026-02-25T09:00:10Z","stages":[{"_id":"acs-1","steps":[{"_id":"acst-1"}]},{"_id":"acs-2"}]}]`
	page := decode(t, events.Interactions, `{"data":[
		{"segmentID":"ac-1","conversationID":"c-1","segmentStartTime":"2026-02-25T09:00:00Z",`+run+`},
		{"segmentID":"ac-2","conversationID":"c-1","segmentStartTime":"2026-02-25T09:30:00Z",`+run+`}]}`)
	older, newer := page.Rows[0].Observations[1:], page.Rows[1].Observations[1:]
	require.Len(t, older, 5)
	require.Len(t, newer, 5)
	for i := range older {
		require.Equal(t, older[i].Event.Head().EntityID, newer[i].Event.Head().EntityID)
		require.Equal(t, older[i].Anchor, newer[i].Anchor)
		require.Greater(t, newer[i].Rank, older[i].Rank)
		require.Equal(t, events.ContentHash(older[i].Event, 1), events.ContentHash(newer[i].Event, 1))
	}
}

// An id of an object tells when it was made, which no correction changes.
func TestAnchorOfAnObject(t *testing.T) {
	made := time.Date(2026, 2, 25, 9, 0, 12, 0, time.UTC)
	for id, want := range map[string]time.Time{
		fmt.Sprintf("%08x%016d", made.Unix(), 1): made,
		fmt.Sprintf("%08X%016d", made.Unix(), 1): made,
		"s-1":                                    {},
		"000000000000000000000001":               {},
		"699ebd7c000000000000000g":               {},
	} {
		page := decode(t, events.CallDetails, `{"data":[{"sessionId":"`+id+`","sessionStartTime":"2026-02-26 09:00:00"}]}`)
		seen := page.Rows[0].Observations[0]
		if want.IsZero() {
			require.Equal(t, page.Rows[0].Start, seen.Anchor, id)
			require.Equal(t, events.Anywhere, seen.Slack, id)
		} else {
			require.Equal(t, want, seen.Anchor, id)
			require.Equal(t, 24*time.Hour, seen.Slack, id)
		}
		require.Equal(t, page.Rows[0].Start, seen.Row)
	}
}

// Things that are equal in all that identifies them keep their identities whatever order they come in: their times tell them apart, or
// else what they say.
func TestTwins(t *testing.T) {
	run := func(a, b string) map[string]string {
		m := map[string]string{}
		page := decode(t, events.Interactions, segments(`"agentActions":[{"actionType":"LibrarySelection","used":[`+a+`,`+b+`]}]`))
		for _, e := range all[*events.SuggestionUsed](page.Rows[0].Observations) {
			m[or(e.Status)] = e.EntityID
		}
		for _, f := range all[*events.Feedback](page.Rows[0].Observations) {
			m[*f.Response] = *f.TargetEntityID
		}
		return m
	}
	page := func(members string) string {
		return `{"targetType":"WebPage","target":{"url":"https://a.example",` + members + `}}`
	}
	first, second := page(`"status":"Sent","usedTime":"2026-02-25T09:00:10Z"`), page(`"status":"Copied","usedTime":"2026-02-25T09:00:20Z"`)
	require.Len(t, run(first, second), 2)
	require.NotEqual(t, run(first, second)["Sent"], run(first, second)["Copied"])
	require.Equal(t, run(first, second), run(second, first))
	first, second = page(`"status":"","feedback":{"response":"up"}`), page(`"status":"Copied","feedback":{"response":"down"}`)
	require.Len(t, run(first, second), 4)
	require.Equal(t, run(first, second), run(second, first))

	same := decode(t, events.Interactions, segments(`"agentActions":[{"actionType":"LibrarySelection","used":[{"targetType":"FAQ"},{"targetType":"FAQ"},{"targetType":"FAQ"}]}]`))
	require.Len(t, contents(t, same), 4)
}

// A search of the same millisecond as another keeps its identity when the record shows the other one, too.
func TestSearchesOfOneTime(t *testing.T) {
	search := func(phrase, displayed string) string {
		return `{"actionType":"SearchBarEntry","action":{"searchPhrase":"` + phrase + `","executionStartTime":"2026-02-25T09:00:10Z","displayTime":"2026-02-25T09:00:` + displayed + `Z"}}`
	}
	run := func(actions string) map[string]string {
		m := map[string]string{}
		for _, e := range all[*events.Search](decode(t, events.Interactions, segments(`"agentActions":[`+actions+`]`)).Rows[0].Observations) {
			m[or(e.SearchPhrase)] = e.EntityID
		}
		return m
	}
	for _, phrases := range [][2]string{{"a", "b"}, {"b", "a"}} {
		before := search(phrases[0], "11")
		both := run(search(phrases[1], "12") + "," + before)
		require.NotEqual(t, both[phrases[0]], both[phrases[1]])
		require.Equal(t, run(before)[phrases[0]], both[phrases[0]])
	}
}

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// What has an id upstream is one thing however often a record lists it.
func TestListedTwice(t *testing.T) {
	for name, members := range map[string]string{
		"request":  `"agenticActivities":[{"requestId":"aa-1","utterance":"a","feedback":{"response":"up"}},{"requestId":"aa-1","utterance":"b","feedback":{"response":"down"}}]`,
		"summary":  `"summary":[{"summaryId":"smr-1","summary":"a"},{"summaryId":"smr-1","summary":"b"}]`,
		"run":      `"playbookRuntimeData":[{"_id":"run-1","openedAt":"2026-02-25T09:00:10Z"},{"_id":"run-1","openedAt":"2026-02-25T09:00:20Z"}]`,
		"coaching": `"coachingRuntimeData":[{"_id":"co-1","isAdhered":true},{"_id":"co-1","isAdhered":false}]`,
	} {
		t.Run(name, func(t *testing.T) {
			ids := map[string]int{}
			for _, o := range decode(t, events.Interactions, segments(members)).Rows[0].Observations[1:] {
				ids[o.Event.Head().EntityID]++
				require.Equal(t, "ac-1", o.Parent)
			}
			for id, n := range ids {
				require.Equal(t, 2, n, id)
			}
		})
	}
}

// Copies of a record on one page are numbered, the newest first.
func TestCopiesOfARecord(t *testing.T) {
	copies := []string{
		`"segmentEndTime":"2026-02-25T09:05:00Z","countScrollUp":2`, `"segmentEndTime":"2026-02-25T09:05:00Z","countScrollUp":1`,
		`"segmentEndTime":"2026-02-25T09:05:00Z","countScrollDn":1`, `"countScrollUp":9`,
	}
	want := []int{0, 1, 1, 3}
	for range 10 {
		order := rand.Perm(len(copies))
		body := ""
		for _, n := range order {
			body += `{"segmentID":"ac-1","conversationID":"c-1","segmentStartTime":"2026-02-25T09:00:00Z",` + copies[n] + `},`
		}
		page := decode(t, events.Interactions, `{"data":[`+body+`{"segmentID":"ac-2","segmentStartTime":"2026-02-25T09:00:00Z"}]}`)
		for i, n := range order {
			require.Equal(t, want[n], page.Rows[i].Observations[0].Copy, copies[n])
		}
		require.Zero(t, page.Rows[len(order)].Observations[0].Copy)
	}
}

// Feedback on what several agents may rate says who speaks, by an id; on what only one agent has, it does not.
func TestWhoSpeaks(t *testing.T) {
	interactions := decode(t, events.Interactions, segments(`"agent":{"agentId":"a-1","name":"Ann"},
		"agenticActivities":[{"requestId":"aa-1","requestTime":"2026-02-25T09:01:00Z","feedback":{"response":"up"}}],
		"summary":{"summaryId":"smr-1","feedback":{"response":"Down"}},
		"proActiveSuggestions":[{"displayTime":"2026-02-25T09:00:10Z","used":[{"targetType":"FAQ","target":{"title":"T"},"feedback":{"response":"up"}}]}]`))
	conversations := func(agent string) *extract.Page {
		return decode(t, events.Conversations, `{"results":[{"_id":"i-1","convId":"c-1","startTime":"2026-02-25T09:00:00Z",
			"summaries":[{"summaryId":"smr-1","feedbackInfo":{"feedback":"dislike","agentDetails":`+agent+`}}],
			"messages":[{"_id":"m1","type":"AGENTIC","requestId":"aa-1","feedbackInfo":{"feedback":"like","agentDetails":`+agent+`}},{"_id":"ms-1","feedbackInfo":{"feedback":"like","agentDetails":`+agent+`}}],
			"widgetFeedbacks":[{"feedback":"like","agentDetails":`+agent+`}]}]}`)
	}
	named := func(page *extract.Page) map[string]string {
		m := map[string]string{}
		for _, o := range page.Rows[0].Observations {
			if f, ok := o.Event.(*events.Feedback); ok {
				m[f.TargetType] = o.Named
				if o.Named != "" {
					require.NotEqual(t, f.EntityID, o.Named)
					require.NotEmpty(t, o.Parent)
				}
			}
		}
		return m
	}
	one := named(interactions)
	require.Empty(t, one["FAQ"])
	other := named(conversations(`{"identity":"a-1","name":"Anonymous"}`))
	require.Equal(t, one["Summary"], other["Summary"])
	require.Equal(t, one["Agentic"], other["Agentic"])
	for _, target := range []string{"Summary", "Agentic", "Message"} {
		require.NotEmpty(t, other[target], target)
		require.Empty(t, named(conversations(`{"name":"Anonymous"}`))[target], target)
		require.NotEqual(t, other[target], named(conversations(`{"identity":"a-2"}`))[target], target)
	}
}

// How and when something was used, and what somebody thinks of it, is no part of its identity.
func TestIdentityOutlivesEdits(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"answer is sent": {
			`"agentActions":[{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:10Z"},"used":[{"targetType":"Answer","target":{"answer":{"positionId":"dg-1","status":"","usedTime":""}}}]}]`,
			`"agentActions":[{"actionType":"SearchBarEntry","action":{"executionStartTime":"2026-02-25T09:00:10Z","displayTime":"2026-02-25T09:00:11Z"},"used":[{"targetType":"Answer","target":{"status":"Sent","usedTime":"2026-02-25T09:00:20Z","positionId":"dg-1"}}]}]`,
		},
		"thumb turns": {
			`"proActiveSuggestions":[{"displayTime":"2026-02-25T09:00:10Z","used":[{"targetType":"FAQ","target":{"faq":{"title":"T"}},"feedback":{"response":"up"}}]}]`,
			`"proActiveSuggestions":[{"displayTime":"2026-02-25T09:00:10Z","used":[{"targetType":"FAQ","target":{"title":"T","feedback":{"response":"down","comment":"no"}}}]}]`,
		},
		"nudge is followed": {
			`"coachingRuntimeData":[{"ruleId":"acr-1","messageId":"ms-1","triggeredAt":"2026-02-25T09:00:10Z"}]`,
			`"coachingRuntimeData":[{"ruleId":"acr-1","messageId":"ms-1","triggeredAt":"2026-02-25T09:00:10Z","isAdhered":true,"adheredAt":"2026-02-25T09:00:40Z"}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, decode(t, events.Interactions, segments(c.before)))
			after := contents(t, decode(t, events.Interactions, segments(c.after)))
			require.Equal(t, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			require.NotEqual(t, before, after)
		})
	}
}

// Account and bot enter identity, the names that a configuration chose do not.
func TestIdentityScope(t *testing.T) {
	ids := func(s extract.Scope) []string {
		page, err := extract.Decode(s, []byte(segments(`"summary":{"summaryId":"smr-1"}`)))
		require.NoError(t, err)
		return slices.Sorted(maps.Keys(contents(t, page)))
	}
	base := scope(events.Interactions)
	renamed, otherBot, otherAccount := base, base, base
	renamed.Source, otherBot.BotID, otherAccount.AccountID = "renamed", "st-2", "acc-2"
	require.Equal(t, ids(base), ids(renamed))
	require.NotEqual(t, ids(base), ids(otherBot))
	require.NotEqual(t, ids(base), ids(otherAccount))
}
