package main

import (
	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func adminCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "admin", Short: "Change the running poller: its log level, and which accounts are paused", Args: oneOf, RunE: help,
		Long: "Asks the poller that runs on this machine with the same configuration, at server.admin.listen. What is changed lasts until the process\n" +
			"ends. In Kubernetes, run it in the pod that reads the account.",
		Example: "  poller admin log-level debug --config poller.yaml\n" +
			"  kubectl exec poller-agentassist-poller-0 -- /poller admin pause retail-us --config /etc/poller/poller.yaml",
	}
	level := &cobra.Command{
		Use: "log-level [LEVEL]", Short: "Print the log level, or change it to debug, info, warn or error", Args: cobra.MaximumNArgs(1),
		Example: "  poller admin log-level\n  poller admin log-level debug",
	}
	pause := &cobra.Command{
		Use: "pause ACCOUNT", Short: "Send no request for an account until it is resumed", Args: cobra.ExactArgs(1),
		Long: "Requests that are on their way are finished, and what they bring is published. Nothing is lost: once the account is resumed, the poller\n" +
			"reads what happened meanwhile. The pause ends with the process, and does not hold in another instance that takes the account over.",
		Example: "  poller admin pause retail-us",
	}
	resume := &cobra.Command{
		Use: "resume ACCOUNT", Short: "End the pause of an account", Args: cobra.ExactArgs(1),
		Example: "  poller admin resume retail-us",
	}
	withConfig(level, func(c *cobra.Command, config *app.Config, args []string) error {
		return app.AdminLogLevel(c.Context(), config, output(c), append(args, "")[0])
	}).SkipFiles = true // only the token is used, and read then
	withConfig(pause, func(c *cobra.Command, config *app.Config, args []string) error {
		return app.AdminPause(c.Context(), config, output(c), args[0])
	}).SkipFiles = true
	withConfig(resume, func(c *cobra.Command, config *app.Config, args []string) error {
		return app.AdminResume(c.Context(), config, output(c), args[0])
	}).SkipFiles = true
	c.AddCommand(level, pause, resume)
	return c
}
