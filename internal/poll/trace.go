package poll

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/status"
)

// Trace spans tell where the time of an account goes: one of each pass; below it one of each step, a page; below that one of each batch
// that is delivered, a transaction. What is delivered for no page has a trace of its own.
//
// They hold names, counts and times, and nothing of what rows show: of an error its kind, because its text may quote an answer. What only
// the client of the API or the delivery knows, they add to the trace span that their context carries.

// Names of attributes and events. docs/operations.md has those that people ask for.
const (
	keyAccount    = attribute.Key("poller.account")
	keyEndpoint   = attribute.Key("poller.endpoint")
	keyBot        = attribute.Key("poller.bot_id")
	keyKind       = attribute.Key("poller.kind")
	keyClass      = attribute.Key("poller.priority_class")
	keyFrom       = attribute.Key("poller.from")
	keyTo         = attribute.Key("poller.to")
	keyJob        = attribute.Key("poller.job")
	keyRequests   = attribute.Key("poller.requests")
	keyOutcome    = attribute.Key("poller.outcome")
	keyOffset     = attribute.Key("poller.offset")
	keyLimit      = attribute.Key("poller.limit")
	keyRows       = attribute.Key("poller.rows")
	keyUnreadable = attribute.Key("poller.unreadable")
	keyDead       = attribute.Key("poller.dead_letters")
	keyEvents     = attribute.Key("poller.events.total")
	keyEventsOf   = "poller.events." // and the type
	keyRetryIn    = attribute.Key("poller.retry_in_seconds")

	eventAnswered = "answered" // the answer, or an error, is there
	eventTurn     = "publishing"
	eventFailed   = "page failed"
	eventRefused  = "delivery failed"
)

// passOutcome is how a pass has ended.
type passOutcome string

const (
	passRead      passOutcome = "read"
	passUnsettled passOutcome = "unsettled"
	passFailed    passOutcome = "failed"
	passDropped   passOutcome = "dropped" // what it was for is over
	passCutOff    passOutcome = "cut-off" // the account is not read here any more
)

func outcomeOf(end *pass.Outcome) passOutcome {
	if end.Unsettled != nil {
		return passUnsettled
	}
	return passRead
}

// tracePass begins the trace span of a pass, and with it a trace.
func (a *Account) tracePass(r *activePass) {
	_, r.traced = a.cfg.Tracer.Start(context.Background(), "pass "+string(r.unit.Endpoint), trace.WithNewRoot())
	if !r.traced.IsRecording() {
		return
	}
	r.traced.SetAttributes(a.traceUnit(r)...)
	if w := r.work; w.From.Before(w.To) {
		r.traced.SetAttributes(keyFrom.String(w.From.Format(time.RFC3339)), keyTo.String(w.To.Format(time.RFC3339)))
	}
	if r.job != nil {
		r.traced.SetAttributes(keyJob.String(r.job.ID))
	}
}

// traceUnit says what a pass is about.
func (a *Account) traceUnit(r *activePass) []attribute.KeyValue {
	about := []attribute.KeyValue{
		keyAccount.String(a.cfg.Name), keyEndpoint.String(string(r.unit.Endpoint)),
		keyKind.String(r.work.Kind.String()), keyClass.String(r.work.Priority.String()),
	}
	if r.unit.Bot != "" {
		about = append(about, keyBot.String(r.unit.Bot))
	}
	return about
}

// ended ends the trace span of a pass, or leaves that to endPage while a step is under way.
func (r *activePass) ended(outcome passOutcome) {
	r.outcome = outcome
	if r.traced.IsRecording() {
		r.traced.SetAttributes(keyOutcome.String(string(outcome)), keyRequests.Int(r.requests))
		if outcome == passFailed {
			r.traced.SetStatus(codes.Error, "")
		}
	}
	if r.step.IsZero() {
		r.traced.End()
	}
}

// cutOff ends the trace spans of the passes that nobody goes on with.
func (a *Account) cutOff() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.loops {
		for _, r := range l.active {
			r.ended(passCutOff)
			r.traced.End()
		}
	}
}

