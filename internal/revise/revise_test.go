package revise_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/revise"
)

const account = "6798834e4e94062f75aaaaaa"

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// harness reads pages one after the other, a minute apart, and commits the results, as the poller does.
type harness struct {
	t     *testing.T
	in    revise.Input
	store mapStore
	key   map[string]string // of each entity, which must never change
}

// mapStore is a store in a map.
type mapStore map[checkpoint.Key][]byte

func (m mapStore) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	for i, p := range probes {
		for distance := range min(p.Slack, 40) + 1 {
			for _, day := range []uint32{p.Key.Day + distance, p.Key.Day - distance} {
				key := p.Key
				key.Day = day
				if value, ok := m[key]; ok && !out[i].Known && (day == p.Key.Day || key.Shared) {
					out[i] = checkpoint.Found{Known: true, Key: key, Value: value}
				}
			}
		}
	}
	return nil
}

func newHarness(t *testing.T) *harness {
	return &harness{t: t, store: mapStore{}, key: map[string]string{}, in: revise.Input{
		Source: "retail", ShownAt: noon, Received: noon.Add(-1500 * time.Millisecond), LastRead: func(*events.Observation) time.Time { return time.Time{} },
	}}
}

func (d *harness) read(observations ...events.Observation) *revise.Result {
	d.t.Helper()
	d.in.ShownAt = d.in.ShownAt.Add(time.Minute)
	d.in.Observations = observations
	result, err := revise.Decide(d.in, d.store)
	require.NoError(d.t, err)
	for _, put := range result.Puts {
		d.store[put.Key] = put.Value
		require.LessOrEqual(d.t, len(put.Value), bound.Entity)
	}
	for _, o := range result.Events {
		id := o.Event.Head().EntityID
		if key, ok := d.key[id]; ok {
			require.Equal(d.t, key, o.Key, "all revisions have the key of the first")
		}
		d.key[id] = o.Key
	}
	return result
}

// quiet reads a page that must give no events.
func (d *harness) quiet(observations ...events.Observation) *revise.Result {
	d.t.Helper()
	result := d.read(observations...)
	require.Empty(d.t, result.Events)
	return result
}

// one reads a page that must give exactly one event.
func (d *harness) one(observations ...events.Observation) revise.Outgoing {
	d.t.Helper()
	result := d.read(observations...)
	require.Len(d.t, result.Events, 1)
	return result.Events[0]
}

func str(s string) *string { return &s }

func header(t events.Type, id string) events.Header {
	return events.Header{
		EntityID: events.EntityID(account, "bot", t, id), AccountID: account, EventTime: noon.Add(-time.Hour), EventTimeBasis: "time",
		ConversationID: str("conv-" + id), SessionID: str("sess-" + id), SegmentID: str("seg-" + id),
	}
}

// thumb is feedback as interactions show it.
func thumb(id, sentiment string) events.Observation {
	f := &events.Feedback{Header: header(events.TypeFeedback, id), Sentiment: sentiment, Response: str(sentiment), GivenBy: "AGENT"}
	return events.Observation{Event: f, Endpoint: events.Interactions, Anchor: noon.Add(-2 * time.Hour)}
}

// summary is a summary as either endpoint shows it, with anchors that differ.
func summary(from events.Endpoint, id string, text, edited *string) events.Observation {
	s := &events.Summary{Header: header(events.TypeSummary, id), Summary: text, EditedSummary: edited}
	anchor := noon.Add(-2 * time.Hour)
	if from == events.Conversations {
		anchor = anchor.Add(-20 * time.Hour)
		s.SegmentID = nil
	}
	return events.Observation{Event: s, Endpoint: from, Anchor: anchor, Shared: true, Merged: true, Slack: 24 * time.Hour}
}

