package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/status"
)

// Options are what an App needs beside its configuration.
type Options struct {
	Version string
	// Instance names this process among others. Empty: host name and port.
	Instance string
	Log      *slog.Logger
	// Transport replaces the way to the API, KafkaClient is added to the client's options: for tests and the demo.
	Transport   http.RoundTripper
	KafkaClient []kgo.Opt
	// Abort ends when what is in hand must be given up at once, without the drain time. Nil: never.
	Abort context.Context
}

// App is one running poller: a checkpoint, a way to Kafka, and one poll.Account for each configured account.
type App struct {
	cfg     *Config
	o       Options
	log     *slog.Logger
	metrics *prometheus.Registry
	observe *observer
	http    *HTTPServer
	started time.Time
	seats   []*seat

	mu        sync.Mutex // guards what Run adds, and what seats hold
	store     *checkpoint.Store
	publisher *kafka.Publisher
	trouble   *status.Error // why there is no publisher yet
	jobs      jobs
}

// A seat is where a configured account is read, once this instance is the one to read it.
type seat struct {
	*Account
	partition int32         // of the checkpoint topic
	account   *poll.Account // nil: not read here, or not yet
	owner     *status.Owner // nil in at-least-once
}

// New opens the checkpoint and binds the address of the HTTP server. Close or Run must follow.
func New(cfg *Config, o Options) (*App, error) {
	a := &App{cfg: cfg, o: o, log: o.Log, metrics: prometheus.NewRegistry(), started: time.Now()}
	a.observe = newObserver(a.metrics, o.Version)
	if a.o.Instance == "" {
		a.o.Instance = instanceName(cfg)
	}
	for i := range cfg.Accounts {
		c := &cfg.Accounts[i]
		a.seats = append(a.seats, &seat{Account: c, partition: kafka.CheckpointPartition(c.AccountID)})
	}
	store, err := openStore(cfg, a.log)
	if err != nil {
		return nil, err
	}
	a.store = store
	if cfg.Server.Listen != "" {
		a.http, err = NewHTTPServer(HTTPOptions{
			Listen: cfg.Server.Listen, Pprof: cfg.Server.Pprof, Metrics: a.metrics, Status: a.Status,
			Healthy: a.healthy, Ready: a.ready, Log: a.log,
		})
		if err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	return a, nil
}

// instanceName tells the processes of a group apart, for people.
func instanceName(cfg *Config) string {
	host, err := os.Hostname()
	if err != nil {
		host = "poller"
	}
	if _, port, err := net.SplitHostPort(cfg.Server.Listen); err == nil && port != "0" {
		host += ":" + port
	}
	return host
}

// Close frees what New took, for an App that is never run.
func (a *App) Close() error {
	if a.http != nil {
		a.http.Close()
	}
	return a.store.Close()
}

// Addr is the address of the HTTP server, empty without one.
func (a *App) Addr() string {
	if a.http == nil {
		return ""
	}
	return a.http.Addr().String()
}

// Run reads and publishes until ctx ends, then delivers what is in hand, for at most the drain time, and closes everything.
// It returns nil if it was asked to stop and could.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.memory().Close()) }()
	g, running := errgroup.WithContext(ctx)
	if a.http != nil {
		g.Go(func() error { return a.http.Serve(running) })
	}
	g.Go(func() error { return a.read(running) })
	if err := g.Wait(); ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// read brings Kafka up, then runs the accounts.
func (a *App) read(ctx context.Context) error {
	publisher, err := a.open(ctx)
	if publisher == nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Shutdown.Drain)
		defer cancel()
		if err := publisher.Close(closing); err != nil {
			a.log.Warn("closed Kafka with records on their way; they will be published again", "err", err)
		}
	}()
	a.mu.Lock()
	a.publisher, a.trouble = publisher, nil
	a.mu.Unlock()
	following, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.followJobs(following)
	}()
	defer func() {
		end()
		<-ended
	}()
	if publisher.AtLeastOnce == nil {
		if err := a.matchStore(publisher.Topics); err != nil {
			return fmt.Errorf("match checkpoint with Kafka: %w", err)
		}
		if a.cfg.Kafka.Group == "" {
			return a.own(ctx)
		}
		return a.share(ctx)
	}
	last := a.lastWatermarks(ctx)
	for _, s := range a.seats {
		if err := a.seat(s, seating{delivery: publisher.AtLeastOnce, last: last}); err != nil {
			return err
		}
	}
	a.log.Info("reading", "accounts", len(a.seats), "version", a.o.Version)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range a.seats {
		g.Go(func() error { return s.account.Run(ctx) })
	}
	g.Go(func() error { return a.expire(ctx) })
	return g.Wait()
}

// memory is the open checkpoint file.
func (a *App) memory() *checkpoint.Store {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store
}

