package poll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// A loop reads one endpoint, with as many goroutines as the endpoint may have requests in flight. The account's mutex guards all but wake
// and workers.
type loop struct {
	workers int
	wake    chan struct{}             // there may be work sooner than the loop knows
	active  []*activePass             // running
	last    [plan.KindCount]time.Time // when a request was last sent
	latency time.Duration             // of a request, on the average of the last ones; 0 before the first
	leftOut []string                  // of requests, because the API refuses it
	shown   map[shownRow]shownAt      // the rows of answers that came while other requests were in flight
}

func newLoop(workers int) *loop {
	return &loop{workers: max(1, workers), wake: make(chan struct{}, 1), shown: map[shownRow]shownAt{}}
}

// An activePass is a pass that was begun, and what it is for.
type activePass struct {
	work plan.Work
	unit *unit
	pass pass.Pass
	// starts are those of the rows read so far.
	starts   []time.Time
	job      *unitJob  // that asked for it; nil for none
	unsure   bool      // some page of the pass came before the server's clock was known
	requests int       // sent so far
	failed   int       // steps of the pass, in a row
	answered int64     // requests of the unit that had been answered before the first of these
	step     time.Time // when the step that is under way began; zero between steps
	sent     time.Time // when its request was sent; zero once that was answered
	asOf     time.Time // what the pass shows is as of then, if that is earlier than the pass says; zero if not

	traced  trace.Span
	outcome passOutcome // empty while it is active
}

// answered notes that the request of a pass was answered, or failed, and how long that took.
func (l *loop) answered(r *activePass) {
	took := time.Since(r.sent)
	if l.latency > 0 {
		took = (7*l.latency + took) / 8
	}
	l.latency, r.sent = took, time.Time{}
}

// stepped notes that the step of a pass is over.
func (l *loop) stepped(r *activePass) {
	r.step = time.Time{}
	earliest := time.Now()
	for _, other := range l.active {
		if !other.step.IsZero() {
			earliest = timeline.Earlier(earliest, other.step)
		}
	}
	maps.DeleteFunc(l.shown, func(_ shownRow, at shownAt) bool { return at.published.Before(earliest) })
}

// inFlight describes the running passes to the plan.
func (l *loop) inFlight() plan.InFlight {
	out := plan.InFlight{Last: l.last}
	for _, r := range l.active {
		if r.step.IsZero() {
			out.Active = append(out.Active, r.work)
		} else {
			out.Sent = append(out.Sent, r.work)
		}
	}
	return out
}

// finish takes a pass out of those that are active.
func (l *loop) finish(r *activePass, outcome passOutcome) {
	l.active = slices.DeleteFunc(l.active, func(x *activePass) bool { return x == r })
	r.ended(outcome)
}

// finishAll does so with all passes but one; nil for really all.
func (l *loop) finishAll(but *activePass, outcome passOutcome) {
	for _, r := range slices.Clone(l.active) {
		if r != but {
			l.finish(r, outcome)
		}
	}
}

const (
	// replanEvery is how often the plan is derived.
	replanEvery = 5 * time.Second
	// mayAskWait is when to ask again whether requests may be sent.
	mayAskWait = time.Second
	// secretWait is when to look again whether a secret that the API has refused was replaced.
	secretWait = time.Second
)

// work serves one of the requests that an endpoint may have in flight.
func (a *Account) work(ctx context.Context, e events.Endpoint) error {
	for ctx.Err() == nil {
		more, wait, err := a.Step(ctx, e)
		if err != nil {
			return err
		}
		if !more {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			case <-a.loops[e].wake:
			}
		}
	}
	return nil
}