// tracePage begins the trace span of a step.
func (a *Account) tracePage(ctx context.Context, r *request) (context.Context, trace.Span) {
	ctx, page := a.cfg.Tracer.Start(trace.ContextWithSpan(ctx, r.traced), "page "+string(r.unit.Endpoint))
	if page.IsRecording() {
		page.SetAttributes(append(a.traceUnit(r.activePass), keyOffset.Int(r.query.Offset), keyLimit.Int(r.query.Limit))...)
	}
	return ctx, page
}

// endPage ends the trace span of a step, and that of its pass if it was the last.
func (a *Account) endPage(r *request, page trace.Span) {
	page.End()
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.outcome != "" {
		r.traced.End()
	}
}

// traceAnswer notes what a request has brought.
func traceAnswer(page trace.Span, pg *pass.Page, failed error) {
	if !page.IsRecording() {
		return
	}
	page.AddEvent(eventAnswered)
	if failed != nil {
		traceError(page, failed)
		return
	}
	page.SetAttributes(keyRows.Int(len(pg.Rows)), keyUnreadable.Int(len(pg.Dead)))
}

// traceFailed notes that a step failed, and when its pass goes on if it does.
func traceFailed(ctx context.Context, r *request, err error, retry time.Duration, repeat bool) {
	if !r.traced.IsRecording() {
		return
	}
	traceError(trace.SpanFromContext(ctx), err)
	about := []attribute.KeyValue{semconv.ErrorTypeKey.String(kindOfError(err))}
	if repeat {
		about = append(about, keyRetryIn.Float64(retry.Seconds()))
	}
	r.traced.AddEvent(eventFailed, trace.WithAttributes(about...))
}

// traceTransaction begins the trace span of a batch.
func (a *Account) traceTransaction(ctx context.Context, b *kafka.Batch) (context.Context, trace.Span) {
	name := "transaction"
	if a.cfg.Journal == nil {
		name = "delivery"
	}
	ctx, t := a.cfg.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer))
	if !t.IsRecording() {
		return ctx, t
	}
	t.SetAttributes(keyAccount.String(a.cfg.Name), keyEvents.Int(len(b.Events)), keyDead.Int(len(b.Dead)))
	types := map[string]int{}
	for _, o := range b.Events {
		types[string(o.Event.EventType())]++
	}
	for name, n := range types {
		t.SetAttributes(attribute.Int(keyEventsOf+name, n))
	}
	return ctx, t
}

// traceRefused notes that an attempt to deliver a batch failed.
func traceRefused(t trace.Span, err error) {
	if t.IsRecording() {
		t.AddEvent(eventRefused, trace.WithAttributes(semconv.ErrorTypeKey.String(kindOfError(err))))
	}
}

// endTransaction ends the trace span of a batch.
func endTransaction(t trace.Span, b *kafka.Batch, err error) {
	if t.IsRecording() {
		outcome := "delivered"
		if err != nil {
			outcome = "abandoned"
			traceError(t, err)
		}
		t.SetAttributes(keyOutcome.String(outcome), keyDead.Int(len(b.Dead)+len(b.Undelivered())))
	}
	t.End()
}

// traceError marks a trace span as failed. It does not quote the error.
func traceError(s trace.Span, err error) {
	if s.IsRecording() && !errors.Is(err, context.Canceled) {
		s.SetStatus(codes.Error, "")
		s.SetAttributes(semconv.ErrorTypeKey.String(kindOfError(err)))
	}
}

// kindOfError says in a word what failed: what metrics and logs call it.
func kindOfError(err error) string {
	if e, ok := errors.AsType[*kore.Error](err); ok {
		return string(e.Reason)
	}
	if e, ok := errors.AsType[*extract.PageError](err); ok {
		return string(e.Fault)
	}
	if _, ok := errors.AsType[*clockError](err); ok {
		return "clock-unknown"
	}
	if errors.Is(err, pass.ErrStuck) {
		return "stuck"
	}
	if e, ok := errors.AsType[*kafka.LostError](err); ok && e.Fenced {
		return "fenced"
	} else if ok {
		return "lost"
	}
	if may, known := kafka.Retryable(err); known && may {
		return string(status.ClassRetry)
	} else if known {
		return string(status.ClassPermanent)
	}
	return semconv.ErrorTypeOther.Value.AsString()
}
