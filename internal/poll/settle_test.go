package poll_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
	"agentassist-poller/internal/testsize"
)

// object is an upstream record or a part of one.
type object = map[string]any

// A muddle is what an API shows that contradicts itself in every way that is known: copies of one row on a page and on two, things listed
// in several segments and several documents with different content, by different persons, twice in one row, more often than is kept.
type muddle struct {
	r     *rand.Rand
	next  int
	pages map[events.Endpoint][][]object // rows, by the pages that they are on
	rows  []object                       // all of them
	// scattered is set if copies of a row may be on several pages.
	scattered bool
}

func pickOne[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (m *muddle) chance(percent int) bool { return m.r.IntN(100) < percent }

// fresh returns a value that was never shown before.
func (m *muddle) fresh() string {
	m.next++
	return fmt.Sprint("v", m.next)
}

func newMuddle(r *rand.Rand, scattered bool) *muddle {
	m := &muddle{r: r, pages: map[events.Endpoint][][]object{}, scattered: scattered}
	for c := range 1 + r.IntN(2) {
		conversation := fmt.Sprint("c-", c)
		for s := range 1 + r.IntN(7) { // at times more than are kept apart
			m.add(events.Interactions, func() object { return m.segment(conversation, fmt.Sprintf("ac-%d-%d", c, s), s) })
		}
		for n := range r.IntN(4) {
			m.add(events.Conversations, func() object { return m.document(conversation, fmt.Sprintf("i-%d-%d", c, n), n) })
		}
		if m.chance(50) {
			for _, e := range []events.Endpoint{events.InteractionDetails, events.CallDetails} {
				m.add(e, func() object { return m.session(conversation) })
			}
		}
	}
	return m
}

// add puts a row on one of the pages of an endpoint, and at times a copy of it on the same page or another.
func (m *muddle) add(e events.Endpoint, row func() object) {
	if m.pages[e] == nil {
		m.pages[e] = make([][]object, 1+m.r.IntN(3))
	}
	pages := m.pages[e]
	page := m.r.IntN(len(pages))
	for range 1 + pickOne(m.r, 0, 0, 0, 1, 1, 2) {
		row := row()
		if m.scattered {
			page = m.r.IntN(len(pages))
		}
		pages[page] = append(pages[page], row)
		m.rows = append(m.rows, row)
	}
}

func at(second int) string {
	return now.Add(-time.Hour + time.Duration(second)*time.Second).Format("2006-01-02T15:04:05.000Z")
}

func (m *muddle) segment(conversation, id string, n int) object {
	start := 600 * n
	if m.chance(20) {
		start = 0 // a redial
	}
	s := object{
		"segmentID": id, "conversationID": conversation, "segmentStartTime": at(start), "countScrollUp": m.r.IntN(3),
		"agent": object{"agentId": fmt.Sprint("a-", m.r.IntN(3)), "name": m.fresh()},
	}
	if m.chance(70) {
		s["segmentEndTime"] = at(start + 100 + m.r.IntN(3))
	}
	if m.chance(70) {
		s["queueInfo"] = object{"queueId": fmt.Sprint("qu-", m.r.IntN(3)), "queueName": m.fresh()}
	}
	var activities, runs, nudges []any
	for i := range 2 {
		if m.chance(60) {
			for range pickOne(m.r, 1, 1, 1, 2) {
				a := object{"requestId": fmt.Sprint("aa-", conversation, i), "requestTime": at(10 + i), "utterance": pickOne(m.r, "x", "y")}
				if m.chance(70) {
					a["feedback"] = object{"response": pickOne(m.r, "up", "down"), "comment": pickOne(m.r, "", "c")}
				}
				if m.chance(50) {
					a["usageDetails"] = object{"usedType": pickOne(m.r, "send", "copy")}
				}
				activities = append(activities, a)
			}
		}
		if m.chance(40) {
			runs = append(runs, object{"_id": fmt.Sprint("run-", conversation, i), "openedAt": at(5), "adheredSteps": m.r.IntN(3),
				"stages": []any{object{"_id": "s", "steps": []any{object{"_id": "p", "isAdhered": m.chance(50)}}}}})
		}
		if m.chance(40) {
			nudges = append(nudges, object{"_id": fmt.Sprint("co-", conversation, i), "isAdhered": m.chance(50)})
		}
	}
	s["agenticActivities"], s["playbookRuntimeData"], s["coachingRuntimeData"] = activities, runs, nudges
	if m.chance(60) {
		s["summary"] = object{"summaryId": "smr-" + conversation, "summary": pickOne(m.r, "x", "y"), "editedSummary": pickOne(m.r, "", "z"),
			"feedback": object{"response": pickOne(m.r, "Up", "Down")}}
	}
	used := []any{}
	for range m.r.IntN(3) {
		used = append(used, object{"targetType": "WebPage", "target": object{"url": "https://a.example", "status": pickOne(m.r, "", "Sent")},
			"feedback": object{"response": pickOne(m.r, "up", "down", "")}})
	}
	s["agentActions"] = []any{object{"actionType": "SearchBarEntry", "action": object{"executionStartTime": at(start + 3)}, "used": used}}
	return s
}

// speaker returns who gave feedback, as a document says it.
func (m *muddle) speaker() object {
	if m.chance(15) {
		return object{"name": m.fresh()}
	}
	return object{"identity": fmt.Sprint("a-", m.r.IntN(3)), "name": m.fresh()}
}

func (m *muddle) document(conversation, id string, n int) object {
	d := object{"_id": id, "convId": conversation, "startTime": at(n)}
	thumb := func() object {
		return object{"feedback": pickOne(m.r, "like", "dislike"), "comment": pickOne(m.r, "", "c"), "agentDetails": m.speaker()}
	}
	var messages, widget []any
	for i := range 2 {
		if m.chance(60) {
			messages = append(messages, object{"_id": fmt.Sprint("m-", i), "type": "AGENTIC", "requestId": fmt.Sprint("aa-", conversation, i),
				"requestedAt": at(10 + i), "isSent": m.chance(50), "feedbackInfo": thumb()})
		}
		if m.chance(40) {
			messages = append(messages, object{"_id": fmt.Sprint("ms-", conversation, i), "timestampValue": at(20), "lang": pickOne(m.r, "en", "de"), "feedbackInfo": thumb()})
		}
		if m.chance(40) {
			widget = append(widget, thumb())
		}
	}
	d["messages"], d["widgetFeedbacks"] = messages, widget
	if m.chance(60) {
		d["summaries"] = []any{object{"summaryId": "smr-" + conversation, "summary": pickOne(m.r, "x", "y"), "feedbackInfo": thumb()}}
	}
	return d
}

func (m *muddle) session(conversation string) object {
	return object{
		"sessionId": "s-" + conversation, "conversationId": conversation, "sessionStartTime": at(0), "finalStatus": pickOne(m.r, "CLOSED", "ACTIVE"),
		"csatScore": 1 + m.r.IntN(5), "destinations": []any{object{"queueId": "q", "respondingAgent": object{"agentId": "a-1", "assignedAt": at(1), "status": pickOne(m.r, "x", "y")}}},
	}
}

// changes are the fields that upstream changes, each of one entity.
var changes = []string{"utterance", "response", "comment", "usedType", "isAdhered", "adheredSteps", "summary", "editedSummary", "status", "feedback", "lang", "finalStatus"}

// change changes one field of one row, or moves the start of one.
func (m *muddle) change() string {
	row := m.rows[m.r.IntN(len(m.rows))]
	if _, ok := row["segmentStartTime"]; ok && m.chance(20) {
		row["segmentStartTime"] = at(m.r.IntN(3*86400) - 2*86400)
		return "segmentStartTime"
	}
	var all []func() string
	var find func(v any)
	find = func(v any) {
		switch v := v.(type) {
		case object:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				switch value := v[name].(type) {
				case object, []any:
					find(value)
				case string:
					if slices.Contains(changes, name) {
						all = append(all, func() string {
							if v[name] = m.fresh(); (name == "response" || name == "feedback") && m.chance(30) {
								v[name] = "" // it is taken back, unless there is a comment
							}
							return name
						})
					}
				case int:
					if slices.Contains(changes, name) {
						all = append(all, func() string { m.next++; v[name] = 1000 + m.next; return name })
					}
				}
			}
		case []any:
			for _, element := range v {
				find(element)
			}
		}
	}
	find(row)
	if len(all) == 0 {
		return "nothing"
	}
	return all[m.r.IntN(len(all))]()
}

