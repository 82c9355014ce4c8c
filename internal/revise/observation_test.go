package revise

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
)

var update = flag.Bool("update", false, "append new fields to testdata/fields.golden")

// randomEvent returns an event in which every stored field is empty or has a random value.
func randomEvent(r *rand.Rand, t events.Type) events.Event {
	e := events.New(t)
	randomize(r, reflect.ValueOf(e).Elem())
	*e.Head() = events.Header{
		EntityID: "e", AccountID: "a", EventTime: e.Head().EventTime, EventTimeBasis: e.Head().EventTimeBasis,
		ConversationID: e.Head().ConversationID, SessionID: e.Head().SessionID, SegmentID: e.Head().SegmentID,
		Channel: e.Head().Channel, Agent: e.Head().Agent, Queue: e.Head().Queue,
	}
	return e
}

var texts = []string{
	"", "voice", "Ada Ito", "6afe381bdce36003c3522d64", "bd95fa5-e723-43fe-b169-6f86b6cadf30", "\xff not UTF-8",
	"ac-8a64e5ed-b39a-4c35-b6b2-29f78061df94", "f1caea384f564cc1ecc5eb6ab7e599fb", "AC-8A64E5ED-B39A-4C35-B6B2-29F78061DF94",
	"a prefix too long-8a64e5ed-b39a-4c35-b6b2-29f78061df94", "8a64e5ed+b39a+4c35+b6b2+29f78061df94", strings.Repeat("long ", 100),
}

func randomize(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			randomize(r, v.Elem())
		}
	case reflect.String:
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Int64:
		v.SetInt(r.Int64N(1<<r.IntN(63)) * int64(1-2*r.IntN(2)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(r.NormFloat64())
	case reflect.Slice:
		for range r.IntN(3) {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			randomize(r, v.Index(v.Len()-1))
		}
	case reflect.Map:
		for range r.IntN(3) {
			if v.IsNil() {
				v.Set(reflect.ValueOf(map[string]int64{}))
			}
			v.SetMapIndex(reflect.ValueOf(texts[r.IntN(len(texts))]), reflect.ValueOf(r.Int64()))
		}
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(time.UnixMilli(r.Int64N(4e12) - 1e12).UTC()))
			return
		}
		for i := range v.NumField() {
			randomize(r, v.Field(i))
		}
	}
}

func TestObservationRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, typ := range events.Types() {
		for range 20 {
			want := randomEvent(r, typ)
			body := encodeObservation(want)
			got, err := decodeObservation(typ, want.Head(), body)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, body, encodeObservation(got))
			for n := range min(len(body), 200) {
				if e, err := decodeObservation(typ, want.Head(), body[:n]); err == nil { // cut between two fields
					require.True(t, bytes.Equal(body[:n], encodeObservation(e)))
				}
			}
		}
	}
}

// The ids that identify the entity and the fields that the poller fills in are not stored with an observation.
func TestObservationStoresUpstreamFieldsOnly(t *testing.T) {
	said, channel := "said by the poller", "channel"
	e := &events.Summary{Header: events.Header{
		EventID: said, EntityID: said, Revision: 5, ChangedAfter: new(time.Time), ChangedBefore: time.Now(), ObservedTime: time.Now(),
		Late: true, Replay: true, Endpoint: said, Source: said, AccountID: said, BotID: &said, SupersededBy: &said, Channel: &channel,
	}}
	bot := "bot"
	same := events.Header{EntityID: "entity", AccountID: "account", BotID: &bot, SegmentID: &said}
	got, err := decodeObservation(events.TypeSummary, &same, encodeObservation(e))
	require.NoError(t, err)
	require.Equal(t, &events.Summary{Header: events.Header{EntityID: "entity", AccountID: "account", BotID: &bot, Channel: &channel}}, got)
}

