package main

import (
	"context"

	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func topicsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "topics", Short: "Say how the topics are, and make them as configured", Args: oneOf,
		Example: "  poller topics plan\n  poller topics apply --dry-run\n  poller topics describe",
		RunE:    help,
	}
	plan, planned := topicCommand(app.TopicsPlan)
	plan.Use, plan.Short = "plan", "Print what must be created or changed so that the topics are as configured"
	plan.Long = "Compares the topics on the brokers with the configuration: partitions, cleanup policy, retention, max.message.bytes and what\n" +
		"kafka.topics.overrides has. It prints a line for each difference:\n\n" +
		"  create   the topic is missing\n" +
		"  change   poller topics apply sets it\n" +
		"  keep     it is more than configured; lowering it would lose records, so that it is left to a person\n\n" +
		"It changes nothing, and needs the rights Describe and DescribeConfigs on the topics."
	plan.Example = "  poller topics plan --config poller.yaml\n  poller topics plan --json | jq '.[] | select(.changes != [])'"

	apply, applied := topicCommand(app.TopicsApply)
	apply.Use, apply.Short = "apply", "Create and change topics so that they are as configured"
	apply.Long = "Does what poller topics plan prints. It deletes no topic, takes no partition away, and lowers nothing that bounds what a topic keeps or\n" +
		"takes. Pollers may run; they take a larger number of partitions of event topics when they start again, and only if\n" +
		"kafka.topics.partitions names it. It needs the rights Create, Alter and AlterConfigs, which a poller does not need."
	apply.Example = "  poller topics apply --dry-run     # Kafka says whether it would\n  poller topics apply"

	describe, described := topicCommand(app.TopicsDescribe)
	describe.Use, describe.Short = "describe", "Say what each topic is for, how it is keyed, and how it is"
	describe.Example = "  poller topics describe\n  poller topics describe --json | jq -r '.[].topic'"
	const json = "print an array with an object for each topic"
	plan.Flags().BoolVar(&planned.JSON, "json", false, json)
	describe.Flags().BoolVar(&described.JSON, "json", false, json)
	apply.Flags().BoolVar(&applied.DryRun, "dry-run", false, "ask Kafka whether it would, and change nothing")
	c.AddCommand(plan, apply, describe)
	return c
}

// topicCommand returns a command about the topics, and what its flags set. It asks no API, so that secrets of accounts may be missing.
func topicCommand(do func(context.Context, *app.Config, app.Output, app.TopicsOptions) error) (*cobra.Command, *app.TopicsOptions) {
	c, o := &cobra.Command{Args: noArgs}, &app.TopicsOptions{}
	withConfig(c, func(c *cobra.Command, config *app.Config, _ []string) error {
		return do(c.Context(), config, output(c), *o)
	}).SkipFiles = true
	return c, o
}