// open brings Kafka and the registry up, and waits for them if they are merely not there. It returns nil and no error if
// ctx ended first.
func (a *App) open(ctx context.Context) (*kafka.Publisher, error) {
	for failures := 0; ; failures++ {
		// A failed attempt leaves nothing behind in the metrics.
		reg := prometheus.NewRegistry()
		publisher, err := kafka.Open(ctx, kafka.Options{
			Config: a.cfg.Kafka, Instance: a.o.Instance, Registry: a.cfg.SchemaRegistry, Types: a.cfg.Events.Types(), Log: a.log, Metrics: reg, Client: a.o.KafkaClient,
		})
		if err == nil {
			return publisher, a.metrics.Register(reg)
		}
		if ctx.Err() != nil {
			return nil, nil //nolint:nilerr // that it was interrupted is no failure
		}
		if may, _ := kafka.Retryable(err); !may {
			return nil, err
		}
		wait := min(time.Second<<min(failures, 5), 30*time.Second)
		a.inTrouble(err)
		a.log.Warn("Kafka is not ready; nothing is read before it is", "err", err, "retry_in", wait)
		if !pause(ctx, wait) {
			return nil, nil
		}
	}
}

// inTrouble notes once more that nothing can be read, and why.
func (a *App) inTrouble(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trouble = status.Error{Text: err.Error(), Class: status.ClassRetry, Since: time.Now(), Count: 1}.After(a.trouble)
}

// pause waits for d. It returns false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// seating is what an account is read with.
type seating struct {
	delivery kafka.Delivery
	journal  poll.Journal    // nil in at-least-once
	allowed  func() bool     // whether the API may be asked; nil: always
	last     watermarkReader // where to go on from if nothing is recorded; nil: from the start
}

// seat builds the account that is read in a seat. It makes no request to the API.
func (a *App) seat(s *seat, with seating) error {
	store := a.memory()
	recorded, err := store.AllProgress(s.AccountID)
	if err != nil {
		return err
	}
	o := accountOptions(a.cfg, s.Account)
	if err := a.checkStart(s.Account, a.publisher.Topics, time.Now()); err != nil {
		return fmt.Errorf("account %s: %w", s.Name, err)
	}
	if len(recorded) == 0 && with.last != nil {
		last, err := with.last()
		if err != nil {
			return err
		}
		o.Resume = watermarksOf(last, s.Account)
	}
	client, err := a.client(s.Account)
	if err != nil {
		return fmt.Errorf("account %s: %w", s.Name, err)
	}
	o.API, o.Store, o.Delivery, o.Observer, o.Abort = client, store, with.delivery, a.observe, a.o.Abort
	switch shard, ok := with.delivery.(*kafka.Shard); {
	case with.allowed != nil:
		o.Lease = groupLease{with.allowed}
	case ok:
		o.Lease = partitionLease{shard.Owned}
	}
	o.Journal, o.Log = with.journal, a.log.With("account", s.Name)
	account, err := poll.NewAccount(o)
	if err != nil {
		return err
	}
	a.mu.Lock()
	s.account = account
	a.mu.Unlock()
	for _, job := range a.jobs.open() {
		if job.Account == s.Name {
			account.Offer(job)
		}
	}
	return nil
}

// client is the way to the API of one account.
func (a *App) client(c *Account) (*kore.Client, error) {
	options := []kore.Option{kore.WithObserver(a.observe.attempt(c.Name))}
	if a.o.Transport != nil {
		options = append(options, kore.WithTransport(a.o.Transport))
	}
	return kore.New(c.Kore(), options...)
}

// watermarkReader returns the last watermarks on Kafka.
type watermarkReader func() (map[string]*events.Watermark, error)

// lastWatermarks reads them when it is first asked for them, and only then.
func (a *App) lastWatermarks(ctx context.Context) watermarkReader {
	return sync.OnceValues(func() (map[string]*events.Watermark, error) { return a.publisher.LastWatermarks(ctx) })
}

// resume finds the last watermark of a unit of an account.
type resume = func(e events.Endpoint, bot string) *events.Watermark

func watermarksOf(read map[string]*events.Watermark, c *Account) resume {
	return func(e events.Endpoint, bot string) *events.Watermark {
		key := events.Watermark{Source: c.Name, Endpoint: string(e)}
		if bot != "" {
			key.BotID = &bot
		}
		if w := read[kafka.WatermarkKey(&key)]; w != nil && w.AccountID == c.AccountID {
			return w
		}
		return nil
	}
}

// checkStart returns an error if Kafka would drop what the first read of an account brings. Once something is recorded, start no
// longer counts: a date that was fine when reading began grows older than any retention.
func (a *App) checkStart(c *Account, topics *kafka.Topics, now time.Time) error {
	start := c.Start.At(now)
	if !start.Before(now.Add(-time.Hour)) {
		return nil
	}
	recorded, err := a.memory().AllProgress(c.AccountID)
	if err != nil || len(recorded) > 0 {
		return err
	}
	return topics.CheckRetention(start, now)
}