// Step does the most urgent work of an endpoint that the budget allows: one request, and the publishing of what it brought. It
// returns false and how long to wait if there was none. Its error is one that trying again cannot help.
func (a *Account) Step(ctx context.Context, e events.Endpoint) (more bool, wait time.Duration, err error) {
	r, wait := a.next(e)
	if r == nil {
		return false, wait, nil
	}
	ctx, page := a.tracePage(ctx, r)
	defer a.endPage(r, page)
	r.query.Memory = a.cfg.Memory.Hold()
	defer r.query.Memory.Release()
	for !a.cfg.Lease.Confirmed() && ctx.Err() == nil {
		if err := a.recordSpent(ctx); err != nil {
			r.permit.Done(time.Now())
			return false, 0, err
		}
	}
	pg, failed := a.fetch(ctx, r)
	traceAnswer(page, pg, failed)
	return true, 0, a.receive(ctx, r, pg, failed)
}

// receive has an answer read and published, one at a time in the whole account: see publish. What answers that were in flight at the same
// time say of one row is in outdated.go.
func (a *Account) receive(ctx context.Context, r *request, pg *pass.Page, failed error) error {
	unlock := a.lockPublishing(ctx)
	if unlock == nil { // as if it had not been read
		return nil
	}
	defer unlock()
	defer a.stepped(r)
	trace.SpanFromContext(ctx).AddEvent(eventTurn)
	pg, end, err := a.read(r, pg, failed)
	switch {
	case errors.Is(err, errEnded):
		return a.deliverSpent(ctx)
	case err != nil:
		return a.failed(ctx, r, err)
	case failed != nil && pg == nil && end == nil: // the pass asks for something else
		a.log.Debug("a query failed, and the pass asks in another way", "endpoint", r.unit.Endpoint, "bot", r.unit.botName, "err", failed)
		return a.deliverSpent(ctx)
	}
	return a.publish(ctx, r.activePass, pg, end)
}

// errEnded is about the answer to a request of a pass that was ended meanwhile.
var errEnded = errors.New("the pass was ended")

// stepped notes that the step of a pass is over, and wakes what may have waited for it.
func (a *Account) stepped(r *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.loops[r.unit.Endpoint]
	l.stepped(r.activePass)
	if l.workers > 1 {
		a.nudge(r.unit.Endpoint)
	}
}

// A request is one step of a pass, and the right to send it.
type request struct {
	*activePass
	query  kore.Query
	permit plan.Permit
}

// next picks the request to send. It returns nil and how long to wait if there is none.
func (a *Account) next(e events.Endpoint) (*request, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.paused.IsZero() || !a.cfg.Lease.MayAsk() {
		return nil, mayAskWait
	}
	now := a.api.Now()
	a.setBack(now)
	a.replan(now)
	refused := a.retryRenewed(e)
	units := a.planUnits()
	l := a.loops[e]
	inFlight := l.inFlight()
	if len(inFlight.Sent) > 0 && a.mustBeAlone(e) {
		return nil, maxAlone
	}
	for {
		w, wait, ok := a.plan.Next(units, e, now, inFlight)
		if !ok {
			if refused {
				wait = min(wait, secretWait)
			}
			return nil, max(wait, time.Millisecond)
		}
		permit, wait, ok := a.budget.TryTake(time.Now(), w.Priority)
		if !ok {
			inFlight.Wait[w.Priority] = max(wait, time.Millisecond)
			continue
		}
		l.last[w.Kind] = now
		r := a.resume(l, w, now)
		r.requests++
		r.step = time.Now()
		if l.workers > 1 { // there may be more
			a.nudge(e)
		}
		query := r.pass.Query()
		r.unit.state.Filter.ask(&query)
		return &request{r, query, permit}, 0
	}
}

// maxAlone is how long to wait for a request that must be alone; its end wakes the loop.
const maxAlone = time.Minute

// mustBeAlone reports whether no two requests of an endpoint may be in flight at the same time, because it is being found out how the
// endpoint is to be read.
func (a *Account) mustBeAlone(e events.Endpoint) bool {
	return slices.ContainsFunc(a.units, func(u *unit) bool {
		return u.Endpoint == e && (u.scopeHidden() || u.zone != nil && !u.zone.Known)
	})
}

