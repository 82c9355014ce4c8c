package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// errNotBuilt marks the bodies below that are placeholders. PLACEHOLDER: the lead replaces them and removes this.
var errNotBuilt = errors.New("not built yet")

// Output is where a command writes: results to Out, everything else to Err.
type Output struct {
	Out io.Writer
	Err io.Writer
	// Log is for commands that have no configuration of their own.
	Log *slog.Logger
}

// RunOptions are what poller run is told besides its configuration.
type RunOptions struct {
	Version string
	// Hurry ends when a second signal asks to stop without finishing. Nil means never.
	Hurry <-chan struct{}
}

// Run is the service: it returns nil when ctx ends and everything that was begun is finished, or given up after
// shutdown.drain.
func Run(ctx context.Context, c *Config, log *slog.Logger, o RunOptions) error {
	return errNotBuilt // PLACEHOLDER
}

// DemoOptions are the flags of poller demo.
type DemoOptions struct {
	Version  string
	Duration time.Duration // 0 goes on until it is stopped
	JSON     bool          // one object at the end instead of a view
	Seed     uint64
	Listen   string // of the HTTP server; empty for none
}

// Demo runs simulator, broker, registry and poller in one process and shows what flows.
func Demo(ctx context.Context, out Output, o DemoOptions) error {
	return errNotBuilt // PLACEHOLDER
}

// SimulateOptions are the flags of poller simulate.
type SimulateOptions struct {
	Listen            string
	Seed              uint64
	Accounts, Bots    int
	SegmentsPerDay    int           // per account
	History           time.Duration // how much has happened before the start
	Burst             bool          // conversations take seconds instead of minutes
	Profile           string        // one consistent answer to what is not known about the real API
	RequestsPerMinute int
	FaultRate         float64  // of all answers
	Faults            []string // kinds; empty for all that a client must get over by itself
}

// Simulate serves the simulated API until ctx ends.
func Simulate(ctx context.Context, out Output, o SimulateOptions) error {
	return errNotBuilt // PLACEHOLDER
}

// PlanOptions are the flags of poller plan.
type PlanOptions struct {
	SegmentsPerDay int // per account
	JSON           bool
}

// Plan prints what the budget of each account attains at a volume.
func Plan(ctx context.Context, c *Config, out Output, o PlanOptions) error {
	return errNotBuilt // PLACEHOLDER
}
