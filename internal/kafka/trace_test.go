package kafka_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// within returns a context that carries a trace span, and what names the span.
func within(t *testing.T) (ctx context.Context, traceparent string) {
	t.Helper()
	c := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab, 15: 1}, SpanID: trace.SpanID{0xcd, 7: 2}, TraceFlags: trace.FlagsSampled})
	return trace.ContextWithSpanContext(t.Context(), c), "00-ab000000000000000000000000000001-cd00000000000002-01"
}

// Events and their copies name the trace span that they were published in, where that is asked for. Nothing else does.
func TestTraceparent(t *testing.T) {
	for name, tc := range map[string]struct {
		on, traced bool
	}{"on": {true, true}, "off": {false, true}, "no trace": {true, false}} {
		t.Run(name, func(t *testing.T) {
			f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Traceparent, c.Latest = tc.on, []string{"feedback"} })
			ctx, want := within(t)
			if !tc.traced {
				ctx = t.Context()
			}
			feedback := &events.Feedback{Header: header("f"), Sentiment: "NEGATIVE", GivenBy: "AGENT"}
			require.NoError(t, f.Deliver(ctx, &kafka.Batch{
				Events: []kafka.Outgoing{{Event: feedback, Key: "conv-f", Negative: true}}, Feeds: []kafka.Feed{newFeed()},
				Dead: []events.DeadLetter{{Stage: "decode", RawBytes: []byte("{}"), ObservedTime: eventTime}},
			}))
			for _, topic := range []string{"feedback", "feedback-negative", "feedback-latest", "watermark", "dead-letter"} {
				r := f.read(t, "agentassist."+topic)[0]
				if tc.on && tc.traced && strings.HasPrefix(topic, "feedback") {
					require.Equal(t, want, r.Headers["ce_traceparent"], topic)
				} else {
					require.NotContains(t, r.Headers, "ce_traceparent", topic)
				}
			}
		})
	}
}

// Whether an event is too large is known before there is a trace span, and stays so with it.
func TestTraceparentCountsForTheSize(t *testing.T) {
	f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Traceparent, c.MaxRecordBytes = true, 16<<10 })
	ctx, _ := within(t)
	var batch kafka.Batch
	fit := 0
	for n := 15 << 10; n < 16<<10; n += 16 {
		o := kafka.Outgoing{Event: &events.Feedback{Header: header("f"), CommentText: ptr(strings.Repeat("x", n)), Sentiment: "POSITIVE"}, Key: "conv-f"}
		batch.Events = append(batch.Events, o)
		if f.TooLarge(o) == "" {
			fit++
		}
	}
	require.NoError(t, f.Deliver(ctx, &batch))
	require.Positive(t, fit)
	require.Less(t, fit, len(batch.Events))
	require.Len(t, f.read(t, "agentassist.feedback"), fit)
}

// The trace span of a transaction says whose it is, how many records it has, and that it took more than one try.
func TestTransactionIsTraced(t *testing.T) {
	f := open(t, newCluster(t), fast(), transactional, func(c *kafka.Config) { c.Compression = "none" })
	shard := f.takeOver(t)
	f.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: -1, When: carries("ev-bad")})
	batch := journaled(newFeed(), "1", searches(3))
	batch.Events[1].Event.Head().EventID = "ev-bad"
	recorder := tracetest.NewSpanRecorder()
	ctx, span := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "transaction")
	require.NoError(t, f.Deliver(ctx, batch))
	span.End()
	s := recorder.Ended()[0]
	require.ElementsMatch(t, []attribute.KeyValue{
		attribute.String("messaging.system", "kafka"),
		attribute.Int("messaging.batch.message_count", 6), // two events, a dead letter, a watermark, two of the checkpoint
		attribute.String("poller.transactional_id", f.config.TransactionalID(shard.Partition)),
	}, s.Attributes())
	require.Len(t, s.Events(), 1)
	require.Equal(t, "transaction aborted", s.Events()[0].Name)
}