// retryRenewed lets the units of an endpoint be read at once whose secret was refused and has been replaced. It reports whether there are
// units whose refused secret has not been replaced yet. The caller holds mu.
func (a *Account) retryRenewed(e events.Endpoint) (refused bool) {
	for _, u := range a.units {
		switch {
		case u.Endpoint != e || u.refused == nil:
		case u.refused.Renewed():
			u.refused, u.NotBefore, u.Held, u.After = nil, time.Time{}, nil, [plan.KindCount]time.Time{}
		default:
			refused = true
		}
	}
	return refused
}

// setBack moves times that are ahead of the clock back to it. The clock is set back when the server's turns out to be behind the
// estimate, and work must not wait until the clock has caught up.
func (a *Account) setBack(now time.Time) {
	if a.clock = timeline.Later(a.clock, now); a.clock.Sub(now) <= hair {
		return
	}
	a.clock, a.plan, a.affordable = now, nil, timeline.Earlier(a.affordable, now)
	for _, l := range a.loops {
		for i := range l.last {
			l.last[i] = timeline.Earlier(l.last[i], now)
		}
		for _, r := range l.active {
			r.work.Due = timeline.Earlier(r.work.Due, now)
		}
	}
	for _, u := range a.units {
		u.LastPoll, u.WokenAt, u.NotBefore = timeline.Earlier(u.LastPoll, now), timeline.Earlier(u.WokenAt, now), timeline.Earlier(u.NotBefore, now)
		for k := range u.After {
			u.After[k] = timeline.Earlier(u.After[k], now)
		}
		u.lastWatermark, u.Held, u.withheld = timeline.Earlier(u.lastWatermark, now), nil, nil
		if u.Read.Empty() { // `now` was resolved by our clock
			u.Start = timeline.Earlier(u.Start, now.Truncate(time.Second))
			u.state.Start = u.Start
		}
		if !u.state.Began.IsZero() {
			u.state.Began = timeline.Earlier(u.state.Began, now)
		}
	}
}

// resume returns the active pass of a piece of work, or begins it.
func (a *Account) resume(l *loop, w plan.Work, now time.Time) *activePass {
	u := a.units[w.Unit]
	for _, r := range l.active {
		if r.step.IsZero() && r.work.Kind == w.Kind && (w.Priority != plan.PriorityTail || r.unit == u) {
			r.work.Due = now
			return r
		}
	}
	if w.Priority == plan.PriorityTail {
		if !u.LastPoll.IsZero() {
			u.longestPollInterval = max(u.longestPollInterval, now.Sub(u.LastPoll))
		}
		u.LastPoll = now
	}
	a.log.Debug("pass begins", "endpoint", u.Endpoint, "bot", u.botName, "priority_class", w.Priority, "kind", w.Kind, "from", w.From, "to", w.To)
	r := &activePass{work: w, unit: u}
	if w.Asked {
		if r.job, r.work.Replay = u.asked(w.From); r.job != nil {
			r.work.Within = timeline.Span{From: r.job.From, To: r.job.To}
		}
	}
	r.pass = u.begin(w, now)
	r.work.Due = now
	a.tracePass(r)
	l.active = append(l.active, r)
	return r
}

func (a *Account) planUnits() []*plan.Unit {
	out := make([]*plan.Unit, len(a.units))
	for i, u := range a.units {
		out[i] = &u.Unit
	}
	return out
}

// latency returns how long a request to an endpoint takes, on the average of the last ones, or is taken to take.
func (a *Account) latency(e events.Endpoint) time.Duration {
	if took := a.loops[e].latency; took > 0 {
		return took
	}
	return a.cfg.Policy.Latency[e]
}

