package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"agentassist-poller/internal/poll"
)

// Output is where a command writes: results to Out, everything else to Err.
type Output struct {
	Out io.Writer
	Err io.Writer
	// Log is for commands that have no configuration of their own.
	Log *slog.Logger
}

// printJSON writes a value for programs that people can read, too.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// RunOptions are what poller run is told besides its configuration.
type RunOptions struct {
	Version string
	Config  string         // the path that --config named, for the commands that people are told to run
	Level   *slog.LevelVar // of the log
	// Hurry ends when a second signal asks to stop without draining. Nil means never.
	Hurry <-chan struct{}
}

// Run is the service. When ctx ends it finishes what was begun, for at most shutdown.drain, and returns nil.
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
	limit := memoryLimit(cgroup)
	a, err := New(c, Options{Version: o.Version, Config: o.Config, Log: log, Level: o.Level, Abort: hurry})
	if err != nil {
		return err
	}
	tending, stop := context.WithCancel(ctx)
	var tended sync.WaitGroup
	tended.Go(func() { tendHeap(tending, limit) })
	defer tended.Wait()
	defer stop()
	return a.Run(ctx)
}

// PlanOptions are the flags of poller plan.
type PlanOptions struct {
	SegmentsPerDay int // per account
	JSON           bool
}

// Plan prints what the budget of each account attains at a volume, and what twice the budget would.
func Plan(_ context.Context, c *Config, out Output, o PlanOptions) error {
	if o.SegmentsPerDay < 0 {
		return &UsageError{errors.New("--segments-per-day must not be negative")}
	}
	var forecasts []*poll.Forecast
	for i := range c.Accounts {
		options := accountOptions(c, &c.Accounts[i])
		f := poll.NewForecast(options, float64(o.SegmentsPerDay))
		if o.JSON {
			forecasts = append(forecasts, f)
			continue
		}
		if i > 0 {
			fmt.Fprintln(out.Out)
		}
		options.RequestsPerMinute *= 2
		if err := f.Print(out.Out, poll.NewForecast(options, float64(o.SegmentsPerDay))); err != nil {
			return err
		}
	}
	if o.JSON {
		return printJSON(out.Out, forecasts)
	}
	return nil
}
