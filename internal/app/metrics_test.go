package app

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/traces"
)

// A metric is what a scrape or docs/metrics.md says of one.
type metric struct {
	kind   string
	labels []string // sorted, without le
}

// everyMetric is a registry that gives each metric with labels one series, so that a scrape has them all.
type everyMetric struct{ *prometheus.Registry }

var variableLabels = regexp.MustCompile(`variableLabels: \{([^}]*)\}`)

func (r everyMetric) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	var labels []string
	for desc := range descs {
		if m := variableLabels.FindStringSubmatch(desc.String()); m != nil && m[1] != "" {
			labels = strings.Split(m[1], ",")
		}
	}
	values := make([]string, len(labels))
	switch v := c.(type) {
	case *prometheus.CounterVec:
		v.WithLabelValues(values...)
	case *prometheus.GaugeVec:
		v.WithLabelValues(values...)
	case *prometheus.HistogramVec:
		v.WithLabelValues(values...)
	}
	return r.Registry.Register(c)
}

func (r everyMetric) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// scrapeOfEverything has every metric that a poller may show.
func scrapeOfEverything(t *testing.T) string {
	t.Helper()
	reg := everyMetric{prometheus.NewRegistry()}
	newObserver(reg, "1.0.0")
	kafka.NewMetrics(reg)
	traces.NewMetrics(reg)
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{"127.0.0.1:1"}}, quiet.Log, reg)
	require.NoError(t, err)
	defer client.Close()
	now := time.Now()
	s := status.Status{Now: now, Accounts: []status.Account{{
		Name: "retail-us", Budget: status.Budget{PriorityClasses: []status.PriorityClass{{Name: "tail"}}}, ClockSkew: status.Of(0),
		Endpoints: []status.Endpoint{{
			CompleteUpTo: &now, Lag: status.Of(0), PollIntervalActual: 1, LongestPollInterval: 1,
			Waiting: &status.Wait{Reason: status.WaitNoRows}, Sweeps: []status.Sweep{{Age: status.Of(0), Actual: 1}},
		}},
	}}}
	reg.MustRegister(gauges{func() status.Status { return s }})
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body.String())
	return answer.Body.String()
}

// metricsIn returns the metrics of a scrape, without those of Go and of the process.
func metricsIn(t *testing.T, text string) map[string]metric {
	t.Helper()
	out := map[string]metric{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (poller_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		out[m[1]] = metric{kind: m[2]}
	}
	for name, all := range series(t, text) {
		if i := strings.LastIndexByte(name, '_'); out[name].kind == "" && out[name[:i]].kind == "histogram" {
			name = name[:i]
		}
		m, ok := out[name]
		if !ok {
			require.Regexp(t, "^(go|process)_", name)
			continue
		}
		m.labels = nil
		for _, l := range slices.Sorted(slices.Values(all[0])) {
			if l != "le" {
				m.labels = append(m.labels, l)
			}
		}
		out[name] = m
	}
	return out
}

// metricsDocumented returns the metrics of the tables of docs/metrics.md, and its text.
func metricsDocumented(t *testing.T) (map[string]metric, string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	out := map[string]metric{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(poller_\\w+)` \\| (\\w+) \\|([^|]*)\\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(text), -1) {
		name, unit, question := m[1], m[4], m[5]
		require.Empty(t, out[name], "docs/metrics.md documents %s twice", name)
		labels := regexp.MustCompile(`\w+`).FindAllString(m[3], -1)
		slices.Sort(labels)
		out[name] = metric{m[2], labels}
		for suffix, want := range map[string]string{"_timestamp_seconds": "Unix time", "_seconds": "seconds", "_bytes": "bytes", "_info": "1", "_up": "0 or 1"} {
			if strings.HasSuffix(strings.TrimSuffix(name, "_total"), suffix) && (suffix != "_seconds" || !strings.HasSuffix(name, "_timestamp_seconds")) {
				require.Equal(t, want, unit, name)
			}
		}
		require.NotEmpty(t, strings.TrimSpace(question), name)
	}
	return out, string(text)
}

// docs/metrics.md has every metric with its type and labels, and none that does not exist.
func TestMetricsAreDocumented(t *testing.T) {
	documented, text := metricsDocumented(t)
	there := metricsIn(t, scrapeOfEverything(t))
	for name, m := range there {
		require.NotEmpty(t, documented[name], "docs/metrics.md does not document %s", name)
		require.Equal(t, m, documented[name], name)
	}
	for name := range documented {
		require.NotEmpty(t, there[name], "docs/metrics.md documents %s, which does not exist", name)
	}
	for _, name := range regexp.MustCompile(`\bpoller_[a-z0-9_]*[a-z0-9]\b`).FindAllString(text, -1) {
		_, whole := there[name]
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		require.True(t, whole || there[base].kind == "histogram", "docs/metrics.md speaks of %s", name)
	}
}

// Names, units and help follow Prometheus's conventions.
func TestMetricsFollowConventions(t *testing.T) {
	text := scrapeOfEverything(t)
	ours := regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?poller_.*\n`).FindAllString(text, -1)
	problems, err := promlint.New(strings.NewReader(strings.Join(ours, ""))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	for _, m := range regexp.MustCompile(`(?m)^# HELP (poller_\w+) (.*)$`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "poller_kafka_client_") { // whose help is not ours
			require.Regexp(t, `\.$`, m[2], m[1])
		}
	}
}
