package revise

import "testing"

// SetRecipe makes this build one of another recipe until the test ends.
func SetRecipe(t testing.TB, n int) {
	before := recipe
	recipe = func() int { return n }
	t.Cleanup(func() { recipe = before })
}
