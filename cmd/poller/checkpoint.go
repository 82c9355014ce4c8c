package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func checkpointCommand() *cobra.Command {
	c := &cobra.Command{Use: "checkpoint", Short: "Look at what the checkpoint topic holds, and mend it", Args: oneOf, RunE: help,
		Example: "  poller checkpoint show\n  poller checkpoint verify\n  poller checkpoint recover --account retail-us\n" +
			"  poller checkpoint adopt --all --rewind 1d"}
	c.AddCommand(checkpointShowCommand(), checkpointVerifyCommand(), checkpointRecoverCommand(), checkpointAdoptCommand())
	return c
}

func checkpointShowCommand() *cobra.Command {
	c := &cobra.Command{Use: "show", Short: "Print what the checkpoint topic holds of each account", Args: noArgs,
		Example: "  poller checkpoint show --config poller.yaml"}
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		return app.CheckpointShow(c.Context(), config, output(c))
	}).SkipFiles = true
	return c
}

func checkpointVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "verify", Short: "Say whether a poller can go on from the checkpoint of each account", Args: noArgs,
		Long: "Reads what is recorded of each account as an owner would that takes it over, and says whether all of it is there: a line each, with the\n" +
			"command that repairs it. It changes nothing, and the poller may run; with at-least-once delivery it must be stopped, because the file is\n" +
			"read. The exit code is 1 if a poller could not go on.",
		Example: "  poller checkpoint verify --config poller.yaml",
	}
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		return app.CheckpointVerify(c.Context(), config, output(c))
	}).SkipFiles = true
	return c
}

func checkpointRecoverCommand() *cobra.Command {
	c, _ := mendingCommand(app.CheckpointRecover)
	c.Use = "recover (--account NAME | --all)"
	c.Short = "Go on from the last watermarks where the checkpoint is lost"
	c.Long = "Writes the checkpoint of accounts anew whose own is lost or not whole; a checkpoint that is whole is left alone. What was published since\n" +
		"the last watermarks is published again, with the same event ids. The poller may run; it goes on by itself."
	c.Example = "  poller checkpoint recover --account retail-us\n  poller checkpoint recover --all"
	return c
}

func checkpointAdoptCommand() *cobra.Command {
	c, o := mendingCommand(app.CheckpointAdopt)
	c.Use = "adopt (--account NAME | --all) --rewind 1d"
	c.Short = "Go on from a checkpoint that was written for another cluster"
	c.Long = "For topics that were mirrored, or a cluster that got a new id: forgets what was read and published of the last time, back to the beginning of\n" +
		"a day, so that it is read again, and writes the id of this cluster. The poller may run; it goes on by itself."
	c.Example = "  poller checkpoint adopt --all --rewind 1d\n  poller checkpoint adopt --account retail-us --rewind 36h"
	durationVar(c, &o.Rewind, "rewind", 24*time.Hour, "how much of the last time is read again: more than the mirror may be behind")
	return c
}

// mendingCommand returns a command that does something to the checkpoints of the accounts that its flags name.
func mendingCommand(mend func(context.Context, *app.Config, app.Output, app.CheckpointOptions) error) (*cobra.Command, *app.CheckpointOptions) {
	c, o := &cobra.Command{Args: noArgs}, &app.CheckpointOptions{}
	c.Flags().StringVar(&o.Account, "account", "", "name of the account")
	c.Flags().BoolVar(&o.All, "all", false, "all accounts of the configuration")
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		return mend(c.Context(), config, output(c), *o)
	}).SkipFiles = true
	return c, o
}
