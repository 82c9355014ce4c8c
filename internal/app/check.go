package app

import (
	"fmt"
	"io"
)

// Check prints a configuration that Load has accepted as it is in force, secrets hidden.
func Check(c *Config, out io.Writer) error {
	bots := 0
	for _, a := range c.Accounts {
		bots += len(a.Bots)
	}
	_, err := fmt.Fprintf(out, "# The configuration is right: %s, %s. Every setting as it is in force, secrets hidden:\n%s",
		plural(len(c.Accounts), "account"), plural(bots, "bot"), c.Effective())
	return err
}
