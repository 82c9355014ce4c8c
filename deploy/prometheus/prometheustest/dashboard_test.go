package prometheustest

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
)

// A dashboard is what the tests need of Grafana's JSON.
type dashboard struct {
	Title, UID string
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type, Definition string
			Datasource             datasource
		}
	}
	Annotations struct {
		List []struct {
			Expr, TitleFormat string
			Datasource        datasource
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		Expr, LegendFormat, RefID string
		Datasource                datasource
	}
}

type datasource struct{ Type, UID string }

// ours is the data source that every query asks: the one that a person chooses at the top of the dashboard.
var ours = datasource{"prometheus", "${datasource}"}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../../grafana/agentassist-poller.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	return d
}

// grafana puts values in the place of the variables, as Grafana does.
var grafana = strings.NewReplacer("$__rate_interval", "2m", "$job", job, "$account", account)

// labelsOf returns the labels that a metric has; nil if there is no such metric.
func labelsOf(t *testing.T, metric string) []string {
	t.Helper()
	scraped := []string{"job", "instance"}
	if labels, ok := documented(t)[metric]; ok {
		return append(scraped, labels...)
	}
	switch metric {
	case "up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds":
		return scraped
	case "ALERTS":
		return append(scraped, "alertname", "alertstate", "severity")
	}
	return nil
}

// check holds that an expression names only metrics and labels that exist, and returns the labels of its result.
func check(t *testing.T, query string, e parser.Expr) (labels []string) {
	t.Helper()
	switch e := e.(type) {
	case *parser.VectorSelector:
		labels = labelsOf(t, e.Name)
		require.NotNil(t, labels, "%s asks for %s", query, e.Name)
		var selected []string
		for _, m := range e.LabelMatchers {
			if m.Name != "__name__" {
				require.Contains(t, labels, m.Name, "%s: %s has no label %s", query, e.Name, m.Name)
				selected = append(selected, m.Name)
			}
		}
		require.Contains(t, selected, "job", "%s asks for other jobs, too", query)
		if slices.Contains(labels, "account") {
			require.Contains(t, selected, "account", "%s asks for other accounts, too", query)
		}
		return labels
	case *parser.AggregateExpr:
		require.False(t, e.Without, "%s: say which labels stay, not which go", query)
		inner := check(t, query, e.Expr)
		for _, l := range e.Grouping {
			require.Contains(t, inner, l, "%s groups by %s", query, l)
		}
		return e.Grouping
	case *parser.BinaryExpr:
		labels = check(t, query, e.LHS)
		other := check(t, query, e.RHS)
		if e.VectorMatching != nil {
			for _, l := range slices.Concat(e.VectorMatching.MatchingLabels, e.VectorMatching.Include) {
				require.Contains(t, other, l, "%s matches by %s", query, l)
			}
			labels = append(slices.Clone(labels), e.VectorMatching.Include...)
		}
		if len(labels) == 0 {
			return other
		}
		return labels
	case *parser.Call:
		for _, arg := range e.Args {
			if found := check(t, query, arg); len(found) > 0 {
				labels = found
			}
		}
		return labels
	case *parser.MatrixSelector:
		return check(t, query, e.VectorSelector)
	case *parser.SubqueryExpr:
		return check(t, query, e.Expr)
	case *parser.ParenExpr:
		return check(t, query, e.Expr)
	case *parser.StepInvariantExpr:
		return check(t, query, e.Expr)
	case *parser.UnaryExpr:
		return check(t, query, e.Expr)
	}
	return nil
}

// Every query of the dashboard can be parsed and answered, asks only for what exists, and only of the chosen job and account. Its legend names
// labels that the result has.
func TestDashboardAsksForWhatExists(t *testing.T) {
	d := readDashboard(t)
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	m := newMonitor(t)
	p := newPoller(t, "poller-0", now)
	for i := range 20 {
		p.status = well(now.Add(time.Duration(i)*every), true)
		m.scrape(p, p.status.Now)
	}
	ask := rules.EngineQueryFunc(promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute}), m.storage)
	parse := func(query, legend string) {
		text := grafana.Replace(query)
		require.NotContains(t, text, "$", "a variable that the dashboard does not have")
		e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		require.NoError(t, err, query)
		labels := check(t, query, e)
		for _, l := range regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`).FindAllStringSubmatch(legend, -1) {
			require.Contains(t, labels, l[1], "the legend of %s", query)
		}
		_, err = ask(t.Context(), text, p.status.Now)
		require.NoError(t, err, query)
	}
	asked := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			require.Equal(t, ours, target.Datasource, p.Title)
			parse(target.Expr, target.LegendFormat)
			asked++
		}
	}
	require.Greater(t, asked, 30)
	for _, a := range d.Annotations.List {
		require.Equal(t, ours, a.Datasource)
		parse(a.Expr, a.TitleFormat)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		if v.Type != "query" {
			continue
		}
		require.Equal(t, ours, v.Datasource)
		call := regexp.MustCompile(`^label_values\((\w+)(?:\{job=~"\$job"\})?, (\w+)\)$`).FindStringSubmatch(v.Definition)
		require.NotNil(t, call, v.Definition)
		require.Contains(t, labelsOf(t, call[1]), call[2], v.Definition)
	}
	require.Equal(t, []string{"datasource", "job", "account"}, variables)
}

// One look shows what the one on call wants to know first, and every panel says what it shows.
func TestDashboardIsComplete(t *testing.T) {
	d := readDashboard(t)
	require.Equal(t, "agentassist-poller", d.UID)
	require.Equal(t, "row", d.Panels[0].Type)
	all, first := "", ""
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	look := true
	for i, p := range d.Panels {
		require.False(t, ids[p.ID], "the id of %s is not its own", p.Title)
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				require.Less(t, at[0], 24, p.Title)
				require.Empty(t, taken[at], "%s lies on another panel", p.Title)
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			look = i == 0
			continue
		}
		require.NotEmpty(t, p.Title)
		require.Regexp(t, `\.$`, p.Description, p.Title)
		require.Equal(t, ours, p.Datasource, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			all += target.Expr + "\n"
			if look {
				first += target.Expr + "\n"
			}
		}
	}
	for _, metric := range []string{
		"poller_endpoint_complete_up_to_timestamp_seconds", "poller_endpoint_lag_seconds", "poller_endpoint_up", "poller_account_read",
		"poller_delivery_up", "poller_checkpoint_up", "poller_problems", "poller_events_published_total", "poller_kafka_dead_letters_total",
		"poller_kafka_negative_feedback_published_total", "poller_account_takeovers_total",
	} {
		require.Contains(t, first, metric, "not at the first look")
	}
	for _, metric := range []string{
		"poller_budget_requests", "poller_budget_limit", "poller_kafka_events_published_total", "poller_endpoint_gap_seconds", "poller_endpoint_waiting_seconds",
		"poller_sweep_age_seconds", "poller_blocked_seconds", "poller_clock_skew_seconds", "poller_api_requests_total", "poller_publish_seconds_bucket",
	} {
		require.Contains(t, all, metric, "not on the dashboard")
	}
	// What an alert watches can be seen.
	for _, r := range newMonitor(t).group.AlertingRules() {
		for _, metric := range regexp.MustCompile(`poller_\w+`).FindAllString(r.Query().String(), -1) {
			if metric != "poller_entities_unreadable_total" { // once in years
				require.Contains(t, all, metric, "%s watches it", r.Name())
			}
		}
	}
}
