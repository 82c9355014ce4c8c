package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/secret"
)

// audit runs over a span, and makes sure that the pages for people and for programs say the same.
func (w *world) audit(t *testing.T, span timeline.Span, changes ...func(*AuditOptions)) *AuditReport {
	t.Helper()
	o := AuditOptions{Options: w.options, RequestsPerMinute: 1000, From: span.From, To: span.To}
	for _, change := range changes {
		change(&o)
	}
	r, err := Audit(t.Context(), o)
	require.NoError(t, err)
	var page, lines bytes.Buffer
	require.NoError(t, PrintAudit(&page, r))
	require.Contains(t, page.String(), r.Verdict())
	require.NotContains(t, page.String(), "\x1b")
	require.NoError(t, PrintAuditJSON(&lines, r))
	require.Equal(t, len(r.Differences)+1, strings.Count(lines.String(), "\n"))
	require.NotContains(t, lines.String(), w.sim.Accounts()[0].ClientSecret)
	decoder := json.NewDecoder(&lines)
	for _, want := range r.Differences {
		var got Difference
		require.NoError(t, decoder.Decode(&got))
		require.Equal(t, want.Entity, got.Entity)
	}
	return r
}

// stateOf returns what was found of an entity; the zero value if it is not among the differences.
func (r *AuditReport) stateOf(id string) Difference {
	for _, d := range r.Differences {
		if d.Entity == id {
			return d
		}
	}
	return Difference{}
}

