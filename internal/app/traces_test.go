package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"agentassist-poller/internal/koresim"
)

// A collector keeps what it is sent.
type collector struct {
	answer func(*http.Request) error // first of all; nil: at once

	mu     sync.Mutex
	bodies [][]byte
	header http.Header // of the last request
}

// RoundTrip implements http.RoundTripper.
func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err == nil && c.answer != nil {
		err = c.answer(r)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies, c.header = append(c.bodies, body), r.Header
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusOK)
	return w.Result(), nil
}

// spans returns all trace spans by their ids.
func (c *collector) spans(t *testing.T) map[string]*tracepb.Span {
	t.Helper()
	all := map[string]*tracepb.Span{}
	for _, body := range c.bodies {
		var data tracepb.TracesData
		require.NoError(t, proto.Unmarshal(body, &data))
		for _, r := range data.ResourceSpans {
			for _, s := range r.ScopeSpans {
				for _, span := range s.Spans {
					all[string(span.SpanId)] = span
				}
			}
		}
	}
	return all
}

// attributeOf returns the text of an attribute, empty without it.
func attributeOf(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// traceparents returns those of the events on Kafka, and how many events there are.
func (s *stage) traceparents() (found []string, published int) {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.Dialer(s.network.DialContext), kgo.ConsumeRegex(),
		kgo.ConsumeTopics("^agentassist[.].*"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(s, err)
	defer client.Close()
	for {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second) // of simulated time: nothing comes any more
		fetches := client.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return found, published
		}
		fetches.EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				switch h.Key {
				case "ce_id":
					published++
				case "ce_traceparent":
					found = append(found, string(h.Value))
				}
			}
		})
	}
}

const tracesOn = `traces: {endpoint: "http://collector.test:4318/otlp/", headers: {authorization: "Bearer c0llector-t0ken"}}`

// A collector gets passes, their pages below them, and transactions below those, of a poller that publishes; the events name the
// transaction that they came in. No secret and nothing that a row shows is sent, and the API is told nothing of traces.
func TestTraces(t *testing.T) {
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			inBubble(t, koresim.Config{SegmentsPerDay: 2000}, func(s *stage) {
				var c collector
				s.delivery, s.traces, s.collector = delivery, tracesOn, &c
				s.asked = func(r *http.Request) {
					require.NotContains(s, r.Header, "Traceparent")
					require.NotContains(s, r.Header, "Tracestate")
				}
				_, stop := s.run("one")
				time.Sleep(90 * time.Second)
				require.NoError(t, stop())

				require.Equal(t, "Bearer c0llector-t0ken", c.header.Get("Authorization"))
				all := c.spans(t)
				name := map[string]string{"exactly-once": "transaction", "at-least-once": "delivery"}[delivery]
				transactions := map[string]bool{} // by their traceparent
				below := 0
				for _, span := range all {
					parent, level, _ := all[string(span.ParentSpanId)], strings.Fields(span.Name), 0
					switch level[0] {
					case "pass":
						require.Empty(t, span.ParentSpanId)
					case "page":
						require.Equal(t, "pass "+level[1], parent.GetName())
						require.Equal(t, parent.TraceId, span.TraceId)
						require.Equal(t, "kore.test", attributeOf(span, "server.address"))
						require.Contains(t, attributeOf(span, "url.path"), "/agentassist/api/")
					case name:
						if parent != nil {
							require.True(t, strings.HasPrefix(parent.Name, "page "))
							below++
						}
						id := attributeOf(span, "poller.transactional_id")
						require.Equal(t, delivery == "exactly-once", strings.HasPrefix(id, "agentassist."), id)
						transactions[fmt.Sprintf("00-%x-%x-01", span.TraceId, span.SpanId)] = true
					default:
						t.Errorf("there is a trace span %q", span.Name)
					}
				}
				require.Greater(t, below, 20)

				found, published := s.traceparents()
				require.Greater(t, published, 100)
				require.Len(t, found, published)
				for _, traceparent := range found {
					require.Contains(t, transactions, traceparent)
				}

				secrets := []string{"c0llector-t0ken", s.sim.Accounts()[0].ClientSecret}
				for e := range s.sim.Ledger(s.sim.Now()) {
					secrets = append(secrets, e.ConversationID, e.AgentID, e.QueueName)
				}
				slices.Sort(secrets)
				secrets = slices.DeleteFunc(slices.Compact(secrets), func(s string) bool { return s == "" })
				require.Greater(t, len(secrets), 50)
				for _, body := range c.bodies {
					for _, secret := range secrets {
						require.NotContains(t, string(body), secret)
					}
				}
			})
		})
	}
}

// Without an endpoint nothing is sent, and events name no trace spans.
func TestTracesAreOffByDefault(t *testing.T) {
	inBubble(t, koresim.Config{SegmentsPerDay: 2000}, func(s *stage) {
		var c collector
		s.collector = &c
		_, stop := s.run("one")
		time.Sleep(time.Minute)
		require.NoError(t, stop())
		require.Empty(t, c.bodies)
		found, published := s.traceparents()
		require.Positive(t, published)
		require.Empty(t, found)
	})
}

// A collector that takes requests and does not answer delays no event, and the stop for no longer than its time. A second signal ends that
// wait.
func TestCollectorThatDoesNotAnswer(t *testing.T) {
	published := map[string]int{}
	for name, tc := range map[string]struct{ silent, abort bool }{"answers": {false, false}, "silent": {true, false}, "aborted": {true, true}} {
		inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
			s.traces, s.collector = tracesOn, &collector{answer: func(r *http.Request) error {
				if !tc.silent {
					return nil
				}
				<-r.Context().Done()
				return r.Context().Err()
			}}
			var abort context.CancelFunc
			s.abort, abort = context.WithCancel(s.Context())
			defer abort()
			_, stop := s.run("one")
			time.Sleep(30 * time.Second)
			began := time.Now()
			if tc.abort {
				time.AfterFunc(time.Second, abort)
			}
			require.NoError(t, stop())
			switch took := time.Since(began); {
			case tc.abort:
				require.LessOrEqual(t, took, tracesTimeout/2)
			case tc.silent:
				require.GreaterOrEqual(t, took, tracesTimeout)
				require.LessOrEqual(t, took, tracesTimeout+time.Second)
			}
			_, published[name] = s.traceparents()
		})
	}
	require.Greater(t, published["answers"], 100)
	require.InDelta(t, published["answers"], published["silent"], 10)
	require.InDelta(t, published["answers"], published["aborted"], 10)
}
