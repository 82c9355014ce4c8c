package poll

import (
	"context"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
)

// BenchmarkTrace is what the traces of a pass of one page with 950 events cost, as internal/bench has the page: off, and with every trace
// span made and dropped.
func BenchmarkTrace(b *testing.B) {
	batch := &kafka.Batch{Events: make([]kafka.Outgoing, 950)}
	for i := range batch.Events {
		batch.Events[i].Event = events.New(events.Types()[i%len(events.Types())])
	}
	page := &pass.Page{Page: &extract.Page{}}
	for name, tracer := range map[string]trace.Tracer{
		"off": noop.Tracer{}, "on": sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample())).Tracer("test"),
	} {
		b.Run(name, func(b *testing.B) {
			a := &Account{cfg: Options{Name: "bench", Tracer: tracer}}
			u := &unit{Unit: plan.Unit{Endpoint: events.Interactions, Bot: "st-1"}}
			b.ReportAllocs()
			for b.Loop() {
				r := &request{activePass: &activePass{unit: u}}
				a.tracePass(r.activePass)
				ctx, step := a.tracePage(context.Background(), r)
				traceAnswer(step, page, nil)
				_, transaction := a.traceTransaction(ctx, batch)
				endTransaction(transaction, batch, nil)
				r.ended(passRead)
				a.endPage(r, step)
			}
		})
	}
}
