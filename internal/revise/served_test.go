package revise_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
)

// served is a segment of conversation "conv-1" in a queue, begun some minutes before noon.
func served(id, agent, queue string, minutes int) events.Observation {
	at := noon.Add(-time.Duration(minutes) * time.Minute)
	s := &events.Segment{Header: header(events.TypeSegment, id)}
	s.ConversationID, s.EventTime, s.SegmentStartTime = str("conv-1"), at, &at
	if agent != "" {
		s.Agent = &events.Agent{AgentID: &agent}
	}
	if queue != "" {
		s.Queue = &events.Queue{QueueID: str("qu-" + queue), QueueName: &queue}
	}
	return events.Observation{Event: s, Endpoint: events.Interactions, Row: at, Anchor: at, Shared: true, Slack: events.Anywhere, Home: s.EntityID}
}

// opinion is feedback that a row of conversations shows, on something of some minutes before noon: of the whole conversation if 0.
func opinion(agent, response string, minutes int) events.Observation {
	o := rated(events.Conversations, 1, agent, response, "")
	o.Row = noon.Add(-2 * time.Hour)
	h := o.Event.Head()
	if h.EventTime = o.Row; minutes > 0 {
		h.EventTime = noon.Add(-time.Duration(minutes) * time.Minute)
	}
	return o
}

func queueOf(o events.Event) string {
	if q := o.Head().Queue; q != nil {
		return *q.QueueName
	}
	return ""
}

// Feedback that only `conversations` shows has the queue of its agent's segment, if that was read before.
func TestQueueOfFeedback(t *testing.T) {
	for name, c := range map[string]struct {
		segments []events.Observation
		opinion  events.Observation
		want     string
	}{
		"the agent's segment":        {[]events.Observation{served("a", "a-1", "Cards", 60)}, opinion("a-1", "dislike", 30), "Cards"},
		"another agent's":            {[]events.Observation{served("a", "a-2", "Cards", 60)}, opinion("a-1", "dislike", 30), ""},
		"of nobody":                  {[]events.Observation{served("a", "a-1", "Cards", 60)}, opinion("", "dislike", 30), ""},
		"a segment without an agent": {[]events.Observation{served("a", "", "Cards", 60)}, opinion("", "dislike", 30), ""},
		"one of two agents": {
			[]events.Observation{served("a", "a-1", "Cards", 60), served("b", "a-2", "Loans", 30)}, opinion("a-1", "dislike", 0), "Cards",
		},
		"the segment of that time": {
			[]events.Observation{served("b", "a-1", "Loans", 30), served("a", "a-1", "Cards", 60)}, opinion("a-1", "dislike", 45), "Cards",
		},
		"the later segment of that time": {
			[]events.Observation{served("a", "a-1", "Cards", 60), served("b", "a-1", "Loans", 30)}, opinion("a-1", "dislike", 20), "Loans",
		},
		"before the first segment": {
			[]events.Observation{served("b", "a-1", "Loans", 30), served("a", "a-1", "Cards", 60)}, opinion("a-1", "dislike", 90), "Cards",
		},
		"on the whole conversation": {
			[]events.Observation{served("b", "a-1", "Loans", 30), served("a", "a-1", "Cards", 60)}, opinion("a-1", "dislike", 0), "Loans",
		},
		"a segment that gained its queue": {
			[]events.Observation{served("a", "a-1", "", 60), served("a", "a-1", "Cards", 60)}, opinion("a-1", "dislike", 0), "Cards",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newHarness(t)
			d.in.KeepObservations = true
			for _, s := range c.segments {
				d.one(s)
			}
			o := d.one(c.opinion)
			require.Equal(t, c.want, queueOf(o.Event))
			for range 3 {
				again := opinion("", "dislike", 0)
				again.Event.Head().Agent, again.Event.Head().EventTime = c.opinion.Event.Head().Agent, c.opinion.Event.Head().EventTime
				require.Empty(t, d.quiet(again).Puts)
			}
		})
	}
}

