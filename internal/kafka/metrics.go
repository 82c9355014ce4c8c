package kafka

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what is delivered. The client's own metrics come beside it, as poller_kafka_client_*.
type Metrics struct {
	events     *prometheus.CounterVec // by type
	bytes      prometheus.Counter
	watermarks prometheus.Counter
	dead       *prometheus.CounterVec // by stage
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
		bytes: f.NewCounter(prometheus.CounterOpts{
			Name: "poller_kafka_published_bytes_total", Help: "Bytes of keys, values and headers that Kafka has acknowledged, uncompressed.",
		}),
		watermarks: f.NewCounter(prometheus.CounterOpts{
			Name: "poller_kafka_watermarks_published_total", Help: "Watermark records that Kafka has acknowledged.",
		}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "poller_kafka_dead_letters_total", Help: "Dead letters that Kafka has acknowledged, by the stage that failed.",
		}, []string{"stage"}),
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
	for _, stage := range []string{"decode", "map", "encode", "publish"} {
		m.dead.WithLabelValues(stage)
	}
	for _, class := range []Class{Retry, Fatal, Refused} {
		m.failures.WithLabelValues(class.String())
	}
	return m
}

func (m *Metrics) delivered(start time.Time) {
	now := time.Now()
	m.seconds.Observe(now.Sub(start).Seconds())
	m.lastAck.Set(float64(now.UnixMilli()) / 1000)
}
