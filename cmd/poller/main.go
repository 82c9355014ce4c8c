// Command poller moves what agents did with the assistant from Kore.ai's APIs to Kafka topics.
package main

import (
	"context"
	"errors"
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
	root, began := newRoot(hurry)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteContextC(ctx)
	if err != nil && !*began {
		err = &app.UsageError{Err: fmt.Errorf("%w\nSee '%s --help'", err, called.CommandPath())}
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	return app.ExitCode(err)
}

// newRoot returns the command line with all commands. Began becomes true when one begins to do what it is for: an error before that is one
// of the command line.
func newRoot(hurry <-chan struct{}) (root *cobra.Command, began *bool) {
	began = new(bool)
	root = &cobra.Command{
		Use:   "poller",
		Short: "Kore.ai Agent AI and Contact Center as typed events on Kafka",
		Long: "poller reads Kore.ai's Agent AI and Contact Center APIs and publishes every interaction once, within seconds, to Kafka.\n\n" +
			"It exits with 0 when it was asked to stop or is done, 1 after a failure, 2 if the command line or the configuration must be\n" +
			"corrected, and 3 when another instance has taken over.",
		Example: "  poller demo                              see it at work, with nothing to set up\n" +
			"  poller run --config poller.yaml          run the service\n" +
			"  poller tail feedback-negative            show negative feedback as it is published",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			err := c.ValidateRequiredFlags()
			*began = err == nil
			return err
		},
		CompletionOptions: cobra.CompletionOptions{},
	}
	root.AddCommand(runCommand(hurry), backfillCommand(), jobsCommand(), checkpointCommand(), demoCommand(hurry), simulateCommand(), adminCommand(),
		tailCommand(), explainCommand(), auditCommand(), forgetCommand(), planCommand(), checkCommand(), configCommand(), topicsCommand(),
		schemasCommand(), versionCommand())
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(flagError)
	return root, began
}

// help runs a command that only has others, whose Args are oneOf.
func help(c *cobra.Command, _ []string) error { return c.Help() }

// configured adds the flags that name a configuration, and returns what loads it.
func configured(c *cobra.Command) (*app.LoadOptions, func() (*app.Config, error)) {
	o := &app.LoadOptions{Environ: os.Environ()}
	c.Flags().StringVarP(&o.Path, "config", "c", "poller.yaml", `configuration file; "" if the environment holds everything`)
	return o, func() (*app.Config, error) {
		config, warnings, err := app.Load(*o)
		for _, w := range warnings {
			fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
		}
		if err == nil {
			return config, nil
		}
		if _, missing := os.Stat(o.Path); errors.Is(missing, os.ErrNotExist) && o.Path != "" && !c.Flags().Changed("config") {
			err = fmt.Errorf("%w; poller simulate > %s writes one that reads a simulated API", err, o.Path)
		}
		return config, err
	}
}

// withConfig has the command read the configuration and then do what it is for. It returns how the configuration is read: a command that
// does not ask the API sets SkipFiles, because it needs no secrets of accounts.
func withConfig(c *cobra.Command, do func(c *cobra.Command, config *app.Config, args []string) error) *app.LoadOptions {
	from, load := configured(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := load()
		if err != nil {
			return err
		}
		return do(c, config, args)
	}
	return from
}

// completeEndpoints has the shell complete the flag endpoint of a command.
func completeEndpoints(c *cobra.Command) {
	_ = c.RegisterFlagCompletionFunc("endpoint", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return app.EndpointNames(), cobra.ShellCompDirectiveNoFileComp
	})
}

func runCommand(hurry <-chan struct{}) *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Run the service until it is told to stop", Args: noArgs,
		Example: "  poller run --config poller.yaml\n" +
			"  POLLER_KAFKA_BROKERS=kafka:9092 POLLER_LOG_LEVEL=debug poller run",
	}
	from, load := configured(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		app.AwaitConfig(c.Context(), output(c).Log, from.Path)
		config, err := load()
		if err != nil {
			return err
		}
		log, level := app.NewLog(config.Log, c.ErrOrStderr())
		return app.Run(c.Context(), config, log, app.RunOptions{Version: version(), Config: from.Path, Level: level, Hurry: hurry})
	}
	return c
}

