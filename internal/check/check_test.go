package check_test

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"agentassist-poller/internal/check"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/secret"
)

var update = flag.Bool("update", false, "write the golden files")

var types = []events.Type{events.TypeSearch, events.TypeFeedback}

// world is all that a poller needs, well configured.
type world struct {
	sim      *koresim.Server
	cluster  *kfake.Cluster
	registry *srfake.Registry
	options  check.Options
}

func newWorld(t *testing.T, changes ...func(*koresim.Config)) *world {
	t.Helper()
	cfg := koresim.Config{Start: time.Now().Add(-72 * time.Hour), Bots: 1}
	for _, change := range changes {
		change(&cfg)
	}
	sim, err := koresim.New(cfg)
	require.NoError(t, err)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	w := &world{sim: sim, cluster: cluster, registry: registry}

	account := sim.Accounts()[0]
	o := poll.Options{
		Name: account.Name, AccountID: account.ID, RequestsPerMinute: 60, Start: func(now time.Time) time.Time { return now },
		Endpoints: map[events.Endpoint]poll.EndpointOptions{
			events.Interactions:       {PollInterval: 15 * time.Second},
			events.Conversations:      {PollInterval: time.Minute},
			events.InteractionDetails: {PollInterval: time.Minute},
		},
		Policy: plan.DefaultPolicy(),
	}
	for _, bot := range account.Bots {
		o.Bots = append(o.Bots, poll.Bot{Name: bot.Name, ID: bot.ID})
	}
	k := kafka.DefaultConfig()
	k.Brokers = cluster.ListenAddrs()
	r := kafka.DefaultRegistryConfig()
	r.URL = registry.URL()
	w.options = check.Options{
		Accounts: []check.Account{{Poll: o, API: kore.Config{
			BaseURL: "https://kore.example", AccountID: account.ID, ClientID: account.ClientID, ClientSecret: secret.New(account.ClientSecret),
		}}},
		Kafka:     kafka.Options{Config: k, Registry: r, Types: types, Log: slog.New(slog.DiscardHandler)},
		File:      filepath.Join(t.TempDir(), "state", "poller.db"),
		Transport: sim.Transport(),
	}
	return w
}

// run checks, and makes sure that no secret shows.
func (w *world) run(t *testing.T) []check.Result {
	t.Helper()
	all := check.Run(t.Context(), w.options)
	text, err := json.Marshal(all)
	require.NoError(t, err)
	require.NotContains(t, string(text), w.sim.Accounts()[0].ClientSecret)
	return all
}

func find(t *testing.T, all []check.Result, name string) check.Result {
	t.Helper()
	i := slices.IndexFunc(all, func(r check.Result) bool { return strings.HasSuffix(r.Name, name) })
	require.NotEqual(t, -1, i, "there is no result %q in %v", name, all)
	return all[i]
}

// bad returns what is not ok, as name: state.
func bad(all []check.Result) (out []string) {
	for _, r := range all {
		if r.State != check.OK {
			out = append(out, r.Name+": "+string(r.State))
		}
	}
	return out
}

// Before the first start all is well, and nothing is there afterwards that was not there before. After the start all is well too.
func TestAllIsWell(t *testing.T) {
	w := newWorld(t)
	all := w.run(t)
	require.Empty(t, bad(all))
	w.golden(t, all, "before.txt")

	require.False(t, w.registry.SubjectExists("agentassist.search-value"))
	require.NoDirExists(t, filepath.Dir(w.options.File))
	left, err := os.ReadDir(filepath.Dir(filepath.Dir(w.options.File)))
	require.NoError(t, err)
	require.Empty(t, left)

	p, err := kafka.Open(t.Context(), w.options.Kafka)
	require.NoError(t, err)
	require.Len(t, p.Topics.Created, 7, "none was there")
	require.NoError(t, p.Close(t.Context()))
	all = w.run(t)
	require.Empty(t, bad(all))
	w.golden(t, all, "after.txt")
}

