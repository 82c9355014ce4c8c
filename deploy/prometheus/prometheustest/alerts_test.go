package prometheustest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/status"
)

const (
	alertsFile = "../alerts.yaml"
	job        = "agentassist-poller"
	account    = "retail-us"
	every      = 30 * time.Second // scrapes, and evaluations after them
)

// A poller is an instance that says what a test wants.
type poller struct {
	name   string
	down   bool
	status status.Status
	url    string

	started                     prometheus.Gauge
	takeovers, dead, unreadable prometheus.Counter
}

func newPoller(t *testing.T, name string, now time.Time) *poller {
	t.Helper()
	reg := prometheus.NewRegistry()
	metrics := documented(t)
	counter := func(name string, labels prometheus.Labels) prometheus.Counter {
		require.ElementsMatch(t, metrics[name], slices.Collect(maps.Keys(labels)), name)
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "counts", ConstLabels: labels})
		reg.MustRegister(c)
		return c
	}
	p := &poller{
		name:       name,
		started:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "process_start_time_seconds", Help: "as Go's client has it"}),
		takeovers:  counter("poller_account_takeovers_total", prometheus.Labels{"account": account}),
		dead:       counter("poller_kafka_dead_letters_total", prometheus.Labels{"account": account, "stage": "decode"}),
		unreadable: counter("poller_entities_unreadable_total", prometheus.Labels{"account": account, "endpoint": "interactions"}),
	}
	p.started.Set(float64(now.Unix()))
	reg.MustRegister(p.started)
	server, err := app.NewHTTPServer(app.HTTPOptions{
		Listen: "127.0.0.1:0", Metrics: reg, Status: func() status.Status { return p.status }, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	p.url = "http://" + server.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return p
}

func (p *poller) get(t *testing.T, path string) []byte {
	t.Helper()
	resp, err := http.Get(p.url + path)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return text
}

// tells reports whether the status page says that there is something to do.
func (p *poller) tells(t *testing.T) bool {
	t.Helper()
	return bytes.Contains(p.get(t, "/"), []byte("What to do:"))
}

// well returns what an instance says while all is well. It may still read weeks of history for the first time.
func well(now time.Time, reads bool) status.Status {
	before := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	seconds := func(d time.Duration) status.Seconds { return status.Seconds(d) }
	a := status.Account{
		Name: account, AccountID: "a-1", Read: reads, ClockSkew: status.Of(-400 * time.Millisecond),
		Owner:  &status.Owner{State: status.OK, Mine: reads, Instance: "poller-0", Step: "reading"},
		Budget: status.Budget{Limit: 60, Used: 30, PriorityClasses: []status.PriorityClass{{Name: "tail", Share: 0.5, Used: 30}}},
	}
	for _, endpoint := range []string{"interactions", "conversations"} {
		if !reads {
			continue // whoever reads it knows
		}
		a.Endpoints = append(a.Endpoints, status.Endpoint{
			Endpoint: endpoint, BotName: "care", BotID: "st-1", State: status.OK,
			ReadThrough: before(9 * time.Second), CompleteUpTo: before(6 * time.Minute), Lag: status.Of(9 * time.Second),
			FirstRead:    &status.FirstRead{From: *before(480 * time.Hour), To: *before(24 * time.Hour), Remaining: seconds(456 * time.Hour)},
			PollInterval: seconds(15 * time.Second), PollIntervalActual: seconds(15 * time.Second), LongestPollInterval: seconds(31 * time.Second),
			Sweeps: []status.Sweep{
				{Within: seconds(time.Hour), Every: seconds(5 * time.Minute), Actual: seconds(5 * time.Minute), Age: status.Of(8 * time.Minute)},
				{Within: seconds(7 * 24 * time.Hour), Every: seconds(12 * time.Hour), Actual: seconds(12 * time.Hour)},
			},
		})
	}
	return status.Status{
		Now: now, Started: *before(time.Hour), Delivery: status.Delivery{State: status.OK}, Checkpoint: status.Checkpoint{State: status.OK},
		Accounts: []status.Account{a},
	}
}

// A monitor is Prometheus: what it has scraped, and the alerts.
type monitor struct {
	t       *testing.T
	storage *teststorage.TestStorage
	group   *rules.Group
	known   map[string]map[string]labels.Labels // series of the last scrape, by instance
}

func newMonitor(t *testing.T) *monitor {
	t.Helper()
	m := &monitor{t: t, storage: teststorage.New(t), known: map[string]map[string]labels.Labels{}}
	t.Cleanup(func() { _ = m.storage.Close() })
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, NoStepSubqueryIntervalFn: func(int64) int64 { return every.Milliseconds() },
	})
	t.Cleanup(func() { _ = engine.Close() })
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{}, QueryFunc: rules.EngineQueryFunc(engine, m.storage), NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Context: t.Context(), AppendableV2: m.storage, Queryable: m.storage,
	})
	groups, errs := manager.LoadGroups(every, labels.EmptyLabels(), "", nil, false, alertsFile)
	require.NoError(t, errors.Join(errs...))
	require.Len(t, groups, 1)
	for _, g := range groups {
		m.group = g
	}
	return m
}

