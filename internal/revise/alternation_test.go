package revise

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// contents plays observations of a place against an alternation, and returns how often what counts has changed.
type contents struct {
	alternation
	present hash
	changes int
}

func (c *contents) observe(content byte) {
	switch next := (hash{content}); {
	case next == c.present:
		c.confirm()
	case c.accept(c.present, next, c.changes >= 2, content == 'N'):
		c.present = next
		c.changes++
	}
}

func (c *contents) all(text string) int {
	before := c.changes
	for i := range len(text) {
		c.observe(text[i])
	}
	return c.changes - before
}

func TestAlternation(t *testing.T) {
	for name, s := range map[string]struct {
		observed string
		changes  int
		last     byte
	}{
		"what is new counts":              {"abcdefgh", 8, 'h'},
		"taken back, twice":               {"abab", 4, 'b'},
		"taken back again, once":          {"ababa", 4, 'b'},
		"taken back again, and confirmed": {"ababaa", 5, 'a'},
		"new after that":                  {"ababac", 5, 'c'},
		"back and forth for ever":         {"abababababababababababababab", 4, 'b'},
		"two by two for ever":             {"aabbaabbaabbaabbaabbaabbaabbaabbaabb", 5, 'a'},
		"the one more often":              {"abbbbabbbbabbbbabbbbabbbb", 4, 'b'},
		"what is urgent counts at once":   {"NaNaNaNaNaNaNa", 5, 'N'},
		"three in turn":                   {"abcabcabcabcabcabcabcabcabc", 6, 'a'},
	} {
		t.Run(name, func(t *testing.T) {
			c := contents{}
			require.Equal(t, s.changes, c.all(s.observed))
			require.Equal(t, hash{s.last}, c.present)
		})
	}
}
