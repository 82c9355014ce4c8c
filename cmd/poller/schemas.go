package main

import (
	"context"

	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func schemasCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "schemas [name]", Short: "List and show the Avro schemas, and bring them to the schema registry",
		Long: "Without a command it lists the schemas, shows the one that is named, or writes all of them into a directory.",
		Example: "  poller schemas list\n  poller schemas show feedback\n  poller schemas --write ./schemas\n" +
			"  poller schemas check\n  poller schemas register",
		Args: cobra.MaximumNArgs(1), ValidArgs: app.SchemaNames(),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case dir != "":
				return app.SchemasWrite(c.OutOrStdout(), dir)
			case len(args) > 0:
				return app.SchemasShow(c.OutOrStdout(), args[0])
			}
			return app.SchemasList(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&dir, "write", "", "directory to write all schemas into")

	list := &cobra.Command{
		Use: "list", Short: "List the schemas, and say what each is of", Args: noArgs, Example: "  poller schemas list",
		RunE: func(c *cobra.Command, _ []string) error { return app.SchemasList(c.OutOrStdout()) },
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Print a schema", Args: cobra.ExactArgs(1), ValidArgs: app.SchemaNames(),
		Example: "  poller schemas show feedback\n  poller schemas show segment | jq -r '.fields[].name'",
		RunE:    func(c *cobra.Command, args []string) error { return app.SchemasShow(c.OutOrStdout(), args[0]) },
	}
	check, _ := registryCommand(app.SchemasCheck)
	check.Use, check.Short = "check", "Ask the registry whether it has the schemas of this version, or would take them"
	check.Long = "Looks each schema up. Where one is missing, it asks whether it is compatible with the versions that are registered, and whether the\n" +
		"registry takes writes. It changes nothing. The exit code is 1 if a poller could not start."
	check.Example = "  poller schemas check --config poller.yaml\n  poller schemas check --json | jq '.[] | select(.state == \"failed\")'"

	register, registered := registryCommand(app.SchemasRegister)
	register.Use, register.Short = "register", "Register the schemas of this version, and set the compatibility of their subjects"
	register.Long = "Registers what is missing, as a start of the poller does, also where schema_registry.register is false: for somebody who may write to\n" +
		"the registry, before a poller that may not starts. What is registered already stays as it is."
	register.Example = "  poller schemas register --dry-run\n  POLLER_SCHEMA_REGISTRY_USERNAME=admin poller schemas register"
	register.Flags().BoolVar(&registered.DryRun, "dry-run", false, "only ask what would be registered, and whether the registry would take it")
	c.AddCommand(list, show, check, register)
	return c
}

// registryCommand returns a command that asks the schema registry, and what its flags set.
func registryCommand(do func(context.Context, *app.Config, app.Output, app.SchemasOptions) error) (*cobra.Command, *app.SchemasOptions) {
	c, o := &cobra.Command{Args: noArgs}, &app.SchemasOptions{}
	c.Flags().BoolVar(&o.JSON, "json", false, "print an array of objects with name, state, found and hint")
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		o.Color, _ = terminal(c)
		return do(c.Context(), config, output(c), *o)
	}).SkipFiles = true
	return c, o
}
