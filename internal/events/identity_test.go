package events_test

import (
	"testing"

	"agentassist-poller/internal/events"

	"github.com/stretchr/testify/require"
)

func TestEntityIDTellsPartsApart(t *testing.T) {
	seen := map[string][]string{}
	for _, in := range [][]string{
		{"acc", "bot", "search", "ab", "c"}, {"acc", "bot", "search", "a", "bc"}, {"acc", "bot", "search", "abc"},
		{"acc", "bot", "search", "abc", ""}, {"acc", "bots", "earch", "abc"}, {"accb", "ot", "search", "abc"},
		{"acc", "bot", "feedback", "abc"}, {"acc", "", "feedback", "abc"}, {"acc", "bot", "search"},
	} {
		id := events.EntityID(in[0], in[1], events.Type(in[2]), in[3:]...)
		require.Len(t, id, 32)
		require.NotContains(t, seen, id, "%v and %v", in, seen[id])
		seen[id] = in
	}
}

// Up, down, up again are three versions; the same version again is none.
func TestEventID(t *testing.T) {
	up, down := []byte("up"), []byte("down")
	ids := map[string]bool{}
	for i, c := range [][]byte{up, down, up} {
		ids[events.EventID("e", int64(i+1), c)] = true
		ids[events.EventID("e", int64(i+1), c)] = true
	}
	ids[events.EventID("other", 1, up)] = true
	require.Len(t, ids, 4)
}

// Ids are kept by consumers and by the checkpoint: how they are made must never change.
func TestIDsArePinned(t *testing.T) {
	require.Equal(t, "d2e6320a093364d83a2e1576e322e2eb", events.EntityID("acc", "st-1", events.TypeSearch, "ac-1", "2026-02-25T09:33:30.500Z"))
	require.Equal(t, "1a3c6060b7726c5152aa35546b450ae5", events.EventID("0123456789abcdef0123456789abcdef", 2, []byte{1, 2, 3, 4, 5, 6, 7, 8}))
}

func TestKey(t *testing.T) {
	all := events.Header{ConversationID: new("c"), SessionID: new("s"), SegmentID: new("g")}
	require.Equal(t, "c", events.Key(&all))
	all.ConversationID = new("")
	require.Equal(t, "s", events.Key(&all))
	all.SessionID = nil
	require.Equal(t, "g", events.Key(&all))
	require.Empty(t, events.Key(&events.Header{}))
}

func TestNegative(t *testing.T) {
	require.True(t, events.Negative(&events.Feedback{Sentiment: events.SentimentNegative}))
	require.False(t, events.Negative(&events.Feedback{Sentiment: events.SentimentUnknown}))
	require.False(t, events.Negative(&events.Search{}))
}

func TestNew(t *testing.T) {
	for _, typ := range events.Types() {
		require.Equal(t, typ, events.New(typ).EventType())
	}
	require.Nil(t, events.New("no-such-type"))
	require.Nil(t, events.New(events.TypeWatermark))
}
