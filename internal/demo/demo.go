// Package demo shows the poller without an account: poller demo runs it beside a simulated contact centre, a broker and a schema
// registry in one process, and poller simulate serves the contact centre to a poller of its own.
package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/koresim"
)

// Options are the flags of poller demo.
type Options struct {
	Version  string
	Program  string        // as it was called, for the command that it prints; empty: poller
	Duration time.Duration // 0 goes on until it is stopped
	JSON     bool          // one object at the end instead of the screen
	Seed     uint64
	Listen   string // of the HTTP server; empty for none
	AnyPort  bool   // take another port if that of Listen is taken
	// Hurry ends when a second signal asks to stop without a verdict. Nil means never.
	Hurry <-chan struct{}
}

// What the demonstration's contact centre is like: small, and in a hurry.
const (
	segmentsPerDay    = 200_000
	requestsPerMinute = 1_200
	// settleTimeout bounds how long the last events may take to arrive after the demo was stopped.
	settleTimeout = 90 * time.Second
	// Where broker and registry are unless somebody else is there: so that commands that read them can be copied from documents. The ports are
	// not Kafka's own, where something may be.
	brokerPort, registryPort = 29092, 28081
)

// demo is simulator, broker, registry, poller and a consumer in one process. The poller is the one that poller run starts,
// configured by a text like anybody's.
type demo struct {
	o      Options
	out    app.Output
	sim    *simulator
	broker *kfake.Cluster
	schema *httptest.Server
	app    *app.App
	taken  string // the address that the HTTP server could not have; empty if it has that of Options
	screen *screen
	names  kafka.Names
	start  time.Time
	report *koresim.Report // of the last comparison
}

// Result is what poller demo --json prints.
type Result struct {
	Expected       int                 `json:"expected"` // things that had to become events
	Found          int                 `json:"found"`
	Lost           int                 `json:"lost"`
	Repeated       int                 `json:"repeated"`
	Wrong          int                 `json:"wrong"`
	Events         int                 `json:"events"` // records on the event topics, revisions included
	Types          map[events.Type]int `json:"types"`
	FreshnessP99MS int64               `json:"freshness_p99_ms"`
}

// errDisagree is returned when the topics do not hold what the contact centre did.
var errDisagree = errors.New("the topics do not agree with the ledger of the simulated contact centre")

// ErrNoVerdict is returned when somebody was in a hurry to stop.
var ErrNoVerdict = errors.New("stopped before the topics were compared with what happened; there is no verdict")

// Run runs simulator, broker, registry and poller in one process and shows what flows, until the duration is over or ctx ends. It then
// compares what consumers see with what the contact centre did up to that time, and returns an error if they disagree, or if there was no
// time to compare them.
func Run(ctx context.Context, out app.Output, o Options) error {
	dir, err := os.MkdirTemp("", "poller-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo's checkpoint: %w", err)
	}
	defer os.RemoveAll(dir)
	d := &demo{o: o, out: out}
	if err := d.open(dir); err != nil {
		return err
	}
	defer d.broker.Close()
	defer d.schema.Close()

	asked := ctx.Done()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // the poller goes on until the verdict
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.sim.Serve(ctx, d.sim.listener) })
	g.Go(func() error { return d.app.Run(ctx) })
	g.Go(func() error { return d.consume(ctx) })
	g.Go(func() error { return d.screen.run(ctx) })
	var result *Result
	g.Go(func() error {
		defer stop()
		var err error
		result, err = d.judge(ctx, asked)
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if result == nil {
		return ErrNoVerdict
	}
	d.print(result)
	if result.Lost+result.Repeated+result.Wrong > 0 || result.Found != result.Expected {
		return fmt.Errorf("%w:\n%s", errDisagree, d.report)
	}
	return nil
}

// open makes all parts, each listening on a free port of the loopback interface.
func (d *demo) open(dir string) error {
	start := time.Now().UTC().Truncate(time.Second)
	d.start = start
	profile := koresim.Profiles()[0]
	cfg := koresim.Config{
		Seed: d.o.Seed, Start: start, Pace: koresim.Burst, Bots: 2, SegmentsPerDay: segmentsPerDay, BotOnly: 0.2,
		Profile: profile, RequestsPerMinute: requestsPerMinute,
	}
	if d.o.Duration > 0 {
		cfg.End = start.Add(d.o.Duration)
	}
	var err error
	if d.sim, err = serveSim("127.0.0.1:0", cfg); err != nil {
		return err
	}
	if d.broker, err = newBroker(kfake.Ports(brokerPort)); err != nil { // taken
		if d.broker, err = newBroker(); err != nil {
			return fmt.Errorf("start the demo's broker: %w", err)
		}
	}
	if d.schema, err = newRegistry(registryPort); err != nil {
		if d.schema, err = newRegistry(0); err != nil {
			return fmt.Errorf("start the demo's schema registry: %w", err)
		}
	}

	poller, _, err := app.Parse(app.LoadOptions{Path: "demo.yaml"}, []byte(d.config(dir, start)))
	if err != nil {
		return fmt.Errorf("configure the demo: %w", err)
	}
	d.names = kafka.NewNames(poller.Kafka.TopicPrefix)
	if d.app, err = d.newApp(poller); err != nil {
		return err
	}
	d.screen = newScreen(d)
	return nil
}

// newBroker starts a broker that clients in Java get along with, Kafka Streams among them: they refuse what kfake answers to newer requests
// that create topics, and to those that describe partitions.
func newBroker(more ...kfake.Opt) (*kfake.Cluster, error) {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.CreateTopics.Int16(), 4)
	versions.SetMaxKeyVersion(kmsg.DescribeTopicPartitions.Int16(), -1)
	return kfake.NewCluster(append(more, kfake.NumBrokers(1), kfake.DefaultNumPartitions(3), kfake.MaxVersions(versions))...)
}

