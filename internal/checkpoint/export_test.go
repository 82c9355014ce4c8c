package checkpoint

import "testing"

// CheckOutlineOnly makes files count as large: of one that was closed cleanly, only the outline is checked.
func CheckOutlineOnly(t testing.TB) {
	before := smallFile
	smallFile = 0
	t.Cleanup(func() { smallFile = before })
}

var Classify = classify

// SetBootFile has the identity of the machine's run read from another file.
func SetBootFile(t *testing.T, path string) {
	before := bootFile
	bootFile = path
	t.Cleanup(func() { bootFile = before })
}

// Crash lets go of the file as a process does that is killed.
func Crash(s *Store) error {
	s.closed.Store(true)
	return s.abandon()
}