// readThrough reads all pages once, in some order: those of one endpoint in one pass.
func (m *muddle) readThrough(t *testing.T, readers map[events.Endpoint]*reader, r *rand.Rand) (published []string) {
	endpoints := slices.Sorted(maps.Keys(m.pages))
	r.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	for _, e := range endpoints {
		for _, n := range r.Perm(len(m.pages[e])) {
			body, err := json.Marshal(object{"data": shuffledRows(r, m.pages[e][n])})
			require.NoError(t, err)
			for _, o := range readers[e].read(fmt.Sprint(e, " page ", n), string(body)) {
				published = append(published, string(o.Event.EventType())+" "+o.Event.Head().EntityID)
			}
		}
	}
	return published
}

// unordered are the lists that upstream may show in any order.
var unordered = []string{"agenticActivities", "playbookRuntimeData", "coachingRuntimeData", "messages", "widgetFeedbacks", "used"}

func shuffledRows(r *rand.Rand, rows []object) []any {
	out := make([]any, len(rows))
	for i, n := range r.Perm(len(rows)) {
		out[i] = shuffled(r, rows[n])
	}
	return out
}

func shuffled(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case object:
		out := make(object, len(v))
		for name, value := range v {
			list, ok := value.([]any)
			if value = shuffled(r, value); ok && slices.Contains(unordered, name) {
				list = value.([]any)
				r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			}
			out[name] = value
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = shuffled(r, v[i])
		}
		return out
	}
	return v
}

