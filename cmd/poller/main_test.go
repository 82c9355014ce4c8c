package main

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = execute(t.Context(), nil, args, &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodesAndMessages(t *testing.T) {
	good := "../../docs/reference-config.yaml"
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("accounts: []\nkafak: {}\n"), 0o644))
	away := filepath.Join(t.TempDir(), "away.yaml")
	require.NoError(t, os.WriteFile(away, []byte("accounts: [{name: a, base_url: https://kore.example, account_id: a1, auth: {client_id: c, client_secret: s}, "+
		"bots: [{name: care, bot_id: st-1}]}]\nkafka: {brokers: [\"127.0.0.1:1\"]}\n"), 0o644))
	tests := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"help", nil, 0, "Available Commands", ""},
		{"version", []string{"version"}, 0, "agentassist-poller devel", ""},
		{"version as a flag", []string{"--version"}, 0, "agentassist-poller devel", ""},
		{"unknown command", []string{"rnu"}, 2, "", "unknown command \"rnu\""},
		{"unknown flag", []string{"run", "--confg", "x"}, 2, "", "unknown flag: --confg\nSee 'poller run --help'"},
		{"bad flag", []string{"demo", "--duration", "soon"}, 2, "", "invalid argument \"soon\" for \"--duration\" flag: want a duration such as 15s, 5m, 36h or 7d\nSee"},
		{"duration below 0", []string{"simulate", "--history", "-1d"}, 2, "", "for \"--history\" flag: want 0 or more"},
		{"duration in days", []string{"checkpoint", "adopt", "--rewind", "2d", "--config", "nowhere.yaml"}, 2, "", "there is no configuration nowhere.yaml"},
		{"bad whole number", []string{"plan", "--segments-per-day", "10k"}, 2, "", "for \"--segments-per-day\" flag: want a whole number, such as 10000\nSee"},
		{"bad seed", []string{"demo", "--seed", "-1"}, 2, "", "for \"--seed\" flag: want a whole number, 0 or more\nSee"},
		{"bad share", []string{"simulate", "--fault-rate", "5%"}, 2, "", "for \"--fault-rate\" flag: want a number, such as 0.05\nSee"},
		{"bad switch", []string{"tail", "--follow=maybe"}, 2, "", "flag: want true or false\nSee"},
		{"unknown fault", []string{"simulate", "--faults", "404"}, 2, "", `there is no fault "404"; want some of 401, 403, 429`},
		{"faults and profiles in the help", []string{"simulate", "--help"}, 0, "half-body ", ""},
		{"argument of a command without any", []string{"demo", "extra"}, 2, "", `"extra": poller demo takes no arguments, only flags`},
		{"configuration as an argument", []string{"run", "poller.yaml"}, 2, "", `"poller.yaml": poller run takes no arguments, only flags; the configuration is named with --config`},
		{"no configuration", []string{"run", "--config", "nowhere.yaml"}, 2, "", "there is no configuration nowhere.yaml; name a file that exists with --config"},
		{"no configuration by default", []string{"plan"}, 2, "", "with --config; poller simulate > poller.yaml writes one that reads a simulated API"},
		{"bad configuration", []string{"check", "--offline", "--config", bad}, 2, "", "bad.yaml:2:1: kafak: there is no such setting; did you mean kafka?"},
		{"good configuration", []string{"check", "--offline", "--skip-files", "--config", good}, 0, "# The configuration is right: 1 account, 1 bot.", ""},
		{"check a bad configuration", []string{"check", "--config", bad}, 2, "", "bad.yaml:2:1: kafak: there is no such setting"},
		{"check where secrets are missing", []string{"check", "--offline", "--config", good}, 2, "", "Nothing else is wrong. On a machine that does not have these files, add --skip-files"},
		{"check without files", []string{"check", "--skip-files", "--config", good}, 2, "", "--skip-files goes with --offline"},
		{"schema of the configuration", []string{"config", "schema"}, 0, `"https://json-schema.org/draft/2020-12/schema"`, ""},
		{"schema", []string{"schemas", "search"}, 0, `"name": "Search"`, ""},
		{"unknown schema", []string{"schemas", "serch"}, 2, "", `there is no schema "serch"; want one of`},
		{"schema shown", []string{"schemas", "show", "search"}, 0, `"name": "Search"`, ""},
		{"schemas listed", []string{"schemas", "list"}, 0, "summary             A summary of a conversation", ""},
		{"no registry", []string{"schemas", "check", "--config", away}, 2, "", "no schema registry is configured; set schema_registry.url"},
		{"audit without a span", []string{"audit", "--config", away}, 2, "", `required flag(s) "from" not set`},
		{"audit of the future", []string{"audit", "--config", away, "--from", "2026-01-01", "--to", "2999-01-01"}, 2, "", "--to 2999-01-01 has not come yet"},
		{"audit of too much", []string{"audit", "--config", away, "--from", "2025-01-01"}, 2, "", "want at most 7 days at once"},
		{"audit beyond the budget", []string{"audit", "--config", away, "--from", "2026-01-01", "--to", "2026-01-02", "--requests-per-minute", "61"}, 2, "", "account a has a budget of 60"},
		{"audit of no bot", []string{"audit", "--config", away, "--from", "2026-01-01", "--to", "2026-01-02", "--bot", "x"}, 2, "", `--bot "x": no account that is audited has such a bot`},
		{"no topic command", []string{"topics", "aply"}, 2, "", "unknown command \"aply\" for \"poller topics\"; want one of apply, describe, plan"},
		{"unknown topic", []string{"tail", "feedbak"}, 2, "", `there is no topic "feedbak"; want one of`},
		{"no id", []string{"explain"}, 2, "", "want one id: that of a conversation"},
		{"bad since", []string{"tail", "--since", "soon"}, 2, "", `--since "soon" is not a time; want one like`},
		{"admin without an address", []string{"admin", "pause", "a", "--config", away}, 2, "", "server.admin.listen is empty, so that the poller cannot be asked"},
		{"admin of nothing", []string{"admin", "stop", "a"}, 2, "", "unknown command \"stop\" for \"poller admin\""},
		{"completion", []string{"completion", "bash"}, 0, "__start_poller", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := command(t, test.args...)
			require.Equal(t, test.code, code, stderr)
			require.Contains(t, stdout, test.stdout)
			require.Contains(t, stderr, test.stderr)
		})
	}
}

