// Package poll reads accounts: it decides what to ask next, asks it, and hands what it finds to the delivery.
//
// The promise is kept here. Every request belongs to a pass over a stretch of time; a stretch counts as read only when a pass
// has seen all of it and everything it showed is published; and what counts as read is recorded together with what was
// published, by the delivery, in one step. Whatever fails leaves the stretch unread, so that it is read again. Nothing is
// skipped: time that cannot be read stays a gap, which the watermark does not pass.
//
// What was read (package timeline), what to ask next (package plan) and the reading of one span (package pass) are values that know
// no clock and do no I/O. Account is the loop around them.
package poll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
)

// API is the client of one account.
type API interface {
	Fetch(ctx context.Context, q kore.Query) (*kore.Response, error)
	Skew() (time.Duration, bool)
	Now() time.Time
}

// Memory is where an account's progress and entities are remembered.
type Memory interface {
	Lookup(account string, probes []checkpoint.Probe, out []checkpoint.Found) error
	SeenDead(account string, hashes []checkpoint.Hash) (map[checkpoint.Hash]uint32, error)
	AllProgress(account string) (map[string][]byte, error)
	Commit(c checkpoint.Changes) error
}

// Journal writes what is recorded to the checkpoint topic as well, in the transaction of what was published.
type Journal interface {
	// Append returns the records that stand for the changes, and adds to the changes what the journal itself wants recorded.
	// Called again before Commit, the later call counts.
	Append(c *checkpoint.Changes) ([]kafka.Record, error)
	// Commit records the changes, once the transaction has ended; next is the offset after its records.
	Commit(c checkpoint.Changes, next int64) error
	// Expire returns a batch that forgets what was last seen before, nil if there is nothing to forget.
	Expire(before time.Time) (*kafka.Batch, error)
}

// Observer is told what happens, for metrics. All methods must be quick and safe for concurrent use.
type Observer interface {
	Page(account string, e events.Endpoint, rows, dead int, drift map[string]int64)
	Published(account string, e events.Endpoint, t events.Type, n int)
	Unchanged(account string, e events.Endpoint, n, mergeHits int)
	Freshness(e events.Endpoint, d time.Duration)
}

// Bot is one bot of an account.
type Bot struct {
	Name, ID string
}

// EndpointOptions say how one endpoint is read.
type EndpointOptions struct {
	PollInterval time.Duration
	// IID is the bot to name in the header iId of the account-wide endpoints. Empty: the first bot.
	IID string
}

// Options configure an Account.
type Options struct {
	Name, AccountID   string
	RequestsPerMinute int
	Start             func(now time.Time) time.Time // where reading begins when nothing is recorded yet
	// Resume returns the last watermark of a unit whose progress is not recorded, nil if it never had one: reading goes on
	// from there. A nil Resume returns nil.
	Resume    func(e events.Endpoint, bot string) *events.Watermark
	Bots      []Bot
	Endpoints map[events.Endpoint]EndpointOptions // those that are read
	Policy    plan.Policy
	Lateness  time.Duration // allowed lateness; 0 means auto
	Memory    time.Duration // how long entities are remembered
	Messages  bool          // publish message events
	CSAT      extract.CSAT
	Drain     time.Duration // how long a batch in hand may take to be delivered after ctx has ended
	// Abort ends when even that is too long. Nil: never.
	Abort context.Context

	API     API
	Store   Memory
	Journal Journal // nil: what is recorded is recorded in Store only
	// Allowed says whether the account may be asked for anything now. Nil: always.
	Allowed func() bool
	// Owned says whether it has been shown within kafka.OwnedFor that nobody else reads the account. If not, a delivery shows it
	// before the next request. Nil: always.
	Owned    func() bool
	Delivery kafka.Delivery
	Observer Observer
	Log      *slog.Logger
}