// newRegistry starts a schema registry on a port of the loopback interface; 0 is any.
func newRegistry(port int) (*httptest.Server, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: srfake.NewRegistry().Handler()}}
	server.Start()
	return server, nil
}

// newApp makes the poller. If the address of its HTTP server is taken, another port will do, unless somebody has chosen the address.
func (d *demo) newApp(cfg *app.Config) (*app.App, error) {
	// Warnings of the poller would disturb the view. They are about oddities of the simulated API.
	log, _ := app.NewLog(app.Log{Level: "error", Format: "text"}, d.out.Err)
	o := app.Options{Version: d.o.Version, Log: log}
	a, err := app.New(cfg, o)
	if errors.Is(err, syscall.EADDRINUSE) && !d.o.AnyPort {
		return nil, fmt.Errorf("listen on %q: %w; choose another address with --listen", cfg.Server.Listen, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return a, err
	}
	d.taken = cfg.Server.Listen
	if cfg.Server.Listen, err = anyPort(d.taken); err != nil {
		return nil, err
	}
	if a, err = app.New(cfg, o); err == nil {
		d.out.Log.Warn("the address for metrics and status is taken; another one is used", "taken", d.taken, "addr", a.Addr())
	}
	return a, err
}

// anyPort returns an address with which a listener of the same host gets a port that is free.
func anyPort(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("choose another port than that of %q: %w", address, err)
	}
	return net.JoinHostPort(host, "0"), nil
}

func (d *demo) config(dir string, start time.Time) string {
	account := d.sim.Accounts()[0]
	bots := ""
	for _, b := range account.Bots {
		bots += fmt.Sprintf("      - {name: %q, bot_id: %s}\n", b.Name, b.ID)
	}
	return fmt.Sprintf(`
accounts:
  - name: demo
    base_url: %s
    account_id: %s
    auth: {client_id: %s, client_secret: %s}
    requests_per_minute: %d
    start: %s
    bots:
%s    endpoints:
      interactions: {poll_interval: 1s}
      conversations: {poll_interval: 1s}
      interaction-details: {poll_interval: 1s}
      call-details: {enabled: true, poll_interval: 2s}
    sweeps: [{within: 15m, every: 3s}, {within: 1h, every: 1m}]
    allowed_lateness: 5s
kafka:
  brokers: [%q]
  group: ""
  topics: {partitions: 3, replication_factor: 1}
schema_registry: {url: %q}
checkpoint: {path: %q}
events: {message: {enabled: true}}
server: {listen: %q}
log: {level: warn, format: text}
`, d.sim.url, account.ID, account.ClientID, account.ClientSecret, requestsPerMinute, start.Format(time.RFC3339), bots,
		d.broker.ListenAddrs()[0], d.schema.URL, filepath.Join(dir, "poller.db"), d.o.Listen)
}

// statusPage returns the address of the status page, and why it is not where it was to be; empty if there is none.
func (d *demo) statusPage() string {
	switch {
	case d.app.Addr() == "":
		return ""
	case d.taken != "":
		return "http://" + d.app.Addr() + "/ (" + d.taken + " is taken)"
	}
	return "http://" + d.app.Addr() + "/"
}

// tailCommand returns the command that shows the events of the demo.
func (d *demo) tailCommand() string {
	return fmt.Sprintf("%s tail --brokers %s --registry %s", cmp.Or(d.o.Program, "poller"), d.broker.ListenAddrs()[0], d.schema.URL)
}

// topics are those that hold events, and the copies of negative feedback.
func (d *demo) topics() []string {
	var out []string
	for _, t := range events.Types() {
		out = append(out, d.names.Event(t))
	}
	return append(out, d.names.Negative())
}

