// Command poller moves what agents did with the assistant from Kore.ai's APIs to Kafka topics.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/demo"

	"github.com/spf13/cobra"
)

func main() {
	ctx, hurry, stop := untilSignalled(context.Background())
	code := execute(ctx, hurry, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, hurry <-chan struct{}, args []string, stdout, stderr io.Writer) int {
	began := false
	root := &cobra.Command{
		Use:               "poller",
		Short:             "Kore.ai Agent AI and Contact Center as typed events on Kafka",
		Long:              "poller reads Kore.ai's Agent AI and Contact Center APIs and publishes every interaction once, within seconds, to Kafka.",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRun:  func(*cobra.Command, []string) { began = true },
		CompletionOptions: cobra.CompletionOptions{},
	}
	root.AddCommand(runCommand(hurry), backfillCommand(), checkpointCommand(), demoCommand(), simulateCommand(), planCommand(), checkCommand(), schemasCommand(), versionCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !began {
		err = &app.UsageError{Err: fmt.Errorf("%w\nSee 'poller --help'", err)}
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	return app.ExitCode(err)
}

// configured adds the flags that name a configuration, and returns what loads it.
func configured(c *cobra.Command) (*app.LoadOptions, func() (*app.Config, error)) {
	o := &app.LoadOptions{Environ: os.Environ()}
	c.Flags().StringVarP(&o.Path, "config", "c", "poller.yaml", `configuration file; "" if the environment holds everything`)
	return o, func() (*app.Config, error) {
		config, warnings, err := app.Load(*o)
		for _, w := range warnings {
			fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
		}
		return config, err
	}
}

func runCommand(hurry <-chan struct{}) *cobra.Command {
	c := &cobra.Command{Use: "run", Short: "Run the service until it is told to stop", Args: cobra.NoArgs}
	from, load := configured(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := load()
		if err != nil {
			return err
		}
		log := app.NewLog(config.Log, c.ErrOrStderr())
		return app.Run(c.Context(), config, log, app.RunOptions{Version: version(), Config: from.Path, Hurry: hurry})
	}
	return c
}

func demoCommand() *cobra.Command {
	c := &cobra.Command{Use: "demo", Short: "Show everything at work in one process, with nothing to set up", Args: cobra.NoArgs}
	o := demo.Options{Version: version()}
	c.Flags().DurationVar(&o.Duration, "duration", 0, "stop after this long, and compare what consumers see with what happened")
	c.Flags().BoolVar(&o.JSON, "json", false, "print one JSON object at the end instead of a view")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the simulated contact centre")
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8080", `address of metrics and status; "" for none`)
	c.RunE = func(c *cobra.Command, _ []string) error { return demo.Run(c.Context(), output(c), o) }
	return c
}

func simulateCommand() *cobra.Command {
	c := &cobra.Command{Use: "simulate", Short: "Serve a simulated Kore.ai API to try the poller on", Args: cobra.NoArgs}
	var o demo.SimulateOptions
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8090", "address to serve on")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the world: the same seed tells the same story")
	c.Flags().IntVar(&o.Accounts, "accounts", 1, "number of accounts")
	c.Flags().IntVar(&o.Bots, "bots", 2, "bots in each account")
	c.Flags().IntVar(&o.SegmentsPerDay, "segments-per-day", 1000, "volume of each account")
	c.Flags().DurationVar(&o.History, "history", 24*time.Hour, "how much has happened before the start")
	c.Flags().BoolVar(&o.Burst, "burst", false, "conversations take seconds instead of minutes")
	c.Flags().StringVar(&o.Profile, "profile", "documented", "one consistent answer to what is not known about the real API")
	c.Flags().IntVar(&o.RequestsPerMinute, "requests-per-minute", 60, "budget of each account; negative for no limit")
	c.Flags().Float64Var(&o.FaultRate, "fault-rate", 0, "share of answers that go wrong, 0 to 1")
	c.Flags().StringSliceVar(&o.Faults, "faults", nil, "how they go wrong; all that pass by themselves if not given")
	c.RunE = func(c *cobra.Command, _ []string) error { return demo.Simulate(c.Context(), output(c), o) }
	return c
}

func planCommand() *cobra.Command {
	c := &cobra.Command{Use: "plan", Short: "Say what the request budget attains at a volume", Args: cobra.NoArgs}
	var o app.PlanOptions
	from, load := configured(c)
	from.SkipFiles = true // nothing is asked, so no secret is needed
	c.Flags().IntVar(&o.SegmentsPerDay, "segments-per-day", 10_000, "volume of each account")
	c.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := load()
		if err != nil {
			return err
		}
		return app.Plan(c.Context(), config, output(c), o)
	}
	return c
}

func output(c *cobra.Command) app.Output {
	return app.Output{Out: c.OutOrStdout(), Err: c.ErrOrStderr(), Log: app.NewLog(app.Log{Level: "warn", Format: "text"}, c.ErrOrStderr())}
}
