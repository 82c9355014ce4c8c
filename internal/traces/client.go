package traces

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/tlsconf"
)

const (
	// sendTimeout bounds one request.
	sendTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// A client sends trace spans to a collector. The client of OpenTelemetry, otlptracehttp, brings gRPC along, reads settings from the
// environment, and follows redirects with its headers.
type client struct {
	url       string
	headers   map[string]secret.Secret
	transport http.RoundTripper
}

var _ otlptrace.Client = (*client)(nil)

// Start implements otlptrace.Client.
func (c *client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *client) Stop(context.Context) error {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}

// UploadTraces implements otlptrace.Client. It makes one attempt.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire it is the same as ExportTraceServiceRequest, whose package has the service of gRPC, too.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range c.headers {
		req.Header.Set(name, value.Reveal())
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "agentassist-poller")
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return &sendError{err: err}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return &sendError{err: err}
	}
	if resp.StatusCode/100 != 2 {
		return &sendError{status: resp.StatusCode}
	}
	return nil
}

// A sendError is why trace spans were not taken. It quotes nothing of the answer, which may repeat what was sent.
type sendError struct {
	status int   // 0 if no answer came
	err    error // why none came
}

func (e *sendError) Error() string {
	if e.status == 0 {
		return "no answer: " + e.err.Error()
	}
	return fmt.Sprintf("status %d %s", e.status, http.StatusText(e.status))
}

func (e *sendError) Unwrap() error { return e.err }

// passes reports whether the same may be taken later, by the rules of OTLP.
func (e *sendError) passes() bool {
	switch e.status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// hint returns what to do.
func (e *sendError) hint() string {
	if e.status == 0 {
		if hint := tlsconf.Hint("traces.tls", e.err); hint != "" {
			return hint
		}
		return "check that the collector runs, and takes OTLP over HTTP at traces.endpoint"
	}
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check traces.headers"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return "check traces.endpoint: the collector must take OTLP over HTTP at " + Path + " below it"
	}
	return "ask whoever runs the collector why it does not take them"
}