// The help of every command has examples, and each is a command line that would be read.
func TestExamples(t *testing.T) {
	commandLine := regexp.MustCompile(`(?m)(?:^  |[= /])poller( [^|>\n]*?)(?:   .*| [|>].*)?$`)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "completion" || c.Name() == "help" {
			return // the library's own
		}
		lines := strings.Split(c.Example, "\n")
		require.NotEmpty(t, c.Example, c.CommandPath())
		for _, line := range lines {
			found := commandLine.FindStringSubmatch(line)
			require.NotNil(t, found, line)
			root, _ := newRoot(nil)
			named, rest, err := root.Find(strings.Fields(found[1]))
			require.NoError(t, err, line)
			require.NoError(t, named.ParseFlags(rest), line)
			require.NoError(t, named.ValidateArgs(named.Flags().Args()), line)
			require.NoError(t, named.ValidateRequiredFlags(), line)
			if c.HasParent() {
				require.True(t, strings.HasPrefix(named.CommandPath(), c.CommandPath()), "%s: an example of %s", line, c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	root, _ := newRoot(nil)
	walk(root)
}

func TestSchemasAreWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	code, _, stderr := command(t, "schemas", "--write", dir)
	require.Zero(t, code, stderr)
	files, err := filepath.Glob(filepath.Join(dir, "*.avsc"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 14)
}

func TestSignals(t *testing.T) {
	for _, first := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(first) {
			continue // under nohup, for example: Go keeps to that
		}
		t.Run(first.String(), func(t *testing.T) {
			ctx, hurry, stop := untilSignalled(t.Context())
			defer stop()
			require.NoError(t, ctx.Err())
			require.NoError(t, syscall.Kill(os.Getpid(), first))
			<-ctx.Done()
			select {
			case <-hurry:
				t.Fatal("one signal is no hurry")
			default:
			}
			require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
			<-hurry
		})
	}
}

func TestStopWithoutSignal(t *testing.T) {
	ctx, _, stop := untilSignalled(t.Context())
	stop()
	require.Error(t, ctx.Err())
}
