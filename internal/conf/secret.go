package conf

import (
	"log/slog"
	"reflect"
)

// hidden stands for a secret wherever one would be shown.
const hidden = "(hidden)"

// A Secret is text that never shows itself: not in logs, messages, JSON or %v. The zero value is no secret at all.
type Secret struct{ text string }

// NewSecret makes a secret of what was read from elsewhere, such as a file.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, for the one place that uses it.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is nothing to hide.
func (s Secret) IsZero() bool { return s.text == "" }

func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// GoString keeps %#v from showing the text.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog from showing the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps encoders from showing the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes any text.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}

// isSecret reports whether a setting must not be shown: it is a Secret, or its field is tagged secret:"true".
func isSecret(field reflect.StructField, t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || field.Tag.Get("secret") == "true"
}
