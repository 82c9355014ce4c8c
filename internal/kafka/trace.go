package kafka

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// traceBatch adds to the trace span of a delivery what only the delivery knows. The id is that of the transactions, empty without them.
func traceBatch(ctx context.Context, b *Batch, id string) {
	s := trace.SpanFromContext(ctx)
	if !s.IsRecording() {
		return
	}
	s.SetAttributes(semconv.MessagingSystemKafka, semconv.MessagingBatchMessageCount(len(b.outbox.letters)))
	if id != "" {
		s.SetAttributes(attribute.String("poller.transactional_id", id))
	}
}

// traceAborted notes that a transaction was aborted because Kafka refuses some records.
func traceAborted(ctx context.Context, refused int) {
	trace.SpanFromContext(ctx).AddEvent("transaction aborted", trace.WithAttributes(attribute.Int("poller.refused", refused)))
}

// traceparent names the trace span of a context as W3C's Trace Context does, nil if there is none.
func traceparent(ctx context.Context) []byte {
	c := trace.SpanContextFromContext(ctx)
	if !c.IsValid() {
		return nil
	}
	return []byte("00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String())
}