// golden compares what is printed with a file, without what differs from run to run.
func (w *world) golden(t *testing.T, all []check.Result, name string) {
	t.Helper()
	var b strings.Builder
	require.NoError(t, check.Print(&b, all, false))
	got := strings.NewReplacer(w.options.File, "poller.db", w.options.Kafka.Config.Brokers[0], "broker:9092", w.registry.URL(), "http://registry:8081",
		w.options.Accounts[0].API.ClientID, "cs-1").Replace(b.String())
	got = regexp.MustCompile(`[0-9.]+ .iB`).ReplaceAllString(got, "1 GiB")
	got = regexp.MustCompile(`[0-9]+ conversations`).ReplaceAllString(got, "1000 conversations")
	got = regexp.MustCompile(`takes [0-9]+`).ReplaceAllString(got, "takes 20")
	got = regexp.MustCompile(`poller\.[0-9]+ +`).ReplaceAllString(got, "poller.1       ")
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// Each cause is named once, with what to do, and keeps nothing else from being checked.
func TestFailures(t *testing.T) {
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><head><title>Sign in</title></head><body>Please sign in to the proxy.</body></html>")
	}))
	t.Cleanup(html.Close)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())

	account := func(w *world) *check.Account { return &w.options.Accounts[0] }
	skippedEndpoints := []string{"interactions of ", "conversations of ", "interaction-details"}
	for name, tt := range map[string]struct {
		sim     func(*koresim.Config)
		change  func(t *testing.T, w *world)
		at      string // the end of the name of the result
		state   check.State
		found   string
		hint    string
		skipped []string // beginnings, after the name of the account
	}{
		"wrong secret": {
			change: func(_ *testing.T, w *world) { account(w).API.ClientSecret = secret.New("no-such-secret") },
			at:     ": token", state: check.Failed, found: "invalid signature", hint: "check auth.client_id and auth.client_secret",
			skipped: skippedEndpoints,
		},
		"wrong secret of one bot": {
			sim: func(c *koresim.Config) { c.Bots = 2 },
			change: func(_ *testing.T, w *world) {
				second := account(w).Poll.Bots[1].ID
				account(w).API.Bots = map[string]kore.Credentials{second: {ClientID: "cs-own", ClientSecret: secret.New("no-such-secret")}}
			},
			at: ": token of cs-own", state: check.Failed, found: "invalid signature", hint: "check auth.client_id",
			skipped: []string{"interactions of bot-2", "conversations of bot-2"},
		},
		"scope missing": {
			sim: func(c *koresim.Config) { c.Unscoped = []string{koresim.ScopeSmartAssist} },
			at:  ": interaction-details", state: check.Failed, found: "scope (status 403", hint: `give the JWT app the API scope "SmartAssist Analytics", publish the app`,
		},
		"proxy's page": {
			change: func(_ *testing.T, w *world) { w.options.Transport, account(w).API.BaseURL = nil, html.URL },
			at:     ": connection", state: check.Failed, found: "html", hint: "proxy", skipped: append([]string{"token", "clock"}, skippedEndpoints...),
		},
		"unknown host": {
			change: func(_ *testing.T, w *world) { w.options.Transport = noHost{} },
			at:     ": connection", state: check.Failed, found: "no such host", hint: "check the host of base_url", skipped: append([]string{"token", "clock"}, skippedEndpoints...),
		},
		"connection refused": {
			change: func(_ *testing.T, w *world) {
				w.options.Transport, account(w).API.BaseURL = nil, "http://"+nobody.Addr().String()
			},
			at: ": connection", state: check.Failed, found: "connection refused", hint: "base_url cannot be reached", skipped: append([]string{"token", "clock"}, skippedEndpoints...),
		},
		"certificate unknown": {
			change: func(t *testing.T, w *world) {
				server := httptest.NewUnstartedServer(w.sim)
				server.Config.ErrorLog = log.New(io.Discard, "", 0)
				server.StartTLS()
				t.Cleanup(server.Close)
				w.options.Transport, account(w).API.BaseURL = nil, server.URL
			},
			at: ": connection", state: check.Failed, found: "tls: ", hint: "SSL_CERT_FILE", skipped: append([]string{"token", "clock"}, skippedEndpoints...),
		},
		"clock off": {
			sim: func(c *koresim.Config) { c.Skew = 3 * time.Hour },
			at:  ": clock", state: check.Warning, found: "this machine's clock is 3h0m", hint: "set this machine's clock",
		},
		"budget used up": {
			sim: func(c *koresim.Config) { c.RequestsPerMinute = 1 },
			at:  ": conversations of " + "bot-1", state: check.Warning, found: "rate-limited", hint: "ask again later", skipped: []string{"interaction-details"},
		},
		"budget too small": {
			change: func(_ *testing.T, w *world) { account(w).Poll.RequestsPerMinute = 3 },
			at:     ": budget", state: check.Warning, found: "too few for the poll intervals: it polls interactions every", hint: "raise poll_interval",
		},
		"broker away": {
			change: func(_ *testing.T, w *world) { w.options.Kafka.Config.Brokers = []string{nobody.Addr().String()} },
			at:     "Kafka", state: check.Failed, found: "connection refused", hint: "check kafka.brokers", skipped: []string{"topics", "groups and transactional ids"},
		},
		"topic missing": {
			change: func(_ *testing.T, w *world) { w.options.Kafka.Config.Topics.Create = false },
			at:     "topic agentassist.search", state: check.Failed, found: "does not exist", hint: "or set kafka.topics.create: true",
		},
		"start too old": {
			change: func(_ *testing.T, w *world) {
				account(w).Poll.Start = func(now time.Time) time.Time { return now.AddDate(0, 0, -40) }
			},
			at: ": start", state: check.Failed, found: "would drop events", hint: "raise retention.ms",
		},
		"start too old, later": {
			change: func(t *testing.T, w *world) {
				account(w).Poll.Start = func(now time.Time) time.Time { return now.AddDate(0, 0, -40) }
				_, err := kafka.EnsureTopics(t.Context(), w.options.Kafka)
				require.NoError(t, err)
			},
			at: ": start", state: check.Warning, found: "goes on all the same", hint: "raise retention.ms",
		},
		"API hangs": {
			sim: func(c *koresim.Config) {
				c.Faults = koresim.Faults{Rate: 1, Kinds: []koresim.Fault{koresim.FaultTimeout}, Hang: time.Minute}
			},
			change: func(_ *testing.T, w *world) { w.options.Timeout = 2 * time.Second },
			at:     ": interaction-details", state: check.Failed, found: "deadline exceeded", hint: "longer --timeout", skipped: []string{"connection", "token", "clock"},
		},
		"registry away": {
			change: func(_ *testing.T, w *world) { w.registry.Close() },
			at:     "schema registry", state: check.Failed, found: "connection refused", hint: "check schema_registry.url", skipped: []string{"schemas"},
		},
		"registry at another path": {
			change: func(_ *testing.T, w *world) { w.options.Kafka.Registry.URL += "/nowhere" },
			at:     "schema registry", state: check.Failed, found: "no schema registry answers there", hint: "check the path in schema_registry.url", skipped: []string{"schemas"},
		},
		"schema incompatible": {
			change: func(t *testing.T, w *world) {
				w.registry.SeedSchema("agentassist.search-value", 1, 7, sr.Schema{Schema: `"string"`})
				w.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, "/compatibility/subjects/agentassist.search-value/") {
						return false
					}
					_, _ = io.WriteString(w, `{"is_compatible":false,"messages":["TYPE_MISMATCH"]}`)
					return true
				})
			},
			at: "schema agentassist.search-value", state: check.Failed, found: "not compatible with a schema that is registered: TYPE_MISMATCH", hint: "use another kafka.topic_prefix",
		},
		"schema not registered": {
			change: func(_ *testing.T, w *world) { w.options.Kafka.Registry.Register = false },
			at:     "schema agentassist.search-value", state: check.Failed, found: "not found", hint: "or set schema_registry.register: true",
		},
		"registry read-only": {
			change: func(_ *testing.T, w *world) {
				w.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, "/mode") {
						return false
					}
					_, _ = io.WriteString(w, `{"mode":"READONLY"}`)
					return true
				})
			},
			at: "schema agentassist.search-value", state: check.Failed, found: "READONLY", hint: "set the mode to READWRITE",
		},
		"disk": {
			change: func(t *testing.T, w *world) {
				file := filepath.Join(t.TempDir(), "file")
				require.NoError(t, os.WriteFile(file, nil, 0o600))
				w.options.File = filepath.Join(file, "poller.db")
			},
			at: "checkpoint file", state: check.Failed, found: "not a directory", hint: "check checkpoint.path",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := tt.sim
			if sim == nil {
				sim = func(*koresim.Config) {}
			}
			w := newWorld(t, sim)
			if tt.change != nil {
				tt.change(t, w)
			}
			all := w.run(t)
			got := find(t, all, tt.at)
			require.Equal(t, tt.state, got.State, "%v", got)
			require.Contains(t, got.Found, tt.found)
			require.Contains(t, got.Hint, tt.hint)
			var skipped []string
			for _, r := range all {
				if r.State == check.Skipped {
					_, end, _ := strings.Cut(r.Name, ": ")
					if end == "" {
						end = r.Name
					}
					skipped = append(skipped, end)
				}
			}
			require.Len(t, skipped, len(tt.skipped), "%v", skipped)
			for i, want := range tt.skipped {
				require.True(t, strings.HasPrefix(skipped[i], want), "%v", skipped)
			}
			require.Equal(t, tt.state == check.Failed, check.Failures(all) > 0)
			for _, r := range all {
				if r.State == check.Failed {
					require.NotEmpty(t, r.Hint, "%v", r)
					require.NotContains(t, r.Found, r.Hint)
				}
			}
		})
	}
}

