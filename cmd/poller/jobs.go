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
		Args: cobra.NoArgs,
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
	_ = c.RegisterFlagCompletionFunc("endpoint", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return app.EndpointNames(), cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := load()
		if err != nil {
			return err
		}
		return app.Backfill(c.Context(), config, output(c), o)
	}
	return c
}
