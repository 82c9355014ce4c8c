package poll

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// A loop reads one endpoint: it sends the one request that the endpoint may have in flight. The account's mutex guards all but wake.
type loop struct {
	wake    chan struct{}             // there may be work sooner than the loop knows
	active  []*activePass             // running
	last    [plan.KindCount]time.Time // when a request was last sent
	sent    time.Time                 // when the request in flight was sent; zero while there is none
	latency time.Duration             // of a request, on the average of the last ones; 0 before the first
}

func newLoop() *loop { return &loop{wake: make(chan struct{}, 1)} }

// An activePass is a pass that was begun, and what it is for.
type activePass struct {
	work plan.Work
	unit *unit
	pass pass.Pass
	// starts are those of the rows read so far.
	starts []time.Time
	job    *unitJob // that asked for it; nil for none
	unsure bool     // some page of the pass came before the server's clock was known
}

// answered notes that the request in flight was answered, or failed, and how long that took.
func (l *loop) answered() {
	took := time.Since(l.sent)
	if l.latency > 0 {
		took = (7*l.latency + took) / 8
	}
	l.latency, l.sent = took, time.Time{}
}

// finish takes a pass out of those that are active.
func (l *loop) finish(r *activePass) {
	l.active = slices.DeleteFunc(l.active, func(x *activePass) bool { return x == r })
}

const (
	// replanEvery is how often the plan is derived.
	replanEvery = 5 * time.Second
	// leaseWait is when to ask again whether requests may be sent.
	leaseWait = time.Second
	// secretWait is when to look again whether a secret that the API has refused was replaced.
	secretWait = time.Second
)

// work serves the one request that an endpoint may have in flight.
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
	for !a.cfg.Lease.Confirmed() && ctx.Err() == nil {
		if err := a.recordSpent(ctx); err != nil {
			r.permit.Done(time.Now())
			return false, 0, err
		}
	}
	pg, err := a.fetch(ctx, r)
	pg, end, err := a.read(r, pg, err)
	if err != nil {
		return true, 0, a.failed(ctx, r, err)
	}
	return true, 0, a.publish(ctx, r.activePass, pg, end)
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
	if !a.cfg.Lease.MayAsk() {
		return nil, leaseWait
	}
	now := a.api.Now()
	a.setBack(now)
	a.replan(now)
	refused := a.retryRenewed(e)
	units := a.planUnits()
	l := a.loops[e]
	inFlight := plan.InFlight{Last: l.last}
	for _, r := range l.active {
		inFlight.Active = append(inFlight.Active, r.work)
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
		return &request{r, r.pass.Query(), permit}, 0
	}
}