// A later build has more fields, in the event and in its records.
func TestObservationOfALaterBuild(t *testing.T) {
	text := "text"
	want := &events.Summary{Summary: &text}
	more := func(dst []byte) []byte {
		dst = appendText(dst, 1000, "text")
		dst = appendText(dst, 1001, texts[6])
		dst = append(appendTag(dst, 1002, kindNumber), 7)
		dst = append(appendTag(dst, 1003, kindDouble), "12345678"...)
		dst = append(appendTag(dst, 1004, kindList), 1, 0xff)
		return append(appendTag(dst, 1005, kindRecord), 2, 0xff, 0xff)
	}
	head := appendSized(appendTag(nil, 0, kindRecord), more)
	got, err := decodeObservation(events.TypeSummary, new(events.Header), more(append(head, encodeObservation(want)...)))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// A number that earlier builds stored as a whole one may have decimals by now.
func TestObservationWithAWholeNumber(t *testing.T) {
	body := binary.AppendVarint(appendTag(nil, 14, kindNumber), 4)
	got, err := decodeObservation(events.TypeFeedback, new(events.Header), body)
	require.NoError(t, err)
	require.InDelta(t, 4, *got.(*events.Feedback).CSATScore, 0)
}

func TestDecodeObservationRefuses(t *testing.T) {
	for name, body := range map[string][]byte{
		"a number for a text":      append(appendTag(nil, 1, kindNumber), 2),
		"a text for a time":        appendText(nil, 11, "text"),
		"a text for a double":      appendText(nil, 10, "text"),
		"a text for a list":        appendText(nil, 20, "text"),
		"a text for a record":      appendText(nil, 0, "text"),
		"2 for a boolean":          append(appendTag(nil, 5, kindNumber), 4),
		"a field twice":            appendText(appendText(nil, 1, "text"), 1, "text"),
		"fields in another order":  appendText(appendText(nil, 2, "text"), 1, "text"),
		"a difference":             appendTag(nil, 1, kindGone),
		"a numbered item":          append(appendTag(nil, 20, kindList), append([]byte{7}, appendText(nil, 1, "text")...)...),
		"an unknown word":          append(appendTag(nil, 1, kindCode), 0xff),
		"an unknown shape":         append(appendTag(nil, 1, kindCode), 0x70),
		"a digit too many":         append(appendTag(nil, 1, kindCode), append([]byte{0x10}, bytes.Repeat([]byte{0xff}, 16)...)...),
		"a text cut off":           append(appendTag(nil, 1, kindText), 9),
		"no value":                 appendTag(nil, 1, kindNumber),
		"a number in another form": append(appendTag(nil, 11, kindNumber), 0x80, 0),
	} {
		_, err := decodeObservation(events.TypeSummary, new(events.Header), body)
		require.ErrorIs(t, err, errState, name)
	}
}

// TestFieldNumbersStay compares every field's number with its number in earlier builds. A record, also the header, may only get new fields
// at its end; -update adds them to the golden file.
func TestFieldNumbersStay(t *testing.T) {
	const path = "testdata/fields.golden"
	var now []string
	for record, fields := range storedFields() {
		for _, known := range fields {
			f := record.Field(known.place)
			now = append(now, fmt.Sprintf("%s %02d %s %s", record.Name(), known.number, f.Tag.Get("avro"), strings.ReplaceAll(f.Type.String(), "events.", "")))
		}
	}
	slices.Sort(now)
	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, line := range strings.FieldsFunc(string(golden), func(r rune) bool { return r == '\n' }) {
		require.Contains(t, now, line, "checkpoints of earlier builds hold this field under this number (its tag stored), with a value of this type")
	}
	text := strings.Join(now, "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return
	}
	require.Equal(t, text, string(golden), "take new fields over with -update")
}

// TestStoredAndShownAreTwoDecisions says for every field of the header why it is stored or not, and why dead letters show it or not. The tag
// stored decides the one and the tag json the other: whoever changes one must not change the other.
func TestStoredAndShownAreTwoDecisions(t *testing.T) {
	const (
		upstream = "it comes from upstream: it is stored, and dead letters show it"
		identity = "it identifies the entity, and is the same in all of its observations: it is taken from the new one, and dead letters show it"
		poller   = "the poller fills it in when it publishes an event: it is not part of an observation, and dead letters have fields of their own for it"
	)
	reasons := map[string]string{
		"event_id": poller, "entity_id": identity, "revision": poller, "event_time": upstream, "event_time_basis": upstream,
		"changed_after": poller, "changed_before": poller, "observed_time": poller, "late": poller, "replay": poller,
		"endpoint": poller, "source": poller, "account_id": identity, "bot_id": identity, "conversation_id": upstream,
		"session_id": upstream, "segment_id": upstream, "channel": upstream, "agent": upstream, "queue": upstream,
		"superseded_by": poller,
	}
	header := reflect.TypeFor[events.Header]()
	require.Len(t, reasons, header.NumField())
	for i := range header.NumField() {
		tag := header.Field(i).Tag
		name, reason := tag.Get("avro"), reasons[tag.Get("avro")]
		require.NotEmpty(t, reason, "%s: say here why it is stored or not", name)
		stored, shown := tag.Get("stored") != "-", tag.Get("json") != "-"
		require.Equal(t, reason == upstream, stored, "%s: the tag stored is part of the form of every checkpoint; %s", name, reason)
		require.Equal(t, reason != poller, shown, "%s: the tag json is for dead letters; %s", name, reason)
	}
}

func TestDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, typ := range events.Types() {
		for range 200 {
			base, body := encodeObservation(randomEvent(r, typ)), encodeObservation(randomEvent(r, typ))
			difference, ok := appendDifference(nil, base, body, 0)
			require.True(t, ok)
			got, ok := appendApplied(nil, base, difference, 0)
			require.True(t, ok)
			require.True(t, bytes.Equal(body, got))
			none, _ := appendDifference(nil, body, body, 0)
			require.Empty(t, none)
		}
	}
}

