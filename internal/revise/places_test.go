package revise_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
)

// rated is feedback on one thing, as a row of an endpoint shows it. Rows with higher numbers began later.
func rated(from events.Endpoint, row int, agent, response, comment string) events.Observation {
	sentiment := map[string]string{"up": "POSITIVE", "like": "POSITIVE", "down": "NEGATIVE", "dislike": "NEGATIVE"}[response]
	f := &events.Feedback{Header: header(events.TypeFeedback, "1"), Sentiment: sentiment, Response: &response, CommentText: null(comment), GivenBy: "AGENT"}
	o := events.Observation{
		Event: f, Endpoint: from, Anchor: noon, Shared: true, Merged: true, Slack: 24 * time.Hour,
		Parent: fmt.Sprint(from, " row ", row), Rank: events.Rank(noon.Add(time.Duration(row)*time.Second), nil),
	}
	if agent != "" {
		f.Agent = &events.Agent{AgentID: &agent}
		o.Named = events.EntityID(account, "bot", events.TypeFeedback, "1", agent)
	}
	return o
}

func says(o revise.Outgoing) string {
	f := o.Event.(*events.Feedback)
	comment := ""
	if f.CommentText != nil {
		comment = *f.CommentText
	}
	return fmt.Sprint(f.Revision, " ", f.Sentiment, " ", *f.Response, " ", comment)
}

// Verdict, reasons and comment are one statement, of the row whose observation changed last.
func TestStatementThatChangedLast(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	require.Equal(t, "1 POSITIVE up good", says(d.one(rated(events.Interactions, 1, "", "up", "good"))))
	o := d.one(rated(events.Conversations, 1, "", "dislike", ""))
	require.Equal(t, "2 NEGATIVE dislike ", says(o), "a negative verdict is published wherever it is observed")
	require.True(t, o.Negative)
	both := func() []events.Observation {
		return []events.Observation{rated(events.Interactions, 1, "", "up", "good"), rated(events.Conversations, 1, "", "dislike", "")}
	}
	d.quiet(both()...)
	d.quiet(rated(events.Interactions, 1, "", "up", "good"))
	require.Equal(t, "3 POSITIVE up better", says(d.one(rated(events.Interactions, 1, "", "up", "better"))))
	d.quiet(rated(events.Conversations, 1, "", "dislike", ""))
	require.Equal(t, "4 NEGATIVE down worse", says(d.one(rated(events.Interactions, 1, "", "down", "worse"))))
	d.quiet(rated(events.Conversations, 1, "", "dislike", "worse")) // the other endpoint shows the same change
	require.Equal(t, "5 POSITIVE like fine", says(d.one(rated(events.Conversations, 1, "", "like", "fine"))))
	d.quiet(rated(events.Interactions, 1, "", "down", "worse"), rated(events.Conversations, 1, "", "like", "fine"))
}

// What feedback quotes, and its link, are for people: a change of them publishes nothing, but the next revision has them as they are.
func TestQuotesAndLinksAreNoContent(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	quoting := func(response, answer string) events.Observation {
		o := rated(events.Interactions, 1, "", response, "")
		f := o.Event.(*events.Feedback)
		f.TargetText, f.TargetQuery = &answer, str("what?")
		return o
	}
	link := func(template string) {
		var err error
		d.in.Link, err = events.ParseLink(template)
		require.NoError(t, err)
	}
	require.Nil(t, d.one(quoting("up", "so")).Event.(*events.Feedback).Link)
	link("https://desk.example/{conversation_id}")
	d.quiet(quoting("up", "otherwise"))
	f := d.one(quoting("down", "otherwise")).Event.(*events.Feedback)
	require.Equal(t, []string{"otherwise", "what?", "https://desk.example/conv-1"}, []string{*f.TargetText, *f.TargetQuery, *f.Link})
	d.quiet(rated(events.Conversations, 1, "", "dislike", ""))
	f = d.one(rated(events.Conversations, 1, "", "like", "")).Event.(*events.Feedback)
	require.Equal(t, []string{"otherwise", "what?"}, []string{*f.TargetText, *f.TargetQuery}, "one endpoint quotes what the other does not show")
	link("https://desk.example/{segment_id}")
	d.quiet(quoting("down", "otherwise"))
}

