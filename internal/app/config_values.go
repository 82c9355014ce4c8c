package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/poll"
)

// Start says from when on an account is read: a point in time, a while ago, or from the first start on. Once something
// has been read, the checkpoint knows better.
type Start struct {
	Time time.Time     // zero if it is relative
	Ago  time.Duration // 0 with a zero Time: now
}

// At returns the point in time that is meant when the poller starts for the first time.
func (s Start) At(now time.Time) time.Time {
	if s.Time.IsZero() {
		return now.Add(-s.Ago)
	}
	return s.Time
}

// UnmarshalText reads now, 7d ago, a date or an RFC 3339 time.
func (s *Start) UnmarshalText(text []byte) error {
	value := string(text)
	if value == "now" {
		*s = Start{}
		return nil
	}
	if d, ok := strings.CutSuffix(value, " ago"); ok {
		if ago, err := conf.ParseDuration(strings.TrimSpace(d)); err == nil && ago >= 0 {
			*s = Start{Ago: ago}
			return nil
		}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, value); err == nil && t.Year() >= 2000 {
			*s = Start{Time: t.UTC()}
			return nil
		}
	}
	return errors.New(`want now, a time such as 2026-11-01T00:00:00Z, or a while such as "7d ago"`)
}

// TextPattern matches what UnmarshalText reads.
func (Start) TextPattern() string {
	return `^(?:now|\s*(?:` + conf.DurationPattern + `)\s* ago|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2}))?)$`
}

// MarshalText writes what UnmarshalText reads.
func (s Start) MarshalText() ([]byte, error) {
	switch {
	case !s.Time.IsZero():
		return s.Time.AppendFormat(nil, time.RFC3339), nil
	case s.Ago > 0:
		return []byte(conf.FormatDuration(s.Ago) + " ago"), nil
	}
	return []byte("now"), nil
}

// Lateness is poll.Lateness as text: auto or a duration.
type Lateness poll.Lateness

// UnmarshalText reads auto or a duration.
func (l *Lateness) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*l = Lateness{Auto: true}
		return nil
	}
	d, err := conf.ParseDuration(string(text))
	if err != nil || d < 0 {
		return errors.New("want auto or a duration such as 10m")
	}
	*l = Lateness{Max: d}
	return nil
}

// TextPattern matches what UnmarshalText reads.
func (Lateness) TextPattern() string { return "^(?:auto|" + conf.DurationPattern + ")$" }

// MarshalText writes what UnmarshalText reads.
func (l Lateness) MarshalText() ([]byte, error) {
	if l.Auto {
		return []byte("auto"), nil
	}
	return []byte(conf.FormatDuration(l.Max)), nil
}

// Size is a number of bytes: 32MiB. It has a unit because tools that write YAML make 3.3554432e+07 of large numbers.
type Size int64

const mebibyte = 1 << 20

// UnmarshalText reads whole mebibytes.
func (s *Size) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(string(text), "MiB")
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 32)
	if !ok || err != nil {
		return errors.New("want a size such as 32MiB")
	}
	*s = Size(n * mebibyte)
	return nil
}

// TextPattern matches what UnmarshalText reads.
func (Size) TextPattern() string { return `^\s*[0-9]+\s*MiB$` }

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%dMiB", s/mebibyte), nil
}