// scrape appends what an instance says. What it says no longer is stale.
func (m *monitor) scrape(p *poller, now time.Time) {
	m.t.Helper()
	appender := m.storage.Appender(m.t.Context())
	put := func(ls labels.Labels, v float64) {
		_, err := appender.Append(0, ls, now.UnixMilli(), v)
		require.NoError(m.t, err)
	}
	there, up := map[string]labels.Labels{}, 0.0
	if !p.down {
		up = 1
		text := p.get(m.t, "/metrics")
		parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
		for {
			entry, err := parser.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(m.t, err)
			if entry != textparse.EntrySeries {
				continue
			}
			_, _, v := parser.Series()
			var ls labels.Labels
			parser.Labels(&ls)
			ls = labels.NewBuilder(ls).Set("job", job).Set("instance", p.name).Labels()
			there[ls.String()] = ls
			put(ls, v)
		}
	}
	put(labels.FromStrings("__name__", "up", "job", job, "instance", p.name), up)
	for key, ls := range m.known[p.name] {
		if _, ok := there[key]; !ok {
			put(ls, math.Float64frombits(value.StaleNaN))
		}
	}
	m.known[p.name] = there
	require.NoError(m.t, appender.Commit())
}

// firing evaluates the alerts and returns those that fire.
func (m *monitor) firing(now time.Time) map[string]bool {
	m.t.Helper()
	m.group.Eval(m.t.Context(), now)
	out := map[string]bool{}
	for _, r := range m.group.AlertingRules() {
		require.NoError(m.t, r.LastError(), r.Name())
		for _, alert := range r.ActiveAlerts() {
			if alert.State == rules.StateFiring {
				out[r.Name()] = true
				summary := alert.Annotations.Get("summary")
				require.NotContains(m.t, summary, "<error")
				require.NotContains(m.t, summary, "<no value>")
			}
		}
	}
	return out
}

var (
	failure = &status.Error{Text: "it fails", Hint: "mend it", Class: status.ClassPermanent}
	// within are the times of docs/runbook.md, by alert.
	within = sync.OnceValue(func() map[string]time.Duration {
		text, err := os.ReadFile("../../../docs/runbook.md")
		if err != nil {
			panic(err)
		}
		out := map[string]time.Duration{}
		for _, m := range regexp.MustCompile(`(?m)^## (\w+)\n\n\w+\. Fires within (\d+) minutes`).FindAllStringSubmatch(string(text), -1) {
			minutes, _ := strconv.Atoi(m[2])
			out[m[1]] = time.Duration(minutes) * time.Minute
		}
		return out
	})
)

// endpoints does something to each endpoint of the instance that reads the account.
func endpoints(p []*poller, do func(e *status.Endpoint)) {
	for i := range p[0].status.Accounts[0].Endpoints {
		do(&p[0].status.Accounts[0].Endpoints[i])
	}
}

func fail(e *status.Endpoint) { e.State, e.LastError = status.Failing, failure }

// pause has the instance that reads the account say that somebody paused it, and what comes of that.
func pause(p []*poller, since time.Duration) {
	began := p[0].status.Now.Add(-since)
	p[0].status.Accounts[0].Paused = &status.Pause{Since: began}
	endpoints(p, func(e *status.Endpoint) {
		e.State, e.Waiting = status.Waiting, &status.Wait{Reason: status.WaitPaused, Since: began}
		e.Lag = status.Of(9*time.Second + since)
		e.Sweeps[0].Age = status.Of(8*time.Minute + since)
	})
}

