package app_test

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

const good = `
accounts:
  - name: retail
    account_id: 6798834e4e94062f75aaaaaa
    auth: {client_id: cs-1, client_secret: s3cret}
    bots: [{name: care, bot_id: st-1}]
kafka: {brokers: ["localhost:9092"]}
`

func parse(t *testing.T, src string, environ ...string) (*app.Config, []string) {
	t.Helper()
	c, warnings, err := app.Parse(app.LoadOptions{Path: "poller.yaml", Environ: environ}, []byte(src))
	require.NoError(t, err)
	lines := []string{}
	for _, w := range warnings {
		lines = append(lines, w.String())
	}
	return c, lines
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "if this is meant, run go test -update and review %s", file)
}

// Every wrong configuration has its file in testdata/bad, and beside it exactly what is said about it. Lines that begin
// with "# env:" set variables.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			require.NoError(t, err)
			var environ []string
			for line := range strings.Lines(string(src)) {
				if kv, ok := strings.CutPrefix(line, "# env: "); ok {
					environ = append(environ, strings.TrimSpace(kv))
				}
			}
			_, _, err = app.Parse(app.LoadOptions{Path: filepath.Base(file), Environ: environ}, src)
			require.Error(t, err)
			require.Equal(t, app.ExitUsage, app.ExitCode(err))
			require.NotContains(t, err.Error(), "s3cret")
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestDefaults(t *testing.T) {
	c, warnings := parse(t, good)
	require.Empty(t, warnings)
	a := c.Accounts[0]
	require.Equal(t, 60, a.RequestsPerMinute)
	require.Equal(t, 15*time.Second, a.Endpoints.Interactions.PollInterval)
	require.True(t, a.AllowedLateness.Auto)
	require.Equal(t, "now", mustText(t, a.Start))
	require.Equal(t, "st-1", a.IID(events.InteractionDetails), "the only bot")
	require.Equal(t, kore.Config{
		BaseURL: "https://platform.kore.ai", AccountID: "6798834e4e94062f75aaaaaa", ClientID: "cs-1", ClientSecret: a.Auth.ClientSecret,
		Bots: map[string]kore.Credentials{},
		Timeouts: map[events.Endpoint]time.Duration{
			events.Interactions: time.Minute, events.Conversations: 15 * time.Minute,
			events.InteractionDetails: 2 * time.Minute, events.CallDetails: 2 * time.Minute,
		},
		Fields: map[events.Endpoint][]string{
			events.InteractionDetails: {"skills", "customerinfo", "userleveltags", "sessionleveltags"},
			events.CallDetails:        {"skills", "customerinfo", "userleveltags", "sessionleveltags"},
		},
		MaxBody: 32 << 20,
	}, a.Kore())
}

// The reference describes every key there is, and shows each with its default.
func TestReferenceConfiguration(t *testing.T) {
	const file = "../../docs/reference-config.yaml"
	src, err := os.ReadFile(file)
	require.NoError(t, err)
	got, _, err := app.Load(app.LoadOptions{Path: file, SkipFiles: true})
	require.NoError(t, err)

	want, _ := parse(t, string(src[:0])+`
accounts:
  - name: retail-us
    account_id: 6798834e4e94062f75aaaaaa
    auth: {client_id: cs-00000000-0000-0000-0000-000000000000, client_secret: x}
    bots: [{name: care, bot_id: st-79a76d65-d540-5b33-96d5-9bf3eeb00000}]
kafka: {brokers: ["localhost:9092"]}
schema_registry: {url: "http://localhost:8081"}
`)
	want.Accounts[0].Auth, want.Accounts[0].Bots = got.Accounts[0].Auth, got.Accounts[0].Bots
	require.Equal(t, want.Effective(), got.Effective())

	for _, path := range conf.Paths(app.Config{}) {
		key := path[strings.LastIndexByte(path, '.')+1:]
		require.Contains(t, string(src), key+":", "the reference does not show %s", path)
	}
}