// An observation that cannot be read is lost alone. If it is the first, the differences to it are lost too.
func TestObservationsThatCannotBeRead(t *testing.T) {
	whole, garbage := appendText(nil, 1, "text"), []byte{0xff}
	gone := observation{place: place{endpoint: events.Conversations}, body: appendTag(nil, 1, kindGone), differs: true}
	for name, c := range map[string]struct {
		observations []observation
		lost         int
		left         []events.Endpoint
	}{
		"none":       {[]observation{{place: place{endpoint: events.Interactions}, body: whole}, gone}, 0, []events.Endpoint{events.Interactions, events.Conversations}},
		"the first":  {[]observation{{place: place{endpoint: events.Interactions}, body: garbage}, gone}, 2, nil},
		"the second": {[]observation{{place: place{endpoint: events.Interactions}, body: whole}, {place: place{endpoint: events.Conversations}, body: garbage}}, 1, []events.Endpoint{events.Interactions}},
		"a difference": {
			[]observation{{place: place{endpoint: events.Interactions}, body: whole}, {place: place{endpoint: events.Conversations}, body: appendTag(nil, 1, kindChange), differs: true}},
			1, []events.Endpoint{events.Interactions},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := state{observations: c.observations}
			require.Equal(t, c.lost, s.unfold())
			var left []events.Endpoint
			for _, seen := range s.observations {
				require.False(t, seen.differs)
				left = append(left, seen.endpoint)
			}
			require.Equal(t, c.left, left)
		})
	}
}

func FuzzDecodeObservation(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	for i, typ := range events.Types() {
		f.Add(uint8(i), encodeObservation(randomEvent(r, typ)))
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		typ := events.Types()[int(i)%len(events.Types())]
		e, err := decodeObservation(typ, new(events.Header), b)
		if err != nil {
			return
		}
		same, err := decodeObservation(typ, new(events.Header), encodeObservation(e))
		require.NoError(t, err)
		require.Equal(t, events.ContentHash(e, 1), events.ContentHash(same, 1))
	})
}

func FuzzDifference(f *testing.F) {
	a, b, c := "a", "b", 1.0
	base := encodeObservation(&events.Summary{Summary: &a, SummaryDuration: &c, Header: events.Header{Channel: &a, Agent: &events.Agent{Name: &a}}})
	body := encodeObservation(&events.Summary{Summary: &b, Header: events.Header{SegmentID: &b, Agent: &events.Agent{Name: &b, Email: &b}}})
	difference, _ := appendDifference(nil, base, body, 0)
	f.Add(base, body)
	f.Add(base, difference)
	f.Fuzz(func(t *testing.T, base, b []byte) {
		if difference, ok := appendDifference(nil, base, b, 0); ok {
			body, ok := appendApplied(nil, base, difference, 0)
			require.True(t, ok)
			require.True(t, bytes.Equal(b, body))
		}
		if body, ok := appendApplied(nil, base, b, 0); ok { // of a record inside too, which is not looked into otherwise
			_, ok = appendDifference(nil, base, body, 0)
			require.True(t, ok)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, text := range append(texts, words...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := newReader(appendText(nil, 3, text))
		got := r.field()
		require.Equal(t, 3, got.number)
		require.Equal(t, text, r.text(got))
		require.NoError(t, r.Done())
	})
}
