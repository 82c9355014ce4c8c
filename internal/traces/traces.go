// Package traces sends trace spans, as OpenTelemetry has them, to a collector: OTLP over HTTP, in protobuf.
//
// It never holds up what it tells about. Trace spans that have ended wait in a queue of bounded length; when the queue is full, further
// ones are dropped and counted. One goroutine sends them, and ends with Close.
package traces

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/tlsconf"
)

// Path is where collectors take trace spans, below their address.
const Path = "/v1/traces"

// Options say where trace spans go, and whose they are.
type Options struct {
	Endpoint string // the collector's address, without Path
	Headers  map[string]secret.Secret
	TLS      tlsconf.Config
	// SampleRatio is the part of the traces that is sent, from 0 to 1.
	SampleRatio                float64
	Service, Version, Instance string
	Metrics                    *Metrics
	Log                        *slog.Logger
	// Transport replaces the one that TLS describes: for tests.
	Transport http.RoundTripper
}

// Traces is an open way to a collector.
type Traces struct {
	provider *sdk.TracerProvider
	queue    *queue
}

// Open starts the goroutine that sends. It does not ask the collector for anything. Close must follow.
func Open(o Options) *Traces {
	if o.Transport == nil {
		o.Transport = tlsconf.NewTransport(o.TLS)
	}
	q := newQueue(&client{url: o.Endpoint + Path, headers: o.Headers, transport: o.Transport}, o.Metrics, o.Log)
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(q),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.SampleRatio))),
		sdk.WithRawSpanLimits(limits),
		sdk.WithResource(resource.NewWithAttributes(semconv.SchemaURL,
			semconv.ServiceName(o.Service), semconv.ServiceVersion(o.Version), semconv.ServiceInstanceID(o.Instance))),
	)
	return &Traces{provider, q}
}

// limits bound a trace span. Without them the environment would.
var limits = sdk.SpanLimits{
	AttributeValueLengthLimit: 1 << 10, AttributeCountLimit: 128, EventCountLimit: 128, LinkCountLimit: 1,
	AttributePerEventCountLimit: 16, AttributePerLinkCountLimit: 1,
}

// Tracer returns what makes trace spans.
func (t *Traces) Tracer() trace.Tracer { return t.provider.Tracer("agentassist-poller") }

// Close sends what has ended so far, drops what cannot be sent before ctx ends, and returns when nothing is on its way any more. What
// ends later is dropped.
func (t *Traces) Close(ctx context.Context) { t.queue.close(ctx) }

// Metrics count trace spans.
type Metrics struct{ sent, dropped prometheus.Counter }

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "poller_trace_spans_total",
		Help: "Trace spans that the collector has taken (sent), or that it refused or for which there was no room (dropped).",
	}, []string{"outcome"})
	reg.MustRegister(spans)
	return &Metrics{spans.WithLabelValues("sent"), spans.WithLabelValues("dropped")}
}
