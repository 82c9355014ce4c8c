package traces_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/tlsconf"
	"agentassist-poller/internal/traces"
)

// A collector takes trace spans in memory.
type collector struct {
	mu       sync.Mutex
	answer   func(*http.Request) (int, error) // nil: it takes everything
	requests []*http.Request
	taken    []*tracepb.ResourceSpans
}

// RoundTrip implements http.RoundTripper.
func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	status := http.StatusOK
	if answer := c.answers(); answer != nil {
		var err error
		if status, err = answer(r); err != nil {
			return nil, err
		}
	}
	w := httptest.NewRecorder()
	if w.WriteHeader(status); status == http.StatusOK {
		c.ServeHTTP(w, r)
	}
	return w.Result(), nil
}

func (c *collector) answers() func(*http.Request) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer
}

func (c *collector) answerWith(answer func(*http.Request) (int, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data tracepb.TracesData
	if err != nil || proto.Unmarshal(body, &data) != nil {
		http.Error(w, "no protobuf", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.taken = append(c.requests, r), append(c.taken, data.ResourceSpans...)
}

// spans returns the names of what was taken.
func (c *collector) spans() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.taken {
		for _, s := range r.ScopeSpans {
			for _, span := range s.Spans {
				names = append(names, span.Name)
			}
		}
	}
	return names
}

// options return those of a test, and what is logged and counted.
func options(transport http.RoundTripper) (o traces.Options, log *bytes.Buffer, metrics *prometheus.Registry) {
	log, metrics = new(bytes.Buffer), prometheus.NewRegistry()
	return traces.Options{
		Endpoint: "http://collector.test:4318", SampleRatio: 1, Service: "poller", Version: "1.0.0", Instance: "one",
		Metrics: traces.NewMetrics(metrics), Log: slog.New(slog.NewTextHandler(log, nil)), Transport: transport,
	}, log, metrics
}

// end makes as many trace spans.
func end(t *testing.T, sent *traces.Traces, n int) {
	t.Helper()
	for range n {
		_, s := sent.Tracer().Start(t.Context(), "page")
		s.End()
	}
}

// counted checks the metrics.
func counted(t *testing.T, metrics *prometheus.Registry, wantSent, wantDropped int) {
	t.Helper()
	families, err := metrics.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "poller_trace_spans_total", families[0].GetName())
	got := map[string]int{}
	for _, m := range families[0].Metric {
		got[m.Label[0].GetValue()] = int(m.Counter.GetValue())
	}
	require.Equal(t, map[string]int{"sent": wantSent, "dropped": wantDropped}, got)
}

// What a collector gets is OTLP over HTTP, with the configured headers. Of the variables of OpenTelemetry only one has an effect.
func TestWhatIsSent(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	t.Setenv("OTEL_SERVICE_NAME", "another")
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-leaked=1")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=poller-0,service.name=another")
	var c collector
	server := httptest.NewServer(&c)
	defer server.Close()
	o, log, metrics := options(nil)
	o.Endpoint, o.Headers = server.URL, map[string]secret.Secret{"authorization": secret.New("Bearer s3cret")}
	sent := traces.Open(o)
	_, s := sent.Tracer().Start(t.Context(), "page")
	s.SetAttributes(attribute.Int("a", 1), attribute.Int("b", 2))
	s.End()
	sent.Close(t.Context())

	require.Len(t, c.requests, 1)
	r := c.requests[0]
	require.Equal(t, http.MethodPost, r.Method)
	require.Equal(t, "/v1/traces", r.URL.Path)
	require.Equal(t, "application/x-protobuf", r.Header.Get("Content-Type"))
	require.Equal(t, "Bearer s3cret", r.Header.Get("Authorization"))
	require.Empty(t, r.Header.Get("X-Leaked"))
	got := map[string]string{}
	for _, a := range c.taken[0].Resource.Attributes {
		got[a.Key] = a.Value.GetStringValue()
	}
	require.Equal(t, map[string]string{
		"service.name": "poller", "service.version": "1.0.0", "service.instance.id": "one", "k8s.pod.name": "poller-0",
	}, got)
	require.Len(t, c.taken[0].ScopeSpans[0].Spans[0].Attributes, 2)
	counted(t, metrics, 1, 0)
	require.Empty(t, log.String())
}

