package kore

import (
	"context"
	"net/http"
	"strconv"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// traceAttempt adds to the trace span of a context which request was sent, and how it was answered. Neither the query of the URL is there
// nor a header: they hold times, filters and the token. The request itself says nothing of traces, which are not for the API to know.
func traceAttempt(ctx context.Context, req *http.Request, a Attempt) {
	s := trace.SpanFromContext(ctx)
	if !s.IsRecording() {
		return
	}
	s.SetAttributes(
		semconv.HTTPRequestMethodKey.String(req.Method), semconv.ServerAddress(req.URL.Hostname()), semconv.URLScheme(req.URL.Scheme),
		semconv.URLPath(req.URL.EscapedPath()),
	)
	if port, err := strconv.Atoi(req.URL.Port()); err == nil {
		s.SetAttributes(semconv.ServerPort(port))
	}
	if a.Status != 0 {
		s.SetAttributes(semconv.HTTPResponseStatusCode(a.Status), semconv.HTTPResponseBodySize(a.Bytes))
	}
}