// replan derives the plan again if it is older than replanEvery.
func (a *Account) replan(now time.Time) {
	if a.plan != nil && now.Sub(a.planned) < replanEvery {
		return
	}
	policy := a.cfg.Policy
	policy.PerMinute = float64(a.cfg.RequestsPerMinute)
	policy.Latency, policy.Concurrency = map[events.Endpoint]time.Duration{}, map[events.Endpoint]int{}
	for e := range a.cfg.Endpoints {
		policy.Latency[e], policy.Concurrency[e] = a.latency(e), a.loops[e].workers
	}
	for _, u := range a.units {
		u.refresh(now)
		u.release(now)
		u.forgetUnsettled(now)
		u.forget(now.Add(-a.cfg.Retention))
	}
	a.plan, a.planned = plan.Derive(a.planUnits(), now, policy), now
	for p, demand := range a.plan.Demand() {
		a.budget.SetDemand(plan.Priority(p), demand)
	}
}

// fetch sends a request and decodes the answer. With an error it returns a page that has only the times of the answer.
func (a *Account) fetch(ctx context.Context, r *request) (*pass.Page, error) {
	a.sending(r)
	var page *extract.Page
	sent := time.Now()
	resp, err := a.api.Fetch(ctx, r.query)
	now := time.Now()
	r.permit.Done(now)
	a.answered(r)
	skew, known := a.api.Skew()
	if err == nil {
		page, err = a.decode(r, resp)
	}
	if err != nil {
		var ke *kore.Error
		if errors.As(err, &ke) && ke.Class == status.ClassWait {
			a.blocked(now, ke)
		}
		return pass.NewFailedPage(sent, now, skew, known), err
	}
	return pass.NewPage(page, resp, skew, known), nil
}

// blocked stops all requests of the account for as long as is honoured of what the API asked for.
func (a *Account) blocked(now time.Time, e *kore.Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.budget.PausedUntil().After(now) {
		a.askedUntil = time.Time{} // it was about an earlier pause
	}
	if a.blockedSince.IsZero() {
		a.blockedSince = now.UTC()
	}
	a.budget.Pause(now.Add(e.RetryAfter))
	if e.Asked > e.RetryAfter {
		a.askedUntil = timeline.Later(a.askedUntil, now.Add(e.Asked))
		a.log.Warn("the API asked for a longer wait than is honoured; the account is asked for again before", "asked", e.Asked, "honoured", e.RetryAfter)
	}
}

// decode reads the page of an answer. A refusal beside data is as much an error of the API as one without.
func (a *Account) decode(r *request, resp *kore.Response) (*extract.Page, error) {
	page, err := extract.Decode(a.cfg.Scope(r.unit.Bot, r.query.Endpoint), resp.Body)
	if e, ok := errors.AsType[*extract.PageError](err); ok && e.Fault == payload.Refused {
		return nil, resp.Refused(e.Code, e.Detail)
	}
	return page, err
}

// sending notes that a request is in flight, until its answer is read.
func (a *Account) sending(r *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.sent = time.Now()
	r.step = r.sent
}

// answered notes that a request is not in flight any more.
func (a *Account) answered(r *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loops[r.unit.Endpoint].answered(r.activePass)
}

// read has the pass of a request take in the answer. It returns errEnded if the pass was ended while the request was in flight.
func (a *Account) read(r *request, pg *pass.Page, failed error) (*pass.Page, *pass.Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.loops[r.unit.Endpoint]
	if !slices.Contains(l.active, r.activePass) {
		return nil, nil, errEnded
	}
	if failed == nil {
		failed = a.clockKnown(pg)
	}
	assumed := a.bounds.Assumed()
	before := r.unit.transcripts()
	pg, end, err := r.pass.Read(pg, failed)
	if now := r.unit.transcripts(); now != before {
		a.log.Info("it is known now whether transcripts, which nobody wants, can be left out", "endpoint", r.unit.Endpoint, "bot", r.unit.botName,
			"transcripts", now)
	}
	if err == nil {
		r.failed = 0
		if !a.budget.PausedUntil().After(time.Now()) {
			a.blockedSince = time.Time{}
		}
	}
	if assumed && a.bounds.Known && a.bounds.Zone != 0 {
		a.zoneCorrected(r.activePass)
	}
	return pg, end, err
}

