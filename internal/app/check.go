package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"agentassist-poller/internal/check"
	"agentassist-poller/internal/kafka"
)

// CheckOptions are the flags of poller check.
type CheckOptions struct {
	Timeout time.Duration // of everything together
	JSON    bool
	Color   bool
}

// Check asks everything that a poller with this configuration needs, prints what it finds, and returns an error if anything failed. It
// changes nothing.
func Check(ctx context.Context, c *Config, out Output, o CheckOptions) error {
	options := check.Options{
		File: c.Checkpoint.Path, Timeout: o.Timeout,
		// What a client would log is among the results.
		Kafka: kafka.Options{Config: c.Kafka, Registry: c.SchemaRegistry, Types: c.Events.Types(), Log: slog.New(slog.DiscardHandler)},
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		options.Accounts = append(options.Accounts, check.Account{Poll: accountOptions(c, a), API: a.Kore()})
	}
	results := append([]check.Result{{Name: "configuration", State: check.OK, Found: c.summary()}}, check.Run(ctx, options)...)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	print := func() error { return check.Print(out.Out, results, o.Color) }
	if o.JSON {
		print = func() error { return printJSON(out.Out, results) }
	}
	if err := print(); err != nil {
		return err
	}
	if n := check.Failures(results); n > 0 {
		return fmt.Errorf("%s failed", plural(n, "check"))
	}
	return nil
}

// CheckOffline prints a configuration that Load has accepted as it is in force, secrets hidden.
func CheckOffline(c *Config, out io.Writer) error {
	_, err := fmt.Fprintf(out, "# The configuration is right: %s. Nobody was asked. Every setting as it is in force, secrets hidden:\n%s", c.summary(), c.Effective())
	return err
}

// summary says what is read.
func (c *Config) summary() string {
	bots := 0
	for _, a := range c.Accounts {
		bots += len(a.Bots)
	}
	return plural(len(c.Accounts), "account") + ", " + plural(bots, "bot")
}