func TestFirstObservation(t *testing.T) {
	d := newHarness(t)
	result := d.read(thumb("1", "POSITIVE"))
	require.Len(t, result.Events, 1)
	o := result.Events[0]
	h := o.Event.Head()
	require.Equal(t, "conv-1", o.Key)
	require.False(t, o.Negative)
	require.EqualValues(t, 1, h.Revision)
	require.Equal(t, events.EventID(h.EntityID, 1, o.Event.AppendContent(nil, events.Recipe())), h.EventID)
	require.Nil(t, h.ChangedAfter)
	require.Equal(t, d.in.ShownAt, h.ChangedBefore)
	require.Equal(t, d.in.Received, h.ObservedTime)
	require.Equal(t, "retail", h.Source)
	require.Equal(t, "interactions", h.Endpoint)
	require.False(t, h.Late)
	require.False(t, h.Replay)
	require.Nil(t, h.SupersededBy)
	require.Empty(t, result.Touched, "putting touches by itself")

	result = d.quiet(thumb("1", "POSITIVE"))
	require.Equal(t, 1, result.Unchanged)
	require.Empty(t, result.Puts)
	require.Equal(t, []uint32{checkpoint.KeyAt(noon, false, checkpoint.Hash{}).Day}, result.Touched)
}

func TestUpDownUp(t *testing.T) {
	d := newHarness(t)
	earlier := noon.Add(-time.Minute)
	d.in.LastRead = func(*events.Observation) time.Time { return earlier }
	ids := map[string]bool{}
	for i, verdict := range []string{"POSITIVE", "NEGATIVE", "POSITIVE"} {
		o := d.one(thumb("1", verdict), thumb("1", verdict))
		h := o.Event.Head()
		require.EqualValues(t, i+1, h.Revision)
		require.Equal(t, i > 0, o.Negative, "what once was negative stays on the topic of the negative")
		if i > 0 {
			require.Equal(t, &earlier, h.ChangedAfter)
		}
		ids[h.EventID] = true
		d.quiet(thumb("1", verdict))
	}
	require.Len(t, ids, 3)
}

func TestCopiesWithinOnePage(t *testing.T) {
	d := newHarness(t)
	result := d.read(thumb("1", "POSITIVE"), thumb("2", "NEGATIVE"), thumb("1", "NEGATIVE"), thumb("2", "NEGATIVE"))
	require.Len(t, result.Events, 2)
	require.Equal(t, "NEGATIVE", result.Events[0].Event.(*events.Feedback).Sentiment, "of copies that tell nothing of their age the negative one counts")
	require.Equal(t, 1, result.Contradicted[revise.Copies])
	require.Contains(t, result.Examples[revise.Copies], header(events.TypeFeedback, "1").EntityID)
	require.Equal(t, 2, result.Unchanged)
	require.Len(t, result.Puts, 2)
	d.quiet(thumb("1", "NEGATIVE"), thumb("2", "NEGATIVE"), thumb("1", "POSITIVE"))
}

func TestSurroundingsAreNoNews(t *testing.T) {
	d := newHarness(t)
	first := thumb("1", "POSITIVE")
	first.Event.Head().Agent = &events.Agent{AgentID: str("an agent")}
	d.one(first)
	moved := thumb("1", "POSITIVE")
	moved.Event.Head().SegmentID = str("another")
	moved.Event.Head().Agent = &events.Agent{AgentID: str("another"), Name: str("Ann")}
	d.quiet(moved)
}

