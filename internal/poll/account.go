// Package poll reads accounts: it decides what to ask next, sends the request, and hands what the answer shows to the delivery.
//
// Every request belongs to a pass over a span. A span counts as read only when a pass has read all of it and everything that it showed
// is published. What counts as read is recorded together with what was published, by the delivery, in one step (recording.go). A failure
// leaves the span unread, so that it is read again. Nothing is skipped: a span that cannot be read stays a gap, which the watermark does
// not pass.
//
// What was read (package timeline), what to ask next (package plan) and the reading of one span (package pass) are values that know
// no clock and do no I/O. Account is the loop around them.
package poll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/memory"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/privacy"
	"agentassist-poller/internal/status"
)

// API is the client of one account.
type API interface {
	Fetch(ctx context.Context, q kore.Query) (*kore.Response, error)
	Skew() (time.Duration, bool)
	Now() time.Time
}

// Store keeps an account's progress and entities. It is the checkpoint file.
type Store interface {
	Lookup(account string, probes []checkpoint.Probe, out []checkpoint.Found) error
	FindDead(account string, hashes []checkpoint.Hash) (map[checkpoint.Hash]uint32, error)
	AllProgress(account string) (map[string][]byte, error)
	Commit(c checkpoint.Changes) error
}

// Journal writes what is recorded to the checkpoint topic as well, in the transaction of what was published.
type Journal interface {
	// Append returns the records that stand for the changes, of at most so many bytes where that is possible, and adds to the changes
	// what the journal itself wants recorded. Called again before Commit, the later call counts.
	Append(c *checkpoint.Changes, most int) ([]kafka.Record, error)
	// Commit records the changes, once the transaction has ended; next is the offset after its records.
	Commit(c checkpoint.Changes, next int64) error
	// Expire returns a batch that deletes what was last observed before a time, nil if there is nothing to delete.
	Expire(before time.Time) (*kafka.Batch, error)
}

// Lease is the right to send requests for an account that other processes may be given as well.
type Lease interface {
	// MayAsk reports whether requests may be sent now.
	MayAsk() bool
	// Confirmed reports whether it was shown within kafka.OwnedFor that no other process has the lease. While it was not, the
	// account delivers a batch, which shows it, before the next request.
	Confirmed() bool
	// Overlap is how long the process that had the lease before may go on to send requests, because it does not know yet that it
	// has lost the lease.
	Overlap() time.Duration
}

// soleLease is the lease where no other process can have it.
type soleLease struct{}

func (soleLease) MayAsk() bool           { return true }
func (soleLease) Confirmed() bool        { return true }
func (soleLease) Overlap() time.Duration { return 0 }

// Observer counts what happens, for metrics. All methods must be quick and safe for concurrent use.
type Observer interface {
	Page(account string, e events.Endpoint, rows, dead int, drift map[string]int64)
	// Dropped counts rows that were read and are not published: DroppedOtherBot or DroppedFilter.
	Dropped(account string, e events.Endpoint, why string, n int64)
	Published(account string, e events.Endpoint, t events.Type, n int)
	// Entities counts the known entities on a page: those that had not changed, those that a second endpoint showed for the first
	// time, and those that are stored but cannot be read.
	Entities(account string, e events.Endpoint, unchanged, mergeHits, unreadable int)
	// Contradicted counts how often a page contradicted itself or others, by kind (see revise.Contradictions).
	Contradicted(account string, e events.Endpoint, kind string, n int)
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
	// Concurrency is how many requests the endpoint may have in flight at the same time; 0 is 1.
	Concurrency int
	// Filter takes the rows that are published.
	Filter Filter
}

// Lateness is the allowed lateness: how far watermarks stay behind what was read, because an event may become visible so long after
// its time.
type Lateness struct {
	Auto bool          // what was observed decides, and not Max
	Max  time.Duration // 0 allows for none
}

