package main

import (
	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func backfillCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backfill --account NAME --from TIME [--to TIME]",
		Short: "Have the running poller read a range of time, and follow its progress",
		Long: "Writes a job that the poller which reads the account takes and runs within its budget. Ctrl-C ends the watching, not the job.\n" +
			"What is remembered is not published again. What was read before and is no longer remembered is read only with --republish.",
		Example: "  poller backfill --account retail-us --from 2026-11-01 --to 2026-11-02\n" +
			"  poller backfill --account retail-us --from 2026-11-01T08:00:00Z --endpoint conversations --bot care --detach",
		Args: noArgs,
	}
	var o app.BackfillOptions
	from, load := configured(c)
	from.SkipFiles = true // the API is not asked from here
	c.Flags().StringVar(&o.Account, "account", "", "name of the account")
	c.Flags().StringVar(&o.From, "from", "", "beginning of the range, such as 2026-11-01T00:00:00Z or 2026-11-01")
	c.Flags().StringVar(&o.To, "to", "", "end of the range; now if not given")
	c.Flags().StringSliceVar(&o.Endpoints, "endpoint", nil, "only this endpoint; may be given more than once")
	c.Flags().StringSliceVar(&o.Bots, "bot", nil, "only this bot, by name or id; may be given more than once")
	c.Flags().BoolVar(&o.Republish, "republish", false, "also read what was read before and is no longer remembered; its events are marked as replay")
	c.Flags().BoolVar(&o.Detach, "detach", false, "print the id of the job and do not wait for it")
	for _, flag := range []string{"account", "from"} {
		_ = c.MarkFlagRequired(flag)
	}
	_ = c.RegisterFlagCompletionFunc("account", func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
		if config, err := load(); err == nil {
			for _, a := range config.Accounts {
				names = append(names, a.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	completeEndpoints(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := load()
		if err != nil {
			return err
		}
		return app.Backfill(c.Context(), config, output(c), o)
	}
	return c
}

func jobsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "jobs", Short: "List backfills, and cancel one", Args: oneOf, RunE: help,
		Example: "  poller jobs list\n  poller jobs cancel 20261129t061103-0779ea",
	}
	list := &cobra.Command{
		Use: "list", Short: "List the backfills that were asked for, the newest first", Args: noArgs,
		Example: "  poller jobs list\n  poller jobs list --json | jq '.[] | select(.state == \"running\")'",
	}
	var asJSON bool
	list.Flags().BoolVar(&asJSON, "json", false, "print an array of objects, as /status has them")
	withConfig(list, func(c *cobra.Command, config *app.Config, _ []string) error {
		return app.JobsList(c.Context(), config, output(c), asJSON)
	}).SkipFiles = true
	cancel := &cobra.Command{
		Use: "cancel ID", Short: "End a backfill before it is done, and wait until it has ended", Args: cobra.ExactArgs(1),
		Long: "Asks the poller that reads the account to end a backfill. What it has read and published stays. If no poller runs, the request stays on\n" +
			"the topic of jobs, and the next one that reads the account ends the backfill. Ctrl-C ends the waiting, not the request.",
		Example: "  poller jobs cancel 20261129t061103-0779ea",
	}
	withConfig(cancel, func(c *cobra.Command, config *app.Config, args []string) error {
		return app.JobsCancel(c.Context(), config, output(c), args[0])
	}).SkipFiles = true
	c.AddCommand(list, cancel)
	return c
}
