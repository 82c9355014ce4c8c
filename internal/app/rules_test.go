package app

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A rule is an alert of the chart: what it watches.
type rule struct {
	name     string
	severity string
	runbook  string // where people read about it
	metrics  []string
	labels   []string // that its series must have
}

// rulesOfTheChart reads the alerts from the chart's template.
func rulesOfTheChart(t *testing.T) (rules []rule) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/helm/agentassist-poller/templates/prometheusrule.yaml")
	require.NoError(t, err)
	for _, block := range strings.Split(string(text), "- alert: ")[1:] {
		name, rest, _ := strings.Cut(block, "\n")
		expr := regexp.MustCompile(`(?m)^\s*expr: (.*)$`).FindStringSubmatch(rest)
		require.NotNil(t, expr, name)
		severity := regexp.MustCompile(`\{severity: (\w+)\}`).FindStringSubmatch(rest)
		require.NotNil(t, severity, name)
		runbook := regexp.MustCompile(`runbook_url: \{\{ \$runbook \}\}(\S+)`).FindStringSubmatch(rest)
		require.NotNil(t, runbook, name)
		r := rule{name: name, severity: severity[1], runbook: runbook[1], metrics: regexp.MustCompile(`poller_[a-z0-9_]+`).FindAllString(expr[1], -1)}
		for _, by := range regexp.MustCompile(`by \(([^)]*)\)`).FindAllStringSubmatch(expr[1], -1) {
			r.labels = append(r.labels, strings.Split(strings.ReplaceAll(by[1], " ", ""), ",")...)
		}
		selectors := regexp.MustCompile(`\{\{.*?\}\}`).ReplaceAllString(expr[1], "")
		for _, selector := range regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(selectors, -1) {
			for _, matcher := range regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)`).FindAllStringSubmatch(selector[1], -1) {
				r.labels = append(r.labels, matcher[1])
			}
		}
		for _, label := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(rest, -1) {
			r.labels = append(r.labels, label[1])
		}
		r.labels = slices.DeleteFunc(r.labels, func(l string) bool { return l == "job" || l == "instance" }) // Prometheus's own
		rules = append(rules, r)
	}
	require.Greater(t, len(rules), 8)
	return rules
}

// series are the series of a scrape by metric, each with the names of its labels.
func series(t *testing.T, text string) map[string][][]string {
	t.Helper()
	out := map[string][][]string{}
	for line := range strings.Lines(text) {
		m := regexp.MustCompile(`^(\w+)(\{.*\})? \S+$`).FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			require.True(t, strings.HasPrefix(line, "#"), line)
			continue
		}
		labels := []string{}
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		out[m[1]] = append(out[m[1]], labels)
	}
	return out
}

func scrape(t *testing.T, a *App) string {
	t.Helper()
	resp, err := http.Get("http://" + a.Addr() + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

// Whatever an alert of the chart watches is there from the first second of a poller on, also of one that does not reach Kafka: an alert
// on what does not exist never fires, and a counter that begins with its first count shows no increase.
func TestAlertsWatchWhatThereIs(t *testing.T) {
	t.Parallel()
	rules := rulesOfTheChart(t)
	for name, c := range map[string]struct {
		broker  string
		reads   bool
		unknown []string // before the checkpoint was read, or the API has answered
	}{
		"without Kafka": {"127.0.0.1:1", false, []string{
			"poller_endpoint_lag_seconds", "poller_endpoint_waiting_seconds", "poller_sweep_age_seconds", "poller_sweep_interval_seconds", "poller_clock_skew_seconds",
		}},
		"with Kafka": {newBroker(t), true, []string{"poller_sweep_age_seconds", "poller_sweep_interval_seconds", "poller_clock_skew_seconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := New(lifecycleConfig(t, "exactly-once", c.broker, "127.0.0.1:0"), quiet)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			defer func() {
				cancel()
				require.NoError(t, <-done)
			}()
			if c.reads {
				a.attached(t)
			} else {
				require.Eventually(t, func() bool { return a.Status().Delivery.State.Red() }, time.Minute, time.Millisecond)
			}
			text := scrape(t, a)
			there := series(t, text)
			for _, r := range rules {
				for _, metric := range r.metrics {
					if slices.Contains(c.unknown, metric) {
						continue
					}
					require.NotEmpty(t, there[metric], "%s watches %s", r.name, metric)
					for _, labels := range there[metric] {
						for _, label := range r.labels {
							if metric == "poller_account_paused" && label != "account" { // rules match it by the account alone
								continue
							}
							require.Contains(t, labels, label, "%s wants the label %s of %s", r.name, label, metric)
						}
					}
				}
			}
			require.Contains(t, text, `poller_kafka_dead_letters_total{account="retail",stage="decode"} 0`)
			if c.reads {
				require.Contains(t, text, `poller_account_takeovers_total{account="retail"} 1`)
			}
			documented, _ := metricsDocumented(t)
			for name := range metricsIn(t, text) {
				require.NotEmpty(t, documented[name], "docs/metrics.md does not document %s", name)
			}
			require.Contains(t, text, `poller_records_unreadable_total{account="retail",endpoint="interactions"} 0`)
		})
	}
}

// docs/runbook.md has a paragraph for each alert, to which the alert links, and no other. It speaks of metrics that exist.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile("../../docs/runbook.md")
	require.NoError(t, err)
	paragraphs := map[string]string{}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		paragraphs[name] = rest
	}
	for _, r := range rulesOfTheChart(t) {
		require.Equal(t, "#"+strings.ToLower(r.name), r.runbook)
		paragraph := paragraphs[r.name]
		require.Regexp(t, `(?i)^\n`+r.severity+`\. Fires within \d+ minutes`, paragraph, "docs/runbook.md on %s", r.name)
		for _, what := range []string{"**Meaning.** ", "**See it.** ", "**Do.** "} {
			require.Equal(t, 1, strings.Count(paragraph, "\n\n"+what), "docs/runbook.md on %s: %s", r.name, what)
		}
		delete(paragraphs, r.name)
	}
	require.Empty(t, paragraphs, "docs/runbook.md has paragraphs for alerts that do not exist")
	metrics, _ := metricsDocumented(t)
	for _, name := range regexp.MustCompile(`\bpoller_\w+`).FindAllString(string(text), -1) {
		require.NotEmpty(t, metrics[name], "docs/runbook.md speaks of %s", name)
	}
}
