package kafka

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// Metrics counts what is delivered. Counters of which the labels are known exist from the beginning, at 0.
type Metrics struct {
	events     *prometheus.CounterVec // by type
	revisions  *prometheus.CounterVec // by type
	bytes      prometheus.Counter
	watermarks prometheus.Counter
	negative   prometheus.Counter
	dead       *prometheus.CounterVec // by account and stage
	failures   *prometheus.CounterVec // by class
	seconds    prometheus.Histogram
	lastAck    prometheus.Gauge
}

// NewMetrics registers the metrics; with a nil registry they are counted and not shown.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "poller_kafka_events_published_total", Help: "Events that Kafka has acknowledged.",
		}, []string{"type"}),
		revisions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "poller_kafka_revisions_published_total", Help: "Those of the events that are later revisions of what was published before.",
		}, []string{"type"}),
		bytes: f.NewCounter(prometheus.CounterOpts{
			Name: "poller_kafka_published_bytes_total", Help: "Bytes of keys, values and headers that Kafka has acknowledged, uncompressed.",
		}),
		watermarks: f.NewCounter(prometheus.CounterOpts{
			Name: "poller_kafka_watermarks_published_total", Help: "Watermark records that Kafka has acknowledged.",
		}),
		negative: f.NewCounter(prometheus.CounterOpts{
			Name: "poller_kafka_negative_feedback_published_total",
			Help: "Negative feedback, and later revisions of it, that Kafka has acknowledged on the topic feedback-negative.",
		}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "poller_kafka_dead_letters_total", Help: "Dead letters that Kafka has acknowledged, by the stage that failed.",
		}, []string{"account", "stage"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "poller_kafka_delivery_failures_total", Help: "Attempts at delivering a batch that failed, by what the failure asks for.",
		}, []string{"class"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "poller_kafka_delivery_seconds", Help: "Time from the start of a delivery to its record in the checkpoint.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120},
		}),
		lastAck: f.NewGauge(prometheus.GaugeOpts{
			Name: "poller_kafka_last_delivery_timestamp_seconds", Help: "When a batch was last delivered.",
		}),
	}
	// A series that begins with its first count shows no increase: alerts would miss that one.
	for _, t := range events.Types() {
		m.events.WithLabelValues(string(t))
		m.revisions.WithLabelValues(string(t))
	}
	for _, class := range []Class{Retry, Fatal, Refused} {
		m.failures.WithLabelValues(class.String())
	}
	return m
}

// Expect makes the counters of an account exist at 0.
func (m *Metrics) Expect(account string) {
	for _, stage := range []string{"decode", "map", "encode", "publish"} {
		m.dead.WithLabelValues(account, stage)
	}
}

func (m *Metrics) delivered(start time.Time) {
	now := time.Now()
	m.seconds.Observe(now.Sub(start).Seconds())
	m.lastAck.Set(float64(now.UnixMilli()) / 1000)
}

// clientRegisterer registers the client's metrics, but for gauges whose names say that they are counters; buffered has them.
type clientRegisterer struct{ prometheus.Registerer }

func (r clientRegisterer) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if g, ok := c.(prometheus.GaugeFunc); ok && strings.Contains(g.Desc().String(), `_records_total"`) {
			continue
		}
		r.Registerer.MustRegister(c)
	}
}

// buffered is a hook of one client. As long as the client is open, it shows how many records wait in it.
type buffered struct {
	registerer prometheus.Registerer
	gauges     []prometheus.Collector
}

var (
	_ kgo.HookNewClient    = (*buffered)(nil)
	_ kgo.HookClientClosed = (*buffered)(nil)
)

func (b *buffered) OnNewClient(client *kgo.Client) {
	f := promauto.With(b.registerer)
	b.gauges = append(b.gauges, f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "poller_kafka_client_buffered_produce_records", Help: "Records that wait in the client to be sent to Kafka.",
	}, func() float64 { return float64(client.BufferedProduceRecords()) }), f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "poller_kafka_client_buffered_fetch_records", Help: "Records that the client has fetched from Kafka and nobody has read.",
	}, func() float64 { return float64(client.BufferedFetchRecords()) }))
}

func (b *buffered) OnClientClosed(*kgo.Client) {
	for _, g := range b.gauges {
		b.registerer.Unregister(g)
	}
}
