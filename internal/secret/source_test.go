package secret_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/secret"
)

func TestSource(t *testing.T) {
	text := secret.Source{Text: secret.New("a")}
	got, err := text.Read()
	require.NoError(t, err)
	require.Equal(t, "a", got.Reveal())
	require.Equal(t, "check kafka.sasl.password, which is read at start only; with kafka.sasl.password_file no restart is needed to change it",
		text.Advice("kafka.sasl.password"))

	file := secret.Source{File: filepath.Join(t.TempDir(), "password")}
	_, err = file.Read()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Contains(t, file.Advice("kafka.sasl.password"), "cannot be looked at")
	for _, content := range []string{"old", "new"} {
		require.NoError(t, os.WriteFile(file.File, []byte(content), 0o600))
		got, err = file.Read()
		require.NoError(t, err)
		require.Equal(t, content, got.Reveal())
	}
	changed := time.Date(2026, 11, 28, 17, 52, 0, 0, time.UTC)
	require.NoError(t, os.Chtimes(file.File, changed, changed))
	require.Equal(t, "check the content of "+file.File+" (kafka.sasl.password_file), which has not changed since 2026-11-28T17:52:00Z; "+
		"a new content is used at once, without a restart", file.Advice("kafka.sasl.password"))
}