// newReaders returns readers of all endpoints that publish together.
func newReaders(t *testing.T) map[events.Endpoint]*reader {
	readers, p := map[events.Endpoint]*reader{}, inMemory()
	for _, e := range events.Endpoints() {
		readers[e] = newReader(t, e, p)
	}
	return readers
}

// quiet reads everything some times over, which must publish nothing.
func (m *muddle) quiet(t *testing.T, readers map[events.Endpoint]*reader, r *rand.Rand, format string, args ...any) {
	t.Helper()
	for range 2 {
		require.Empty(t, m.readThrough(t, readers, r), append([]any{format}, args...)...)
	}
}

// TestWhatDisagreesSettles reads pages that contradict themselves and each other, over and over, in any order. Once all were read, reading
// them again publishes nothing; a change is one revision of an entity at most; and what was published last does not depend on the order,
// but for feedback, of which what changed last counts.
func TestWhatDisagreesSettles(t *testing.T) {
	testsize.Slow(t)
	for seed := range testsize.Pick[uint64](150, 10_000) {
		m := newMuddle(rand.New(rand.NewPCG(seed, 1)), false)
		var last map[string]string
		for order := range uint64(2) {
			r := rand.New(rand.NewPCG(seed, 2+order))
			readers := newReaders(t)
			m.readThrough(t, readers, r)
			m.quiet(t, readers, r, "seed %d, order %d: read again", seed, order)
			published := maps.Clone(readers[events.Interactions].last)
			maps.DeleteFunc(published, func(_, content string) bool { return strings.HasPrefix(content, string(events.TypeFeedback)) })
			if order == 0 {
				last = published
				continue
			}
			require.Equal(t, last, published, "seed %d: another order", seed)
			for n := range 4 {
				what := m.change()
				var news []string
				for range 3 { // what is as it was before an earlier change is published once it is read again
					news = append(news, m.readThrough(t, readers, r)...)
				}
				slices.Sort(news)
				require.Equal(t, slices.Compact(slices.Clone(news)), news, "seed %d, change %d (%s): two revisions", seed, n, what)
			}
			for range 8 {
				m.readThrough(t, readers, r)
			}
			m.quiet(t, readers, r, "seed %d: read again after changes", seed)
		}
	}
}

