package app

import (
	"maps"
	"slices"
	"sync"

	"agentassist-poller/internal/status"
)

// An openLabel bounds how many values a label has whose values come from upstream: the first ones are kept, and all others are counted as
// one. It is safe for concurrent use.
type openLabel struct {
	metric, name string

	mu     sync.Mutex
	known  map[string]bool
	others map[string]bool // the first of those that are not known
	count  int64           // of values that were replaced
}

const (
	maxLabelValues = 200 // for the life of the process
	maxOtherValues = 50  // shown in the status
	otherValue     = "other"
)

func newOpenLabel(metric, name string) *openLabel {
	return &openLabel{metric: metric, name: name, known: map[string]bool{}, others: map[string]bool{}}
}

// value returns what to use as the label for n occurrences of a value: the value itself, or otherValue.
func (l *openLabel) value(v string, n int64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.known[v]:
		return v
	case len(l.known) < maxLabelValues:
		l.known[v] = true
		return v
	}
	l.count += n
	if len(l.others) < maxOtherValues {
		l.others[v] = true
	}
	return otherValue
}

// replaced describes the values that have no series of their own; nil if all have.
func (l *openLabel) replaced() *status.OtherValues {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == 0 {
		return nil
	}
	return &status.OtherValues{Metric: l.metric, Label: l.name, Kept: len(l.known), Count: l.count, Values: slices.Sorted(maps.Keys(l.others))}
}