// decoder decodes as a consumer would, by what the registry says.
func (d *demo) decoder() (*kafkaread.Decoder, error) {
	client, err := sr.NewClient(sr.URLs(d.schema.URL))
	if err != nil {
		return nil, fmt.Errorf("reach the demo's registry: %w", err)
	}
	return kafkaread.NewDecoder(client), nil
}

// consume reads the topics as they grow, for the screen.
func (d *demo) consume(ctx context.Context) error {
	decoder, err := d.decoder()
	if err != nil {
		return err
	}
	reader := kafkaread.NewReader(decoder, kgo.SeedBrokers(d.broker.ListenAddrs()...), kgo.MetadataMinAge(100*time.Millisecond))
	err = reader.Follow(ctx, func(r *kafkaread.Record) error {
		d.screen.record(r.Topic, r.Value, time.Now())
		return nil
	}, d.topics()...)
	if err != nil {
		return fmt.Errorf("follow the demo's topics: %w", err)
	}
	return nil
}

// judge waits until the duration is over or somebody asks to stop, and then until the topics hold all that was readable then. It returns
// the last comparison; nil if ctx ends or somebody is in a hurry.
func (d *demo) judge(ctx context.Context, asked <-chan struct{}) (result *Result, err error) {
	var over <-chan time.Time
	if d.o.Duration > 0 {
		over = time.After(d.o.Duration)
	}
	select {
	case <-over:
	case <-asked:
	case <-ctx.Done():
		return nil, nil
	}
	d.screen.stop()
	stopped, deadline := d.sim.Now(), time.Now().Add(settleTimeout)
	for {
		select {
		case <-time.After(time.Second):
		case <-d.o.Hurry:
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
		result, err = d.compare(ctx, stopped)
		if err != nil || d.report.OK() || time.Now().After(deadline) {
			return result, err
		}
	}
}

// compare reads all topics from the start, as a new consumer would, and compares them with what the ledger had when the demo was stopped.
func (d *demo) compare(ctx context.Context, stopped time.Time) (*Result, error) {
	decoder, err := d.decoder()
	if err != nil {
		return nil, err
	}
	records, err := kafkaread.NewReader(decoder, kgo.SeedBrokers(d.broker.ListenAddrs()...)).All(ctx, d.topics()...)
	if err != nil {
		return nil, fmt.Errorf("read the demo's topics back: %w", err)
	}
	observed := make([]koresim.Observed, len(records))
	for i, r := range records {
		observed[i] = koresim.Observed{
			Topic: r.Topic, Key: r.Key, Partition: r.Partition, Offset: r.Offset, Headers: r.Headers, Fields: r.Value,
		}
	}
	now := d.sim.Now()
	report := koresim.Compare(d.sim.Ledger(now), observed, koresim.Scope{From: d.start, To: now.Add(time.Hour), Settled: stopped, Now: now})
	d.report = report
	result := &Result{
		Expected: report.Expected, Found: report.Found, Lost: len(report.Lost), Repeated: len(report.Repeated),
		Wrong: len(report.Wrong), Events: report.Events, Types: map[events.Type]int{},
		FreshnessP99MS: d.screen.freshness(d.sim.Ledger(now)).Milliseconds(),
	}
	for _, t := range events.Types() {
		result.Types[t] = report.ByType[t].Events
	}
	return result, nil
}

// print shows the verdict.
func (d *demo) print(r *Result) {
	if d.o.JSON {
		encoder := json.NewEncoder(d.out.Out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			d.out.Log.Error("print the result", "err", err)
		}
		return
	}
	w := d.out.Out
	fmt.Fprintf(w, "\nStopped after %v. What the contact centre did, compared with the topics, read back as a consumer would:\n\n", time.Since(d.screen.began).Round(time.Second))
	for _, t := range events.Types() {
		fmt.Fprintf(w, "  %-20s %7d\n", t, r.Types[t])
	}
	fmt.Fprintf(w, "\n  expected %d, found %d, lost %d, repeated %d, wrong %d\n", r.Expected, r.Found, r.Lost, r.Repeated, r.Wrong)
	fmt.Fprintf(w, "  in %d records: what changes upstream is published again, as its next revision\n", r.Events)
	fmt.Fprintf(w, "  99 of 100 were on their topic within %s of being readable\n", time.Duration(r.FreshnessP99MS)*time.Millisecond)
	program := cmp.Or(d.o.Program, "poller")
	fmt.Fprintf(w, "\nNext, with a Kafka of your own: %s simulate > poller.yaml, and %s run --config poller.yaml\n", program, program)
}

// quantile returns a value that the fraction q of all does not exceed. It sorts its argument.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(math.Ceil(q*float64(len(values))))-1)]
}