// Session, agent and queue of a segment may become known after what happened in it. That is a version of each thing, once; that they are
// not known any more, or by other names, is none.
func TestLateSurroundings(t *testing.T) {
	known := func(session, agent, queue, name string) events.Observation {
		o := thumb("1", "NEGATIVE")
		h := o.Event.Head()
		if h.SessionID = nil; session != "" {
			h.SessionID = &session
		}
		if agent != "" {
			h.Agent = &events.Agent{AgentID: &agent, Name: &name}
		}
		if queue != "" {
			h.Queue = &events.Queue{QueueID: &queue, QueueName: &name}
		}
		return o
	}
	for name, change := range map[string]func(o events.Observation, row int) events.Observation{
		"one row": func(o events.Observation, _ int) events.Observation { return o },
		"rows kept apart": func(o events.Observation, row int) events.Observation {
			o.Parent, o.Rank = fmt.Sprint("row", row), int64(1+row)<<20
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newHarness(t)
			see := func(row int, session, agent, queue, name string) events.Observation {
				return change(known(session, agent, queue, name), row)
			}
			d.one(see(1, "", "", "", ""))
			require.EqualValues(t, 2, d.one(see(1, "", "a-1", "", "Ann")).Event.Head().Revision)
			d.quiet(see(1, "", "a-1", "", "Anna"))
			last := d.one(see(1, "s-1", "a-1", "qu-1", "Ann"))
			require.EqualValues(t, 3, last.Event.Head().Revision)
			require.True(t, last.Negative)
			for range 20 {
				d.quiet(see(1, "", "", "", ""))
				d.quiet(see(1, "s-1", "a-1", "qu-1", "Ann"))
				d.quiet(see(1, "s-2", "a-2", "qu-2", "Bo"))
				d.quiet(see(0, "", "a-1", "", "Ann")) // another row, where there may be several
			}
		})
	}
	t.Run("an upgrade", func(t *testing.T) {
		d := newHarness(t)
		revise.SetRecipe(t, 1)
		d.one(known("", "", "", ""))
		d.quiet(known("s-1", "", "", ""))
		revise.SetRecipe(t, 2)
		d.quiet(known("s-1", "", "", ""))
		d.one(known("s-1", "a-1", "", ""))
	})
}

func TestLate(t *testing.T) {
	at := noon.Add(-time.Hour) // the event time of all
	for name, c := range map[string]struct {
		from, upTo time.Time
		replay     bool
		want       bool
	}{
		"nothing declared":                 {},
		"declared beyond it":               {upTo: noon, want: true},
		"declared up to it":                {upTo: at, want: true},
		"declared up to before it":         {upTo: at.Add(-time.Millisecond)},
		"from before what was ever read":   {from: at.Add(time.Millisecond), upTo: noon},
		"where what was declared begins":   {from: at, upTo: noon, want: true},
		"within what was declared":         {from: at.Add(-time.Millisecond), upTo: noon, want: true},
		"on purpose, in what was declared": {upTo: noon, replay: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newHarness(t)
			d.in.CompleteFrom, d.in.CompleteUpTo, d.in.Replay = c.from, c.upTo, c.replay
			h := d.one(thumb("1", "POSITIVE")).Event.Head()
			require.Equal(t, c.want, h.Late)
			require.Equal(t, c.replay, h.Replay)
			require.False(t, d.one(thumb("1", "NEGATIVE")).Event.Head().Late, "a revision never is")
		})
	}
}

func TestTimeAheadOfTheServerIsClamped(t *testing.T) {
	d := newHarness(t)
	ahead := thumb("1", "POSITIVE")
	ahead.Event.Head().EventTime = noon.Add(time.Hour)
	h := d.one(ahead).Event.Head()
	require.Equal(t, d.in.ShownAt, h.EventTime)
	require.Equal(t, "clamped:time", h.EventTimeBasis)

	again := thumb("1", "POSITIVE")
	again.Event.Head().EventTime = noon.Add(time.Hour)
	d.quiet(again)
}

func TestChangedAfterIsAnEarlierRead(t *testing.T) {
	d := newHarness(t)
	d.one(thumb("1", "POSITIVE"))
	for _, last := range []time.Time{{}, noon.Add(time.Hour)} {
		d.in.LastRead = func(*events.Observation) time.Time { return last }
		require.Nil(t, d.one(thumb("1", last.String())).Event.Head().ChangedAfter)
	}
}

func TestKeyOfTheFirstVersionStays(t *testing.T) {
	segment := func(conversation *string) events.Observation {
		s := &events.Segment{Header: header(events.TypeSegment, "1")}
		s.ConversationID = conversation
		return events.Observation{Event: s, Endpoint: events.Interactions, Anchor: noon}
	}
	d := newHarness(t)
	require.Equal(t, "sess-1", d.one(segment(nil)).Key)
	o := d.one(segment(str("conv-1")))
	require.Equal(t, "sess-1", o.Key)
	require.Equal(t, "conv-1", *o.Event.Head().ConversationID)
}

