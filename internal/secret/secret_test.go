package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/secret"
)

const canary = "c4n4ry"

func TestSecretNeverShowsItself(t *testing.T) {
	s := secret.New(canary)
	type hidden struct{ inner secret.Secret }
	shapes := map[string]any{
		"value":            s,
		"pointer":          &s,
		"exported field":   struct{ S secret.Secret }{s},
		"unexported field": hidden{s},
		"pointer to it":    &hidden{s},
		"slice":            []secret.Secret{s},
		"map":              map[string]secret.Secret{"k": s},
		"map key":          map[secret.Secret]int{s: 1},
		"interface":        []any{s},
	}
	hex := fmt.Sprintf("%x", canary)
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%c", "%U", "%10v", "%-40s", "%p", "%T"} {
				require.NotContains(t, fmt.Sprintf(verb, shape), canary, verb)
				require.NotContains(t, strings.ToLower(fmt.Sprintf(verb, shape)), hex, verb)
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", shape)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", shape)
			require.NotContains(t, log.String(), canary)
			if data, err := json.Marshal(shape); err == nil {
				require.NotContains(t, string(data), canary)
			}
			if data, err := xml.Marshal(shape); err == nil {
				require.NotContains(t, string(data), canary)
			}
		})
	}
}

func TestSecretSaysWhetherItIsThere(t *testing.T) {
	require.Equal(t, "[redacted]", secret.New(canary).String())
	require.Equal(t, canary, secret.New(canary).Reveal())
	for _, none := range []secret.Secret{{}, secret.New("")} {
		require.True(t, none.IsZero())
		require.Empty(t, none.String())
		require.Empty(t, none.Reveal())
	}
}

func TestUnmarshal(t *testing.T) {
	var c struct{ Password secret.Secret }
	require.NoError(t, json.Unmarshal([]byte(`{"password":"c4n4ry"}`), &c))
	require.Equal(t, canary, c.Password.Reveal())

	shown, err := json.Marshal(c)
	require.NoError(t, err)
	require.ErrorContains(t, json.Unmarshal(shown, &c), "not the secret itself")
}

func TestFromFile(t *testing.T) {
	for name, tc := range map[string]struct {
		content string
		want    string
		err     string
	}{
		"plain":           {content: canary, want: canary},
		"line break":      {content: canary + "\n", want: canary},
		"windows":         {content: canary + "\r\n\r\n", want: canary},
		"inner and space": {content: " a\nb \n", want: " a\nb "},
		"empty":           {content: "\n", err: "is empty"},
		"too large":       {content: strings.Repeat("x", 1<<17), err: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			require.NoError(t, os.WriteFile(path, []byte(tc.content), 0o600))
			s, err := secret.FromFile(path)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.ErrorContains(t, err, path)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, s.Reveal())
		})
	}
	_, err := secret.FromFile(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestScrub(t *testing.T) {
	require.Equal(t, "a [redacted] b [redacted]", secret.Scrub("a c4n4ry b x", secret.New(canary), secret.New("x"), secret.Secret{}))
}
