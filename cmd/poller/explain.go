package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"agentassist-poller/internal/app"
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain ID",
		Short: "Say why the events of a conversation are on the topics, or are not",
		Long: "Asks the API what it shows now of a conversation, reads what is published of it, and compares the two: every event with its revisions\n" +
			"and offsets, what is missing or differs and why, how far each endpoint has been read, and the dead letters. ID is that of a\n" +
			"conversation, session, segment, entity or event.\n\n" +
			"It changes nothing, and can be asked while pollers run: it sends 20 requests to an account at most. The exit code is 1 if something\n" +
			"is missing or differs, or if nothing is known of the id.",
		Example: "  poller explain c-7d0be3a2\n  poller explain 0f8a3c51d2b94e7788aa1c2b3d4e5f60 --since 30d --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("want one id: that of a conversation, session, segment, entity or event")
			}
			return nil
		},
	}
	var o app.ExplainOptions
	var since string
	_, load := configured(c)
	c.Flags().StringVar(&since, "since", "7d", "how far back to look: a duration such as 90m, a time such as 2026-11-01T00:00:00Z, or a day")
	c.Flags().BoolVar(&o.JSON, "json", false, "print one object with everything that was found")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		o.ID = args[0]
		if o.Since, err = app.ParseSince("--since", since, time.Now()); err != nil {
			return &app.UsageError{Err: err}
		}
		config, err := load()
		if err != nil {
			return err
		}
		return app.Explain(c.Context(), config, output(c), o)
	}
	return c
}