func TestOlderObservationOfARunChangesNothing(t *testing.T) {
	step := func(rank int64, status string) events.Observation {
		s := &events.PlaybookStep{Header: header(events.TypePlaybookStep, "1"), Level: "STAGE", StageStatus: &status}
		s.SegmentID = str(fmt.Sprint("seg-", rank))
		return events.Observation{Event: s, Endpoint: events.Interactions, Anchor: noon, Parent: *s.SegmentID, Rank: rank, Shared: true, Slack: 35 * 24 * time.Hour}
	}
	for _, keep := range []bool{false, true} {
		d := newHarness(t)
		d.in.KeepObservations = keep
		d.one(step(100, "OPEN"))
		d.quiet(step(200, "OPEN"))
		require.Equal(t, 1, d.quiet(step(100, "CLOSED")).Unchanged)
		d.one(step(200, "CLOSED"))
		require.Equal(t, 3, d.quiet(step(100, "OPEN"), step(150, "OPEN"), step(200, "CLOSED")).Unchanged)
		d.one(step(300, "OPEN"))
	}
}

func TestTwoEndpointsShowOneThing(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	first := d.one(summary(events.Conversations, "1", str("by conversations"), nil))
	require.Equal(t, "conv-1", first.Key)

	// Interactions own the type: their text counts, and the edited summary of conversations is added.
	result := d.read(summary(events.Interactions, "1", str("by interactions"), nil))
	require.Len(t, result.Events, 1)
	require.Equal(t, 1, result.MergeHits)
	require.Equal(t, "by interactions", *result.Events[0].Event.(*events.Summary).Summary)
	require.Equal(t, "interactions", result.Events[0].Event.Head().Endpoint)

	for range 3 {
		result = d.quiet(
			summary(events.Conversations, "1", str("by conversations"), nil),
			summary(events.Interactions, "1", str("by interactions"), nil),
			summary(events.Conversations, "1", str("by conversations"), nil),
		)
		require.Zero(t, result.MergeHits)
		require.Equal(t, 3, result.Unchanged)
	}

	result = d.quiet(summary(events.Conversations, "1", str("changed where it does not count"), nil))
	require.Len(t, result.Puts, 1, "it is remembered all the same")

	o := d.one(summary(events.Conversations, "1", str("whatever"), str("edited")))
	s := o.Event.(*events.Summary)
	require.Equal(t, "by interactions", *s.Summary)
	require.Equal(t, "edited", *s.EditedSummary)
	require.EqualValues(t, 3, s.Revision)
	require.Equal(t, "conversations", s.Endpoint)

	d.in.KeepObservations = false // one of them is switched off
	d.quiet(summary(events.Interactions, "1", str("by interactions"), nil))
	require.Equal(t, "edited", *d.one(summary(events.Interactions, "1", str("new"), nil)).Event.(*events.Summary).EditedSummary)
}

func TestEndpointSwitchedOnLater(t *testing.T) {
	d := newHarness(t)
	d.one(summary(events.Interactions, "1", str("text"), nil))
	d.in.KeepObservations = true
	require.Len(t, d.quiet(summary(events.Interactions, "1", str("text"), nil)).Puts, 1)
	require.Equal(t, 1, d.quiet(summary(events.Conversations, "1", str("text"), nil)).MergeHits)
}

// A time beyond the year 9999 must not fail the page, and is stored.
func TestObservationWithAnOddTime(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	odd := func(text string) events.Observation {
		s := summary(events.Interactions, "1", &text, nil)
		far := time.Date(58859, 1, 1, 0, 0, 0, 0, time.UTC)
		s.Event.(*events.Summary).SumSubTime = &far
		return s
	}
	d.one(odd("text"))
	d.quiet(odd("text"))
	d.one(odd("another"))
	merged := d.one(summary(events.Conversations, "1", nil, str("edited"))).Event.(*events.Summary)
	require.Equal(t, 58859, merged.SumSubTime.Year())
	d.quiet(odd("another"))
}