// Account reads one account until it is told to stop.
type Account struct {
	Options
	budget *plan.Budget
	lanes  map[events.Endpoint]*lanes

	intent *intent // what the process before had in hand; nil for nothing

	// publishing is held by whoever decides, publishes and records, as one step: two endpoints that see the same thing at the same
	// time must not both call it new.
	publishing chan struct{}
	gaveUp     bool // a batch; guarded by publishing

	// mu guards all that follows, what the lanes and the units hold included.
	mu     sync.Mutex
	units  []*unit
	plan   *plan.Plan
	latest time.Time // when the plan was derived
	clock  time.Time // the latest time that it was
	wake   map[events.Endpoint]chan struct{}

	latency   map[events.Endpoint]time.Duration
	turned    map[events.Endpoint]time.Time // when each endpoint's loop last looked for work
	zone      *pass.Bounds
	unsure    int // pages in a row that came while the server's clock was not known
	delivered Delivered
	jobs      accountJobs
}

// lanes are the passes in hand of one endpoint.
type lanes struct {
	active []*running
	last   [plan.KindCount]time.Time // when a request was last sent
}

type running struct {
	work plan.Work
	unit *unit
	pass pass.Pass
	// starts are those of the rows read so far.
	starts []time.Time
	job    *unitJob // that asked for it; nil for none
	unsure bool     // some page of the pass came before the server's clock was known
}

// replanEvery is how often the budget is shared out anew.
const replanEvery = 5 * time.Second

// notAllowedWait is when to ask again whether requests are allowed.
const notAllowedWait = time.Second

// NewAccount loads what is recorded of the account. It makes no request.
func NewAccount(o Options) (*Account, error) {
	a := &Account{
		Options: o, budget: plan.NewBudget(o.RequestsPerMinute),
		lanes: map[events.Endpoint]*lanes{}, wake: map[events.Endpoint]chan struct{}{},
		latency: map[events.Endpoint]time.Duration{}, turned: map[events.Endpoint]time.Time{}, zone: &pass.Bounds{}, publishing: make(chan struct{}, 1),
		jobs: newAccountJobs(),
	}
	a.API = &carefulClock{API: o.API}
	for e := range o.Endpoints {
		a.lanes[e] = &lanes{}
		a.wake[e] = make(chan struct{}, 1)
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("load account %s: %w", o.Name, err)
	}
	return a, nil
}

// Run reads until ctx ends. A batch in hand is delivered first, within Drain. It returns an error only for what cannot be
// helped by trying again.
func (a *Account) Run(ctx context.Context) error {
	if err := a.finishIntent(ctx); err != nil {
		return err
	}
	if err := a.announce(ctx); err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return a.takeJobs(running) })
	for e := range a.lanes {
		g.Go(func() error { return a.work(running, e) })
	}
	if a.Journal != nil {
		g.Go(func() error { return a.expire(running) })
	}
	if err := g.Wait(); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		return fmt.Errorf("account %s: %w", a.Name, err)
	}
	return nil
}

