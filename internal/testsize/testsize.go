// Package testsize says how large a test is: how much of its world it plays, and whether it is too slow for the race detector.
package testsize

import "testing"

// Slow marks a test that takes too long under the race detector, as one does that simulates hours or reads many megabytes: it is
// skipped there, and make test runs it without. It is the first statement of a test, where .ci/slow finds it.
func Slow(t *testing.T) {
	t.Helper()
	if race {
		t.Skip("too slow under the race detector: make test runs it without")
	}
}

// Pick returns small with -short, as make test sets it, and full otherwise.
func Pick[T any](small, full T) T {
	if testing.Short() {
		return small
	}
	return full
}