// A negative verdict counts also if it comes from an older row, or comes first.
func TestNegativeOfAnOlderRow(t *testing.T) {
	for _, rows := range [][]events.Observation{
		{rated(events.Interactions, 1, "", "down", ""), rated(events.Interactions, 2, "", "up", "")},
		{rated(events.Interactions, 2, "", "up", ""), rated(events.Interactions, 1, "", "down", "")},
	} {
		d := newHarness(t)
		var all []revise.Outgoing
		for range 3 {
			for _, o := range rows {
				o.Event = events.Merge(o.Event, o.Endpoint, o.Event, o.Endpoint) // a copy
				all = append(all, d.read(o).Events...)
			}
		}
		require.LessOrEqual(t, len(all), 2)
		require.Equal(t, "NEGATIVE", all[len(all)-1].Event.(*events.Feedback).Sentiment)
	}
}

// What two agents think of one thing is two feedbacks. The first agent who is named has the id without a name.
func TestTwoAgentsRateOneThing(t *testing.T) {
	plain := header(events.TypeFeedback, "1").EntityID
	d := newHarness(t)
	require.Equal(t, plain, d.one(rated(events.Interactions, 1, "", "up", "")).Event.Head().EntityID)
	require.EqualValues(t, 2, d.one(rated(events.Interactions, 1, "ann", "up", "")).Event.Head().Revision, "she is named later")
	o := d.one(rated(events.Interactions, 2, "bo", "down", ""))
	require.NotEqual(t, plain, o.Event.Head().EntityID)
	require.EqualValues(t, 1, o.Event.Head().Revision)
	require.Equal(t, "conv-1", o.Key)
	d.quiet(rated(events.Interactions, 2, "bo", "down", ""), rated(events.Interactions, 1, "ann", "up", ""))
	d.quiet(rated(events.Interactions, 1, "", "up", "")) // and is not named any more
	require.Equal(t, plain, d.one(rated(events.Conversations, 1, "ann", "dislike", "")).Event.Head().EntityID)
	require.Equal(t, o.Event.Head().EntityID, d.one(rated(events.Interactions, 2, "bo", "up", "")).Event.Head().EntityID)

	ids := map[string]bool{}
	for _, page := range [][]events.Observation{
		{rated(events.Interactions, 1, "ann", "up", ""), rated(events.Interactions, 1, "bo", "down", "")},
		{rated(events.Interactions, 1, "bo", "down", ""), rated(events.Interactions, 1, "ann", "up", "")},
	} {
		d := newHarness(t)
		result := d.read(page...)
		require.Len(t, result.Events, 2)
		require.Empty(t, result.Contradicted)
		for _, o := range result.Events {
			ids[o.Event.Head().EntityID+says(o)] = true
		}
	}
	require.Len(t, ids, 2, "who is the first on a page does not depend on its order")
}

// More rows than are kept apart settle too, and are counted.
func TestMoreRowsThanAreKept(t *testing.T) {
	d := newHarness(t)
	var page []events.Observation
	for row := range 10 {
		page = append(page, rated(events.Interactions, row, "", "down", fmt.Sprint(row)))
	}
	d.one(slices.Clone(page)...)
	require.Len(t, d.store, 1)
	for _, value := range d.store {
		require.Less(t, len(value), 600, "what is stored is bounded")
	}
	for range 3 {
		for row := range 10 {
			result := d.quiet(rated(events.Interactions, row, "", "down", fmt.Sprint(row)))
			require.Equal(t, row < 6, result.Contradicted[revise.Places] > 0, "row %d", row)
		}
	}
}

