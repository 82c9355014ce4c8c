package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/status"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/stretchr/testify/require"
)

// serve runs a server until the test ends and returns its URL.
func serve(t *testing.T, o app.HTTPOptions) string {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	o.Log = slog.New(slog.DiscardHandler)
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Status == nil {
		o.Status = func() status.Status { return status.Status{} }
	}
	s, err := app.NewHTTPServer(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return "http://" + s.Addr().String()
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body), resp.Header
}

func TestHTTPPaths(t *testing.T) {
	reg := prometheus.NewRegistry()
	promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "poller_things_total"}).Inc()
	url := serve(t, app.HTTPOptions{
		Metrics: reg,
		Ready:   func() error { return errors.New("retail: interactions has not been read yet") },
		Status:  exampleStatus,
	})
	tests := []struct {
		path, contentType, contains string
		code                        int
	}{
		{"/metrics", "text/plain", "poller_things_total 1", 200},
		{"/healthz", "text/plain", "ok", 200},
		{"/readyz", "text/plain", "retail: interactions has not been read yet", 503},
		{"/status", "application/json", `"account_id": "6798834e4e94062f75aaaaaa"`, 200},
		{"/", "text/html", "retail-us", 200},
		{"/nowhere", "text/plain", "404", 404},
		{"/debug/pprof/", "text/plain", "404", 404},
	}
	for _, test := range tests {
		code, body, header := get(t, url+test.path)
		require.Equal(t, test.code, code, test.path)
		require.Contains(t, header.Get("Content-Type"), test.contentType, test.path)
		require.Contains(t, body, test.contains, test.path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), test.path)
	}
	resp, err := http.Post(url+"/status", "text/plain", nil)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

func TestStatusAsMetrics(t *testing.T) {
	_, body, _ := get(t, serve(t, app.HTTPOptions{Status: exampleStatus})+"/metrics")
	golden(t, "testdata/metrics.txt", body)
	_, body, _ = get(t, serve(t, app.HTTPOptions{})+"/metrics")
	require.Contains(t, body, "poller_delivery_up 1")
}

func TestPprofOnRequest(t *testing.T) {
	code, body, _ := get(t, serve(t, app.HTTPOptions{Pprof: true})+"/debug/pprof/")
	require.Equal(t, 200, code)
	require.Contains(t, body, "goroutine")
}

func TestStatusIsWhatProgramsRead(t *testing.T) {
	_, body, _ := get(t, serve(t, app.HTTPOptions{Status: exampleStatus})+"/status")
	golden(t, "testdata/status.json", body)
	var back status.Status
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&back))
	require.Equal(t, exampleStatus(), back)
}

func TestPageIsWhatPeopleRead(t *testing.T) {
	_, body, header := get(t, serve(t, app.HTTPOptions{Status: exampleStatus})+"/")
	golden(t, "testdata/page.html", body)
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, body, "<script")
	require.NotContains(t, body, "src=")
	_, body, _ = get(t, serve(t, app.HTTPOptions{})+"/")
	require.Contains(t, body, "No accounts yet.")
	elsewhere := status.Status{Accounts: []status.Account{{Name: "retail-us", Owner: &status.Owner{Instance: "poller-1"}}}}
	_, body, _ = get(t, serve(t, app.HTTPOptions{Status: func() status.Status { return elsewhere }})+"/")
	require.Contains(t, body, "All well: other instances read all accounts")
}

