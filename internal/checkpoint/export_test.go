package checkpoint

import "testing"

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