// work serves the one request that an endpoint may have in flight.
func (a *Account) work(ctx context.Context, e events.Endpoint) error {
	for ctx.Err() == nil {
		more, wait, err := a.Step(ctx, e)
		if err != nil {
			return err
		}
		if !more {
			sleep(ctx, wait, a.wake[e])
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
	for a.Owned != nil && !a.Owned() && ctx.Err() == nil {
		if err := a.recordSpent(ctx); err != nil {
			r.permit.Done(time.Now())
			return false, 0, err
		}
	}
	pg, err := a.fetch(ctx, r)
	pg, end, err := a.read(r, pg, err)
	if err != nil {
		return a.failed(ctx, e, r, err)
	}
	return true, 0, a.publish(ctx, e, r.running, pg, end)
}

// A request is one step of a pass, and the right to send it.
type request struct {
	*running
	query  kore.Query
	permit plan.Permit
}

// next picks the request to send. It returns nil and how long to wait if there is none.
func (a *Account) next(e events.Endpoint) (*request, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Allowed != nil && !a.Allowed() {
		return nil, notAllowedWait
	}
	now := a.API.Now()
	a.setBack(now)
	a.replan(now)
	units := a.planUnits()
	slot := plan.InFlight{Last: a.lanes[e].last}
	for _, r := range a.lanes[e].active {
		slot.Active = append(slot.Active, r.work)
	}
	for {
		w, wait, ok := a.plan.Next(units, e, now, slot)
		if !ok {
			return nil, max(wait, time.Millisecond)
		}
		permit, wait, ok := a.budget.TryTake(time.Now(), w.Priority)
		if !ok {
			slot.Wait[w.Priority] = max(wait, time.Millisecond)
			continue
		}
		a.lanes[e].last[w.Kind] = now
		r := a.resume(e, w, now)
		return &request{r, r.pass.Query(), permit}, 0
	}
}

// setBack brings what lies ahead of the clock back to it: the clock is set back when the server's turns out to be behind what was
// believed, and work is not to wait until it is that late again.
func (a *Account) setBack(now time.Time) {
	if a.clock = timeline.Later(a.clock, now); a.clock.Sub(now) <= hair {
		return
	}
	a.clock, a.plan = now, nil
	for _, l := range a.lanes {
		for i := range l.last {
			l.last[i] = timeline.Earlier(l.last[i], now)
		}
		for _, r := range l.active {
			r.work.Due = timeline.Earlier(r.work.Due, now)
		}
	}
	for _, u := range a.units {
		u.LastLook, u.WokenAt, u.NotBefore = timeline.Earlier(u.LastLook, now), timeline.Earlier(u.WokenAt, now), timeline.Earlier(u.NotBefore, now)
		u.lastWatermark, u.Held = timeline.Earlier(u.lastWatermark, now), nil
		if u.Read.Empty() { // `now` was resolved by our clock
			u.Start = timeline.Earlier(u.Start, now.Truncate(time.Second))
			u.state.Start = u.Start
		}
	}
}

// resume returns the pass in hand for a piece of work, or begins it.
func (a *Account) resume(e events.Endpoint, w plan.Work, now time.Time) *running {
	u := a.units[w.Unit]
	for _, r := range a.lanes[e].active {
		if r.work.Kind == w.Kind && (w.Priority != plan.PriorityTail || r.unit == u) {
			r.work.Due = now
			return r
		}
	}
	if w.Priority == plan.PriorityTail {
		if !u.LastLook.IsZero() {
			u.longestLook = max(u.longestLook, now.Sub(u.LastLook))
		}
		u.LastLook = now
	}
	a.Log.Debug("pass begins", "endpoint", e, "bot", u.botName, "lane", w.Priority, "kind", w.Kind, "from", w.From, "to", w.To)
	r := &running{work: w, unit: u}
	if w.Asked {
		if r.job, r.work.Replay = u.asked(w.From); r.job != nil {
			r.work.Within = timeline.Span{From: r.job.From, To: r.job.To}
		}
	}
	r.pass = u.begin(w, now)
	r.work.Due = now
	a.lanes[e].active = append(a.lanes[e].active, r)
	return r
}

func (a *Account) finish(e events.Endpoint, r *running) {
	l := a.lanes[e]
	l.active = slices.DeleteFunc(l.active, func(x *running) bool { return x == r })
}

func (a *Account) planUnits() []*plan.Unit {
	out := make([]*plan.Unit, len(a.units))
	for i, u := range a.units {
		out[i] = &u.Unit
	}
	return out
}

// replan shares out the budget anew every few seconds.
func (a *Account) replan(now time.Time) {
	if a.plan != nil && now.Sub(a.latest) < replanEvery {
		return
	}
	policy := a.Policy
	policy.PerMinute = float64(a.RequestsPerMinute)
	policy.Latency = map[events.Endpoint]time.Duration{}
	for e := range a.Endpoints {
		policy.Latency[e] = a.Policy.Latency[e]
		if l := a.latency[e]; l > 0 {
			policy.Latency[e] = l
		}
	}
	for _, u := range a.units {
		u.refresh(now)
		u.Held = slices.DeleteFunc(u.Held, func(h plan.Held) bool { return !h.Until.After(now) })
		u.forget(now.Add(-a.Memory))
	}
	a.plan, a.latest = plan.Derive(a.planUnits(), now, policy), now
	for lane, demand := range a.plan.Demand() {
		a.budget.SetDemand(plan.Priority(lane), demand)
	}
}

// fetch sends a request and decodes the answer.
func (a *Account) fetch(ctx context.Context, r *request) (*pass.Page, error) {
	sent := time.Now()
	resp, err := a.API.Fetch(ctx, r.query)
	now := time.Now()
	r.permit.Done(now)
	a.took(r.query.Endpoint, now.Sub(sent))
	if err != nil {
		var ke *kore.Error
		if errors.As(err, &ke) && ke.Class == kore.WaitUntil {
			a.budget.Pause(now.Add(ke.RetryAfter))
		}
		return nil, err
	}
	page, err := extract.Decode(extract.Scope{
		Source: a.Name, AccountID: a.AccountID, BotID: r.unit.Bot, Endpoint: r.query.Endpoint, CSAT: a.CSAT,
	}, resp.Body)
	if err != nil {
		return nil, err
	}
	skew, known := a.API.Skew()
	pg := &pass.Page{Page: page, ReadAt: resp.Sent.Add(skew).UTC(), ShownAt: resp.Received.Add(skew).UTC(), Unsure: !known}
	if !resp.ServerTime.IsZero() { // known to half a second only, else
		pg.ShownAt = timeline.Later(pg.ShownAt, resp.ServerTime.Add(time.Second).UTC())
	}
	return pg, nil
}

// read has the pass of a request take in the answer.
func (a *Account) read(r *request, pg *pass.Page, failed error) (*pass.Page, *pass.Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
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

// took notes how long a request took.
func (a *Account) took(e events.Endpoint, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.latency[e]; old > 0 {
		d = (7*old + d) / 8
	}
	a.latency[e] = d
}

// failed notes that a step failed and says when to go on. A pass whose step may be repeated stays in hand; one over time that
// cannot be read is given up, and its time held back for a while, so that nothing else waits behind it.
func (a *Account) failed(ctx context.Context, e events.Endpoint, r *request, err error) (bool, time.Duration, error) {
	if ctx.Err() != nil {
		return false, 0, nil
	}
	if err := a.recordSpent(ctx); err != nil {
		return false, 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.API.Now()
	retry, repeat, news := r.unit.failed(err, now)
	level := slog.LevelDebug
	if news {
		level = slog.LevelWarn
	}
	a.Log.Log(ctx, level, "read failed", "endpoint", e, "bot", r.unit.botName, "failures", r.unit.failures,
		"retry_in", retry.Round(time.Millisecond), "err", err)
	if a.Endpoints[e].IID == "" && r.unit.tryNextIID(err) {
		retry = time.Second
	}
	r.work.Due = now.Add(retry)
	switch {
	case repeat:
		r.unit.NotBefore = r.work.Due
	case r.work.Priority == plan.PriorityTail:
		r.unit.NotBefore = r.work.Due
		a.finish(e, r.running)
	case r.work.Kind == plan.KindHot: // the lane is paced, and sweeps read what it cannot
		a.finish(e, r.running)
	default:
		r.unit.Held = append(r.unit.Held, plan.Held{Span: timeline.Span{From: r.work.From, To: r.work.To}, Until: now.Add(max(retry, time.Minute))})
		a.finish(e, r.running)
	}
	return true, 0, nil
}

// sleep waits for d, for ctx, or for wake, which may be nil.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}

// nudge has the worker of an endpoint look for work: another endpoint saw activity that it should look at.
func (a *Account) nudge(e events.Endpoint) {
	select {
	case a.wake[e] <- struct{}{}:
	default:
	}
}
