package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"agentassist-poller/internal/app"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Say whether a poller would run with the configuration, and what is in its way",
		Long: "Asks the API of each account, Kafka, the schema registry and the disk whether all is there that a poller needs, and prints a line for\n" +
			"each thing: what was found, and what to do. It creates no topic, registers no schema and takes nothing over, and can be asked while\n" +
			"pollers run: it sends one request to each endpoint of each bot, 20 for an account at most.\n\n" +
			"The exit code is 0 if nothing failed, 1 if something did, and 2 if the configuration must be corrected first.",
		Example: "  poller check --config poller.yaml\n" +
			"  poller check --json | jq '.[] | select(.state == \"failed\")'\n" +
			"  poller check --offline --skip-files",
		Args: noArgs,
	}
	var offline bool
	var o app.CheckOptions
	from, load := configured(c)
	c.Flags().BoolVar(&offline, "offline", false, "look at the configuration only, print every setting, and ask nobody")
	c.Flags().BoolVar(&from.SkipFiles, "skip-files", false, "with --offline: do not read secrets and certificates, for a machine that does not have them")
	c.Flags().BoolVar(&o.JSON, "json", false, "print an array of objects with name, state, found and hint")
	durationVar(c, &o.Timeout, "timeout", time.Minute, "wait no longer than this for all answers together")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case offline && o.JSON:
			return &app.UsageError{Err: errors.New("--offline prints the configuration, not --json; use one of the two")}
		case !offline && from.SkipFiles:
			return &app.UsageError{Err: errors.New("--skip-files goes with --offline: without secrets nobody can be asked")}
		case o.Timeout <= 0:
			return &app.UsageError{Err: errors.New("--timeout must be more than 0")}
		}
		app.AwaitConfig(c.Context(), output(c).Log, from.Path)
		config, err := load()
		if err != nil && offline && !from.SkipFiles {
			from.SkipFiles = true
			if _, _, others := app.Load(*from); others == nil {
				err = fmt.Errorf("%w\nNothing else is wrong. On a machine that does not have these files, add --skip-files", err)
			}
		}
		if err != nil {
			return err
		}
		if offline {
			return app.CheckOffline(config, c.OutOrStdout())
		}
		o.Color, _ = terminal(c)
		return app.Check(c.Context(), config, output(c), o)
	}
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  poller version",
		Args:    noArgs,
		Run:     func(c *cobra.Command, _ []string) { fmt.Fprint(c.OutOrStdout(), versionLine()) },
	}
}

func versionLine() string {
	return fmt.Sprintf("agentassist-poller %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// release is set when a release is built: -ldflags "-X main.release=1.2.3".
var release string

// version is the release, or what the Go tool knows about the sources.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if release != "" || !ok {
		return release
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision[:min(12, len(revision))] + changed
}
