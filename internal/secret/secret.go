// Package secret holds text that must not be shown: passwords, client secrets, keys.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Redacted stands wherever a secret would be shown.
const Redacted = "[redacted]"

// maxFile is more than any password or PEM key needs.
const maxFile = 64 << 10

// A Secret is text that never shows itself: not with any verb of fmt, not in logs, JSON or YAML, not as a field of
// something printed. The zero value is no secret at all, and shows as nothing. Secrets are not comparable in a useful way.
type Secret struct {
	// text is behind a pointer because fmt reads unexported fields without asking their methods; it prints an address.
	text *string
}

// New makes a secret of text that was read elsewhere.
func New(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// FromFile reads a secret from a file, such as a mounted Kubernetes secret. Line breaks at the end are not part of it.
// An empty file is an error.
func FromFile(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	data = bytes.TrimRight(data, "\r\n")
	switch {
	case len(data) == 0:
		return Secret{}, fmt.Errorf("read secret %s: the file is empty", path)
	case len(data) > maxFile:
		return Secret{}, fmt.Errorf("read secret %s: the file is larger than %d bytes", path, maxFile)
	}
	return New(string(data)), nil
}

// Reveal returns the text itself. The caller must not let the text go any further.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns Redacted, or nothing if there is no secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// GoString keeps %#v from showing anything.
func (s Secret) GoString() string { return fmt.Sprintf("secret.Secret(%q)", s.String()) }

// Format keeps every other verb from showing anything, those included that make no sense for text.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	io.WriteString(f, text)
}

// LogValue keeps a secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps a secret out of JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as the secret. It refuses what a secret is shown as: that was copied from our own output.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == Redacted {
		return errors.New("this is how a secret is shown, not the secret itself")
	}
	*s = New(string(text))
	return nil
}

// Scrub replaces every occurrence of the secrets in text, so that what others send us can be shown.
func Scrub(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), Redacted)
		}
	}
	return text
}
