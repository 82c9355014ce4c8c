package checkpoint

import "testing"

// CheckOutlineOnly makes files count as large: of one that was closed cleanly, only the outline is checked.
func CheckOutlineOnly(t testing.TB) {
	before := smallFile
	smallFile = 0
	t.Cleanup(func() { smallFile = before })
}

var Classify = classify
