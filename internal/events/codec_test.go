package events_test

import (
	"fmt"
	"hash"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentassist-poller/internal/events"

	"github.com/stretchr/testify/require"
	second "github.com/twmb/avro"
)

// A decoder that shares nothing with the encoder must read the same values out of every byte.
func TestEncodedEventsReadBySecondImplementation(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		want := randomEvent(r, typ)
		got := events.New(typ)
		rest, err := second.MustParse(events.Schema(typ)).Decode(encode(t, want), got)
		require.NoError(t, err)
		require.Empty(t, rest)
		tidy(reflect.ValueOf(got))
		require.Equal(t, want, got)
	})
}

func TestDecodeOwnEncoding(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		want, got := randomEvent(r, typ), events.New(typ)
		require.NoError(t, events.DecodeAvro(typ, encode(t, want), got))
		require.Equal(t, want, got)
	})
}

// Other writers may cut arrays into blocks and state their size.
func TestDecodeSecondImplementationsEncoding(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		want, got := randomEvent(r, typ), events.New(typ)
		b, err := second.MustParse(events.Schema(typ)).Encode(want)
		require.NoError(t, err)
		require.NoError(t, events.DecodeAvro(typ, b, got))
		require.Equal(t, want, got)
	})
}

func TestWatermarkAndDeadLetter(t *testing.T) {
	type plain interface {
		AppendAvro([]byte) ([]byte, error)
		DecodeAvro([]byte) error
	}
	for typ, empty := range map[events.Type]func() plain{
		events.TypeWatermark:  func() plain { return new(events.Watermark) },
		events.TypeDeadLetter: func() plain { return new(events.DeadLetter) },
	} {
		t.Run(string(typ), func(t *testing.T) {
			r := newRandom(1)
			for range 50 {
				want, own, other := empty(), empty(), empty()
				randomize(r, reflect.ValueOf(want).Elem())
				b, err := want.AppendAvro(nil)
				require.NoError(t, err)
				require.NoError(t, own.DecodeAvro(b))
				require.Equal(t, want, own)
				rest, err := second.MustParse(events.Schema(typ)).Decode(b, other)
				require.NoError(t, err)
				require.Empty(t, rest)
				tidy(reflect.ValueOf(other))
				require.Equal(t, want, other)
			}
		})
	}
}

func TestAppendAvroAppends(t *testing.T) {
	r := newRandom(2)
	e := randomEvent(r, events.TypeSearch)
	b, err := events.AppendAvro([]byte("head"), e)
	require.NoError(t, err)
	require.Equal(t, append([]byte("head"), encode(t, e)...), b)
}

func TestAppendAvroRefusesMissingTime(t *testing.T) {
	_, err := events.AppendAvro(nil, &events.Search{Header: events.Header{EntityID: "e1"}})
	require.EqualError(t, err, "encode search e1: no event time")
}

func TestAppendAvroRepairsText(t *testing.T) {
	for before := range 20 {
		for after := range 20 {
			a, b := strings.Repeat("a", before), strings.Repeat("b", after)
			e := &events.Search{Via: a + "\xff" + b, Header: events.Header{EventTime: time.UnixMilli(1)}}
			var got events.Search
			require.NoError(t, events.DecodeAvro(events.TypeSearch, encode(t, e), &got))
			require.Equal(t, a+"\uFFFD"+b, got.Via)
		}
	}
}

func TestZeroTimesAreTheDefault(t *testing.T) {
	e := &events.Search{Header: events.Header{EventTime: time.UnixMilli(1)}}
	var got map[string]any
	_, err := second.MustParse(events.Schema(events.TypeSearch)).Decode(encode(t, e), &got)
	require.NoError(t, err)
	require.Equal(t, time.UnixMilli(0).UTC(), got["observed_time"].(time.Time).UTC())
}

func TestDecodeRefusesEveryTruncation(t *testing.T) {
	for _, typ := range events.Types() {
		b := encode(t, randomEvent(newRandom(3), typ))
		for n := 0; n < len(b); n += 1 + len(b)/1000 {
			if err := events.DecodeAvro(typ, b[:n], events.New(typ)); err == nil {
				t.Fatalf("%s cut to %d of %d bytes was taken for whole", typ, n, len(b))
			}
		}
		require.ErrorContains(t, events.DecodeAvro(typ, append(b, 0), events.New(typ)), "bytes left over")
	}
}

func TestDecodeRefusesForeignTypes(t *testing.T) {
	err := events.DecodeAvro(events.TypeSearch, nil, new(events.Feedback))
	require.EqualError(t, err, "decode search: into an event of type feedback")
}

// Lengths that no input can hold must not be believed.
func TestDecodeBoundsAllocation(t *testing.T) {
	huge := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01} // 2^63-1
	r := newRandom(4)
	for _, typ := range events.Types() {
		b := encode(t, randomEvent(r, typ))
		for n := 0; n < len(b); n += 1 + len(b)/200 {
			bad := append(append(append([]byte{}, b[:n]...), huge...), b[n:]...)
			allocated := testing.AllocsPerRun(1, func() { _ = events.DecodeAvro(typ, bad, events.New(typ)) })
			require.Less(t, allocated, float64(len(bad)+200))
		}
	}
}

func TestFingerprintsFollowTheSpecification(t *testing.T) {
	for _, typ := range append(events.Types(), events.TypeWatermark, events.TypeDeadLetter) {
		var h hash.Hash = second.NewRabin()
		h.Write(second.MustParse(events.Schema(typ)).Canonical())
		fingerprint := events.Fingerprint(typ)

		header, err := second.MustParse(events.Schema(typ)).AppendSingleObject(nil, map[string]any{})
		require.NoError(t, err)
		require.Equal(t, header[2:10], fingerprint[:], "%s in single-object encoding", typ)
		require.Equal(t, fmt.Sprintf("%x", h.Sum(nil)), fmt.Sprintf("%x", reversed(fingerprint)), "%s", typ)
	}
	require.Empty(t, events.Schema("no-such-type"))
}

func reversed(b [8]byte) []byte {
	out := make([]byte, 0, len(b))
	for i := range b {
		out = append(out, b[len(b)-1-i])
	}
	return out
}

func FuzzDecodeAvro(f *testing.F) {
	r := newRandom(5)
	for i, typ := range events.Types() {
		f.Add(uint8(i), encode(f, randomEvent(r, typ)))
	}
	types := events.Types()
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		typ := types[int(i)%len(types)]
		e := events.New(typ)
		if events.DecodeAvro(typ, b, e) != nil || e.Head().EventTime.IsZero() {
			return
		}
		again := events.New(typ)
		require.NoError(t, events.DecodeAvro(typ, encode(t, e), again))
		require.Equal(t, encode(t, e), encode(t, again))
	})
}
