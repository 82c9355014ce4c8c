package revise

import (
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

// TestEarlierStatesAreRead holds what is stored of entities to the lines in testdata, which earlier builds wrote: the same observations and
// states give the same bytes, and the earlier bytes the same observations and states. A new version of the form gets a file of its own,
// and those of the versions before stay.
func TestEarlierStatesAreRead(t *testing.T) {
	old := golden(t, "stored-2.golden")
	for _, e := range storedEvents() {
		b := old.next(string(e.EventType()))
		require.Equal(t, b, encodeObservation(e))
		read, err := decodeObservation(e.EventType(), e.Head(), b)
		require.NoError(t, err)
		require.Equal(t, e, read)
	}
	old.states(storedStates())
	golden(t, "stored-3.golden").states([]state{
		{revision: 3, recipe: 1, hash: hash{1}, refused: content{2, hash{2}}},
		{refused: content{2, hash{2}}, rank: 5},
		{revision: 3, recipe: 1, hash: hash{1}, minute: 1440},
		{revision: 3, recipe: 1, hash: hash{1}, refused: content{2, hash{2}}, minute: 1, key: "conv"},
		{revision: 3, recipe: 1, hash: hash{1}, observations: []observation{ // written in version 2
			{place: place{endpoint: events.Interactions}, recipe: 1, hash: hash{2}, body: []byte{}, huge: true},
			{place: place{endpoint: events.Conversations}, recipe: 1, hash: hash{3}, body: encodeObservation(storedEvents()[2])},
		}},
	})
	golden(t, "stored-3-places.golden").states([]state{
		states["a place that changes"], states["a person of several"], states["places"],
	})
}

// lines are what is left of a golden file: in each line, what its value is, and the value in hexadecimal.
type lines struct {
	t    *testing.T
	left []string
}

func golden(t *testing.T, name string) *lines {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return &lines{t, slices.Collect(strings.Lines(string(text)))}
}

func (l *lines) next(what string) []byte {
	l.t.Helper()
	is, text, _ := strings.Cut(strings.TrimSpace(l.left[0]), " ")
	require.Equal(l.t, what, is)
	b, err := hex.DecodeString(text)
	require.NoError(l.t, err)
	l.left = l.left[1:]
	return b
}

// states compares the rest of the lines with states.
func (l *lines) states(want []state) {
	l.t.Helper()
	for _, s := range want {
		b := l.next("state")
		require.Equal(l.t, hex.EncodeToString(b), hex.EncodeToString(s.encode()))
		read, err := decodeState(b)
		require.NoError(l.t, err)
		if read.observations != nil {
			require.Zero(l.t, read.unfold())
		}
		require.Equal(l.t, s, *read)
	}
	require.Empty(l.t, l.left)
}

func storedEvents() []events.Event {
	at := time.Date(2026, 11, 3, 12, 0, 0, 5e6, time.UTC)
	text, word, id, short := "text", "AGENT", "st-79a76d65-d540-5b33-96d5-9bf3eeb00000", "bd95fa5-e723-43fe-b169-6f86b6cadf30"
	yes, no, one, seconds := true, false, int64(-300), 1.5
	header := events.Header{
		EventTime: at, EventTimeBasis: "startTime", ConversationID: &id, SessionID: &short, Channel: &word,
		Agent: &events.Agent{AgentID: &id, Name: &text}, Queue: &events.Queue{QueueName: &text},
	}
	return []events.Event{
		&events.Summary{
			Header: header, SummaryID: &id, Summary: &text, IsError: &no, IsEdited: &yes, ExeStartTime: &at,
			GenerationTimeInSecs: &seconds, ParticipantStartTimes: []string{"", text, word},
		},
		&events.AgenticRequest{
			Header: header, RequestID: &short, Kind: "kind", ResStatus: &one,
			Responses: []events.AgenticResponse{{}, {Content: &text}},
		},
		&events.PlaybookStep{Header: header, Level: "STAGE", TotalStages: map[string]int64{"AGENT": 3, "a": 1}},
	}
}

func storedStates() []state {
	all := storedEvents()
	edited := storedEvents()[0].(*events.Summary)
	other, number := "another", "7"
	edited.Summary, edited.Agent.Name, edited.IsError, edited.ModelType = &other, &number, nil, &other
	shared := state{revision: 3, recipe: 2, hash: hash{9}, key: "conv"}
	shared.keep(observation{place: place{endpoint: events.Interactions}, recipe: 1, hash: hash{1}, body: encodeObservation(all[0])})
	shared.keep(observation{place: place{endpoint: events.Conversations}, recipe: 2, hash: hash{2}, body: encodeObservation(edited)})
	return []state{
		{revision: 1, recipe: 1, hash: hash{1, 2, 3, 4, 5, 6, 7, 8}},
		{revision: 300, recipe: 200, hash: hash{0xff}, rank: 1_790_000_000_000, parent: [4]byte{1, 2}, everNegative: true, superseded: true, key: *all[0].Head().ConversationID},
		{revision: 2, recipe: 1, rank: -5},
		shared,
	}
}