func demoCommand(hurry <-chan struct{}) *cobra.Command {
	c := &cobra.Command{
		Use: "demo", Short: "Show everything at work in one process, with nothing to set up", Args: noArgs,
		Example: "  poller demo\n  poller demo --duration 20s --json",
	}
	o := demo.Options{Version: version(), Program: os.Args[0], Hurry: hurry}
	durationVar(c, &o.Duration, "duration", 0, "stop after this long, and then wait for what was readable, 90 s at most; without it, Ctrl-C stops")
	c.Flags().BoolVar(&o.JSON, "json", false, "print the verdict as one JSON object, and no view")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the simulated contact centre")
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8080", `address of metrics and status; "" for none; unless it is given, another port if that one is taken`)
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.AnyPort = !c.Flags().Changed("listen")
		return demo.Run(c.Context(), output(c), o)
	}
	return c
}

func simulateCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "simulate", Short: "Serve a simulated Kore.ai API to try the poller on", Args: noArgs,
		Long: "Serves a contact centre that does not exist, until Ctrl-C, and prints a configuration that reads it.\n\n" + demo.Choices(),
		Example: "  poller simulate > poller.yaml\n" +
			"  poller simulate --burst --segments-per-day 20000 --requests-per-minute 600 --registry http://localhost:8081 > poller.yaml\n" +
			"  poller simulate --fault-rate 0.05 --faults 500,timeout > poller.yaml",
	}
	var o demo.SimulateOptions
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8090", "address to serve on; unless it is given, another port if that one is taken")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the world: the same seed tells the same story from the same start on")
	c.Flags().IntVar(&o.Accounts, "accounts", 1, "number of accounts")
	c.Flags().IntVar(&o.Bots, "bots", 2, "bots in each account")
	c.Flags().IntVar(&o.SegmentsPerDay, "segments-per-day", 1000, "volume of each account")
	durationVar(c, &o.History, "history", 24*time.Hour, "how much has happened before the start")
	c.Flags().BoolVar(&o.Burst, "burst", false, "conversations take seconds instead of minutes")
	c.Flags().StringVar(&o.Profile, "profile", "documented", "how the API behaves where that is not known of the real one; see above")
	c.Flags().IntVar(&o.RequestsPerMinute, "requests-per-minute", 60, "budget of each account; negative for no limit")
	c.Flags().Float64Var(&o.FaultRate, "fault-rate", 0, "share of answers that go wrong, 0 to 1")
	c.Flags().StringSliceVar(&o.Faults, "faults", nil, "how they go wrong; see above; all that pass by themselves if not given")
	c.Flags().StringSliceVar(&o.Brokers, "brokers", []string{"localhost:9092"}, "brokers in the configuration that is printed")
	c.Flags().StringVar(&o.Registry, "registry", "", "schema registry in the configuration that is printed; none if not given")
	c.Flags().StringVar(&o.Prefix, "prefix", "", "what the names of topics begin with, in the configuration that is printed; agentassist if not given")
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.AnyPort = !c.Flags().Changed("listen")
		return demo.Simulate(c.Context(), output(c), o)
	}
	return c
}

func planCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "plan", Short: "Say what the request budget attains at a volume", Args: noArgs,
		Example: "  poller plan --config poller.yaml --segments-per-day 10000",
	}
	var o app.PlanOptions
	c.Flags().IntVar(&o.SegmentsPerDay, "segments-per-day", 10_000, "volume of each account")
	c.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		return app.Plan(c.Context(), config, output(c), o)
	}).SkipFiles = true
	return c
}

func output(c *cobra.Command) app.Output {
	log, _ := app.NewLog(app.Log{Level: "warn", Format: "text"}, c.ErrOrStderr())
	return app.Output{Out: c.OutOrStdout(), Err: c.ErrOrStderr(), Log: log}
}
