package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"agentassist-poller/internal/kafka"
)

// TopicsOptions are the flags of poller topics.
type TopicsOptions struct {
	JSON   bool
	DryRun bool // of apply
}

// TopicsPlan prints what must be created or changed so that the topics are as configured. It changes nothing.
func TopicsPlan(ctx context.Context, c *Config, out Output, o TopicsOptions) error {
	plans, err := kafka.PlanTopics(ctx, topicOptions(c))
	if err != nil {
		return fmt.Errorf("plan topics: %w", err)
	}
	if o.JSON {
		return printJSON(out.Out, plans)
	}
	printPlans(out.Out, plans)
	if changed := toChange(plans); changed > 0 {
		_, err = fmt.Fprintf(out.Out, "%s to create or change: poller topics apply does it\n", plural(changed, "topic"))
	}
	return err
}

// TopicsApply creates and changes topics so that they are as configured. It deletes nothing and lowers nothing.
func TopicsApply(ctx context.Context, c *Config, out Output, o TopicsOptions) error {
	options := topicOptions(c)
	plans, err := kafka.PlanTopics(ctx, options)
	if err != nil {
		return fmt.Errorf("apply topics: %w", err)
	}
	printPlans(out.Out, plans)
	changed := toChange(plans)
	if changed == 0 {
		return nil
	}
	if err := kafka.ApplyTopics(ctx, options, plans, o.DryRun); err != nil {
		return fmt.Errorf("apply topics: %w", err)
	}
	text := "done: " + plural(changed, "topic") + " created or changed"
	if o.DryRun {
		text = "Kafka would do it; nothing was changed (--dry-run)"
	}
	_, err = fmt.Fprintln(out.Out, text)
	return err
}

// TopicsDescribe prints what each topic is for and how it is.
func TopicsDescribe(ctx context.Context, c *Config, out Output, o TopicsOptions) error {
	plans, err := kafka.PlanTopics(ctx, topicOptions(c))
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	if o.JSON {
		return printJSON(out.Out, plans)
	}
	for _, p := range plans {
		text := p.Describe()
		if n := len(p.Changes); p.Exists && n > 0 {
			text += "; " + plural(n, "setting") + " not as configured (poller topics plan)"
		}
		fmt.Fprintf(out.Out, "%s\n  %s\n  key: %s\n  now: %s\n", p.Name, p.Purpose, p.Key, text)
	}
	return nil
}

// topicOptions returns the options to look at topics with. What a client would log is among the results.
func topicOptions(c *Config) kafka.Options {
	return kafka.Options{Config: c.Kafka, Registry: c.SchemaRegistry, Types: c.Events.Types(), Log: slog.New(slog.DiscardHandler)}
}

// toChange returns how many topics something must be done about.
func toChange(plans []kafka.TopicPlan) (n int) {
	for _, p := range plans {
		if len(p.Changes) > 0 {
			n++
		}
	}
	return n
}

// printPlans prints what differs, and how many topics are as configured.
func printPlans(w io.Writer, plans []kafka.TopicPlan) {
	right := 0
	for _, p := range plans {
		if len(p.Changes)+len(p.Kept) == 0 {
			right++
			continue
		}
		if !p.Exists {
			var settings []string
			for _, c := range p.Changes {
				settings = append(settings, c.Setting+"="+c.Want)
			}
			fmt.Fprintf(w, "create  %s  %s\n", p.Name, strings.Join(settings, " "))
			continue
		}
		for _, c := range p.Changes {
			fmt.Fprintf(w, "change  %s  %s=%s (now %s)\n", p.Name, c.Setting, c.Want, c.Is)
		}
		for _, text := range p.Kept {
			fmt.Fprintf(w, "keep    %s  %s\n", p.Name, text)
		}
	}
	fmt.Fprintf(w, "%d of %s as configured\n", right, plural(len(plans), "topic"))
}
