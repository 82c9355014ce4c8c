package app

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
)

// observer counts what the accounts and their clients do.
type observer struct {
	requests     *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	received     *prometheus.CounterVec
	rows         *prometheus.CounterVec
	dropped      *prometheus.CounterVec
	dead         *prometheus.CounterVec
	drift        *prometheus.CounterVec
	paths        *openLabel // of drift
	published    *prometheus.CounterVec
	unchanged    *prometheus.CounterVec
	merged       *prometheus.CounterVec
	damaged      *prometheus.CounterVec
	contradicted *prometheus.CounterVec
	takeovers    *prometheus.CounterVec
	freshness    *prometheus.HistogramVec
}

var _ poll.Observer = (*observer)(nil)

func newObserver(reg prometheus.Registerer, version string) *observer {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := promauto.With(reg)
	f.NewGauge(prometheus.GaugeOpts{
		Name: "poller_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}).Set(1)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &observer{
		requests: counter("poller_api_requests_total", "Requests sent to the API, by outcome: ok, or the reason of the failure.", "account", "endpoint", "outcome"),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "poller_api_request_seconds", Help: "How long requests to the API took.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900},
		}, []string{"endpoint"}),
		received:     counter("poller_api_received_bytes_total", "Bytes of response bodies, decompressed.", "account", "endpoint"),
		rows:         counter("poller_rows_total", "Rows read, re-reads included.", "account", "endpoint"),
		dropped:      counter("poller_rows_dropped_total", "Rows read and not published, re-reads included: of bots that are not configured (other_bot), or that the endpoint's filter does not take (filter).", "account", "endpoint", "reason"),
		dead:         counter("poller_records_unreadable_total", "Records that could not be read, re-reads included.", "account", "endpoint"),
		drift:        counter("poller_drift_total", "Upstream fields that are not known or could not be used, by path; paths beyond the first ones are counted as other.", "endpoint", "path"),
		paths:        newOpenLabel("poller_drift_total", "path"),
		published:    counter("poller_events_published_total", "Events published.", "account", "endpoint", "type"),
		unchanged:    counter("poller_entities_unchanged_total", "Entities read again that had not changed.", "account", "endpoint"),
		merged:       counter("poller_merge_hits_total", "Entities that a second endpoint showed for the first time.", "account", "endpoint"),
		damaged:      counter("poller_entities_unreadable_total", "Stored entities that could not be read and were published again as revision 1.", "account", "endpoint"),
		contradicted: counter("poller_contradictions_total", "Rows that contradict others, by kind: copies, alternation, rows or places. What is published follows a rule.", "account", "endpoint", "kind"),
		takeovers:    counter("poller_account_takeovers_total", "How often this instance began to read the account: at its start, and whenever it took over what was lost or left.", "account"),
		freshness: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "poller_publish_seconds", Help: "Time from sending the request that brought an event to its acknowledgement by Kafka.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
		}, []string{"endpoint"}),
	}
}

// expect makes the counters of an account exist from the start, at 0: a series that begins with its first count shows no increase, and
// alerts would miss that one. Of what depends on answers, outcomes and paths, the series begin later.
func (o *observer) expect(cfg *Config, c *Account) {
	types := cfg.Events.Types()
	o.takeovers.WithLabelValues(c.Name)
	for _, e := range c.Endpoints.enabled() {
		for _, counter := range []*prometheus.CounterVec{o.received, o.rows, o.dead, o.unchanged, o.merged, o.damaged} {
			counter.WithLabelValues(c.Name, string(e))
		}
		o.requests.WithLabelValues(c.Name, string(e), "ok")
		for _, t := range e.Spec().Feeds {
			if slices.Contains(types, t) {
				o.published.WithLabelValues(c.Name, string(e), string(t))
			}
		}
	}
}

// attempt returns the observer of one account's client.
func (o *observer) attempt(account string) func(kore.Attempt) {
	return func(a kore.Attempt) {
		outcome := a.Outcome
		if a.Reason != "" {
			outcome = string(a.Reason)
		}
		o.requests.WithLabelValues(account, string(a.Endpoint), outcome).Inc()
		o.seconds.WithLabelValues(string(a.Endpoint)).Observe(a.Duration.Seconds())
		o.received.WithLabelValues(account, string(a.Endpoint)).Add(float64(a.Bytes))
	}
}

func (o *observer) Page(account string, e events.Endpoint, rows, dead int, drift map[string]int64) {
	o.rows.WithLabelValues(account, string(e)).Add(float64(rows))
	o.dead.WithLabelValues(account, string(e)).Add(float64(dead))
	for path, count := range drift {
		o.drift.WithLabelValues(string(e), o.paths.value(path, count)).Add(float64(count))
	}
}

func (o *observer) Dropped(account string, e events.Endpoint, why string, n int64) {
	o.dropped.WithLabelValues(account, string(e), why).Add(float64(n))
}

func (o *observer) Published(account string, e events.Endpoint, t events.Type, n int) {
	o.published.WithLabelValues(account, string(e), string(t)).Add(float64(n))
}

func (o *observer) Entities(account string, e events.Endpoint, unchanged, mergeHits, unreadable int) {
	o.unchanged.WithLabelValues(account, string(e)).Add(float64(unchanged))
	o.merged.WithLabelValues(account, string(e)).Add(float64(mergeHits))
	o.damaged.WithLabelValues(account, string(e)).Add(float64(unreadable))
}

func (o *observer) Contradicted(account string, e events.Endpoint, kind string, n int) {
	o.contradicted.WithLabelValues(account, string(e), kind).Add(float64(n))
}

func (o *observer) Freshness(e events.Endpoint, d time.Duration) {
	o.freshness.WithLabelValues(string(e)).Observe(d.Seconds())
}