// Every way in which the topics can differ from what the API shows is found, and what may still come is told apart.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	most := map[string]int{}
	for e := range w.sim.Ledger(time.Now()) { // the largest conversation that is over for long
		if id := e.ConversationID; id != "" && e.Views[0].Anchor.Before(time.Now().Add(-16*time.Hour)) {
			if most[id]++; most[id] > most[w.options.ID] {
				w.options.ID = id
			}
		}
	}
	var shown []*Entity
	var span timeline.Span
	for _, e := range w.explain(t).Entities {
		if e.State == Off {
			continue
		}
		shown = append(shown, e)
		if span.From.IsZero() || e.row.Before(span.From) {
			span.From = e.row.Truncate(time.Second)
		}
		span.To = timeline.Later(span.To, e.row.Add(time.Second))
	}
	require.GreaterOrEqual(t, len(shown), 5)
	missing, different, dead := shown[0], shown[1], shown[2]
	published := 0
	for _, e := range shown {
		switch e {
		case missing, dead:
			continue
		case different:
			e.shown.Head().EventID, e.shown.Head().ObservedTime = "of other content", time.Now().Add(-time.Hour)
		default:
			published++
		}
		w.publishEvent(t, e.shown)
	}
	segment := func() (id *string) {
		for _, e := range shown {
			if e.Type == events.TypeSegment {
				id = e.shown.Head().SegmentID
			}
		}
		return id
	}()
	require.NotNil(t, segment)
	head := *shown[3].shown.Head()
	gone := func(id string, e events.Event) {
		h := e.Head()
		*h = head
		h.EntityID, h.EventID, h.Endpoint, h.SegmentID = id, id, string(events.Interactions), segment
		h.ObservedTime = time.Now().Add(-time.Hour)
		if id == "superseded" {
			h.SupersededBy = &missing.ID
		}
		w.publishEvent(t, e)
	}
	gone("extra", &events.Summary{})
	gone("superseded", &events.Summary{})
	gone("withdrawn", &events.Feedback{Sentiment: events.SentimentWithdrawn})
	gone("taken back", &events.Feedback{Sentiment: "NEGATIVE"})
	w.publishRecord(t, events.TypeDeadLetter, &events.DeadLetter{
		Stage: "encode", Reason: "too large\x1b[2J", EntityID: &dead.ID, ConversationID: head.ConversationID, ObservedTime: head.EventTime,
	})
	elsewhere := "segment-of-nobody"
	other := &events.Segment{Header: head}
	other.EntityID, other.EventID, other.SegmentID, other.Endpoint = "no such row", "1", &elsewhere, string(events.Interactions)
	other.EventTime, other.ObservedTime = span.From, time.Now().Add(-time.Hour)
	w.publishEvent(t, other)

	from, through := span.From.Add(-time.Hour), span.To.Add(time.Hour)
	mark := func(through time.Time) {
		for _, endpoint := range []events.Endpoint{events.Interactions, events.Conversations} {
			w.publishRecord(t, events.TypeWatermark, &events.Watermark{
				Source: head.Source, BotID: head.BotID, CompleteFrom: &from, CompleteUpTo: &from, ReadThrough: &through, PublishedTime: through,
				Endpoint: string(endpoint),
			})
		}
	}
	mark(through)
	r := w.audit(t, span)
	require.Zero(t, r.Unread())
	require.Equal(t, Missing, r.stateOf(missing.ID).State)
	require.Contains(t, r.stateOf(missing.ID).Why, "it is read again")
	require.Equal(t, Missing, r.stateOf(dead.ID).State)
	require.Contains(t, r.stateOf(dead.ID).Why, "it is a dead letter: too large")
	require.Equal(t, Different, r.stateOf(different.ID).State)
	require.Equal(t, "of other content", r.stateOf(different.ID).Last.EventID)
	require.Equal(t, Extra, r.stateOf("extra").State)
	require.Contains(t, r.stateOf("extra").Why, "without it now")
	require.Equal(t, Extra, r.stateOf("no such row").State)
	require.Contains(t, r.stateOf("no such row").Why, "shows no such row")
	require.Equal(t, Extra, r.stateOf("taken back").State)
	require.Contains(t, r.stateOf("taken back").Why, "which a revision says once its row is read again")
	require.Empty(t, r.stateOf("superseded").State)
	require.Empty(t, r.stateOf("withdrawn").State)
	require.Equal(t, published, r.Count(Same))
	require.NotEmpty(t, r.Backfills)
	require.Contains(t, r.Backfills[0], "poller backfill --account "+head.Source+" --endpoint ")
	require.Contains(t, r.Backfills[0], " --bot "+*head.BotID+" --from ")

	// What is not to be complete yet is no difference.
	mark(from)
	r = w.audit(t, span)
	require.Equal(t, Changing, r.stateOf(missing.ID).State)
	require.Contains(t, r.stateOf(missing.ID).Why, "has been read through")
	require.Equal(t, Changing, r.stateOf(different.ID).State)
	require.Zero(t, r.Count(Missing)+r.Count(Different))
	require.Empty(t, r.Backfills)

	// A span with nothing in it, and one of a single endpoint.
	past := timeline.Span{From: span.From.Add(-200 * time.Hour), To: span.From.Add(-199 * time.Hour)}
	r = w.audit(t, past)
	require.Empty(t, r.Differences)
	require.Empty(t, r.Counts)
	mark(through)
	r = w.audit(t, span, func(o *AuditOptions) { o.Endpoints = []events.Endpoint{events.Interactions} })
	require.Len(t, r.Answers, 1)
	require.Equal(t, Extra, r.stateOf("extra").State)
	r = w.audit(t, span, func(o *AuditOptions) { o.Bots = []string{"st-of-nobody"} })
	require.Empty(t, r.Differences)

	// Rows that are not to be published are not missing, and what was published of them is not extra.
	for e := range w.options.Accounts[0].Poll.Endpoints {
		w.options.Accounts[0].Poll.Endpoints[e] = poll.EndpointOptions{Filter: poll.Filter{Channels: []string{"pigeon"}}}
	}
	r = w.audit(t, span)
	require.Zero(t, r.Unread())
	require.Zero(t, r.Count(Missing))
	require.Empty(t, r.stateOf("extra").State)
}

// An API that does not answer is a report, not a verdict.
func TestAuditWithoutAnswers(t *testing.T) {
	w := newWorld(t)
	span := timeline.Span{From: time.Now().Add(-4 * time.Hour), To: time.Now().Add(-3 * time.Hour)}
	var told []Answer
	w.options.Accounts[0].API.ClientSecret = secret.New(strings.Repeat("wrong", 10))
	r := w.audit(t, span, func(o *AuditOptions) { o.Progress = func(a Answer) { told = append(told, a) } })
	require.Equal(t, 2, r.Unread())
	require.Len(t, told, 2)
	require.Equal(t, 2, r.Requests(), "a secret that is refused is not tried again")
	require.Contains(t, told[0].Error, "auth.client_secret")
	require.Contains(t, r.Verdict(), "2 of 2 endpoints could not be read whole")
	require.Empty(t, r.Differences, "nothing is extra where nobody could look")
}

