package events_test

import (
	"testing"

	"agentassist-poller/internal/events"

	second "github.com/twmb/avro"
)

// benchEvents is a mix of all types, most of them full.
func benchEvents() []events.Event {
	r := newRandom(7)
	r.alphabet = plainText
	var mix []events.Event
	for range 20 {
		for _, t := range events.Types() {
			mix = append(mix, randomEvent(r, t))
		}
	}
	return mix
}

func reportEvents(b *testing.B, bytes int) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if bytes > 0 {
		b.ReportMetric(float64(bytes)/float64(b.N), "B/event")
	}
}

func BenchmarkAppendAvro(b *testing.B) {
	mix := benchEvents()
	b.ReportAllocs()
	var buf []byte
	var total int
	for i := 0; b.Loop(); i++ {
		var err error
		if buf, err = events.AppendAvro(buf[:0], mix[i%len(mix)]); err != nil {
			b.Fatal(err)
		}
		total += len(buf)
	}
	reportEvents(b, total)
}

// BenchmarkReflection is what the same events cost through the second implementation, for comparison.
func BenchmarkReflection(b *testing.B) {
	mix := benchEvents()
	parsed := map[events.Type]*second.Schema{}
	for _, t := range events.Types() {
		parsed[t] = second.MustParse(events.Schema(t))
	}
	b.ReportAllocs()
	var buf []byte
	var total int
	for i := 0; b.Loop(); i++ {
		e := mix[i%len(mix)]
		var err error
		if buf, err = parsed[e.EventType()].AppendEncode(buf[:0], e); err != nil {
			b.Fatal(err)
		}
		total += len(buf)
	}
	reportEvents(b, total)
}

func BenchmarkContentHash(b *testing.B) {
	mix := benchEvents()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		events.ContentHash(mix[i%len(mix)], 1)
	}
	reportEvents(b, 0)
}

func BenchmarkEntityAndEventID(b *testing.B) {
	b.ReportAllocs()
	content := make([]byte, 8)
	for b.Loop() {
		entity := events.EntityID("6798834e4e94062f75aaaaaa", "st-79a76d65-d540-5b33-96d5-9bf3eeb00000", events.TypeSearch,
			"ac-11111111-2222-3333-4444-555555555555", "2026-02-25T09:33:30.500Z")
		_ = events.EventID(entity, 1, content)
	}
	reportEvents(b, 0)
}

func BenchmarkDecodeAvro(b *testing.B) {
	e := benchEvents()[0]
	text := encode(b, e)
	into := events.New(e.EventType())
	b.ReportAllocs()
	for b.Loop() {
		if err := events.DecodeAvro(e.EventType(), text, into); err != nil {
			b.Fatal(err)
		}
	}
}
