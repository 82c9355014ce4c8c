package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/asyncapi"
	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/memory"
	"agentassist-poller/internal/owner"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/traces"
)

// Options are what an App needs beside its configuration.
type Options struct {
	Version string
	// Instance names this process among others. Empty: host name and port.
	Instance string
	// Config is the path that --config named, for the commands that people are told to run.
	Config string
	Log    *slog.Logger
	// Level is that of Log, for server.admin. Nil: what is changed there has no effect.
	Level *slog.LevelVar
	// Transport replaces the transport to the API, and KafkaClient is added to the client's options: for tests and the demo.
	Transport   http.RoundTripper
	KafkaClient []kgo.Opt
	// Collector replaces the transport to the collector of traces: for tests.
	Collector http.RoundTripper
	// Abort ends when the batch in progress must be abandoned at once, without the drain time. Nil: never.
	Abort context.Context
}

// App is one running poller: a checkpoint file, a publisher, and one poll.Account for each account that is read here. It is used
// once: New, then Run or Close.
type App struct {
	// Set by New, and not changed afterwards.
	cfg     *Config
	o       Options
	log     *slog.Logger
	metrics *prometheus.Registry
	observe *observer
	// delivered counts what Kafka has taken, from before there is a publisher.
	delivered *kafka.Metrics
	started   time.Time
	answers   *memory.Budget
	tracer    trace.Tracer // nil without traces
	file      *owner.File  // open from New until Run or Close returns
	http      *HTTPServer  // bound as long as the file is open; nil if none is configured
	admin     *HTTPServer  // the same, for what may be changed
	readers   []*reader    // one for each configured account, in that order; the list never changes

	// closing has what is open: New adds to it, then the goroutine of Run that reads, then Run or Close runs it, each when the one before
	// has ended.
	closing teardown

	jobs     jobs     // what the topic of jobs says; guards itself
	problems problems // with Kafka, the registry and the group; guards itself

	// mu guards what follows, and what the readers hold. No call to the API or to Kafka is made while it is held.
	mu sync.Mutex
	// publisher is nil until Kafka and the registry have answered, and closed when Run returns.
	publisher *kafka.Publisher
	// instance owns the accounts in transactions. It is nil until there is a publisher, and with delivery at-least-once.
	instance *owner.Instance
	// trouble is why there is no publisher yet, or why this instance is not in the group; nil if all is well.
	trouble *status.Error
	// earlier is what accounts delivered that are not attached any more.
	earlier poll.Delivered
}

// A reader is a configured account, and what reads it while it is attached. App.mu guards its fields.
type reader struct {
	*Account
	account *poll.Account // nil while it is not read here
	// last is what read it here before, in this process or as the checkpoint file has it, for what is known of it; nil if there is nothing,
	// or if another instance reads it now.
	last     *poll.Account
	detached time.Time // when it was last; zero if it never was
	paused   time.Time // since when it is paused here; zero if it is not
}

const (
	// closeTimeout bounds the closing of each thing that has nothing to finish.
	closeTimeout = 5 * time.Second
	// tracesTimeout bounds how long the stop waits for a collector.
	tracesTimeout = 3 * time.Second
	// syncTimeout bounds the closing of the file, which first syncs to disk what was written without a sync.
	syncTimeout = time.Minute
)