// What the API or a configuration says is text, never markup.
func TestPageEscapesEverything(t *testing.T) {
	const evil = `"><script>alert(1)</script>`
	s := exampleStatus()
	s.Version, s.Delivery.Mode, s.Delivery.Brokers, s.Delivery.Registry, s.Checkpoint.Path = evil, evil, []string{evil}, evil, evil
	a := &s.Accounts[0]
	a.Name, a.AccountID, a.Budget.PriorityClasses[0].Name = evil, evil, evil
	e := &a.Endpoints[0]
	e.Endpoint, e.BotName, e.BotID, e.Events = evil, evil, evil, map[string]int64{evil: 1}
	e.Gaps = []status.Gap{{From: s.Now.Add(-time.Hour), To: s.Now, Reason: evil}}
	e.Unsettled = e.Gaps
	e.InWork = []status.Pass{{From: s.Now.Add(-time.Hour), To: s.Now, PriorityClass: evil}}
	e.State, e.LastError = status.Failing, &status.Error{Text: evil, Hint: evil, Class: evil}
	_, body, _ := get(t, serve(t, app.HTTPOptions{Status: func() status.Status { return s }})+"/")
	require.NotContains(t, body, "<script")
	require.GreaterOrEqual(t, strings.Count(body, "&lt;script&gt;"), 19)
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = app.NewHTTPServer(app.HTTPOptions{Listen: l.Addr().String(), Log: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, fmt.Sprintf("listen on server.listen %q", l.Addr()))
	require.ErrorContains(t, err, "is another instance running?")
}

func TestRequestsThatHaveBegunFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, err := app.NewHTTPServer(app.HTTPOptions{
		Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Healthy: func() error { close(entered); <-release; return nil },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served, answered := make(chan error, 1), make(chan string, 1)
	go func() { served <- s.Serve(ctx) }()
	go func() {
		resp, err := http.Get("http://" + s.Addr().String() + "/healthz")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		answered <- resp.Status
	}()
	<-entered
	cancel()
	close(release)
	require.Equal(t, "200 OK", <-answered)
	require.NoError(t, <-served)
}

func exampleStatus() status.Status {
	now := time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	seconds := func(d time.Duration) status.Seconds { return status.Seconds(d) }
	sweeps := []status.Sweep{
		{Within: seconds(time.Hour), Every: seconds(5 * time.Minute), Actual: seconds(5 * time.Minute), Age: status.Of(3 * time.Minute)},
		{Within: seconds(24 * time.Hour), Every: seconds(time.Hour), Actual: seconds(100 * time.Minute), BoundBy: "budget", Age: status.Of(47 * time.Minute)},
		{Within: seconds(7 * 24 * time.Hour), Every: seconds(6 * time.Hour), Actual: seconds(9 * time.Hour)},
	}
	return status.Status{
		Version: "1.0.0", Now: now, Started: now.Add(-50 * time.Hour), State: status.Failing,
		Delivery: status.Delivery{
			State: status.OK, Mode: "exactly-once", Brokers: []string{"kafka-0:9092", "kafka-1:9092"}, Registry: "http://registry:8081",
			Published: 1234567, DeadLetters: 3, LastAck: before(1200 * time.Millisecond),
		},
		Checkpoint: status.Checkpoint{State: status.OK, Path: "/var/lib/poller/poller.db", Bytes: 48 << 20, Entities: 987654},
		Problems: []status.Error{{
			Text: "topic agentassist.search has cleanup.policy=compact; want delete: compaction would keep only the last record of each key; set cleanup.policy=delete on it",
			Hint: "set cleanup.policy=delete on it", About: "topic agentassist.search",
			Class: status.ClassPermanent, Since: *before(4 * time.Minute), Count: 9,
		}},
		Accounts: []status.Account{{
			Name: "retail-us", AccountID: "6798834e4e94062f75aaaaaa", Read: true,
			Owner:  &status.Owner{State: status.OK, Step: "reading", Partition: 17, Instance: "poller-0", Mine: true},
			Paused: &status.Pause{Since: *before(90 * time.Second), InFlight: 1},
			Budget: status.Budget{Limit: 60, Used: 41, PriorityClasses: []status.PriorityClass{
				{Name: "new", Share: 0.5, Used: 24}, {Name: "hot", Share: 0.25, Used: 9}, {Name: "sweep", Share: 0.15, Used: 8}, {Name: "backfill", Share: 0.1},
			}, BlockedUntil: nil},
			ClockSkew: status.Of(-400 * time.Millisecond), UnreadableEntities: 2,
			Contradictions: []status.Contradiction{{Kind: "copies", Count: 3, Endpoint: "interactions", First: `segment bd95fa5e723 in row "ac-1" of conversation "c-1"`}},
			Jobs: []status.Job{{
				ID: "9b1f0c52", State: "running", From: *before(72 * time.Hour), To: *before(48 * time.Hour), Republish: true,
				Fraction: 0.375, Requests: 1204, Events: 40213, Updated: *before(20 * time.Second),
			}},
			Endpoints: []status.Endpoint{
				{
					Endpoint: "interactions", BotName: "care", BotID: "st-79a76d65-d540-5b33-96d5-9bf3eeb00000", State: status.OK,
					CompleteFrom: before(72 * time.Hour), ReadThrough: before(9 * time.Second), CompleteUpTo: before(6 * time.Minute), Lag: status.Of(9 * time.Second),
					InWork:       []status.Pass{{From: *before(20 * time.Second), To: *before(0), PriorityClass: "tail"}},
					FirstRead:    &status.FirstRead{From: *before(72 * time.Hour), To: *before(60 * time.Hour), Remaining: seconds(11 * time.Hour)},
					PollInterval: seconds(15 * time.Second), PollIntervalActual: seconds(15 * time.Second), LongestPollInterval: seconds(31 * time.Second),
					Gaps: []status.Gap{}, Sweeps: sweeps, Rows: 48211, Events: map[string]int64{"segment": 48211, "search": 90377, "feedback": 2114},
				},
				{
					Endpoint: "conversations", BotName: "care", BotID: "st-79a76d65-d540-5b33-96d5-9bf3eeb00000", State: status.Failing,
					CompleteFrom: before(72 * time.Hour), ReadThrough: before(11 * time.Minute), CompleteUpTo: before(80 * time.Minute), Lag: status.Of(11 * time.Minute),
					Unsettled:    []status.Gap{{From: *before(40 * time.Minute), To: *before(30 * time.Minute), Reason: "the total of a day differed"}},
					PollInterval: seconds(time.Minute), PollIntervalActual: seconds(95 * time.Second), LongestPollInterval: seconds(11 * time.Minute),
					PollBoundBy: "in-flight", Concurrency: 2, RequestTime: seconds(5 * time.Second),
					Gaps:   []status.Gap{{From: *before(2 * time.Hour), To: *before(110 * time.Minute), Reason: "the page could not be read"}},
					Sweeps: sweeps[:1], Rows: 17002, Events: map[string]int64{"agentic-request": 5120},
					LastError: &status.Error{Text: "POST aaconversation: the answer is HTML, not JSON", Hint: "a proxy answers in the API's place: check base_url and the proxy",
						Class: status.ClassShape, Since: now.Add(-11 * time.Minute), Count: 7},
				},
				{
					Endpoint: "interaction-details", State: status.Failing, PollInterval: seconds(time.Minute), PollIntervalActual: seconds(time.Minute),
					Gaps: []status.Gap{}, Sweeps: []status.Sweep{}, Events: nil,
					LastError: &status.Error{Text: "POST interactionDetails: status 403", Hint: "give the JWT app the scope SmartAssist Analytics and publish it",
						Class: status.ClassPermanent, Since: now.Add(-50 * time.Hour), Count: 1},
				},
				{
					Endpoint: "call-details", State: status.Waiting, PollInterval: seconds(time.Minute), PollIntervalActual: seconds(time.Minute),
					Gaps: []status.Gap{}, Sweeps: []status.Sweep{}, LastFailing: before(40 * time.Second),
					Waiting: &status.Wait{Reason: status.WaitNoRows, Text: "no bot had a row in the last 6 days", Since: now.Add(-time.Hour), Until: before(-time.Minute)},
				},
			},
		}},
	}
}