// The way to the API is told as far as it was seen.
func TestConnection(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewTLSServer(w.sim)
	t.Cleanup(server.Close)
	w.options.Transport, w.options.Accounts[0].API.BaseURL = server.Client().Transport, server.URL
	require.Regexp(t, `^https://127\.0\.0\.1:\d+ answers at 127\.0\.0\.1:\d+, TLS 1\.3, certificate until 20\d\d-\d\d-\d\d$`, find(t, w.run(t), ": connection").Found)
}

// noHost is a machine that knows no names.
type noHost struct{}

func (noHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}}
}

// An account with many bots is asked a few times only.
func TestManyBots(t *testing.T) {
	w := newWorld(t, func(c *koresim.Config) { c.Bots = 30 })
	all := w.run(t)
	others := find(t, all, "other bots")
	require.Equal(t, check.Skipped, others.State)
	require.Contains(t, others.Found, "41 more requests")
	require.Contains(t, find(t, all, ": budget").Found, "this check has sent 20")
}

// What several things have in common is to be done once.
func TestPrint(t *testing.T) {
	var b strings.Builder
	require.NoError(t, check.Print(&b, []check.Result{
		{Name: "a", State: check.Failed, Found: "x", Hint: "mend it"}, {Name: "bb", State: check.Failed, Found: "y", Hint: "mend it"}, {Name: "c", State: check.OK, Found: "z"},
	}, true))
	require.Equal(t, "\x1b[31mfailed \x1b[0m  a   x\n\x1b[31mfailed \x1b[0m  bb  y\n         └ to do: mend it\n\x1b[32mok     \x1b[0m  c   z\n"+
		"\nok: 1, warning: 0, failed: 2, skipped: 0\n", b.String())
}
