package main

import (
	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Say how a configuration is written", Args: oneOf, Example: "  poller config schema", RunE: help}
	c.AddCommand(&cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration, for editors and other tools", Args: noArgs,
		Long: "Prints a JSON Schema (draft 2020-12) of the configuration of this version, with defaults and descriptions. It knows keys and single values;\n" +
			"'poller check --offline' knows what the values have to do with each other and with the environment.",
		Example: "  poller config schema > poller.schema.json",
		RunE:    func(c *cobra.Command, _ []string) error { return app.PrintConfigSchema(c.OutOrStdout()) },
	})
	return c
}
