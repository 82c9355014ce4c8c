package poll_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"agentassist-poller/internal/events"
)

// unsteady answers every seventh request with an error, which says something that no trace may show.
type unsteady struct {
	next http.RoundTripper
	n    atomic.Int64
}

const errorText = "customer Jane Doe cannot be shown"

func (u *unsteady) RoundTrip(r *http.Request) (*http.Response, error) {
	if u.n.Add(1)%7 != 0 {
		return u.next.RoundTrip(r)
	}
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.WriteString(errorText)
	return w.Result(), nil
}

// traced returns the attributes of a trace span or event.
func traced(attributes []attribute.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

// Every pass that begins has a trace span that ends, however the pass ends. Its pages are below it and within it, and what they publish is
// below them.
func TestAccountTraces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		world := small(9)
		world.SegmentsPerDay, world.Start, world.End = 200, now.Add(-time.Hour), now.Add(time.Hour)
		r := newRig(t, world, nil)
		recorder := tracetest.NewSpanRecorder()
		r.options.Tracer = sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)).Tracer("test")
		var asked atomic.Pointer[time.Time] // last
		r.latency = func(e events.Endpoint) time.Duration {
			at := time.Now()
			asked.Store(&at)
			return usual(e)
		}
		r.transport = &unsteady{next: r.sim.Transport()}
		refusals := 0
		r.topics.fail = func() error {
			if refusals++; refusals%50 == 10 {
				return errors.New(errorText)
			}
			return nil
		}
		r.start()
		time.Sleep(5 * time.Minute)
		for time.Since(*asked.Load()) > 100*time.Millisecond { // so that a request is in flight
			time.Sleep(10 * time.Millisecond)
		}
		r.stop()

		ended := map[trace.SpanID]sdk.ReadOnlySpan{}
		for _, s := range recorder.Ended() {
			ended[s.SpanContext().SpanID()] = s
		}
		if began := len(recorder.Started()); began != len(ended) {
			t.Fatalf("%d trace spans began, and %d ended", began, len(ended))
		}
		var pages, below, retries, refused int
		outcomes := map[string]int{}
		for _, s := range ended {
			about := traced(s.Attributes())
			require.Equal(t, "test", about["poller.account"])
			parent := ended[s.Parent().SpanID()]
			if parent != nil {
				require.False(t, s.StartTime().Before(parent.StartTime()))
				require.False(t, s.EndTime().After(parent.EndTime()), s.Name())
			}
			for _, e := range s.Events() {
				switch e.Name {
				case "page failed":
					retries++
					require.Equal(t, "server", traced(e.Attributes)["error.type"])
				case "delivery failed":
					refused++
				}
				require.NotContains(t, fmt.Sprint(traced(e.Attributes)), "Jane")
			}
			require.NotContains(t, fmt.Sprint(about, s.Status().Description), "Jane")
			switch kind, endpoint, _ := strings.Cut(s.Name(), " "); kind {
			case "pass":
				require.False(t, s.Parent().IsValid())
				require.Equal(t, endpoint, about["poller.endpoint"])
				require.NotEqual(t, "0", about["poller.requests"])
				outcomes[about["poller.outcome"]]++
			case "page":
				pages++
				require.Equal(t, "pass "+endpoint, parent.Name())
				require.NotContains(t, about["url.path"], "?")
				switch about["http.response.status_code"] {
				case "200":
					require.Contains(t, about, "poller.rows")
				case "503":
					require.Equal(t, codes.Error, s.Status().Code)
					require.Equal(t, "server", about["error.type"])
				default:
					require.Equal(t, "cut-off", traced(parent.Attributes())["poller.outcome"])
				}
			case "delivery":
				require.Equal(t, "delivered", about["poller.outcome"])
				if parent != nil {
					below++
					require.True(t, strings.HasPrefix(parent.Name(), "page "))
				}
			default:
				t.Errorf("there is a trace span %q", s.Name())
			}
		}
		require.Greater(t, pages, 50)
		require.Greater(t, below, pages/2)
		require.Greater(t, retries, pages/20)
		require.Positive(t, refused)
		for _, outcome := range []string{"read", "cut-off"} {
			require.Positive(t, outcomes[outcome], "%s: %v", outcome, outcomes)
		}
	})
}
