package main

import (
	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit --from TIME [--to TIME]",
		Short: "Compare what the API shows of a span of time with what is published, event by event",
		Long: "Reads the span from the API, makes events of it as a poller would that reads it for the first time, and compares them with the topics:\n\n" +
			"  missing    the API shows it, and it is not published\n" +
			"  extra      it is published, and the API does not show it now\n" +
			"  different  the last revision has other content than the API shows\n" +
			"  changing   the topics are not to be complete yet, or it has changed since it was read\n" +
			"  unchecked  another endpoint has a part in it whose row is in another time, or was not asked for\n\n" +
			"It names the backfill that has the poller read again what is missing or different. It changes nothing, and can be asked while pollers\n" +
			"run, but its requests count towards the account's budget: it sends a tenth of it at most, unless --requests-per-minute says otherwise.\n\n" +
			"The exit code is 1 if something is missing, extra or different, or if an endpoint could not be read.",
		Example: "  poller audit --from 2026-11-28 --to 2026-11-29\n" +
			"  poller audit --account retail-us --endpoint interactions --from 2026-11-28T08:00:00Z --to 2026-11-28T09:00:00Z\n" +
			"  poller audit --from 2026-11-28T08:00:00Z --requests-per-minute 20 --json | jq 'select(.state == \"missing\")'",
		Args: noArgs,
	}
	var o app.AuditOptions
	f := c.Flags()
	f.StringVar(&o.From, "from", "", "beginning of the span, such as 2026-11-01T00:00:00Z or 2026-11-01")
	f.StringVar(&o.To, "to", "", "end of the span; now if not given")
	f.StringSliceVar(&o.Accounts, "account", nil, "only this account, by name; may be given more than once")
	f.StringSliceVar(&o.Bots, "bot", nil, "only this bot, by name or id; may be given more than once")
	f.StringSliceVar(&o.Endpoints, "endpoint", nil, "only this endpoint; may be given more than once")
	f.IntVar(&o.RequestsPerMinute, "requests-per-minute", 0, "requests to each account in any minute; a tenth of its budget if not given")
	f.BoolVar(&o.JSON, "json", false, "print a line of JSON for each difference, and a last one with counts and backfills")
	_ = c.MarkFlagRequired("from")
	completeEndpoints(c)
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		return app.Audit(c.Context(), config, output(c), o)
	})
	return c
}
