package revise

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

var states = map[string]state{
	"usual":      {revision: 1, recipe: 1, hash: hash{1, 2, 3, 4, 5, 6, 7, 8}},
	"large":      {revision: 300, recipe: 200, hash: hash{0xff}, rank: 1_790_000_000_000, key: "sess-1", everNegative: true, superseded: true},
	"below zero": {revision: 2, recipe: 1, rank: -5},
	"a home":     {revision: 1, recipe: 1, hash: hash{1}, minute: 1440},
	"shared": {revision: 3, recipe: 2, key: "conv", observations: []observation{
		{place: place{endpoint: events.Interactions}, recipe: 1, hash: hash{1}, body: appendText(nil, 1, "whole")},
		{place: place{endpoint: events.Conversations}, recipe: 2, hash: hash{2}, body: appendTag(nil, 1, kindGone), differs: true},
	}},
	"a place that changes": {revision: 4, recipe: 1, hash: hash{1}, rank: 5, parent: idHash{1}, alternation: alternation{[]uint32{1, 2}, 3, 7}},
	"a person of several":  {revision: 4, recipe: 1, hash: hash{1}, person: idHash{1}},
	"places": {revision: 4, recipe: 1, hash: hash{1}, person: idHash{1}, observations: []observation{
		{place: place{events.Interactions, idHash{1}}, rank: 5, recipe: 1, hash: hash{1}, body: []byte{}},
		{place: place{events.Interactions, idHash{2}}, changes: 2, recipe: 1, hash: hash{2}, body: appendText(nil, 1, "whole"), alternation: alternation{past: []uint32{1}}},
		{place: place{events.Conversations, idHash{1}}, recipe: 1, hash: hash{3}, body: []byte{}, huge: true},
	}},
}

func TestStateRoundTrip(t *testing.T) {
	for name, want := range states {
		t.Run(name, func(t *testing.T) {
			got, err := decodeState(want.encode())
			require.NoError(t, err)
			require.Equal(t, want, *got)
		})
	}
	usual := states["usual"]
	require.Len(t, usual.encode(), 11, "there are millions of these")
}

// The second endpoint usually shows the same, or nearly the same.
func TestSecondObservationIsSmall(t *testing.T) {
	text, bot, id := strings.Repeat("text ", 40), "st-79a76d65-d540-5b33-96d5-9bf3eeb00000", "6afe381bdce36003c3522d64"
	e := &events.Summary{Summary: &text, SummaryID: &id, Header: events.Header{BotID: &bot, ConversationID: &id, EventTimeBasis: "startTime"}}
	s := state{revision: 1}
	s.keep(observation{place: place{endpoint: events.Interactions}, body: encodeObservation(e)})
	one := len(s.encode())
	require.Less(t, one, 270)
	s.keep(observation{place: place{endpoint: events.Conversations}, body: encodeObservation(e)})
	require.Len(t, s.encode(), one+11)
	seconds := 1.5
	e.EventTimeBasis, e.GenerationTimeInSecs = "summary.exeStartTime", &seconds
	s.keep(observation{place: place{endpoint: events.Conversations}, body: encodeObservation(e)})
	require.Len(t, s.encode(), one+11+4+9)
}

func TestDecodeStateRefuses(t *testing.T) {
	for name, s := range states {
		b := s.encode()
		for n := range len(b) {
			_, err := decodeState(b[:n])
			require.ErrorIs(t, err, errState, "%s cut to %d bytes", name, n)
		}
		_, err := decodeState(append(bytes.Clone(b), 0))
		require.ErrorIs(t, err, errState, "%s with a byte more", name)
	}
	usual := states["usual"]
	for name, change := range map[string]func(b []byte) []byte{
		"another version":               func(b []byte) []byte { b[0] = 1<<versionShift | b[0]&0x1f; return b },
		"revision 0":                    func(b []byte) []byte { b[1] = 0; return b },
		"a longer form":                 func(b []byte) []byte { return append([]byte{b[0], 0x81, 0x00}, b[2:]...) },
		"a rank of 0":                   func(b []byte) []byte { b[0] |= flagRank; return append(b, 0) },
		"an empty key":                  func(b []byte) []byte { b[0] |= flagKey; return append(b, 0) },
		"no observations":               func(b []byte) []byte { b[0] |= flagObservations; return append(b, 0) },
		"an observation of no endpoint": func(b []byte) []byte { b[0] |= flagObservations; return append(b, "\x01\x09\x0112345678\x00"...) },
		"too many observations":         func(b []byte) []byte { b[0] |= flagObservations; return append(b, 9) },
		"an empty person":               func(b []byte) []byte { return more(b, flagPerson, "\x00\x00\x00\x00") },
		"an empty alternation":          func(b []byte) []byte { return more(b, flagAlternation, "\x00\x00") },
		"places without observations":   func(b []byte) []byte { return more(b, flagPlaces, "") },
		"a body beyond the value":       func(b []byte) []byte { b[0] |= flagObservations; return append(b, "\x01\x00\x0112345678\x7f"...) },
		"the same endpoint twice": func(b []byte) []byte {
			b[0] |= flagObservations
			return append(b, strings.ReplaceAll("\x02SS", "S", "\x01\x0112345678\x00")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeState(change(usual.encode()))
			require.ErrorIs(t, err, errState)
		})
	}
}

// more returns a state in version 3 with a flag, and what the flag announces.
func more(b []byte, flag byte, what string) []byte {
	b = append([]byte{stateVersionMore<<versionShift | b[0]&0x1f, flag}, b[1:]...)
	return append(b, what...)
}

// Written again, a state that decodeState accepts says the same. It has one form, but for bodies that are whole and would be shorter as
// differences.
func FuzzDecodeState(f *testing.F) {
	for _, s := range states {
		f.Add(s.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		written := s.encode()
		require.LessOrEqual(t, len(written), len(b))
		again, err := decodeState(written)
		require.NoError(t, err)
		require.Equal(t, written, again.encode())
		require.Equal(t, s.unfold(), again.unfold())
		require.Equal(t, s, again)
	})
}

// Written again, the segments of a conversation that decodeServed accepts are the same.
func FuzzDecodeServed(f *testing.F) {
	id, name := "qu-1", "Cards"
	f.Add(encodeServed(nil))
	f.Add(encodeServed([]service{
		{segment: idHash{1}, agent: idHash{2}, start: -5, queue: events.Queue{QueueID: &id, QueueName: &name}},
		{segment: idHash{3}, start: 1_790_000_000_000, queue: events.Queue{QueueName: &name}},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		services, err := decodeServed(b)
		if err != nil {
			require.ErrorIs(t, err, errServed)
			return
		}
		again, err := decodeServed(encodeServed(services))
		require.NoError(t, err)
		require.Equal(t, services, again)
	})
}