// New opens the checkpoint file and binds the addresses of the HTTP servers. Close or Run must follow. If it fails, nothing is left open.
func New(cfg *Config, o Options) (_ *App, err error) {
	a := &App{cfg: cfg, o: o, log: o.Log, metrics: prometheus.NewRegistry(), started: time.Now()}
	a.observe, a.delivered = newObserver(a.metrics, o.Version), kafka.NewMetrics(a.metrics)
	a.answers = memory.New(answerBytes(memoryLimit(cgroup)))
	if a.o.Level == nil {
		a.o.Level = new(slog.LevelVar)
	}
	if a.o.Instance == "" {
		a.o.Instance = instanceName(cfg)
	}
	for i := range cfg.Accounts {
		c := &cfg.Accounts[i]
		a.readers = append(a.readers, &reader{Account: c})
		a.observe.expect(cfg, c)
		a.delivered.Expect(c.Name)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.file, err = owner.OpenFile(cfg.Checkpoint.Path, cfg.Kafka.Delivery, a.log); err != nil {
		return nil, err
	}
	a.closing.add("checkpoint file", syncTimeout, func(context.Context) error { return a.file.Close() })
	for _, r := range a.readers {
		r.last = a.recorded(r)
	}
	a.openTraces()
	if cfg.Server.Listen != "" {
		a.http, err = NewHTTPServer(HTTPOptions{
			Listen: cfg.Server.Listen, Pprof: cfg.Server.Pprof, Metrics: a.metrics, Status: a.Status,
			Healthy: a.healthy, Ready: a.ready, AsyncAPI: describeTopics(cfg), Log: a.log,
		})
		if err != nil {
			return nil, err
		}
		a.closing.add("HTTP server", closeTimeout, func(context.Context) error { return a.http.Close() })
	}
	if listen := cfg.Server.Admin.Listen; listen != "" {
		if a.admin, err = bind("server.admin.listen", listen, a.adminHandler(), a.log); err != nil {
			return nil, err
		}
		a.closing.add("admin server", closeTimeout, func(context.Context) error { return a.admin.Close() })
	}
	return a, nil
}

// openTraces begins to send traces, if it is configured where to. They end after everything that they tell about.
func (a *App) openTraces() {
	c := &a.cfg.Traces
	if c.Endpoint == "" {
		return
	}
	sent := traces.Open(traces.Options{
		Endpoint: strings.TrimSuffix(c.Endpoint, "/"), Headers: c.Headers, TLS: c.TLS, SampleRatio: c.SampleRatio,
		Service: c.ServiceName, Version: a.o.Version, Instance: a.o.Instance,
		Metrics: traces.NewMetrics(a.metrics), Log: a.log, Transport: a.o.Collector,
	})
	a.tracer = sent.Tracer()
	a.closing.add("traces", tracesTimeout, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if a.o.Abort != nil {
			defer context.AfterFunc(a.o.Abort, cancel)()
		}
		sent.Close(ctx)
		return nil
	})
}

// describeTopics returns what describes the topics of a configuration. The description is made on the first call only.
func describeTopics(cfg *Config) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		return asyncapi.Document(asyncapi.Options{Kafka: cfg.Kafka, Types: cfg.Events.Types(), Registry: cfg.SchemaRegistry.URL != ""})
	})
}

// instanceName returns the name that tells this process from the others of its group.
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

// Close closes what New opened, for an App that is not run. It does nothing after Run, or a second time, and must not be called during
// Run.
func (a *App) Close() error { return a.closing.run() }

// Addr is the address of the HTTP server, empty without one.
func (a *App) Addr() string {
	if a.http == nil {
		return ""
	}
	return a.http.Addr().String()
}