// Options configure an Account.
type Options struct {
	Name, AccountID   string
	RequestsPerMinute int
	Start             func(now time.Time) time.Time // where reading begins when nothing is recorded yet
	// Resume returns the last watermark of a unit whose progress is not recorded, nil if it never had one: reading goes on
	// from there. A nil Resume returns nil.
	Resume func(e events.Endpoint, bot string) *events.Watermark
	Bots   []Bot
	// KeepOtherBots has the account-wide endpoints publish what rows of bots that are not among Bots show, too. They do so in any case if
	// Bots is empty.
	KeepOtherBots bool
	Endpoints     map[events.Endpoint]EndpointOptions // those that are read
	Policy        plan.Policy
	EditWeights   map[events.Type]float64 // how much an edit of a type counts for Policy.Adapt; 1 if it is not there
	Lateness      Lateness
	Retention     time.Duration // how long entities are remembered after they were last observed
	Off           []events.Type // event types that are not published
	Scores        extract.Scores
	Link          events.Link // of feedback, for people
	Privacy       *privacy.Policy

	// When the context of Run ends, the account sends no more requests, and has for the batch that is being delivered as long as
	// Drain. If Abort ends before, the batch is given up at once. A nil Abort never ends.
	Drain time.Duration
	Abort context.Context

	API      API
	Store    Store
	Journal  Journal // nil: what is recorded is recorded in Store only
	Lease    Lease   // nil: no other process reads the account
	Delivery kafka.Delivery
	// Memory is what the answers of all accounts share. Nil: they may take as much as they need.
	Memory *memory.Budget
	// TooLarge returns why the delivery cannot publish an event, empty if it can. Nil: it can publish all.
	TooLarge func(o kafka.Outgoing) string
	Observer Observer
	// Tracer makes the trace spans of passes, pages and transactions. Nil: there are none.
	Tracer trace.Tracer
	Log    *slog.Logger
}

// Scope returns what the pages of an endpoint do not say of themselves. Bot is empty where the endpoint is asked for the whole account.
func (o *Options) Scope(bot string, e events.Endpoint) extract.Scope {
	return extract.Scope{Source: o.Name, AccountID: o.AccountID, BotID: bot, Endpoint: e, Scores: o.Scores}
}

// Account reads one account until it is told to stop.
type Account struct {
	cfg    Options
	api    *carefulClock
	log    *slog.Logger
	budget *plan.Budget
	loops  map[events.Endpoint]*loop // of the endpoints that are read
	intent *intent                   // what the process before was publishing when it ended; nil for nothing

	// publishing is held by the goroutine that decides, publishes and records, as one step: two endpoints that show the same entity
	// at the same time must not both call it new.
	publishing chan struct{}
	abandoned  bool // a batch, whose outcome is not known; guarded by publishing

	// mu guards all that follows, what the loops and the units hold included.
	mu         sync.Mutex
	units      []*unit
	plan       *plan.Plan
	planned    time.Time // when the plan was derived
	clock      time.Time // the highest value of the server's clock so far
	bounds     *pass.Bounds
	unsure     int // pages in a row that came while the server's clock was not known
	delivered  Delivered
	askedUntil time.Time // how long the API asked not to be asked, where that is longer than is honoured
	// blockedSince is when the API asked to wait first since it last answered; zero if it did not.
	blockedSince time.Time
	unreadable   int64 // stored entities that could not be read
	// contradicted has one entry for each kind of contradiction so far.
	contradicted []status.Contradiction
	attempt      time.Time // when the attempt at a delivery began that is under way; zero while there is none
	paused       time.Time // since when no request is sent because somebody paused the account; zero if nobody has
	jobs         accountJobs
	began        time.Time // when the account was made
	affordable   time.Time // when the next pass may be sent that will probably conclude nothing
}

// NewAccount loads what is recorded of the account. It makes no request.
func NewAccount(o Options) (*Account, error) {
	if o.Lease == nil {
		o.Lease = soleLease{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.Tracer{}
	}
	a := &Account{
		cfg: o, api: &carefulClock{API: o.API}, log: o.Log, budget: plan.NewBudget(o.RequestsPerMinute), began: time.Now().UTC(),
		loops: map[events.Endpoint]*loop{}, publishing: make(chan struct{}, 1), bounds: &pass.Bounds{}, jobs: newAccountJobs(),
	}
	for e, settings := range o.Endpoints {
		a.loops[e] = newLoop(settings.Concurrency)
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("load account %s: %w", o.Name, err)
	}
	return a, nil
}

// Pause keeps the account from sending requests until Resume. Those on their way are finished, and what they bring is published. An account
// that is paused already stays so, since when it was.
func (a *Account) Pause(since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paused.IsZero() {
		a.paused = since.UTC()
	}
}

// Resume ends a pause: reading goes on within a second, where it was.
func (a *Account) Resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paused = time.Time{}
}

// Run reads until ctx ends. A batch that is being delivered is finished first, within Drain. It returns an error only for what
// trying again cannot help.
func (a *Account) Run(ctx context.Context) error {
	defer a.cutOff()
	if err := a.finishIntent(ctx); err != nil {
		return err
	}
	if err := a.announce(ctx); err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return a.takeJobs(running) })
	for e, l := range a.loops {
		for range l.workers {
			g.Go(func() error { return a.work(running, e) })
		}
	}
	if a.cfg.Journal != nil {
		g.Go(func() error { return a.expire(running) })
	}
	if err := g.Wait(); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		return fmt.Errorf("account %s: %w", a.cfg.Name, err)
	}
	return nil
}