// accountOptions turns what is configured of an account into what poll wants to know, less its collaborators.
func accountOptions(cfg *Config, c *Account) poll.Options {
	o := poll.Options{
		Name: c.Name, AccountID: c.AccountID, RequestsPerMinute: c.RequestsPerMinute, Start: c.Start.At,
		Endpoints: map[events.Endpoint]poll.EndpointOptions{}, Policy: plan.DefaultPolicy(),
		Lateness: c.AllowedLateness.Max, Retention: cfg.Memory, Messages: cfg.Events.Message.Enabled,
		CSAT:  extract.CSAT(cfg.Events.CSAT),
		Drain: cfg.Shutdown.Drain,
	}
	o.Policy.HotEvery = min(o.Policy.HotEvery, 2*c.Endpoints.Interactions.PollInterval)
	o.Policy.Tiers = nil
	for _, s := range c.Sweeps {
		o.Policy.Tiers = append(o.Policy.Tiers, plan.Tier(s))
	}
	if c.sweepsChosen {
		o.Policy.ConversationTiers = wholeDays(o.Policy.Tiers)
	}
	for _, b := range c.Bots {
		o.Bots = append(o.Bots, poll.Bot{Name: b.Name, ID: b.BotID})
	}
	for _, e := range events.Endpoints() {
		if s := c.Endpoints.Of(e); s.Enabled {
			o.Endpoints[e] = poll.EndpointOptions{PollInterval: s.PollInterval, IID: c.IID(e)}
		}
	}
	return o
}

// wholeDays is what sweeps mean for an endpoint that is read by the day. Those that reach less far than a day would read the
// whole day all the same, so that the first one that does reach as far stands for them.
func wholeDays(tiers []plan.Tier) []plan.Tier {
	var out []plan.Tier
	for i, t := range tiers {
		if t.Within >= day || i == len(tiers)-1 {
			out = append(out, plan.Tier{Within: max(t.Within, day), Every: t.Every})
		}
	}
	return out
}

// expireEvery is how often what is too old is forgotten.
const expireEvery = time.Hour

// expire drops from memory what was last seen too long ago.
func (a *App) expire(ctx context.Context) error {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		if expired, err := a.memory().Expire(time.Now().Add(-a.cfg.Memory)); err != nil {
			a.log.Warn("forget old entities", "err", err)
		} else if len(expired) > 0 {
			a.log.Debug("forgot old entities", "days", len(expired))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// healthy says whether the accounts' loops turn.
func (a *App) healthy() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.seats {
		if s.account == nil {
			continue
		}
		if err := s.account.Alive(); err != nil {
			return err
		}
	}
	return nil
}

// ready says whether every account that is read here has been read once.
func (a *App) ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.publisher == nil {
		return errors.New("the schema registry or Kafka is not ready")
	}
	for _, s := range a.seats {
		if s.owner != nil && !s.owner.Mine {
			continue
		}
		if s.account == nil {
			return fmt.Errorf("account %s is not read yet", s.Name)
		}
		if err := s.account.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// Status describes the process as it is now.
func (a *App) Status() status.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := status.Status{
		Version: a.o.Version, Now: time.Now().UTC(), Started: a.started.UTC(),
		Delivery: status.Delivery{
			State: status.OK, Mode: a.cfg.Kafka.Delivery, Brokers: a.cfg.Kafka.Brokers, Registry: a.cfg.SchemaRegistry.URL,
			LastError: a.trouble,
		},
		Checkpoint: status.Checkpoint{State: status.OK, Path: a.cfg.Checkpoint.Path},
	}
	if a.trouble != nil {
		s.Delivery.State = status.Failing
	} else if a.publisher == nil {
		s.Delivery.State = status.Waiting
	}
	for _, seat := range a.seats {
		if seat.account == nil {
			s.Accounts = append(s.Accounts, status.Account{
				Name: seat.Name, AccountID: seat.AccountID, Owner: seat.owner, Budget: status.Budget{Limit: seat.RequestsPerMinute},
				Jobs: a.jobs.of(seat.Name),
			})
			if o := seat.owner; o != nil && o.State == status.Failing { // it is not read because nothing can be delivered
				s.Delivery.State, s.Delivery.LastError = status.Failing, o.LastError
			}
			continue
		}
		described, delivery := seat.account.Status()
		described.Owner, described.Jobs = seat.owner, a.jobs.of(seat.Name)
		s.Accounts = append(s.Accounts, described)
		s.Delivery.Published += delivery.Published
		s.Delivery.DeadLetters += delivery.DeadLetters
		if delivery.LastError != nil {
			s.Delivery.LastError, s.Delivery.State = delivery.LastError, status.Failing
		}
		if delivery.LastAck != nil && (s.Delivery.LastAck == nil || delivery.LastAck.After(*s.Delivery.LastAck)) {
			s.Delivery.LastAck = delivery.LastAck
		}
	}
	if stats, err := a.store.Stats(); err != nil {
		s.Checkpoint.State = status.Failing
		s.Checkpoint.LastError = &status.Error{Text: err.Error(), Class: status.ClassRetry, Since: s.Now, Count: 1}
	} else {
		s.Checkpoint.Bytes, s.Checkpoint.Entities = stats.Bytes, stats.Entities
	}
	s.State = s.Worst()
	return s
}