// unseen are the alerts for what no status page shows: instances that are gone, and counts of the past.
var unseen = []string{"PollerDown", "PollerTakeovers", "PollerRestarts", "PollerEntitiesUnreadable", "PollerDeadLetters"}

// once calls do at the start of a fault only.
func once(since time.Duration, do func()) {
	if since == 0 {
		do()
	}
}

// A fault is something that goes wrong, or does not.
type fault struct {
	name   string
	red    bool // the status is red
	inject func(p []*poller, since time.Duration)
	alerts []string
	after  time.Duration // when the alert may begin to count, where that is not the start of the fault
}

// faults are whatever makes the status red, and what else an operator must be told. Inject changes what well instances say; it is called
// for every scrape while the fault lasts, with the time since its start.
var faults = []fault{
	{"every instance is down", false, func(p []*poller, _ time.Duration) { p[0].down, p[1].down = true, true }, []string{"PollerDown"}, 0},
	{"nobody reads the account", true, func(p []*poller, _ time.Duration) {
		endpoints(p, fail)
		for _, p := range p {
			p.status.Accounts[0].Read = false
			p.status.Accounts[0].Owner.State = status.Failing
			p.status.Delivery = status.Delivery{State: status.Failing, LastError: failure}
		}
	}, []string{"PollerAccountUnread", "PollerDeliveryFailing", "PollerEndpointFailing"}, 0},
	{"an account is taken over and never read", false, func(p []*poller, since time.Duration) {
		p[0].status.Accounts[0].Read = false
		endpoints(p, func(e *status.Endpoint) {
			e.State, e.Waiting = status.Waiting, &status.Wait{Reason: status.WaitAccount, Since: p[0].status.Now.Add(-since)}
		})
	}, []string{"PollerAccountUnread", "PollerEndpointWaiting"}, 0},
	{"Kafka is away", true, func(p []*poller, since time.Duration) {
		p[0].status.Delivery = status.Delivery{State: status.Failing, LastError: failure}
		endpoints(p, func(e *status.Endpoint) {
			fail(e)
			e.Lag = status.Of(9*time.Second + since)
		})
	}, []string{"PollerDeliveryFailing", "PollerEndpointFailing", "PollerBehind"}, 10 * time.Minute},
	{"Kafka comes and goes", true, func(p []*poller, since time.Duration) {
		if since%(2*time.Minute) < time.Minute {
			p[0].status.Delivery = status.Delivery{State: status.Failing, LastError: failure}
		}
	}, []string{"PollerDeliveryFailing"}, 0},
	{"the disk is full", true, func(p []*poller, _ time.Duration) {
		p[0].status.Checkpoint = status.Checkpoint{State: status.Failing, LastError: failure}
		endpoints(p, fail)
	}, []string{"PollerCheckpointFailing", "PollerEndpointFailing"}, 0},
	{"a topic was changed", true, func(p []*poller, _ time.Duration) { p[1].status.Problems = []status.Error{*failure} }, []string{"PollerProblem"}, 0},
	{"a scope is missing", true, func(p []*poller, _ time.Duration) { fail(&p[0].status.Accounts[0].Endpoints[1]) }, []string{"PollerEndpointFailing"}, 0},
	{"an endpoint fails now and then", false, func(p []*poller, since time.Duration) {
		last := p[0].status.Now.Add(-since % (4 * time.Minute))
		p[0].status.Accounts[0].Endpoints[0].LastFailing = &last
	}, []string{"PollerEndpointFailing"}, 0},
	{"an endpoint waits for its first read", false, func(p []*poller, since time.Duration) {
		e := &p[0].status.Accounts[0].Endpoints[0]
		e.State, e.Waiting = status.Waiting, &status.Wait{Reason: status.WaitFirstRead, Since: p[0].status.Now.Add(-since)}
	}, []string{"PollerEndpointWaiting"}, 0},
	{"an account is paused and forgotten", false, func(p []*poller, since time.Duration) { pause(p, since) }, []string{"PollerAccountPaused"}, 0},
	{"an account is quiet for a day", false, func(p []*poller, since time.Duration) {
		e := &p[0].status.Accounts[0].Endpoints[0]
		e.State, e.Waiting = status.Waiting, &status.Wait{Reason: status.WaitNoRows, Since: p[0].status.Now.Add(-since)}
	}, []string{"PollerEndpointWaiting"}, 23 * time.Hour},
	{"the budget is short", false, func(p []*poller, _ time.Duration) {
		p[0].status.Accounts[0].Endpoints[0].Lag = status.Of(11 * time.Minute)
	}, []string{"PollerBehind"}, 0},
	{"sweeps come late", false, func(p []*poller, since time.Duration) {
		p[0].status.Accounts[0].Endpoints[0].Sweeps[0].Age = status.Of(8*time.Minute + since)
	}, []string{"PollerSweepLate"}, 0},
	{"the API asks to wait again and again", false, func(p []*poller, since time.Duration) {
		if since%(4*time.Minute) < time.Minute {
			until := p[0].status.Now.Add(20 * time.Second)
			p[0].status.Accounts[0].Budget.BlockedUntil = &until
		}
	}, []string{"PollerBlocked"}, 0},
	{"a span cannot be read", false, func(p []*poller, _ time.Duration) {
		now := p[0].status.Now
		p[0].status.Accounts[0].Endpoints[0].Gaps = []status.Gap{{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour), Reason: "capped"}}
	}, []string{"PollerGap"}, 0},
	{"the clock is wrong", false, func(p []*poller, _ time.Duration) {
		p[0].status.Accounts[0].ClockSkew = status.Of(-5 * time.Minute)
	}, []string{"PollerClockSkew"}, 0},
	{"an account is taken over again and again", false, func(p []*poller, since time.Duration) {
		if since < 14*time.Minute && since%(2*time.Minute) == 0 {
			p[int(since/(2*time.Minute))%2].takeovers.Inc()
		}
	}, []string{"PollerTakeovers"}, 12 * time.Minute},
	{"a process restarts again and again", false, func(p []*poller, since time.Duration) {
		if since < 20*time.Minute && since%(5*time.Minute) == 0 {
			p[0].started.Set(float64(p[0].status.Now.Unix()))
		}
	}, []string{"PollerRestarts"}, 15 * time.Minute},
	{"stored entities are damaged", false, func(p []*poller, since time.Duration) {
		once(since, p[0].unreadable.Inc)
	}, []string{"PollerEntitiesUnreadable"}, 0},
	{"the first dead letter", false, func(p []*poller, since time.Duration) { once(since, p[0].dead.Inc) }, []string{"PollerDeadLetters"}, 0},
	// What must alert nobody.
	{"nothing at all, for a day", false, func([]*poller, time.Duration) {}, nil, 24 * time.Hour},
	{"one instance of two is down", false, func(p []*poller, _ time.Duration) { p[1].down = true }, nil, 0},
	{"an account is paused for most of an hour", false, func(p []*poller, since time.Duration) {
		if since < 55*time.Minute {
			pause(p, since)
		}
	}, nil, 2 * time.Hour},
	{"an account was paused where it is not read any more", false, func(p []*poller, since time.Duration) {
		p[1].status.Accounts[0].Paused = &status.Pause{Since: p[1].status.Now.Add(-since)}
	}, nil, 2 * time.Hour},
	{"an account is handed over", false, func(p []*poller, since time.Duration) {
		once(since, p[1].takeovers.Inc)
		if since < 2*time.Minute {
			p[0].status.Accounts[0].Read = false
			endpoints(p, func(e *status.Endpoint) {
				e.State, e.Waiting = status.Waiting, &status.Wait{Reason: status.WaitAccount, Since: p[0].status.Now.Add(-since)}
			})
		}
	}, nil, 0},
	{"the API fails for two minutes", false, func(p []*poller, since time.Duration) {
		if since < 2*time.Minute {
			endpoints(p, fail)
		}
	}, nil, 0},
	{"an account is quiet for some hours", false, func(p []*poller, since time.Duration) {
		e := &p[0].status.Accounts[0].Endpoints[0]
		e.State, e.Waiting = status.Waiting, &status.Wait{Reason: status.WaitNoRows, Since: p[0].status.Now.Add(-since)}
	}, nil, 5 * time.Hour},
	{"a roll-out of both instances", false, func(p []*poller, since time.Duration) {
		for i, p := range p {
			begin := time.Duration(i) * 3 * time.Minute
			once(since-begin, func() {
				p.started.Set(float64(p.status.Now.Unix()))
				p.takeovers.Inc()
			})
			p.down = since >= begin && since < begin+time.Minute
		}
	}, nil, 0},
}