func TestEffectiveIsReadBackWithoutSecrets(t *testing.T) {
	c, _ := parse(t, good+"schema_registry: {url: 'http://localhost:8081', username: u, password: s3cret}\n"+
		"traces: {headers: {authorization: Bearer s3cret}}\n", "POLLER_TRACES_SAMPLE_RATIO=0.5")
	shown := c.Effective()
	require.NotContains(t, shown, "s3cret")
	again, _ := parse(t, strings.ReplaceAll(shown, `"[redacted]"`, "s3cret"))
	require.Equal(t, 0.5, again.Traces.SampleRatio)
	require.Equal(t, c.Effective(), again.Effective())
	golden(t, "testdata/effective.yaml", shown)
}

func TestEnvironmentAlone(t *testing.T) {
	c, warnings, err := app.Load(app.LoadOptions{Environ: []string{
		"POLLER_ACCOUNTS_0_NAME=retail", "POLLER_ACCOUNTS_0_ACCOUNT_ID=a1", "POLLER_ACCOUNTS_0_AUTH_CLIENT_ID=cs-1",
		"POLLER_ACCOUNTS_0_AUTH_CLIENT_SECRET_FILE=testdata/secret", "POLLER_ACCOUNTS_0_BOTS_0_BOT_ID=st-1",
		"POLLER_ACCOUNTS_0_ENDPOINTS_INTERACTION_DETAILS_ENABLED=false", "POLLER_ACCOUNTS_0_START=7d ago",
		"POLLER_KAFKA_BROKERS=a:9092,b:9092", "POLLER_KAFKA_TOPICS_OVERRIDES_DEAD_LETTER_RETENTION=90d",
		"POLLER_SCHEMA_REGISTRY_URL=http://localhost:8081", "POLLER_SERVICE_HOST=10.0.0.1",
	}})
	require.NoError(t, err)
	require.Len(t, warnings, 1, "what Kubernetes sets for a service called poller")
	a := c.Accounts[0]
	require.Equal(t, "testdata/secret", a.Kore().ClientSecretFile)
	require.False(t, a.Endpoints.InteractionDetails.Enabled)
	require.Equal(t, []string{"a:9092", "b:9092"}, c.Kafka.Brokers)
	require.Equal(t, 90*24*time.Hour, c.Kafka.Topics.Overrides["dead-letter"].Retention)
	now := time.Now()
	require.Equal(t, now.Add(-7*24*time.Hour), a.Start.At(now))
}

func TestWarnings(t *testing.T) {
	src := `
accounts:
  - name: retail
    base_url: http://kore.internal
    account_id: a1
    auth: {client_id: cs-1, client_secret: s3cret}
    start: 90d ago
    bots: [{bot_id: bot-1}, {bot_id: st-2}]
    endpoints: {conversations: {enabled: false}}
    sweeps: []
kafka: {brokers: ["localhost:9092"], group: pollers, delivery: at-least-once}
events: {message: {enabled: true}}
traces: {endpoint: "http://collector.internal:4318", headers: {authorization: s3cret}}
`
	_, warnings := parse(t, src)
	golden(t, "testdata/warnings.txt", strings.Join(warnings, "\n")+"\n")
}

func TestBotsWithTheirOwnCredentials(t *testing.T) {
	c, _ := parse(t, strings.Replace(good, "bot_id: st-1", "bot_id: st-1, auth: {client_id: cs-2, client_secret_file: testdata/secret}", 1))
	creds := c.Accounts[0].Kore().Bots["st-1"]
	require.Equal(t, "cs-2", creds.ClientID)
	require.Equal(t, "testdata/secret", creds.ClientSecretFile)
}