// session is a session as an analytics endpoint shows it, before and after it gains a conversation.
func session(from events.Endpoint, conversation, status string) events.Observation {
	bot := header(events.TypeConversation, "bot-only")
	bot.ConversationID, bot.SessionID, bot.SegmentID = nil, str("sess"), nil
	s := events.Observation{Endpoint: from, Anchor: noon.Add(-2 * time.Hour), Shared: true, Merged: true, Slack: 24 * time.Hour}
	c := &events.Conversation{Header: bot, BotOnly: conversation == "", FinalStatus: &status}
	if conversation != "" {
		c.EntityID = events.EntityID(account, "bot", events.TypeConversation, "sess", conversation)
		c.ConversationID = &conversation
		s.Supersedes = bot.EntityID
	}
	s.Event = c
	return s
}

func TestBotOnlySessionGainsAConversation(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%t", keep), func(t *testing.T) {
			d := newHarness(t)
			d.in.KeepObservations = keep
			bot := d.one(session(events.InteractionDetails, "", "ACTIVE"))
			require.Equal(t, "sess", bot.Key)

			earlier := noon
			d.in.LastRead = func(*events.Observation) time.Time { return earlier }
			result := d.read(session(events.InteractionDetails, "conv", "CLOSED"))
			require.Len(t, result.Events, 2)
			last, next := result.Events[0], result.Events[1]
			require.Equal(t, "sess", last.Key)
			require.Equal(t, bot.Event.Head().EntityID, last.Event.Head().EntityID)
			require.EqualValues(t, 2, last.Event.Head().Revision)
			require.Equal(t, next.Event.Head().EntityID, *last.Event.Head().SupersededBy)
			require.Nil(t, last.Event.Head().ConversationID)
			require.Equal(t, &earlier, last.Event.Head().ChangedAfter)
			require.True(t, last.Event.(*events.Conversation).BotOnly)
			require.Equal(t, map[bool]string{true: "ACTIVE", false: "CLOSED"}[keep], *last.Event.(*events.Conversation).FinalStatus)
			require.Equal(t, "conv", next.Key)
			require.EqualValues(t, 1, next.Event.Head().Revision)
			require.Nil(t, next.Event.Head().SupersededBy)

			d.quiet(session(events.InteractionDetails, "conv", "CLOSED"), session(events.InteractionDetails, "", "GONE"))
			d.quiet(session(events.CallDetails, "", "GONE"), session(events.CallDetails, "conv", "CLOSED"))
		})
	}
	t.Run("in one page", func(t *testing.T) {
		d := newHarness(t)
		require.Len(t, d.read(session(events.CallDetails, "", "A"), session(events.CallDetails, "conv", "A")).Events, 3)
	})
	t.Run("never seen before", func(t *testing.T) {
		d := newHarness(t)
		d.one(session(events.CallDetails, "conv", "A"))
		d.quiet(session(events.CallDetails, "conv", "A"))
	})
}

// An upgrade changes the recipe: all hashes under the new recipe differ from the stored ones.
func TestUpgradePublishesNothing(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	page := func(edited *string, verdict string) []events.Observation {
		return []events.Observation{
			thumb("1", verdict),
			summary(events.Interactions, "1", str("text"), nil),
			summary(events.Conversations, "1", nil, edited),
			session(events.InteractionDetails, "conv", verdict),
		}
	}
	revise.SetRecipe(t, 1)
	d.read(page(str("edited"), "POSITIVE")...)
	revise.SetRecipe(t, 2)
	require.Len(t, d.quiet(page(str("edited"), "POSITIVE")...).Puts, 3, "all are taken over to the new recipe")
	require.Empty(t, d.quiet(page(str("edited"), "POSITIVE")...).Puts)
	revise.SetRecipe(t, 3)
	require.Len(t, d.read(page(str("again"), "NEGATIVE")...).Events, 3, "what changed meanwhile is news under any recipe")
	d.quiet(page(str("again"), "NEGATIVE")...)
}

