package bench_test

import (
	"cmp"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkatest"
	"agentassist-poller/internal/status"
)

var (
	cost         = flag.Bool("cost", false, "measure what poller run costs, with simulator and Kafka as processes beside it")
	costHistory  = flag.Duration("cost-history", 4*time.Hour, "how much history each run reads")
	costPerDay   = flag.Int("cost-segments-per-day", 100_000, "volume of that history")
	costRounds   = flag.Int("cost-rounds", 3, "how often each delivery reads it; medians count")
	costBase     = flag.String("cost-base", "", "another build of the program, to take turns with this one; nothing else is measured then")
	costOnly     = flag.String("cost-delivery", "", "the only delivery to measure; empty for both")
	costKnown    = flag.Int("cost-known", 10_000_000, "known entities for the comparison with none; 0 leaves it out")
	costIdle     = flag.Int("cost-idle", 299, "accounts where nearly nothing happens, for the comparison with none; 0 leaves it out")
	costAccounts = flag.Int("cost-accounts", 50, "accounts among which the freshness of the same volume is measured again; 0 leaves it out")
	costProfile  = flag.String("cost-profile", "", "write a CPU profile of each run of the first part into this directory")
)

// interactionsOnly leaves the endpoint with the fullest pages: 100 segments, a thousand events.
const interactionsOnly = "{conversations: {enabled: false}, interaction-details: {enabled: false}}"

// TestCost prints what poller run costs: the same history, read from nothing by each delivery in turn, with nothing known
// before and with much, alone and among idle accounts. A machine that others use drifts within minutes: what is compared takes turns in
// one run, and the ratios of the turns count.
//
//	go test ./internal/bench -run TestCost -v -timeout 30m -args -cost
func TestCost(t *testing.T) {
	if !*cost {
		t.Skip("takes minutes: ask for it with -args -cost, or run make bench")
	}
	binary := buildPoller(t)
	broker := kafkatest.Kafka(t, kafkatest.KafkaOptions{})
	b := &costBench{
		base: setup{binary: binary, broker: broker.Addr}, runs: map[string][]reading{},
		full: simulate(t, binary, world{history: *costHistory, perDay: *costPerDay, endpoints: interactionsOnly}),
	}
	deliveries := []string{kafka.AtLeastOnce, kafka.ExactlyOnce}
	if *costOnly != "" {
		deliveries = []string{*costOnly}
	}
	all := simulate(t, binary, world{history: *costHistory / 8, perDay: *costPerDay})
	for round := range *costRounds {
		b.measureFloor(t)
		for _, d := range deliveries {
			b.turn(t, round, fullPages, d, b.full)
			b.turn(t, round, allEndpoints, d, all)
		}
	}
	b.compare(t, deliveries)
	if *costBase == "" {
		b.rest(t, deliveries)
	}
	b.print(t)
}

// The names of runs.
const (
	fullPages    = "pages of 100"
	allEndpoints = "all endpoints"
	floorRun     = "floor of " + fullPages
	ofBase       = ", base"
)

// turn has each build read the same, in an order that changes with the round.
func (b *costBench) turn(t *testing.T, round int, name, delivery, accounts string) {
	builds := []func(){func() { b.measure(t, name, b.setup(t, delivery, accounts), *costProfile) }}
	if *costBase != "" {
		builds = append(builds, func() {
			s := b.setup(t, delivery, accounts)
			s.binary = *costBase
			b.measure(t, name+ofBase, s, "")
		})
	}
	for i := range builds {
		builds[(i+round)%len(builds)]()
	}
}

// compare notes the ratios of what took turns: of each build to the floor, and of this build to the other.
func (b *costBench) compare(t *testing.T, deliveries []string) {
	floor := b.runs[runKey(floorRun, kafka.ExactlyOnce)]
	for _, d := range deliveries {
		for _, name := range []string{fullPages, allEndpoints} {
			product, base := b.runs[runKey(name, d)], b.runs[runKey(name+ofBase, d)]
			if name == fullPages {
				b.note(t, "%s: %s of the floor", runKey(name, d), ratios(product, floor))
			}
			if base == nil {
				continue
			}
			if name == fullPages {
				b.note(t, "%s: %s of the floor", runKey(name+ofBase, d), ratios(base, floor))
			}
			b.note(t, "%s: %s of the base", runKey(name, d), ratios(product, base))
		}
	}
}