// Two installations with topics of their own have groups of their own, unless somebody says otherwise.
func TestGroupFollowsFromTheTopics(t *testing.T) {
	for kafka, want := range map[string]string{
		"":                                     "agentassist-poller",
		", topic_prefix: emea.assist":          "emea.assist-poller",
		", topic_prefix: emea, group: pollers": "pollers",
		`, topic_prefix: emea, group: ""`:      "",
		", topic_prefix: emea, delivery: at-least-once": "emea-poller",
	} {
		c, warnings := parse(t, strings.Replace(good, `brokers: ["localhost:9092"]`, `brokers: ["localhost:9092"]`+kafka, 1))
		require.Empty(t, warnings)
		require.Equal(t, want, c.Kafka.Group, kafka)
	}
}

func TestSweepsFitIntoMemory(t *testing.T) {
	c, warnings := parse(t, good+"retention: 10d\n")
	require.Empty(t, warnings)
	require.False(t, slices.ContainsFunc(c.Accounts[0].Sweeps, func(s app.Sweep) bool { return s.Within > c.Retention }))
}

// A configuration that is printed a moment after the poller was started is waited for; one that stays empty is wrong.
func TestConfigurationThatIsStillWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "poller.yaml")
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		var log bytes.Buffer
		await := func() time.Duration {
			began := time.Now()
			app.AwaitConfig(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), path)
			return time.Since(began)
		}
		require.Equal(t, 15*time.Second, await())
		require.Contains(t, log.String(), "the configuration is empty; waiting for it to be written")
		_, _, err := app.Load(app.LoadOptions{Path: path})
		require.ErrorContains(t, err, "accounts")
		var written sync.WaitGroup
		written.Go(func() {
			time.Sleep(1050 * time.Millisecond)
			if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
				t.Error(err)
			}
		})
		require.Equal(t, 1100*time.Millisecond, await())
		written.Wait()
		_, _, err = app.Load(app.LoadOptions{Path: path})
		require.NoError(t, err)
		log.Reset()
		require.Zero(t, await())
		path = "nowhere.yaml"
		require.Zero(t, await())
		require.Empty(t, log.String())
	})
}

func TestMissingFile(t *testing.T) {
	_, _, err := app.Load(app.LoadOptions{Path: "testdata/nowhere.yaml"})
	require.EqualError(t, err, "there is no configuration testdata/nowhere.yaml; name a file that exists with --config")
	require.Equal(t, app.ExitUsage, app.ExitCode(err))
}

func TestStartsAndLateness(t *testing.T) {
	for _, text := range []string{"now", "7d ago", "36h ago", "2026-11-01T00:00:00Z"} {
		var s app.Start
		require.NoError(t, s.UnmarshalText([]byte(text)))
		require.Equal(t, text, mustText(t, s))
	}
	var s app.Start
	require.NoError(t, s.UnmarshalText([]byte("2026-11-01T05:30:00+05:30")))
	require.Equal(t, "2026-11-01T00:00:00Z", mustText(t, s))
	require.NoError(t, s.UnmarshalText([]byte("2026-11-01")))
	require.Equal(t, "2026-11-01T00:00:00Z", mustText(t, s))
	for _, text := range []string{"", "ago", "-1d ago", "7d", "0001-01-01T00:00:00Z", "2026-11-01 00:00"} {
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{"auto", "10m", "0s"} {
		var l app.Lateness
		require.NoError(t, l.UnmarshalText([]byte(text)))
		require.Equal(t, text, mustText(t, l))
	}
}

func mustText(t *testing.T, v interface{ MarshalText() ([]byte, error) }) string {
	t.Helper()
	text, err := v.MarshalText()
	require.NoError(t, err)
	return string(text)
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(f, err)
	for _, file := range files {
		src, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, _, err := app.Parse(app.LoadOptions{Path: "f.yaml", SkipFiles: true}, src)
		if err != nil {
			_, ok := errors.AsType[*conf.Error](err)
			require.True(t, ok)
			return
		}
		_ = c.Effective()
	})
}
