package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func forgetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "forget [ID...]",
		Short: "Delete what can be deleted of conversations, and say what stays for how long",
		Long: "Looks on the topics for everything of a conversation, deletes its last revisions from the -latest topics, and removes its texts from the\n" +
			"checkpoint. Records on other topics stay until their retention ends: the command says when that is at the earliest.\n\n" +
			"ID is that of a conversation, session, segment, entity or event. --person takes the id, the e-mail address or the\n" +
			"telephone number of a customer or an agent as events have it, and means every conversation with an event that has it; texts are not searched\n" +
			"for it.\n\n" +
			"Delete the conversation in Kore.ai first: what is still shown there is published again if it changes.\n\n" +
			"With exactly-once delivery the poller may run; it goes on by itself. Without, it must be stopped meanwhile. It can be run again.",
		Example: "  poller forget c-7d0be3a2 --dry-run\n  poller forget c-7d0be3a2 c-91b4f0aa --json\n  poller forget --person jo@example.com --dry-run",
	}
	var o app.ForgetOptions
	c.Args = func(_ *cobra.Command, args []string) error {
		if slices.Contains(append(args, o.Persons...), "") {
			return errors.New("an id is empty")
		}
		if len(args)+len(o.Persons) == 0 {
			return errors.New("want at least one id, that of a conversation, session, segment, entity or event, or --person")
		}
		return nil
	}
	c.Flags().StringArrayVar(&o.Persons, "person", nil, "forget the conversations of the person with this id, e-mail address or telephone number; may be repeated")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "change nothing, and say what would be")
	c.Flags().BoolVar(&o.JSON, "json", false, "print an array with an object for each ID and person")
	withConfig(c, func(c *cobra.Command, config *app.Config, args []string) error {
		o.IDs = args
		return app.Forget(c.Context(), config, output(c), o)
	}).SkipFiles = true
	return c
}