// TestCopiesOnSeveralPagesSettle is about rows of which several pages show different copies. Nothing tells them from rows that change, but
// what comes back again and again is not followed for ever.
func TestCopiesOnSeveralPagesSettle(t *testing.T) {
	testsize.Slow(t)
	const reads, most = 60, 32 // at most four rows of an endpoint count, and each comes back six times
	for seed := range testsize.Pick[uint64](30, 500) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newMuddle(r, true)
		readers := newReaders(t)
		revisions := map[string]int{}
		for range reads {
			for _, id := range m.readThrough(t, readers, r) {
				revisions[id]++
			}
		}
		for id, n := range revisions {
			require.LessOrEqual(t, n, most, "seed %d: %s", seed, id)
		}
	}
}

// summarise returns what was published: type, revision, and what the test looks at.
func summarise(out []revise.Outgoing) (lines []string) {
	for _, o := range out {
		h := o.Event.Head()
		line := fmt.Sprint(h.Revision, " ", o.Event.EventType())
		switch e := o.Event.(type) {
		case *events.Segment:
			line += fmt.Sprint(" ", *h.SegmentID, " ", *e.CountScrollUp)
		case *events.Feedback:
			line += fmt.Sprint(" ", e.TargetType, " ", *h.Agent.AgentID, " ", e.Sentiment)
		case *events.SuggestionUsed:
			line += fmt.Sprint(" ", *e.UsedType)
		case *events.Summary:
			line += fmt.Sprint(" ", *e.EditedSummary)
		case *events.CoachingTriggered:
			line += fmt.Sprint(" ", *e.IsAdhered)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// A list that shows a segment twice, in an older and a newer copy, shows it once: in the newer copy.
func TestOneSegmentTwice(t *testing.T) {
	segment := func(id string, end, scrolls int) string {
		return fmt.Sprintf(`{"segmentID":%q,"conversationID":"c-1","segmentStartTime":%q,"segmentEndTime":%q,"countScrollUp":%d}`, id, at(0), at(end), scrolls)
	}
	older, newer, other := segment("ac-1", 60, 1), segment("ac-1", 100, 7), segment("ac-2", 60, 1)
	orders := [][]string{{older, newer, other}, {newer, other, older}, {other, older, newer}}
	for _, first := range orders {
		r := newReader(t, events.Interactions, inCheckpoint(t))
		require.Equal(t, []string{"1 segment ac-1 7", "1 segment ac-2 1"}, summarise(r.read("first", `{"data":[`+strings.Join(first, ",")+`]}`)))
		for range 3 {
			for _, order := range orders {
				require.Empty(t, r.read("again", `{"data":[`+strings.Join(order, ",")+`]}`))
			}
		}
		require.Equal(t, []string{"2 segment ac-1 9"}, summarise(r.read("changed", `{"data":[`+older+`,`+segment("ac-1", 100, 9)+`]}`)))
	}
}

// Rows of `conversations` name no queue. Feedback that only they show has that of its agent's segment, whoever reads what first, and through
// a restart. That it becomes known late publishes nothing.
func TestQueueOfWhatOnlyConversationsShow(t *testing.T) {
	const document = `{"results":[{"_id":"i-1","convId":"c-1","startTime":"2026-06-07T11:00:00Z",
		"widgetFeedbacks":[{"feedback":%q,"agentDetails":{"identity":"a-2"}}],
		"summaries":[{"summaryId":"smr-1","summary":"text","feedbackInfo":{"feedback":"dislike","agentDetails":{"identity":"a-1"}}}],
		"messages":[{"_id":"m-1","type":"AGENTIC","requestId":"aa-1","requestedAt":"2026-06-07T11:02:00Z",
			"feedbackInfo":{"feedback":"like","agentDetails":{"identity":"a-1"}}}]}]}`
	const segments = `{"data":[
		{"segmentID":"ac-1","conversationID":"c-1","segmentStartTime":"2026-06-07T11:00:00Z","agent":{"agentId":"a-1"},"queueInfo":{"queueId":"qu-1","queueName":"Cards"}},
		{"segmentID":"ac-2","conversationID":"c-1","segmentStartTime":"2026-06-07T11:05:00Z","agent":{"agentId":"a-2"},"queueInfo":{"queueId":"qu-2","queueName":"Loans"}},
		{"segmentID":"ac-3","conversationID":"c-2","segmentStartTime":"2026-06-07T11:09:00Z","agent":{"agentId":"a-2"},"queueInfo":{"queueId":"qu-3","queueName":"Claims"}}]}`
	queues := func(out []revise.Outgoing) (lines []string) {
		for _, o := range out {
			if f, ok := o.Event.(*events.Feedback); ok {
				queue := "none"
				if f.Queue != nil {
					queue = *f.Queue.QueueID + " " + *f.Queue.QueueName
				}
				lines = append(lines, fmt.Sprint(f.Revision, " ", f.TargetType, " ", queue))
			}
		}
		slices.Sort(lines)
		return lines
	}
	p := inCheckpoint(t)
	newReader(t, events.Interactions, p).read("segments", segments)
	document1, document2 := fmt.Sprintf(document, "dislike"), fmt.Sprintf(document, "like")
	require.Equal(t, []string{"1 Agentic qu-1 Cards", "1 Summary qu-1 Cards", "1 Widget qu-2 Loans"},
		queues(newReader(t, events.Conversations, p).read("document", document1)))

	p = inCheckpoint(t)
	require.Equal(t, []string{"1 Agentic none", "1 Summary none", "1 Widget none"}, queues(newReader(t, events.Conversations, p).read("document", document1)))
	for range 3 {
		require.Empty(t, queues(newReader(t, events.Interactions, p).read("segments", segments)))
		require.Empty(t, newReader(t, events.Conversations, p).read("document", document1))
	}
	require.Equal(t, []string{"2 Widget qu-2 Loans"}, queues(newReader(t, events.Conversations, p).read("document", document2)))
	require.Empty(t, newReader(t, events.Conversations, p).read("document", document2))
}

// After a transfer both segments of a conversation list the same things, each with what its own agent did and thinks: what the newer one
// shows counts, and what the two agents think of the same things are different feedbacks.
func TestThingsThatTwoSegmentsList(t *testing.T) {
	segment := func(id, agent string, start int, used, thumb, edited, verdict string, adhered bool) string {
		return fmt.Sprintf(`{"segmentID":%q,"conversationID":"c-1","segmentStartTime":%q,"segmentEndTime":%q,"countScrollUp":0,"agent":{"agentId":%q},
			"agenticActivities":[{"requestId":"aa-1","requestTime":%q,"usageDetails":{"usedType":%q},"feedback":{"response":%q}}],
			"summary":{"summaryId":"smr-1","summary":"text","editedSummary":%q,"feedback":{"response":%q}},
			"coachingRuntimeData":[{"_id":"co-1","triggeredAt":%q,"isAdhered":%t}]}`,
			id, at(start), at(start+60), agent, at(10), used, thumb, edited, verdict, at(20), adhered)
	}
	older := segment("ac-1", "agent-1", 0, "send", "up", "", "down", false)
	newer := segment("ac-2", "agent-2", 60, "copy", "down", "text two", "up", true)
	pages := []string{`{"data":[` + older + `,` + newer + `]}`, `{"data":[` + newer + `,` + older + `]}`, `{"data":[` + newer + `]}`, `{"data":[` + older + `]}`}
	for n, first := range pages[:2] {
		r := newReader(t, events.Interactions, inCheckpoint(t))
		require.Equal(t, []string{
			"1 agentic-request", "1 coaching-triggered true",
			"1 feedback Agentic agent-1 POSITIVE", "1 feedback Agentic agent-2 NEGATIVE",
			"1 feedback Summary agent-1 NEGATIVE", "1 feedback Summary agent-2 POSITIVE",
			"1 segment ac-1 0", "1 segment ac-2 0", "1 suggestion-used copy", "1 summary text two",
		}, summarise(r.read("first", first)), "order %d", n)
		for range 3 {
			for _, page := range pages {
				require.Empty(t, r.read("again", page), "order %d", n)
			}
		}
		changed := segment("ac-1", "agent-1", 0, "override", "down", "late", "down", false)
		require.Equal(t, []string{"2 feedback Agentic agent-1 NEGATIVE"}, summarise(r.read("changed", `{"data":[`+changed+`]}`)),
			"of the older segment only what its agent thinks counts")
		require.Empty(t, r.read("again", `{"data":[`+newer+`,`+changed+`]}`))
	}
}