// An audit reads every endpoint whole, and knows of what was published by which.
func TestEveryEndpointIsAudited(t *testing.T) {
	w := newWorld(t)
	for _, endpoint := range events.Endpoints() {
		w.options.Accounts[0].Poll.Endpoints[endpoint] = poll.EndpointOptions{}
	}
	span := timeline.Span{From: time.Now().Add(-12 * time.Hour), To: time.Now().Add(-6 * time.Hour)}
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"an audit": func(e events.Endpoint) error {
			r := w.audit(t, span, func(o *AuditOptions) { o.Endpoints = []events.Endpoint{e} })
			for _, d := range r.Differences {
				if d.Endpoint != string(e) || d.State != Missing && d.State != Changing { // some rows are open
					return fmt.Errorf("%s of %s", d.State, d.Endpoint)
				}
			}
			return eventstest.Want(r.Unread() == 0 && len(r.Differences) > 20, fmt.Sprint(r.Verdict(), r.Answers))
		},
	})
}

// An account that reads account-wide endpoints only need not name bots. Then all rows are published, and audited.
func TestAuditOfAnAccountWithoutBots(t *testing.T) {
	w := newWorld(t)
	account := &w.options.Accounts[0].Poll
	span := timeline.Span{From: time.Now().Add(-12 * time.Hour), To: time.Now().Add(-6 * time.Hour)}
	iid := account.Bots[0].ID
	account.Bots = nil
	account.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.InteractionDetails: {IID: iid}}
	r := w.audit(t, span)
	require.Zero(t, r.Unread(), "%v", r.Answers)
	require.Greater(t, r.Count(Missing), 20)

	account.Endpoints[events.InteractionDetails] = poll.EndpointOptions{}
	r = w.audit(t, span)
	require.Equal(t, 1, r.Unread())
	require.Contains(t, r.Answers[0].Error, "endpoints.interaction-details.iid")
}

// Two agents rate one thing, and the audit reads them in another order than the poller did: it is the same feedback all the same.
func TestAuditOfTwoAgents(t *testing.T) {
	first, second := []byte("of the first"), []byte("of the second")
	revision := func(id string, content []byte) []Revision {
		return []Revision{{Revision: 1, EventID: events.EventID(id, 1, content), endpoint: events.Interactions}}
	}
	rated := audited{inSpan: true, rated: rating("answer", "AGENT")}
	find := func(last []byte) *AuditReport {
		a := &audit{explanation: &explanation{report: &Report{Entities: []*Entity{
			{ID: "plain", Type: events.TypeFeedback, content: second, Revisions: revision("plain", first), audited: rated},
			{ID: "named-first", Type: events.TypeFeedback, content: first, audited: rated},
			{ID: "named-second", Type: events.TypeFeedback, Revisions: revision("named-second", last), audited: rated},
		}}, Options: Options{Accounts: []Account{{}}}}, whole: map[unitKey]bool{}, ratings: map[string][]*Entity{}}
		return a.reportAll()
	}
	r := find(second)
	require.Empty(t, r.Differences)
	require.Equal(t, 2, r.Count(Same))
	require.Equal(t, 1, find([]byte("something else")).Count(Same), "what nobody says is not the same")
}

// What is published and not shown any more is no difference while the row that it was read from may change.
func TestAuditOfOpenRow(t *testing.T) {
	for _, open := range []bool{true, false} {
		a := &audit{explanation: &explanation{report: &Report{Entities: []*Entity{{
			ID: "gone", Type: events.TypeSummary, Revisions: []Revision{{endpoint: events.Interactions}}, audited: audited{segment: "s-1"},
		}}}}, began: time.Now(), whole: map[unitKey]bool{{}: true}, rows: map[events.Endpoint]map[string]bool{events.Interactions: {"s-1": open}}}
		want := Extra
		if open {
			want = Changing
		}
		require.Equal(t, want, a.reportAll().stateOf("gone").State)
	}
}