func TestSampleRatio(t *testing.T) {
	for ratio, sees := range map[float64]func(n int) bool{
		0: func(n int) bool { return n == 0 }, 0.5: func(n int) bool { return n > 50 && n < 150 }, 1: func(n int) bool { return n == 200 },
	} {
		var c collector
		o, _, _ := options(&c)
		o.SampleRatio = ratio
		sent := traces.Open(o)
		end(t, sent, 200)
		sent.Close(t.Context())
		require.Condition(t, func() bool { return sees(len(c.spans())) }, "%v: %d", ratio, len(c.spans()))
	}
}

// Nobody waits for a collector that is away. What fits into memory is sent once it is back; the rest is dropped and counted. Both are said
// once.
func TestCollectorIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		c.answerWith(func(*http.Request) (int, error) { return 0, errors.New("connection refused") })
		o, log, metrics := options(&c)
		sent := traces.Open(o)
		began := time.Now()
		end(t, sent, 3000)
		require.Zero(t, time.Since(began))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		end(t, sent, 1000)
		require.Empty(t, c.spans())
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
		require.Contains(t, log.String(), "no answer: connection refused")
		require.Contains(t, log.String(), "check that the collector runs")

		c.answerWith(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		taken := len(c.spans())
		require.GreaterOrEqual(t, taken, 2048)
		require.Equal(t, 1, strings.Count(log.String(), "taken again"), log.String())
		sent.Close(t.Context())
		counted(t, metrics, taken, 4000-taken)
	})
}

// A collector that takes requests and never answers holds up neither those who trace nor the end.
func TestCollectorNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c collector
		c.answerWith(func(r *http.Request) (int, error) {
			<-r.Context().Done()
			return 0, r.Context().Err()
		})
		o, _, metrics := options(&c)
		sent := traces.Open(o)
		began := time.Now()
		end(t, sent, 100)
		time.Sleep(7 * time.Second) // in the middle of a request
		end(t, sent, 100)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		sent.Close(ctx)
		require.Equal(t, 10*time.Second, time.Since(began))
		end(t, sent, 1)
		counted(t, metrics, 0, 201)
	})
}

// What a collector refuses for good is dropped at once, and what it may take later is sent again.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		again  bool
		hint   string
	}{
		"unauthorized": {http.StatusUnauthorized, false, "check traces.headers"},
		"wrong path":   {http.StatusNotFound, false, "check traces.endpoint"},
		"redirect":     {http.StatusTemporaryRedirect, false, "check traces.endpoint"},
		"bad request":  {http.StatusBadRequest, false, "ask whoever runs the collector"},
		"busy":         {http.StatusTooManyRequests, true, "ask whoever runs the collector"},
		"unavailable":  {http.StatusServiceUnavailable, true, "ask whoever runs the collector"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c collector
				c.answerWith(func(*http.Request) (int, error) {
					c.answerWith(nil)
					return tc.status, nil
				})
				o, log, metrics := options(&c)
				sent := traces.Open(o)
				end(t, sent, 1)
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Contains(t, log.String(), tc.hint)
				end(t, sent, 1)
				sent.Close(t.Context())
				if tc.again {
					counted(t, metrics, 2, 0)
				} else {
					counted(t, metrics, 1, 1)
				}
			})
		})
	}
}

// A redirect does not take the headers to another server.
func TestRedirectIsNotFollowed(t *testing.T) {
	var elsewhere collector
	other := httptest.NewServer(&elsewhere)
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	o, log, metrics := options(nil)
	o.Endpoint, o.Headers = server.URL, map[string]secret.Secret{"authorization": secret.New("s3cret")}
	sent := traces.Open(o)
	end(t, sent, 1)
	sent.Close(t.Context())
	require.Empty(t, elsewhere.requests)
	counted(t, metrics, 0, 1)
	require.Contains(t, log.String(), "status 307")
	require.NotContains(t, log.String(), "s3cret")
}

func TestTLS(t *testing.T) {
	var c collector
	server := httptest.NewUnstartedServer(&c)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	for _, trusted := range []bool{true, false} {
		o, log, metrics := options(nil)
		o.Endpoint = server.URL
		if trusted {
			o.TLS = tlsconf.Config{CAFile: ca}
		}
		sent := traces.Open(o)
		end(t, sent, 1)
		sent.Close(t.Context())
		if trusted {
			counted(t, metrics, 1, 0)
			continue
		}
		counted(t, metrics, 0, 1)
		require.Contains(t, log.String(), "give the certificate of the server's authority in traces.tls.ca_file")
	}
}