// Every alert fires for what it is there for, within the time that docs/runbook.md states, and for nothing else. It ends with the fault. Whoever
// is called by it finds on the status page what to do.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
			pollers := []*poller{newPoller(t, "poller-0", now), newPoller(t, "poller-1", now)}
			m := newMonitor(t)
			first := map[string]time.Duration{}
			step := func(since time.Duration, faulty bool) map[string]bool {
				now = now.Add(every)
				for i, p := range pollers {
					p.status, p.down = well(now, i == 0), false
				}
				if faulty {
					fault.inject(pollers, since)
				}
				for _, p := range pollers {
					m.scrape(p, now)
				}
				if faulty && since == 0 {
					red := pollers[0].status.Worst().Red() || pollers[1].status.Worst().Red()
					require.True(t, red || !fault.red, "the status is not red")
				}
				return m.firing(now.Add(time.Second))
			}
			for range 40 {
				require.Empty(t, step(0, false), "all is well")
			}
			require.False(t, pollers[0].tells(t) || pollers[1].tells(t), "all is well")
			told := !slices.ContainsFunc(fault.alerts, func(alert string) bool { return !slices.Contains(unseen, alert) })
			lasts := 30 * time.Minute
			for _, alert := range fault.alerts {
				require.Contains(t, within(), alert, "docs/runbook.md does not say within which time it fires")
				lasts = max(lasts, within()[alert])
			}
			lasts += fault.after
			for since := time.Duration(0); since <= lasts; since += every {
				for alert := range step(since, true) {
					if _, ok := first[alert]; !ok {
						first[alert] = since
					}
				}
				told = told || len(first) > 0 && (pollers[0].tells(t) || pollers[1].tells(t))
			}
			require.True(t, told, "the status page does not say what to do about what the alert is for")
			require.ElementsMatch(t, fault.alerts, slices.Collect(maps.Keys(first)))
			for alert, since := range first {
				require.LessOrEqual(t, since, fault.after+within()[alert], alert)
			}
			var still map[string]bool
			for range 2 * 65 { // some look back for an hour
				still = step(0, false)
			}
			require.Empty(t, still, "the fault is over")
		})
	}
}

