package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"agentassist-poller/internal/explain"
)

// ExplainOptions are what poller explain is told.
type ExplainOptions struct {
	ID    string
	Since time.Time
	JSON  bool
}

// Explain prints what the API shows of a conversation and what is published of it. It returns an error if something is missing or differs.
func Explain(ctx context.Context, c *Config, out Output, o ExplainOptions) error {
	options := explain.Options{ID: o.ID, Kafka: c.Kafka, Registry: c.SchemaRegistry, Since: o.Since, Log: slog.New(slog.DiscardHandler)}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		options.Accounts = append(options.Accounts, explain.Account{Poll: accountOptions(c, a), API: a.Kore()})
	}
	report, err := explain.Run(ctx, options)
	if err != nil {
		return err
	}
	print := func() error { return explain.Print(out.Out, report) }
	if o.JSON {
		print = func() error { return printJSON(out.Out, report) }
	}
	if err := print(); err != nil {
		return err
	}
	if n := report.Count(explain.Missing) + report.Count(explain.Different); n > 0 {
		return fmt.Errorf("explain %s: %s missing or different", o.ID, plural(n, "event"))
	}
	if !report.Found() {
		return fmt.Errorf("explain %s: nothing is known of it", o.ID)
	}
	return nil
}