func runKey(name, delivery string) string { return name + ", " + delivery }

// ratios says how many times the CPU time per event of the other one took, by round.
func ratios(one, other []reading) string {
	var of []float64
	for i := range one {
		of = append(of, one[i].perEvent()/other[i].perEvent())
	}
	return fmt.Sprintf("%.2f times (%.2f to %.2f in %d rounds) the CPU time", median(of, func(r float64) float64 { return r }),
		slices.Min(of), slices.Max(of), len(of))
}

// rest measures what is not compared.
func (b *costBench) rest(t *testing.T, deliveries []string) {
	for _, d := range deliveries {
		b.freshness(t, d, 1, time.Second)
		if *costAccounts > 0 {
			b.freshness(t, d, *costAccounts, 5*time.Second)
		}
	}
	if *costIdle > 0 {
		b.idle(t, deliveries)
	}
	if *costKnown > 0 && *costOnly == "" {
		b.known(t)
	}
}

// costBench is what the parts of the benchmark share.
type costBench struct {
	base   setup
	full   string // accounts with full pages
	setups int
	floors int
	order  []string
	runs   map[string][]reading // by name and delivery
	notes  []string
}

// setup returns how a poller runs that knows nothing, with topics of its own.
func (b *costBench) setup(t *testing.T, delivery, accounts string) *setup {
	s := b.base
	b.setups++
	s.dir, s.delivery, s.accounts, s.prefix = t.TempDir(), delivery, accounts, fmt.Sprintf("cost%d", b.setups)
	return &s
}

// measure has a poller read the history of the busy account, and keeps what that took.
func (b *costBench) measure(t *testing.T, name string, s *setup, profileTo string) {
	p := s.start(t)
	p.profileTo = profileTo
	r := p.read()
	p.stop()
	b.keep(t, name, s.delivery, r)
}

func (b *costBench) keep(t *testing.T, name, delivery string, r reading) {
	key := runKey(name, delivery)
	if b.runs[key] == nil {
		b.order = append(b.order, key)
	}
	b.runs[key] = append(b.runs[key], r)
	t.Logf("%s: %.0f events in %v and %v of CPU time", key, r.events, r.took.Round(time.Millisecond), r.cpu)
}

func (b *costBench) note(t *testing.T, format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	t.Log(b.notes[len(b.notes)-1])
}

// idle reads the same history while nearly nothing happens in many other accounts, and then looks at what these take.
func (b *costBench) idle(t *testing.T, deliveries []string) {
	idle := simulate(t, b.base.binary, world{history: time.Hour, perDay: 24, accounts: *costIdle, seed: 2, endpoints: interactionsOnly})
	idle = strings.ReplaceAll(idle, "name: account-", "name: idle-")
	for _, d := range deliveries {
		alone := b.quiet(t, d, b.full, "")
		among := b.quiet(t, d, b.full+idle, fmt.Sprintf("among %d idle accounts", *costIdle))
		n := float64(*costIdle)
		b.note(t, "an idle account, %s: %.0f KiB that live, %.1f ms of CPU time a minute", d, (among.alive-alone.alive)/n/(1<<10),
			(among.cpu-alone.cpu).Seconds()*1e3/n)
	}
}

// minute is what a poller takes that has nothing left to read.
type minute struct {
	cpu   time.Duration
	alive float64 // bytes
}

// quiet reads the history and returns what the next minute takes.
func (b *costBench) quiet(t *testing.T, delivery, accounts, name string) (m minute) {
	const seconds = 20
	p := b.setup(t, delivery, accounts).start(t)
	r := p.read()
	if name != "" {
		b.keep(t, name, delivery, r)
	}
	p.until(allCaughtUp)
	before := p.cpu()
	p.sleep(seconds * time.Second)
	m.cpu = (p.cpu() - before) * (60 / seconds)
	m.alive = p.alive()
	p.stop()
	return m
}

// reading is what it took to read a history.
type reading struct {
	events, batches, requests, bytes float64
	took, cpu                        time.Duration
	peak                             int
}

