package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/tail"
)

func tailCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tail [topic]...",
		Short: "Show events as they are published",
		Long: "Reads topics as a consumer does and prints a line for each record. Topics are event types, feedback-negative, watermark and\n" +
			"dead-letter; without any, all event types are shown. It changes nothing and needs the right to read the topics only.",
		Example: "  poller tail feedback --sentiment negative\n" +
			"  poller tail --conversation c-7d0be3a2 --since 24h --follow=false --json\n" +
			"  poller tail --brokers localhost:9092 --registry http://localhost:8081",
		ValidArgs: tail.Topics(),
	}
	var o tail.Options
	var since, prefix, registry string
	var brokers []string
	from, load := configured(c)
	from.SkipFiles = true // the API is not asked from here
	f := c.Flags()
	f.StringSliceVar(&brokers, "brokers", nil, "read from these brokers, and no configuration")
	f.StringVar(&registry, "registry", "", "with --brokers: the address of the schema registry")
	f.StringVar(&prefix, "prefix", "agentassist", "with --brokers: what the names of topics begin with")
	f.StringVar(&since, "since", "15m", "how far back to begin: a duration such as 90m, a time such as 2026-11-01T00:00:00Z, or a day")
	f.BoolVarP(&o.Follow, "follow", "f", true, "go on at the end of the topics, until Ctrl-C")
	f.IntVarP(&o.Count, "count", "n", 0, "stop after so many records")
	f.BoolVar(&o.JSON, "json", false, "print each record as JSON, with topic, partition, offset and key")
	f.StringVar(&o.Filter.Conversation, "conversation", "", "only this conversation, session or segment, by id")
	f.StringVar(&o.Filter.Agent, "agent", "", "only this agent, by id, e-mail address or part of the name")
	f.StringVar(&o.Filter.Sentiment, "sentiment", "", "only feedback of this sentiment: negative, neutral, positive, unknown, withdrawn")
	f.StringVar(&o.Filter.Bot, "bot", "", "only this bot, by id")
	f.StringVar(&o.Filter.Source, "source", "", "only this account, by name")
	c.RunE = func(c *cobra.Command, topics []string) error {
		o.Topics, o.Log = topics, output(c).Log
		err := o.Validate()
		if err != nil {
			return &app.UsageError{Err: err}
		}
		if o.Since, err = app.ParseSince("--since", since, time.Now()); err != nil {
			return &app.UsageError{Err: err}
		}
		if o.Kafka, o.Registry, err = whereTo(load, brokers, registry, prefix); err != nil {
			return err
		}
		o.Color, o.Width = terminal(c)
		return tail.Run(c.Context(), c.OutOrStdout(), o)
	}
	return c
}

// whereTo returns where to read from: the brokers that the flags name, or what the configuration has.
func whereTo(load func() (*app.Config, error), brokers []string, registry, prefix string) (kafka.Config, kafka.RegistryConfig, error) {
	if len(brokers) == 0 {
		config, err := load()
		if err != nil {
			return kafka.Config{}, kafka.RegistryConfig{}, err
		}
		return config.Kafka, config.SchemaRegistry, nil
	}
	k, r := kafka.DefaultConfig(), kafka.DefaultRegistryConfig()
	k.Brokers, k.TopicPrefix, r.URL = brokers, prefix, registry
	return k, r, nil
}

// terminal reports whether the output is a terminal that shows colours, and how many characters a line has; 0 if it is none.
func terminal(c *cobra.Command) (color bool, width int) {
	f := app.Terminal(c.OutOrStdout())
	if f == nil {
		return false, 0
	}
	width, _, _ = term.GetSize(int(f.Fd())) // 0 if it does not say
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", width
}