// retryRenewed lets the units of an endpoint be read at once whose secret was refused and has been replaced. It reports whether there are
// units whose refused secret has not been replaced yet. The caller holds mu.
func (a *Account) retryRenewed(e events.Endpoint) (refused bool) {
	for _, u := range a.units {
		switch {
		case u.Endpoint != e || u.refused == nil:
		case u.refused.Renewed():
			u.refused, u.NotBefore, u.Held = nil, time.Time{}, nil
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
	a.clock, a.plan = now, nil
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
		u.lastWatermark, u.Held = timeline.Earlier(u.lastWatermark, now), nil
		if u.Read.Empty() { // `now` was resolved by our clock
			u.Start = timeline.Earlier(u.Start, now.Truncate(time.Second))
			u.state.Start = u.Start
		}
	}
}

// resume returns the active pass of a piece of work, or begins it.
func (a *Account) resume(l *loop, w plan.Work, now time.Time) *activePass {
	u := a.units[w.Unit]
	for _, r := range l.active {
		if r.work.Kind == w.Kind && (w.Priority != plan.PriorityTail || r.unit == u) {
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

// replan derives the plan again if it is older than replanEvery.
func (a *Account) replan(now time.Time) {
	if a.plan != nil && now.Sub(a.planned) < replanEvery {
		return
	}
	policy := a.cfg.Policy
	policy.PerMinute = float64(a.cfg.RequestsPerMinute)
	policy.Latency = map[events.Endpoint]time.Duration{}
	for e := range a.cfg.Endpoints {
		policy.Latency[e] = a.cfg.Policy.Latency[e]
		if took := a.loops[e].latency; took > 0 {
			policy.Latency[e] = took
		}
	}
	for _, u := range a.units {
		u.refresh(now)
		u.Held = slices.DeleteFunc(u.Held, func(h plan.Held) bool { return !h.Until.After(now) })
		u.forget(now.Add(-a.cfg.Retention))
	}
	a.plan, a.planned = plan.Derive(a.planUnits(), now, policy), now
	for p, demand := range a.plan.Demand() {
		a.budget.SetDemand(plan.Priority(p), demand)
	}
}

// fetch sends a request and decodes the answer.
func (a *Account) fetch(ctx context.Context, r *request) (*pass.Page, error) {
	a.sending(r)
	var page *extract.Page
	resp, err := a.api.Fetch(ctx, r.query)
	now := time.Now()
	r.permit.Done(now)
	if err == nil {
		page, err = a.decode(r, resp)
	}
	if err != nil {
		var ke *kore.Error
		if errors.As(err, &ke) && ke.Class == status.ClassWait {
			a.blocked(now, ke)
		}
		return nil, err
	}
	skew, known := a.api.Skew()
	pg := &pass.Page{Page: page, ReadAt: resp.Sent.Add(skew).UTC(), ShownAt: resp.Received.Add(skew).UTC(), Unsure: !known}
	if !resp.ServerTime.IsZero() { // known to half a second only, else
		pg.ShownAt = timeline.Later(pg.ShownAt, resp.ServerTime.Add(time.Second).UTC())
	}
	return pg, nil
}

// blocked stops all requests of the account for as long as is honoured of what the API asked for.
func (a *Account) blocked(now time.Time, e *kore.Error) {
	a.budget.Pause(now.Add(e.RetryAfter))
	if e.Asked <= e.RetryAfter {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.askedUntil = timeline.Later(a.askedUntil, now.Add(e.Asked))
	a.log.Warn("the API asked for a longer wait than is honoured; the account is asked for again before", "asked", e.Asked, "honoured", e.RetryAfter)
}

// decode reads the page of an answer. A refusal beside data is as much an error of the API as one without.
func (a *Account) decode(r *request, resp *kore.Response) (*extract.Page, error) {
	page, err := extract.Decode(extract.Scope{
		Source: a.cfg.Name, AccountID: a.cfg.AccountID, BotID: r.unit.Bot, Endpoint: r.query.Endpoint, CSAT: a.cfg.CSAT,
	}, resp.Body)
	if e, ok := errors.AsType[*extract.PageError](err); ok && e.Fault == payload.Refused {
		return nil, resp.Refused(e.Code, e.Detail)
	}
	return page, err
}

// sending notes that a request is in flight, until its answer is read.
func (a *Account) sending(r *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loops[r.unit.Endpoint].sent = time.Now()
}

// read has the pass of a request take in the answer.
func (a *Account) read(r *request, pg *pass.Page, failed error) (*pass.Page, *pass.Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loops[r.unit.Endpoint].answered()
	if failed == nil {
		failed = a.clockKnown(!pg.Unsure)
	}
	return r.pass.Read(pg, failed)
}

// clockKnown counts pages that came before the server's clock was known. It returns an error when they are too many.
func (a *Account) clockKnown(known bool) error {
	if known {
		a.unsure = 0
		return nil
	}
	if a.unsure++; a.unsure > maxUnsure {
		return errNoClock
	}
	return nil
}

// maxUnsure is how many pages are read before the server's clock is known: it takes two that agree.
const maxUnsure = 10

// errNoClock is returned while the server's clock is not known: without it no time can be called read.
var errNoClock = errors.New("the API's answers carry no usable Date header, so its clock is not known and nothing can be called complete; " +
	"check that no proxy between strips the header")

// failed notes that a step failed, and when to continue. A pass whose step may be repeated keeps running. A pass over a span that cannot
// be read ends, and its span is held for a while, so that other work does not wait behind it.
func (a *Account) failed(ctx context.Context, r *request, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if err := a.recordSpent(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, l := a.api.Now(), a.loops[r.unit.Endpoint]
	retry, repeat, news := r.unit.failed(err, now)
	level := slog.LevelDebug
	if news {
		level = slog.LevelWarn
	}
	a.log.Log(ctx, level, "read failed", "endpoint", r.unit.Endpoint, "bot", r.unit.botName, "failures", r.unit.failures,
		"retry_in", retry.Round(time.Millisecond), "err", err)
	if a.cfg.Endpoints[r.unit.Endpoint].IID == "" && r.unit.tryNextIID(err) {
		retry = time.Second
	}
	r.work.Due = now.Add(retry)
	switch {
	case repeat:
		r.unit.NotBefore = r.work.Due
	case r.work.Priority == plan.PriorityTail:
		r.unit.NotBefore = r.work.Due
		l.finish(r.activePass)
	case r.work.Kind == plan.KindHot: // it is paced, and sweeps read what it cannot
		l.finish(r.activePass)
	default:
		r.unit.Held = append(r.unit.Held, plan.Held{Span: timeline.Span{From: r.work.From, To: r.work.To}, Until: now.Add(max(retry, time.Minute))})
		l.finish(r.activePass)
	}
	return nil
}

// nudge wakes the loop of an endpoint, for which there may be work sooner than it knows.
func (a *Account) nudge(e events.Endpoint) {
	select {
	case a.loops[e].wake <- struct{}{}:
	default:
	}
}