// Run reads and publishes until ctx ends, then finishes the batch in progress, for at most the drain time, and closes everything that it
// opened, the last first. It returns nil after a stop that succeeded.
func (a *App) Run(ctx context.Context) (err error) {
	if a.closing.closed {
		return errors.New("this poller was closed, and cannot be run again")
	}
	a.announce()
	defer func() {
		if err = errors.Join(err, a.Close()); err == nil {
			a.log.Info("stopped")
		}
	}()
	g, running := errgroup.WithContext(ctx)
	for _, s := range []*HTTPServer{a.http, a.admin} {
		if s != nil {
			g.Go(func() error { return s.Serve(running) })
		}
	}
	g.Go(func() error {
		tellHealth(running, a.log, a.Status)
		return nil
	})
	g.Go(func() error { return a.read(running) })
	if err := g.Wait(); ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// announce logs what is read, and where it goes.
func (a *App) announce() {
	for i := range a.cfg.Accounts {
		c := &a.cfg.Accounts[i]
		a.log.Info("will read", "account", c.Name, "api", c.BaseURL, "bots", len(c.Bots), "endpoints", c.Endpoints.enabled(),
			"requests_per_minute", c.RequestsPerMinute)
	}
	a.log.Info("will publish", "brokers", a.cfg.Kafka.Brokers, "topics", a.cfg.Kafka.TopicPrefix+".*", "delivery", a.cfg.Kafka.Delivery,
		"schema_registry", a.cfg.SchemaRegistry.URL, "privacy", a.cfg.policy.String())
	if a.http != nil {
		a.log.Info("http server listens", "addr", a.Addr(), "status_page", pageAt(a.http.Addr()))
	}
	if a.admin != nil {
		a.log.Info("admin server listens", "addr", a.admin.Addr().String(), "token", a.cfg.Server.Admin.hasToken())
	}
}

// read brings Kafka up, then reads accounts until ctx ends.
func (a *App) read(ctx context.Context) error {
	publisher, err := a.open(ctx)
	if publisher == nil {
		return err
	}
	a.closing.add("Kafka", a.cfg.Shutdown.Drain, func(ctx context.Context) error {
		if err := publisher.Close(ctx); err != nil {
			a.log.Warn("closed Kafka with records on their way; they will be published again", "err", err)
		}
		return nil
	})
	a.mu.Lock()
	a.publisher, a.trouble = publisher, nil
	a.mu.Unlock()
	following, stop := context.WithCancel(ctx)
	var followed sync.WaitGroup
	followed.Go(func() { a.followJobs(following, publisher.Control()) })
	followed.Go(func() { a.checkKafka(following, publisher) })
	a.closing.add("topic of jobs and checks of Kafka", closeTimeout, func(context.Context) error {
		stop()
		followed.Wait()
		return nil
	})
	if publisher.AtLeastOnce == nil {
		return a.readOwned(ctx, publisher)
	}
	return a.readAll(ctx, publisher)
}

// readOwned reads, in transactions, the accounts that this instance owns.
func (a *App) readOwned(ctx context.Context, publisher *kafka.Publisher) error {
	byName := map[string]*reader{}
	var accounts []owner.Account
	for _, r := range a.readers {
		byName[r.Name] = r
		accounts = append(accounts, owner.Account{Name: r.Name, ID: r.AccountID})
	}
	instance := owner.New(owner.Options{
		Publisher: publisher, File: a.file, Group: a.cfg.Kafka.Group != "", Accounts: accounts,
		Attach: func(account owner.Account, with owner.AccountDeps) (func(context.Context) error, error) {
			return a.attach(byName[account.Name], publisher, with, nil)
		},
		Detach:       func(account owner.Account) { a.detach(byName[account.Name]) },
		GroupTrouble: a.inTrouble,
		Problems:     func(source string, found []error) { a.problems.set(a.log, source, found, time.Now()) },
		Config:       a.o.Config, Instance: a.o.Instance, Version: a.o.Version, Log: a.log,
	})
	a.mu.Lock()
	a.instance = instance
	a.mu.Unlock()
	return instance.Run(ctx)
}

// readAll reads all accounts without transactions, as the only instance.
func (a *App) readAll(ctx context.Context, publisher *kafka.Publisher) error {
	store := a.file.Store()
	with := owner.AccountDeps{Store: store, Delivery: publisher.AtLeastOnce}
	last := lastWatermarks(ctx, publisher)
	g, running := errgroup.WithContext(ctx)
	var reads []func(context.Context) error
	for _, r := range a.readers {
		read, err := a.attach(r, publisher, with, last)
		if err != nil {
			return err
		}
		reads = append(reads, read)
	}
	a.log.Info("reading", "accounts", len(a.readers), "version", a.o.Version)
	for _, read := range reads {
		g.Go(func() error { return read(running) })
	}
	g.Go(func() error { return a.expire(running, store) })
	return g.Wait()
}

// open connects to Kafka and the registry, and waits for them while they are merely away. It returns nil and no error if
// ctx ended first.
func (a *App) open(ctx context.Context) (*kafka.Publisher, error) {
	for failures := 0; ; failures++ {
		client := prometheus.NewRegistry() // of this attempt: one that fails leaves nothing behind
		publisher, err := kafka.Open(ctx, kafka.Options{
			Config: a.cfg.Kafka, Instance: a.o.Instance, Registry: a.cfg.SchemaRegistry, Types: a.cfg.Events.Types(), Log: a.log,
			Metrics: a.delivered, ClientMetrics: client, Waiting: a.inTrouble, Client: a.o.KafkaClient,
		})
		if err == nil {
			if err := a.metrics.Register(client); err != nil {
				return nil, errors.Join(err, publisher.Close(ctx))
			}
			return publisher, nil
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

// inTrouble records why nothing can be read, or with nil that the trouble is over.
func (a *App) inTrouble(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.trouble = nil
		return
	}
	trouble := status.Error{Text: err.Error(), Hint: kafka.Hint(err), About: kafka.About(err), Class: status.ClassRetry, Since: time.Now().UTC(), Count: 1}
	if may, known := kafka.Retryable(err); known && !may {
		trouble.Class = status.ClassPermanent
	}
	a.trouble = trouble.After(a.trouble)
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

// attach makes an account ready to be read, and returns what reads it. It makes no request to the API. If nothing is recorded of the
// account, it goes on from its last watermarks, or from its start if last is nil.
func (a *App) attach(r *reader, publisher *kafka.Publisher, with owner.AccountDeps, last watermarkReader) (func(context.Context) error, error) {
	recorded, err := with.Store.AllProgress(r.AccountID)
	if err != nil {
		return nil, err
	}
	o := accountOptions(a.cfg, r.Account)
	if err := checkStart(r.Account, len(recorded) > 0, publisher.Topics, time.Now()); err != nil {
		return nil, fmt.Errorf("account %s: %w", r.Name, err)
	}
	if len(recorded) == 0 && last != nil {
		read, err := last()
		if err != nil {
			return nil, err
		}
		o.Resume = watermarksOf(read, r.Account)
	}
	client, err := a.client(r.Account)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", r.Name, err)
	}
	o.API, o.Store, o.Delivery, o.Observer, o.Abort = client, with.Store, with.Delivery, a.observe, a.o.Abort
	o.TooLarge, o.Memory, o.Tracer = publisher.TooLarge, a.answers, a.tracer
	if with.Journal != nil {
		o.Journal = with.Journal
	}
	if with.Lease != nil {
		o.Lease = with.Lease
	}
	o.Log = a.log.With("account", r.Name)
	account, err := poll.NewAccount(o)
	if err != nil {
		return nil, err
	}
	a.observe.takeovers.WithLabelValues(r.Name).Inc()
	a.mu.Lock()
	if r.account, r.last = account, nil; !r.paused.IsZero() {
		account.Pause(r.paused)
	}
	a.mu.Unlock()
	for _, job := range a.jobs.open() {
		if job.Account == r.Name {
			account.Offer(job)
		}
	}
	return account.Run, nil
}

// recorded returns an account as the checkpoint file has it, which may be out of date, to describe it before it is read; nil if the file
// has nothing of it.
func (a *App) recorded(r *reader) *poll.Account {
	store := a.file.Store()
	if recorded, err := store.AllProgress(r.AccountID); err != nil || len(recorded) == 0 {
		return nil
	}
	o := accountOptions(a.cfg, r.Account)
	o.API, o.Store, o.Log = offline{}, store, slog.New(slog.DiscardHandler)
	account, err := poll.NewAccount(o)
	if err != nil {
		a.log.Debug("the checkpoint file does not say how far an account was read", "account", r.Name, "err", err)
		return nil
	}
	return account
}

// detach drops the reader of an account after it has ended.
func (a *App) detach(r *reader) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.account == nil {
		return
	}
	_, delivered := r.account.Status()
	addDelivered(&a.earlier, delivered)
	r.account, r.last, r.detached = nil, r.account, time.Now().UTC()
}

// client returns the API client of one account.
func (a *App) client(c *Account) (*kore.Client, error) {
	options := []kore.Option{kore.WithObserver(a.observe.attempt(c.Name))}
	if a.o.Transport != nil {
		options = append(options, kore.WithTransport(a.o.Transport))
	}
	return kore.New(c.Kore(), options...)
}

// watermarkReader returns the last watermarks on Kafka.
type watermarkReader func() (map[string]*events.Watermark, error)

// lastWatermarks reads the watermarks on its first call only.
func lastWatermarks(ctx context.Context, publisher *kafka.Publisher) watermarkReader {
	return sync.OnceValues(func() (map[string]*events.Watermark, error) { return publisher.LastWatermarks(ctx) })
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
func checkStart(c *Account, recorded bool, topics *kafka.Topics, now time.Time) error {
	start := c.Start.At(now)
	if recorded || !start.Before(now.Add(-time.Hour)) {
		return nil
	}
	return topics.CheckRetention(start, now)
}

// accountOptions turns the configuration of an account into options of poll, without its collaborators.
func accountOptions(cfg *Config, c *Account) poll.Options {
	o := poll.Options{
		Name: c.Name, AccountID: c.AccountID, RequestsPerMinute: c.RequestsPerMinute, Start: c.Start.At,
		Endpoints: map[events.Endpoint]poll.EndpointOptions{}, Policy: plan.DefaultPolicy(),
		Lateness: poll.Lateness(c.AllowedLateness), Retention: cfg.Retention, Off: cfg.Events.Off(),
		Scores: extract.Scores{CSAT: extract.Thresholds(cfg.Events.CSAT), NPS: extract.Thresholds(cfg.Events.NPS)},
		Drain:  cfg.Shutdown.Drain, KeepOtherBots: c.OtherBots == otherBotsKeep,
	}
	o.Policy.HotEvery = min(o.Policy.HotEvery, 2*c.Endpoints.Interactions.PollInterval)
	o.Policy.Tiers = nil
	for _, s := range c.Sweeps {
		o.Policy.Tiers = append(o.Policy.Tiers, plan.Tier(s))
	}
	o.Policy.Adapt, o.EditWeights = !c.sweepsChosen, map[events.Type]float64{}
	for t, weight := range c.EditWeights {
		o.EditWeights[events.Type(t)] = weight
	}
	if c.sweepsChosen {
		o.Policy.ConversationTiers = wholeDays(o.Policy.Tiers)
	}
	o.Privacy = cfg.policy
	o.Link, _ = events.ParseLink(cmp.Or(c.Link, cfg.Events.Link)) // was checked with the rest of the configuration
	for _, b := range c.Bots {
		o.Bots = append(o.Bots, poll.Bot{Name: b.Name, ID: b.BotID})
	}
	for _, e := range events.Endpoints() {
		if s := c.Endpoints.Of(e); s.Enabled {
			o.Endpoints[e] = poll.EndpointOptions{
				PollInterval: s.PollInterval, IID: c.IID(e), Concurrency: s.Concurrency,
				Filter: poll.Filter{Queues: s.Queues, Channels: s.Channels, Agents: s.Agents},
			}
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

// expireEvery is how often entities past retention are deleted.
const expireEvery = time.Hour

// expire deletes entities past retention from the store, until ctx ends. With transactions each account does so by itself.
func (a *App) expire(ctx context.Context, store *checkpoint.Store) error {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		if expired, err := store.Expire(time.Now().Add(-a.cfg.Retention)); err != nil {
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

// healthy returns an error if an account is stuck.
func (a *App) healthy() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.readers {
		if r.account == nil {
			continue
		}
		if err := r.account.Alive(); err != nil {
			return err
		}
	}
	return nil
}

// ready returns nil if a roll-out may go on: Kafka and the registry have answered, the instance knows which accounts it is to read
// (in a group possibly none), and since each of these was last assigned to it every endpoint has been asked and at least one has
// answered. So an instance is not ready with a wrong secret, nor while the checkpoint of an account is refused, and one that takes an
// account over is not ready until it reads it.
func (a *App) ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.publisher == nil {
		if a.trouble != nil {
			return fmt.Errorf("the schema registry or Kafka is not ready: %s", a.trouble.Text)
		}
		return errors.New("the schema registry and Kafka have not both answered yet")
	}
	if a.instance != nil && !a.instance.Settled() {
		return errors.New("the group has not settled yet which accounts are read here")
	}
	for _, r := range a.readers {
		if o := a.owner(r); o != nil && !o.Mine {
			continue
		}
		if r.account == nil {
			return notRead(r.Name, a.owner(r))
		}
		if err := r.account.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// notRead returns why an account that should be read is not.
func notRead(name string, o *status.Owner) error {
	switch {
	case o == nil:
		return fmt.Errorf("account %s is not read yet", name)
	case o.LastError != nil:
		return fmt.Errorf("account %s is not read yet: %s; last error: %s", name, o.Step, o.LastError.Text)
	}
	return fmt.Errorf("account %s is not read yet: %s", name, o.Step)
}

// owner says who owns an account; nil if that is not known yet, or always this instance. The caller holds mu.
func (a *App) owner(r *reader) *status.Owner {
	if a.instance == nil {
		return nil
	}
	return a.instance.Status(r.Name)
}
