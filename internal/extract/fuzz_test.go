package extract_test

import (
	"errors"
	"testing"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
)

// FuzzDecode holds Decode to what its callers rely on whatever comes in: no panic, either a page or a *PageError, every
// observation complete enough to be published, and the same outcome for the same bytes.
func FuzzDecode(f *testing.F) {
	for name, endpoint := range pages {
		for i, e := range events.Endpoints() {
			if e == endpoint {
				f.Add(uint8(i), []byte(readPage(f, name)))
			}
		}
	}
	for i := range uint8(events.EndpointCount) {
		f.Add(i, []byte(`{"data":[{"segmentID":"ac","sessionId":"s","_id":"i","segmentStartTime":1772011990,"startTime":"2026-02-25","sessionStartTime":"2026-02-25 9:00:00"},{},3,null,{"a":}]}`))
		f.Add(i, []byte(`{"errors":[{"msg":"x","code":1}]}`))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		s := scope(events.Endpoints()[int(which)%events.EndpointCount])
		page, err := extract.Decode(s, append([]byte(nil), body...))
		if err != nil {
			if _, ok := errors.AsType[*extract.PageError](err); !ok || page != nil {
				t.Fatalf("%T with page %v", err, page)
			}
			return
		}
		size := 0
		for _, row := range page.Rows {
			if row.ID == "" {
				t.Fatal("a row without an id")
			}
			for _, observation := range row.Observations {
				h := observation.Event.Head()
				if h.EntityID == "" || h.EventTime.IsZero() || h.EventTimeBasis == "" || observation.Anchor.IsZero() {
					t.Fatalf("incomplete: %s %+v", observation.Event.EventType(), observation)
				}
				b, err := events.AppendAvro(nil, observation.Event)
				if err != nil {
					t.Fatal(err)
				}
				size += len(b)
			}
		}
		for _, dead := range page.Dead {
			if len(dead.Raw) == 0 || dead.Reason == "" || dead.Stage == "" {
				t.Fatalf("%+v", dead)
			}
		}
		if limit := 1<<16 + 1000*len(body); size > limit {
			t.Fatalf("%d bytes of events from %d", size, len(body))
		}
		if len(page.Drift) > 101 {
			t.Fatal("unbounded drift")
		}
	})
}
