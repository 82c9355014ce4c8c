package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"agentassist-poller/internal/app"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Say whether the configuration is right, and what it comes to",
		Args:  cobra.NoArgs,
	}
	var offline bool
	o, load := configured(c)
	c.Flags().BoolVar(&offline, "offline", false, "look at the configuration only, and ask nobody")
	c.Flags().BoolVar(&o.SkipFiles, "skip-files", false, "do not read secrets and certificates: for a machine that does not have them")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !offline {
			return &app.UsageError{Err: errors.New("this version checks the configuration only; add --offline")}
		}
		config, err := load()
		if err != nil {
			return err
		}
		return app.Check(config, c.OutOrStdout())
	}
	return c
}

func schemasCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "schemas [name]",
		Short: "List the Avro schemas, print one, or write them all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return app.Schemas(c.OutOrStdout(), name, dir)
		},
	}
	c.Flags().StringVar(&dir, "write", "", "directory to write all schemas into")
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "agentassist-poller %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
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
