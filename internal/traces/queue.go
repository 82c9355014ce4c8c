package traces

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// queued bounds how many trace spans wait to be sent, at about 2 KiB each: those of some minutes, at 60 requests in each.
	queued = 2048
	// batch is how many are sent together at most. As many are sent at once, fewer after sendEvery.
	batch     = 512
	sendEvery = 5 * time.Second
	// maxPause bounds the pause after an attempt that failed.
	maxPause = 30 * time.Second
)

// A queue is the span processor. OpenTelemetry's own, of the SDK, does not say what it drops, writes failures past our log, and leaves its
// goroutine behind where the collector does not answer.
type queue struct {
	exporter *otlptrace.Exporter
	metrics  *Metrics
	log      *slog.Logger

	ended   chan sdk.ReadOnlySpan
	full    chan struct{} // there is a batch
	closing chan struct{} // closed when there will be no more
	once    sync.Once     // closes it
	stopped chan struct{} // closed when the goroutine has ended

	sending context.Context // ends when nothing may be sent any more
	stop    context.CancelFunc
	failing bool // the last attempt failed; of the goroutine only
}

func newQueue(c *client, m *Metrics, log *slog.Logger) *queue {
	q := &queue{
		exporter: otlptrace.NewUnstarted(c), metrics: m, log: log.With("endpoint", c.url),
		ended: make(chan sdk.ReadOnlySpan, queued), full: make(chan struct{}, 1), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	q.sending, q.stop = context.WithCancel(context.Background())
	_ = q.exporter.Start(q.sending) // starts nothing
	go q.run()
	return q
}

// OnStart implements sdk.SpanProcessor.
func (q *queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor. It never waits.
func (q *queue) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case <-q.closing:
		q.metrics.dropped.Inc()
		return
	default:
	}
	select {
	case q.ended <- s:
	default:
		q.metrics.dropped.Inc()
	}
	if len(q.ended) >= batch {
		select {
		case q.full <- struct{}{}:
		default:
		}
	}
}

// ForceFlush implements sdk.SpanProcessor. Nobody calls it.
func (q *queue) ForceFlush(context.Context) error { return nil }

// Shutdown implements sdk.SpanProcessor.
func (q *queue) Shutdown(ctx context.Context) error {
	q.close(ctx)
	return nil
}

func (q *queue) close(ctx context.Context) {
	q.once.Do(func() { close(q.closing) })
	defer context.AfterFunc(ctx, q.stop)()
	<-q.stopped
}

// run sends until close.
func (q *queue) run() {
	defer close(q.stopped)
	defer func() { _ = q.exporter.Shutdown(q.sending) }() // closes connections that are not in use
	defer q.stop()
	ticker := time.NewTicker(sendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			q.sendAll()
		case <-q.full:
			q.sendAll()
		case <-q.closing:
			q.sendAll()
			return
		}
	}
}

// sendAll sends what is in the queue.
func (q *queue) sendAll() {
	for {
		var spans []sdk.ReadOnlySpan
		for len(spans) < batch && len(q.ended) > 0 {
			spans = append(spans, <-q.ended)
		}
		if len(spans) == 0 {
			return
		}
		if q.send(spans) {
			q.metrics.sent.Add(float64(len(spans)))
		} else {
			q.metrics.dropped.Add(float64(len(spans)))
		}
	}
}

// send sends some, however many attempts that takes while it may help: meanwhile the queue fills up. After close there is no further
// attempt. It reports whether the collector has taken them.
func (q *queue) send(spans []sdk.ReadOnlySpan) bool {
	for pause := time.Second; q.sending.Err() == nil; pause = min(2*pause, maxPause) {
		err := q.exporter.ExportSpans(q.sending, spans)
		if err == nil {
			if q.failing {
				q.log.Info("trace spans are taken again")
			}
			q.failing = false
			return true
		}
		failed, ok := errors.AsType[*sendError](err)
		if !q.failing && q.sending.Err() == nil {
			hint := ""
			if ok {
				hint = failed.hint()
			}
			q.log.Warn("trace spans cannot be sent; this delays no event, and spans beyond the first ones are dropped", "err", err, "hint", hint,
				"most", queued)
		}
		q.failing = true
		if !ok || !failed.passes() {
			return false
		}
		select {
		case <-q.closing:
			q.stop() // what does not answer now is not waited for again
			return false
		case <-time.After(pause):
		}
	}
	return false
}
