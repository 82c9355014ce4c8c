package checkpoint

import (
	"testing"
	"time"
)

// CheckOutlineOnly makes every file count as large: if it was closed cleanly, only its outline is checked.
func CheckOutlineOnly(t testing.TB) {
	before := smallFile
	smallFile = 0
	t.Cleanup(func() { smallFile = before })
}

var Classify = classify

// SetBootFile makes bootID read another file.
func SetBootFile(t *testing.T, path string) {
	before := bootFile
	bootFile = path
	t.Cleanup(func() { bootFile = before })
}

// Crash releases the file as a killed process does.
func Crash(s *Store) error {
	s.closed.Store(true)
	return s.abandon()
}

// SetStageLimits sets how much is staged at most, and for how long.
func SetStageLimits(t testing.TB, bytes int, length time.Duration) {
	beforeBytes, beforeFor := stageBytes, stageFor
	stageBytes, stageFor = bytes, length
	t.Cleanup(func() { stageBytes, stageFor = beforeBytes, beforeFor })
}

// StageBytes is how much is staged at most.
var StageBytes = &stageBytes

// Staged reports whether anything is staged.
func (s *Store) Staged() bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	return !s.stage.empty()
}