// No alert is there without a fault that shows it.
func TestEveryAlertIsShown(t *testing.T) {
	var shown []string
	for _, f := range faults {
		shown = append(shown, f.alerts...)
	}
	for _, r := range newMonitor(t).group.AlertingRules() {
		require.Contains(t, shown, r.Name())
	}
}

// Whatever can make the status red has a fault that shows an alert for it.
func TestEverythingRedAlerts(t *testing.T) {
	by := map[string]string{
		".Delivery.State": "Kafka is away", ".Checkpoint.State": "the disk is full", ".Problems": "a topic was changed",
		".Accounts.Owner.State": "nobody reads the account", ".Accounts.Endpoints.State": "a scope is missing",
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(by)), redness(reflect.TypeFor[status.Status](), ""))
	for path, name := range by {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		require.GreaterOrEqual(t, i, 0, path)
		require.True(t, faults[i].red, path)
		require.NotEmpty(t, faults[i].alerts, path)
	}
}

// redness returns where in a status of some type there is a state, or a list of errors; but for the state of all.
func redness(of reflect.Type, path string) (found []string) {
	switch {
	case of == reflect.TypeFor[status.State]():
		if path != ".State" {
			found = append(found, path)
		}
	case of == reflect.TypeFor[[]status.Error]():
		found = append(found, path)
	case of.Kind() == reflect.Pointer, of.Kind() == reflect.Slice:
		found = redness(of.Elem(), path)
	case of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]():
		for i := range of.NumField() {
			found = append(found, redness(of.Field(i).Type, path+"."+of.Field(i).Name)...)
		}
	}
	return found
}
