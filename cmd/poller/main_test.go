package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

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
	tests := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"help", nil, 0, "Available Commands", ""},
		{"version", []string{"version"}, 0, "agentassist-poller devel", ""},
		{"unknown command", []string{"rnu"}, 2, "", "unknown command \"rnu\""},
		{"unknown flag", []string{"run", "--confg", "x"}, 2, "", "unknown flag: --confg\nSee 'poller --help'"},
		{"bad flag", []string{"demo", "--duration", "soon"}, 2, "", "invalid argument \"soon\""},
		{"too many arguments", []string{"run", "poller.yaml"}, 2, "", "unknown command \"poller.yaml\""},
		{"no configuration", []string{"run", "--config", "nowhere.yaml"}, 2, "", "there is no configuration nowhere.yaml; name one with --config"},
		{"bad configuration", []string{"check", "--offline", "--config", bad}, 2, "", "bad.yaml:2:1: kafak: there is no such setting; did you mean kafka?"},
		{"good configuration", []string{"check", "--offline", "--skip-files", "--config", good}, 0, "# The configuration is right: 1 account, 1 bot.", ""},
		{"check online", []string{"check", "--config", good}, 2, "", "add --offline"},
		{"schema", []string{"schemas", "search"}, 0, `"name": "Search"`, ""},
		{"unknown schema", []string{"schemas", "serch"}, 2, "", `there is no schema "serch"; want one of`},
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