func TestEntityThatCannotBeReadCountsAsNew(t *testing.T) {
	d := newHarness(t)
	d.one(thumb("1", "POSITIVE"))
	for key := range d.store {
		d.store[key] = []byte("garbage")
	}
	result := d.read(thumb("1", "POSITIVE"))
	require.Equal(t, 1, result.Unreadable)
	require.ErrorContains(t, result.Damage, thumb("1", "POSITIVE").Event.Head().EntityID)
	require.Len(t, result.Events, 1)
	require.EqualValues(t, 1, result.Events[0].Event.Head().Revision)
	d.quiet(thumb("1", "POSITIVE"))
}

type broken struct{}

func (broken) Lookup([]checkpoint.Probe, []checkpoint.Found) error { return errors.New("disk failed") }

func TestDecideFails(t *testing.T) {
	d := newHarness(t)
	d.in.Observations = []events.Observation{thumb("1", "POSITIVE")}
	_, err := revise.Decide(d.in, broken{})
	require.ErrorContains(t, err, "disk failed")
	for _, id := range []string{"", "short", "not a hash at all, though it is long"} {
		d.in.Observations[0].Event.Head().EntityID = id
		_, err := revise.Decide(d.in, d.store)
		require.ErrorContains(t, err, "entity id")
	}
}

// store is the store that the program uses.
type store struct{ *checkpointtest.Store }

func (s store) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	return s.Store.Lookup(account, probes, out)
}

func TestWithTheCheckpoint(t *testing.T) {
	s := store{checkpointtest.Open(t)}
	d := newHarness(t)
	d.in.KeepObservations = true
	for i, want := range []int{3, 0, 0} {
		d.in.ShownAt = d.in.ShownAt.Add(time.Minute)
		d.in.Observations = []events.Observation{
			thumb("1", "POSITIVE"), summary(events.Interactions, "1", str("text"), nil),
			session(events.CallDetails, "", "A"), summary(events.Conversations, "1", str("text"), str("edited")),
		}
		result, err := revise.Decide(d.in, s)
		require.NoError(t, err)
		require.Len(t, result.Events, want, "read %d", i)
		require.NoError(t, s.Commit(checkpoint.Changes{
			Account: account, ReadAt: d.in.ShownAt, Puts: result.Puts, Touched: result.Touched,
		}))
		s.Reopen(t)
	}
}

// After a redial two segments begin at the same moment. An entity that both show must not alternate between them.
func TestRedialDoesNotTakeTurns(t *testing.T) {
	d := newHarness(t)
	first, second := noon.Add(time.Second), noon.Add(2*time.Second)
	open, ended, endedLater := events.Rank(noon, nil), events.Rank(noon, &first), events.Rank(noon, &second)
	step := func(segment string, rank int64, status string) events.Observation {
		s := &events.PlaybookStep{Header: header(events.TypePlaybookStep, "1"), Level: "STAGE", StageStatus: &status}
		s.SegmentID = &segment
		return events.Observation{Event: s, Endpoint: events.Interactions, Anchor: noon, Parent: segment, Rank: rank, Shared: true, Slack: 35 * 24 * time.Hour}
	}
	d.one(step("ac-1", open, "OPEN"))
	d.quiet(step("ac-1", ended, "OPEN"))
	d.one(step("ac-2", open, "CLOSED"))
	d.quiet(step("ac-1", ended, "OPEN"))
	d.one(step("ac-2", endedLater, "ADHERED"))
	d.quiet(step("ac-1", ended, "OPEN"), step("ac-2", endedLater, "ADHERED"))
	d.quiet(step("ac-2", endedLater, "ADHERED"), step("ac-1", ended, "OPEN"))
}