// A queue that becomes known late publishes nothing: the next revision has it. What interactions show of the same feedback is no news.
func TestQueueOfFeedbackIsNoContent(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	dislike := func() events.Observation { return opinion("a-1", "dislike", 30) }
	segment := served("a", "a-1", "Cards", 60)
	first := d.one(dislike())
	require.Empty(t, queueOf(first.Event))
	d.one(served("a", "a-1", "Cards", 60))
	for range 3 {
		require.Empty(t, d.quiet(dislike(), served("a", "a-1", "Cards", 60)).Puts)
	}
	second := d.one(opinion("a-1", "like", 30))
	require.Equal(t, "Cards", queueOf(second.Event))
	require.EqualValues(t, 2, second.Event.Head().Revision)
	d.quiet(opinion("a-1", "like", 30))

	both := rated(events.Interactions, 1, "a-1", "up", "")
	both.Event.(*events.Feedback).Response = str("like")
	both.Event.Head().Queue = segment.Event.Head().Queue
	d.quiet(both)
	d.quiet(opinion("a-1", "like", 30), both)

	gone := opinion("", "like", 30)
	f := gone.Event.(*events.Feedback)
	f.Response, f.Sentiment = nil, events.SentimentWithdrawn
	third := d.one(gone)
	require.Equal(t, "Cards", queueOf(third.Event), "of the agent who had said it")
	require.EqualValues(t, 3, third.Event.Head().Revision)
}

// The queue enters neither ids nor what is stored of the feedback.
func TestQueueOfFeedbackLeavesItsEntityAlone(t *testing.T) {
	entry := func(segments ...events.Observation) (id string, at checkpoint.Key, content []byte) {
		d := newHarness(t)
		d.in.KeepObservations = true
		for range 2 {
			d.read(segments...)
		}
		for d.in.ShownAt.Before(noon.Add(time.Hour)) {
			d.in.ShownAt = d.in.ShownAt.Add(time.Minute)
		}
		r := d.read(opinion("a-1", "dislike", 30))
		require.Len(t, r.Puts, 1)
		h := r.Events[0].Event.Head()
		return h.EventID + h.EntityID, r.Puts[0].Key, r.Events[0].Event.AppendContent(nil, events.Recipe())
	}
	id, at, content := entry()
	withID, withAt, withContent := entry(served("a", "a-1", "Cards", 60))
	require.Equal(t, id, withID)
	require.Equal(t, at, withAt)
	require.Equal(t, content, withContent)
}

func TestSegmentsOfAConversationAreBounded(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	long := string(make([]byte, bound.ID-3))
	for n := range 40 {
		d.read(served(fmt.Sprint("s", n), fmt.Sprint("a-", n), long, 100-n))
	}
	require.Empty(t, d.quiet(served("s39", "a-39", long, 61)).Puts)
	require.Len(t, d.store, 40+1)
	require.Empty(t, queueOf(d.one(opinion("a-20", "like", 0)).Event), "of an agent who served long ago")
	largest := 0
	for _, value := range d.store {
		largest = max(largest, len(value))
	}
	require.Less(t, largest, 40<<10)
}

func TestSegmentsAreRememberedWhereTheyAreOfUse(t *testing.T) {
	d := newHarness(t)
	d.in.Off = []events.Type{events.TypeSegment}
	require.Empty(t, d.quiet(served("a", "a-1", "Cards", 60)).Puts, "nobody reads conversations")
	d.in.KeepObservations = true
	require.Len(t, d.quiet(served("a", "a-1", "Cards", 60)).Puts, 1)
	o := d.one(opinion("a-1", "dislike", 0))
	require.Equal(t, "Cards", queueOf(o.Event), "although no segments are published")
	require.Equal(t, []uint32{checkpoint.KeyAt(noon, false, checkpoint.Hash{}).Day}, d.read(opinion("a-1", "dislike", 0)).Touched)
}

func TestDamagedSegmentsOfAConversation(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations, d.in.Off = true, []events.Type{events.TypeSegment}
	d.read(served("a", "a-1", "Cards", 60))
	for key, value := range maps.Clone(d.store) {
		for n := range value {
			d.store[key] = value[:n]
			r := d.read(opinion(fmt.Sprint("a-", n), "dislike", 0))
			require.Equal(t, 1, r.Unreadable)
			require.ErrorContains(t, r.Damage, "segments of a conversation")
			require.Empty(t, queueOf(r.Events[0].Event))
		}
	}
}

// That more becomes known of the segment around feedback is not a change of mind.
func TestLateSurroundingsAreNoStatement(t *testing.T) {
	d := newHarness(t)
	d.in.KeepObservations = true
	d.one(rated(events.Interactions, 1, "", "up", ""))
	d.one(rated(events.Conversations, 1, "", "dislike", ""))
	late := func() events.Observation {
		o := rated(events.Interactions, 1, "", "up", "")
		o.Event.Head().Queue = &events.Queue{QueueID: str("qu-1")}
		return o
	}
	o := d.one(late())
	require.Equal(t, "3 NEGATIVE dislike ", says(o))
	require.Equal(t, "qu-1", *o.Event.Head().Queue.QueueID)
	d.quiet(late(), rated(events.Conversations, 1, "", "dislike", ""))
}