func (r reading) perEvent() float64 { return r.cpu.Seconds() / r.events }

// read waits until the history of the busy account is read, and returns what that took.
func (p *poller) read() (r reading) {
	p.t.Helper()
	p.until(func(s *status.Status) bool { return caughtUp(s.Accounts[0]) })
	m := p.metrics()
	return reading{
		events: m["poller_kafka_events_published_total"], batches: m["poller_kafka_delivery_seconds_count"],
		requests: m["poller_api_requests_total"], bytes: m["poller_kafka_published_bytes_total"],
		took: time.Since(p.began), cpu: p.cpu(), peak: p.peak,
	}
}

func allCaughtUp(s *status.Status) bool {
	return !slices.ContainsFunc(s.Accounts, func(a status.Account) bool { return !caughtUp(a) })
}

// caughtUp says whether the account is read to now, and that without gaps.
func caughtUp(a status.Account) bool {
	for _, e := range a.Endpoints {
		if len(e.Gaps) > 0 || e.FirstRead != nil || e.ReadThrough == nil || time.Duration(*e.Lag) > 5*time.Minute {
			return false
		}
	}
	return a.Read
}

// until waits for something in the status, and keeps the peak of memory from when it is called.
func (p *poller) until(done func(*status.Status) bool) {
	p.t.Helper()
	const patience = 10 * time.Minute
	p.peak = 0
	began := time.Now()
	for n := 0; ; n++ {
		p.sleep(250 * time.Millisecond)
		s := p.status()
		if s == nil || len(s.Accounts) == 0 {
			continue
		}
		if s.Delivery.Published > 0 {
			p.startProfile()
		}
		if done(s) {
			return
		}
		require.Less(p.t, time.Since(began), patience, "the poller does not get there")
	}
}

// sleep lets it work, and watches its memory.
func (p *poller) sleep(d time.Duration) {
	p.t.Helper()
	const often = 50 * time.Millisecond
	tick := time.NewTicker(often)
	defer tick.Stop()
	for range d / often {
		<-tick.C
		p.peak = max(p.peak, p.anon())
	}
}

// startProfile fetches ten seconds of CPU profile, once, if that was asked for.
func (p *poller) startProfile() {
	if p.profileTo == "" {
		return
	}
	path := filepath.Join(p.profileTo, filepath.Base(p.cmd.Args[len(p.cmd.Args)-1])+fmt.Sprint(p.cmd.Process.Pid)+".pprof")
	p.profileTo = ""
	go func() {
		response, err := http.Get(p.url + "/debug/pprof/profile?seconds=10")
		if err != nil {
			return
		}
		defer response.Body.Close()
		if f, err := os.Create(path); err == nil {
			_, _ = f.ReadFrom(response.Body)
			_ = f.Close()
		}
	}()
}

// print writes the table that docs/performance.md shows.
func (b *costBench) print(t *testing.T) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| run\t| events/CPU s\t| events/s\t| RssAnon MiB\t| transactions/s\t| bytes/event\t| events/request\t| CPU µs/event\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, key := range b.order {
		of := func(f func(r reading) float64) float64 { return median(b.runs[key], f) }
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.0f\t| %.1f\t| %.1f\t| %.0f\t| %.0f\t| %.1f\t|\n", key,
			of(func(r reading) float64 { return r.events / r.cpu.Seconds() }),
			of(func(r reading) float64 { return r.events / r.took.Seconds() }),
			of(func(r reading) float64 { return float64(r.peak) / (1 << 20) }),
			of(func(r reading) float64 { return r.batches / r.took.Seconds() }),
			of(func(r reading) float64 { return r.bytes / r.events }),
			of(func(r reading) float64 { return r.events / r.requests }),
			of(func(r reading) float64 { return r.cpu.Seconds() * 1e6 / r.events }))
	}
	require.NoError(t, w.Flush())
	t.Logf("\n%s\n%s", out.String(), strings.Join(b.notes, "\n"))
}

func median[T any](of []T, f func(T) float64) float64 {
	values := make([]float64, len(of))
	for i, v := range of {
		values[i] = f(v)
	}
	slices.SortFunc(values, cmp.Compare)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
