// Package conf reads a configuration into a struct, strictly: from one YAML document and from environment variables.
//
// It reports every problem at once instead of stopping at the first, each with the place where it was written, the path
// of the setting and what would be right. It knows nothing of what the settings mean: the struct it fills says which
// keys exist (yaml tags), which types they have and what their defaults are (SetDefaults).
package conf

import (
	"fmt"
	"slices"
	"strings"
)

// Options say what to read.
type Options struct {
	// Name is the file's name as messages show it.
	Name string
	// YAML is the document. Empty means that there is only the environment.
	YAML []byte
	// Environ is "NAME=value" per entry, as os.Environ gives it. ${NAME} in a value of the document stands for it.
	Environ []string
	// Prefix begins the names of variables that are settings themselves: POLLER_ makes POLLER_KAFKA_BROKERS set
	// kafka.brokers. Empty means that there are none.
	Prefix string
}

// A Doc is a configuration that has been read. Problems found later can be added to it by path.
type Doc struct {
	name     string
	root     *node
	env      map[string]string
	problems []Problem
	warnings []Problem
	bad      map[string]bool // paths whose value could not be read; "" is all of it
}

// A Problem is one thing to correct.
type Problem struct {
	Pos  Pos    // where it was written, or where the missing thing would belong
	Path string // accounts[0].bots[1].bot_id; empty if the document as a whole is meant
	Text string
}

// String is the line that a person reads.
func (p Problem) String() string {
	var b strings.Builder
	if s := p.Pos.String(); s != "" {
		b.WriteString(s + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Text
}

// Pos is a place in the file, or the environment variable that set the value.
type Pos struct {
	Name      string
	Line, Col int
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s:%d:%d", p.Name, p.Line, p.Col)
}

// An Error holds all problems of a configuration, in the order of the file.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Decode reads the document and the environment into the struct that into points to, which holds the defaults.
// It always returns a Doc, so that the caller can add what it finds itself before it asks for Err.
func Decode(o Options, into any) *Doc {
	d := &Doc{name: o.Name, env: map[string]string{}, bad: map[string]bool{}}
	for _, kv := range o.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			d.env[name] = value
		}
	}
	d.root = d.parse(o.YAML)
	if o.Prefix != "" {
		d.overlay(o.Prefix, into)
	}
	d.decode(into)
	return d
}

// Add notes a problem with the setting at path. It is dropped if the value there could not be read in the first place:
// one mistake is one line.
func (d *Doc) Add(path, format string, args ...any) {
	for bad := range d.bad {
		if rest, ok := strings.CutPrefix(path, bad); ok && (bad == "" || rest == "" || rest[0] == '.' || rest[0] == '[') {
			return
		}
	}
	d.problems = append(d.problems, Problem{Pos: d.At(path), Path: path, Text: fmt.Sprintf(format, args...)})
}

// Warn notes something about the setting at path that is no reason to refuse it.
func (d *Doc) Warn(path, format string, args ...any) {
	d.warnings = append(d.warnings, Problem{Pos: d.At(path), Path: path, Text: fmt.Sprintf(format, args...)})
}

// Warnings returns what was noted by Warn and by the reading itself, in the order of the file.
func (d *Doc) Warnings() []Problem { return sorted(d.warnings) }

// Err returns nil or an *Error with all problems noted so far.
func (d *Doc) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return &Error{Problems: sorted(d.problems)}
}

// Has reports whether the setting at path was written, in the file or the environment.
func (d *Doc) Has(path string) bool {
	_, found := d.root.lookup(path)
	return found
}

// At returns where the setting at path was written, or else the nearest thing around it that was.
func (d *Doc) At(path string) Pos {
	n, _ := d.root.lookup(path)
	if n == nil || n.pos == (Pos{}) {
		return Pos{Name: d.name}
	}
	return n.pos
}

// problem notes that what was written for path could not be read.
func (d *Doc) problem(pos Pos, path, format string, args ...any) {
	d.bad[path] = true
	d.problems = append(d.problems, Problem{Pos: pos, Path: path, Text: fmt.Sprintf(format, args...)})
}

// sorted orders by place in the file; what comes from the environment follows, by name.
func sorted(problems []Problem) []Problem {
	out := slices.Clone(problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		switch {
		case (a.Pos.Line == 0) != (b.Pos.Line == 0):
			return b.Pos.Line - a.Pos.Line
		case a.Pos.Line == 0:
			return strings.Compare(a.Pos.Name, b.Pos.Name)
		case a.Pos.Line != b.Pos.Line:
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Col - b.Pos.Col
	})
	return slices.Compact(out)
}
