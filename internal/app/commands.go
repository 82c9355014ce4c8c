package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
	hurry, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-o.Hurry:
			cancel()
		case <-done:
		}
	}()
	defer func() {
		close(done)
		<-watched
	}()
	a, err := New(c, Options{Version: o.Version, Log: log, Abort: hurry})
	if err != nil {
		return err
	}
	return a.Run(ctx)
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
