// Package demo shows the poller without an account: poller demo runs it beside a simulated contact centre, a broker and a schema
// registry in one process, and poller simulate serves the contact centre to a poller of its own.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
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
	Duration time.Duration // 0 goes on until it is stopped
	JSON     bool          // one object at the end instead of the screen
	Seed     uint64
	Listen   string // of the HTTP server; empty for none
}

// What the demonstration's contact centre is like: small, and in a hurry.
const (
	segmentsPerDay    = 200_000
	requestsPerMinute = 1_200
	// settleTimeout bounds how long the last edits may take to arrive after the contact centre has closed.
	settleTimeout = 90 * time.Second
)

// demo is simulator, broker, registry, poller and a consumer in one process. The poller is the one that poller run starts,
// configured by a text like anybody's.
type demo struct {
	o      Options
	out    app.Output
	sim    *simulator
	broker *kfake.Cluster
	schema *srfake.Registry
	app    *app.App
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

// Run runs simulator, broker, registry and poller in one process and shows what flows. With a duration, the contact
// centre closes after it; what consumers see is then compared with what happened.
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

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.sim.Serve(ctx, d.sim.listener) })
	g.Go(func() error { return d.app.Run(ctx) })
	g.Go(func() error { return d.consume(ctx) })
	g.Go(func() error { return d.screen.run(ctx) })
	var result *Result
	if o.Duration > 0 {
		g.Go(func() error {
			defer stop()
			var err error
			result, err = d.judge(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if result == nil { // stopped by hand
		return nil
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
	if d.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(3)); err != nil {
		return fmt.Errorf("start the demo's broker: %w", err)
	}
	d.schema = srfake.New()

	poller, _, err := app.Parse(app.LoadOptions{Path: "demo.yaml"}, []byte(d.config(dir, start)))
	if err != nil {
		return fmt.Errorf("configure the demo: %w", err)
	}
	d.names = kafka.NewNames(poller.Kafka.TopicPrefix)
	d.app, err = app.New(poller, app.Options{Version: d.o.Version, Log: d.out.Log})
	if err != nil {
		return err
	}
	d.screen = newScreen(d)
	return nil
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
		d.broker.ListenAddrs()[0], d.schema.URL(), filepath.Join(dir, "poller.db"), d.o.Listen)
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
	client, err := sr.NewClient(sr.URLs(d.schema.URL()))
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
	client, err := kgo.NewClient(
		kgo.SeedBrokers(d.broker.ListenAddrs()...), kgo.ConsumeTopics(d.topics()...), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return fmt.Errorf("consume the demo's topics: %w", err)
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		for iter := fetches.RecordIter(); !iter.Done(); {
			r := iter.Next()
			fields, err := decoder.Decode(ctx, r.Value)
			if err != nil {
				return fmt.Errorf("consume %s: %w", r.Topic, err)
			}
			d.screen.record(r.Topic, fields, now)
		}
	}
}

// judge waits until the contact centre has closed and its last edit has had time to arrive, then compares.
func (d *demo) judge(ctx context.Context) (*Result, error) {
	deadline := time.Now().Add(d.o.Duration + settleTimeout)
	wait := d.o.Duration
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(wait):
		}
		wait = time.Second
		result, settled, err := d.compare(ctx)
		if err != nil || settled || time.Now().After(deadline) {
			return result, err
		}
	}
}

// compare reads all topics from the start, as a new consumer would, and compares them with the ledger. It is settled when
// everything has come and nothing more will: the ledger has no version that is yet to become visible.
func (d *demo) compare(ctx context.Context) (result *Result, settled bool, err error) {
	now := d.sim.Now()
	decoder, err := d.decoder()
	if err != nil {
		return nil, false, err
	}
	records, err := kafkaread.NewReader(decoder, kgo.SeedBrokers(d.broker.ListenAddrs()...)).All(ctx, d.topics()...)
	if err != nil {
		return nil, false, fmt.Errorf("read the demo's topics back: %w", err)
	}
	observed := make([]koresim.Observed, len(records))
	for i, r := range records {
		observed[i] = koresim.Observed{
			Topic: r.Topic, Key: r.Key, Partition: r.Partition, Offset: r.Offset, Headers: r.Headers, Fields: r.Value,
		}
	}
	report := koresim.Compare(d.sim.Ledger(now), observed, koresim.Scope{From: d.start, To: now.Add(time.Hour), Settled: now, Now: d.sim.Now()})
	result = &Result{
		Expected: report.Expected, Found: report.Found, Lost: len(report.Lost), Repeated: len(report.Repeated),
		Wrong: len(report.Wrong), Events: report.Events, Types: map[events.Type]int{},
		FreshnessP99MS: d.screen.freshness(d.sim.Ledger(now)).Milliseconds(),
	}
	for _, t := range events.Types() {
		result.Types[t] = report.ByType[t].Events
	}
	d.report = report
	pending := 0
	for e := range d.sim.Ledger(now.Add(time.Hour)) {
		for _, v := range e.Views {
			if n := len(v.Versions); n > 0 && v.Versions[n-1].Visible.After(now) {
				pending++
			}
		}
	}
	d.screen.closing(pending, result)
	return result, report.OK() && pending == 0, nil
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
	fmt.Fprintf(w, "\nThe contact centre closed after %v. Its ledger against the topics, read back as a consumer would:\n\n", d.o.Duration)
	for _, t := range events.Types() {
		fmt.Fprintf(w, "  %-20s %7d\n", t, r.Types[t])
	}
	fmt.Fprintf(w, "\n  expected %d, found %d, lost %d, repeated %d, wrong %d; 99 of 100 were on their topic within %s of being readable\n",
		r.Expected, r.Found, r.Lost, r.Repeated, r.Wrong, time.Duration(r.FreshnessP99MS)*time.Millisecond)
}

// quantile returns a value that the fraction q of all does not exceed. It sorts its argument.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(math.Ceil(q*float64(len(values))))-1)]
}
