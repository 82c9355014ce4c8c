package app

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// The values of log.format.
const (
	formatAuto = "auto" // text on a terminal, else JSON
	formatJSON = "json"
	formatText = "text"
)

// NewLog returns the logger that a configuration asks for, and what changes its level at any time.
func NewLog(c Log, w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	_ = level.UnmarshalText([]byte(c.Level)) // was checked when the configuration was loaded
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if c.Format == formatText || c.Format == formatAuto && Terminal(w) != nil {
		return slog.New(slog.NewTextHandler(w, options)), level
	}
	return slog.New(slog.NewJSONHandler(w, options)), level
}

// Terminal returns the terminal that is written to, nil if it is none.
func Terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// readable writes durations as people read them; in JSON they would be counts of nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}