// clockKnown counts pages that came before the server's clock was known. It returns an error when they are too many.
func (a *Account) clockKnown(pg *pass.Page) error {
	if !pg.Unsure {
		a.unsure = 0
		return nil
	}
	if a.unsure++; a.unsure > maxUnsure {
		return &clockError{pg.Age}
	}
	return nil
}

// maxUnsure is how many pages are read before the server's clock is known: it takes two that agree.
const maxUnsure = 10

// A clockError is returned while the server's clock is not known: without it no time can be called read.
type clockError struct {
	age time.Duration // for how long a cache had kept the answer; 0 if it came from the API
}

func (e *clockError) Error() string {
	why := "carry no usable Date header"
	if e.age > 0 {
		why = fmt.Sprintf("come from a cache, which had kept the last one for %v", e.age)
	}
	return "the API's answers " + why + ", so that its clock is not known and nothing can be called complete"
}

func (e *clockError) hint() string {
	if e.age > 0 {
		return "have the cache, CDN or proxy on the way hand requests on to the API"
	}
	return "check that no proxy on the way removes the header Date"
}

// failed notes that a step failed, and when to continue. A pass whose step may be repeated keeps running, unless that has failed too often
// while the unit answered other requests. Any other pass ends, and its span is held for a while, so that other work does not wait for it.
func (a *Account) failed(ctx context.Context, r *request, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if err := a.deliverSpent(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, l := a.api.Now(), a.loops[r.unit.Endpoint]
	retry, repeat, news := r.unit.failed(err, now)
	if r.failed++; r.failed == 1 {
		r.answered = r.unit.answers
	}
	last := r.unit.lastError
	switch { // other passes may get good answers meanwhile
	case r.failed > 1 && !expectedToPass(last.Class):
		repeat = false
	case r.failed >= stepTries && r.unit.answers > r.answered && last.Class != status.ClassWait:
		repeat = false
	}
	level := slog.LevelDebug
	if news {
		level = slog.LevelWarn
	}
	if ke, ok := errors.AsType[*kore.Error](err); ok && ke.Reason == kore.ReasonOption {
		l.leftOut = ke.LeftOut
	}
	a.log.Log(ctx, level, "read failed", "endpoint", r.unit.Endpoint, "bot", r.unit.botName, "failures", r.unit.failures,
		"retry_in", retry.Round(time.Millisecond), "err", err)
	if a.cfg.Endpoints[r.unit.Endpoint].IID == "" && r.unit.tryNextIID(err) {
		retry = time.Second
	}
	r.work.Due = now.Add(retry)
	traceFailed(ctx, r, err, retry, repeat)
	if repeat {
		r.unit.NotBefore = r.work.Due
		return nil
	}
	l.finish(r.activePass, passFailed)
	switch {
	case r.work.Priority == plan.PriorityTail:
		r.unit.NotBefore = r.work.Due
	case r.work.Kind == plan.KindHot && r.unit.Endpoint == events.Conversations: // rows, not time; sweeps read them too
		r.unit.After[plan.KindHot] = now.Add(max(retry, heldFor))
		return nil
	case r.work.Kind == plan.KindGap || r.work.Kind == plan.KindBackfill && !r.work.Asked: // the gap says why
		r.unit.hold(timeline.Span{From: r.work.From, To: r.work.To}, now, max(retry, heldFor), err.Error())
		return nil
	}
	a.tryAgain(r.activePass, pass.Unsettled{Text: last.Text, Hint: last.Hint}, last.Class, now, max(retry, heldFor))
	return nil
}

// heldFor is how long a span that could not be read is held at least.
const heldFor = time.Minute

// nudge wakes the loop of an endpoint, for which there may be work sooner than it knows.
func (a *Account) nudge(e events.Endpoint) {
	select {
	case a.loops[e].wake <- struct{}{}:
	default:
	}
}
