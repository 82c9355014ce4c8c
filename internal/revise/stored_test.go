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

// TestEarlierStatesAreRead holds what is stored of entities to the lines in testdata, which an earlier build wrote: the same
// observations and states give the same bytes, and the earlier bytes the same observations and states. A new version of the
// form gets a file of its own; those of the versions before stay.
func TestEarlierStatesAreRead(t *testing.T) {
	golden, err := os.ReadFile("testdata/stored-2.golden")
	require.NoError(t, err)
	lines := slices.Collect(strings.Lines(string(golden)))
	stored := func(kind string) []byte {
		name, text, _ := strings.Cut(strings.TrimSpace(lines[0]), " ")
		require.Equal(t, kind, name)
		b, err := hex.DecodeString(text)
		require.NoError(t, err)
		lines = lines[1:]
		return b
	}
	for _, e := range storedEvents() {
		b := stored(string(e.EventType()))
		require.Equal(t, b, encodeObservation(e))
		read, err := decodeObservation(e.EventType(), e.Head(), b)
		require.NoError(t, err)
		require.Equal(t, e, read)
	}
	for _, s := range storedStates() {
		b := stored("state")
		require.Equal(t, b, s.encode())
		read, err := decodeState(b)
		require.NoError(t, err)
		if read.observations != nil {
			require.Zero(t, read.unfold())
		}
		require.Equal(t, s, *read)
	}
	require.Empty(t, lines)
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
		&events.PlaybookStep{Header: header, Scope: "STAGE", TotalStages: map[string]int64{"AGENT": 3, "a": 1}},
	}
}

func storedStates() []state {
	all := storedEvents()
	edited := storedEvents()[0].(*events.Summary)
	other, number := "another", "7"
	edited.Summary, edited.Agent.Name, edited.IsError, edited.ModelType = &other, &number, nil, &other
	shared := state{revision: 3, recipe: 2, hash: hash{9}, key: "conv"}
	shared.keep(observation{endpoint: events.Interactions, recipe: 1, hash: hash{1}, body: encodeObservation(all[0])})
	shared.keep(observation{endpoint: events.Conversations, recipe: 2, hash: hash{2}, body: encodeObservation(edited)})
	return []state{
		{revision: 1, recipe: 1, hash: hash{1, 2, 3, 4, 5, 6, 7, 8}},
		{revision: 300, recipe: 200, hash: hash{0xff}, rank: 1_790_000_000_000, parent: [4]byte{1, 2}, everNegative: true, superseded: true, key: *all[0].Head().ConversationID},
		{revision: 2, recipe: 1, rank: -5},
		shared,
	}
}
