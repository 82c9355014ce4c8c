package revise

import "testing"

// SetRecipe changes the recipe of this build until the test ends.
func SetRecipe(t testing.TB, n int) {
	before := recipe
	recipe = func() int { return n }
	t.Cleanup(func() { recipe = before })
}