// What disagrees is counted by kind, with the ids of the first.
func TestContradictions(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	result := d.read(rated(events.Interactions, 1, "", "up", ""), rated(events.Interactions, 1, "", "down", ""), rated(events.Interactions, 2, "", "up", ""))
	require.Equal(t, map[revise.Contradiction]int{revise.Copies: 1, revise.Rows: 1}, result.Contradicted)
	require.Contains(t, result.Examples[revise.Copies], header(events.TypeFeedback, "1").EntityID)
	require.Contains(t, result.Examples[revise.Copies], "conv-1")
	result = d.read(rated(events.Conversations, 1, "", "like", ""))
	require.Empty(t, result.Contradicted, "one endpoint is often ahead of the other")

	d = newHarness(t)
	for range 3 {
		d.read(thumb("1", "POSITIVE x"))
		d.read(thumb("1", "POSITIVE"))
	}
	result = d.quiet(thumb("1", "POSITIVE x"))
	require.Equal(t, map[revise.Contradiction]int{revise.Alternation: 1}, result.Contradicted)
	for kind := range result.Contradicted {
		require.Contains(t, revise.Contradictions, kind)
	}
}

// unsaid is the same as rated where nobody says anything.
func unsaid(from events.Endpoint, row int, agent string) events.Observation {
	o := rated(from, row, agent, "", "")
	o.Event.(*events.Feedback).Sentiment, o.Event.(*events.Feedback).Response = events.SentimentWithdrawn, nil
	return o
}

// What was never said is not taken back, takes no room in the store, and makes nobody the owner of what others say.
func TestUnsaidIsNothing(t *testing.T) {
	d := newHarness(t)
	result := d.quiet(unsaid(events.Interactions, 1, "ann"), unsaid(events.Conversations, 1, ""))
	require.Empty(t, d.store)
	require.Zero(t, result.Unchanged)
	plain := header(events.TypeFeedback, "1").EntityID
	require.Equal(t, plain, d.one(rated(events.Interactions, 2, "bo", "down", "")).Event.Head().EntityID)
	d.quiet(unsaid(events.Interactions, 1, "ann"), unsaid(events.Interactions, 3, "bo"), unsaid(events.Conversations, 1, ""))
	o := d.one(unsaid(events.Interactions, 2, "bo"))
	require.Equal(t, "WITHDRAWN", o.Event.(*events.Feedback).Sentiment)
	require.Equal(t, plain, o.Event.Head().EntityID)
	require.True(t, o.Negative)
	d.quiet(unsaid(events.Interactions, 2, "bo"))
}

// A page that shows a row twice, once with the feedback and once without, shows the feedback.
func TestSaidAndUnsaidInOneRow(t *testing.T) {
	for _, page := range [][]events.Observation{
		{unsaid(events.Interactions, 1, ""), rated(events.Interactions, 1, "", "up", "")},
		{rated(events.Interactions, 1, "", "up", ""), unsaid(events.Interactions, 1, "")},
	} {
		d := newHarness(t)
		require.Equal(t, "1 POSITIVE up ", says(d.one(page...)))
		d.quiet(rated(events.Interactions, 1, "", "up", ""))
	}
}

// Groups that cannot be read count as damage, and are bounded.
func TestGroups(t *testing.T) {
	widget := func(agent int) events.Observation {
		o := rated(events.Conversations, 1, "", "down", "")
		o.Event.Head().EntityID = events.EntityID(account, "bot", events.TypeFeedback, fmt.Sprint(agent))
		o.Group = events.EntityID(account, "bot", events.TypeFeedback, "group")
		return o
	}
	nobody := unsaid(events.Conversations, 1, "")
	nobody.Group = events.EntityID(account, "bot", events.TypeFeedback, "group")
	nobody.Event.Head().EntityID = nobody.Group
	d := newHarness(t)
	var page []events.Observation
	for n := range 70 {
		page = append(page, widget(n))
	}
	require.Len(t, d.read(append(page, nobody)...).Events, 70)
	require.Len(t, d.store, 71)
	copied := *nobody.Event.(*events.Feedback)
	again := nobody
	again.Event = &copied
	require.Len(t, d.read(again).Events, 64)
	for key, value := range d.store {
		if value[0] == 0xfe {
			d.store[key] = value[:len(value)-1]
		}
	}
	result := d.quiet(nobody)
	require.Equal(t, 1, result.Unreadable)
	require.Error(t, result.Damage)
}
