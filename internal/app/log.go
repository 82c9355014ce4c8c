package app

import (
	"io"
	"log/slog"
)

// NewLog returns the logger that a configuration asks for.
func NewLog(c Log, w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(c.Level)) // was checked when the configuration was loaded
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// readable writes durations as people read them; in JSON they would be counts of nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}
