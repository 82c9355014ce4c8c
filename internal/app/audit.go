package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/explain"
	"agentassist-poller/internal/kafka"
)

// AuditOptions are the flags of poller audit.
type AuditOptions struct {
	From, To        string // RFC 3339, or a day; empty To: now
	Accounts        []string
	Endpoints, Bots []string
	// RequestsPerMinute to each account; 0 means a tenth of its budget.
	RequestsPerMinute int
	JSON              bool
}

// Audit compares what the API shows of a span with what is published of it, and prints what differs. It returns an error if something is
// missing, is there and should not be, or differs, and if an endpoint could not be read.
func Audit(ctx context.Context, c *Config, out Output, o AuditOptions) error {
	from, to, err := auditSpan(o, time.Now())
	if err != nil {
		return &UsageError{err}
	}
	options := explain.AuditOptions{
		Options: explain.Options{Kafka: c.Kafka, Registry: c.SchemaRegistry, Log: slog.New(slog.DiscardHandler)},
		From:    from, To: to,
		Progress: func(a explain.Answer) {
			fmt.Fprintf(out.Err, "%s: %s %s: %s, %s\n", a.Account, a.Endpoint, a.Bot, plural(a.Rows, "row"), plural(a.Requests, "request"))
		},
	}
	for _, name := range o.Endpoints {
		if !events.Endpoint(name).Known() {
			return &UsageError{fmt.Errorf("--endpoint %q: there is no such endpoint; want one of %s", name, strings.Join(EndpointNames(), ", "))}
		}
		options.Endpoints = append(options.Endpoints, events.Endpoint(name))
	}
	accounts, err := auditAccounts(c, o, &options)
	if err != nil {
		return &UsageError{err}
	}
	if err := kept(ctx, c, from); err != nil {
		return err
	}
	report := &explain.AuditReport{}
	for _, a := range accounts {
		options.Accounts = []explain.Account{{Poll: accountOptions(c, a), API: a.Kore()}}
		if options.RequestsPerMinute = o.RequestsPerMinute; options.RequestsPerMinute == 0 {
			options.RequestsPerMinute = max(1, a.RequestsPerMinute/10)
		}
		fmt.Fprintf(out.Err, "%s: sends at most %s a minute, which count towards the account's budget of %d as those of a running poller do\n",
			a.Name, plural(options.RequestsPerMinute, "request"), a.RequestsPerMinute)
		one, err := explain.Audit(ctx, options)
		if err != nil {
			return fmt.Errorf("audit %s: %w", a.Name, err)
		}
		report.Add(one)
	}
	show := explain.PrintAudit
	if o.JSON {
		show = explain.PrintAuditJSON
	}
	if err := show(out.Out, report); err != nil {
		return err
	}
	differ := report.Count(explain.Missing) + report.Count(explain.Extra) + report.Count(explain.Different)
	switch {
	case report.Unread() > 0:
		return fmt.Errorf("audit: %d of %s could not be read, %s found to differ", report.Unread(), plural(len(report.Answers), "endpoint"), plural(differ, "event"))
	case differ > 0:
		return fmt.Errorf("audit: %s missing, extra or different", plural(differ, "event"))
	}
	return nil
}

// auditSpan reads the flags of the time to audit.
func auditSpan(o AuditOptions, now time.Time) (from, to time.Time, err error) {
	if from, err = parseTime("--from", o.From); err != nil {
		return from, to, err
	}
	to = now.UTC().Truncate(time.Second)
	if o.To != "" {
		if to, err = parseTime("--to", o.To); err != nil {
			return from, to, err
		}
	}
	switch {
	case to.After(now):
		err = fmt.Errorf("--to %s has not come yet", o.To)
	case !from.Before(to):
		err = fmt.Errorf("--from %s is not before --to", o.From)
	case to.Sub(from) > explain.MaxAudit:
		err = fmt.Errorf("--from %s: want at most %d days at once; audit one part after the other", o.From, int(explain.MaxAudit/day))
	}
	return from, to, err
}

// auditAccounts returns the accounts that the flags name, and notes the bots, by their ids.
func auditAccounts(c *Config, o AuditOptions, options *explain.AuditOptions) (accounts []*Account, err error) {
	if o.RequestsPerMinute < 0 {
		return nil, errors.New("--requests-per-minute must be more than 0")
	}
	for _, name := range o.Accounts {
		if !slices.ContainsFunc(c.Accounts, func(a Account) bool { return a.Name == name }) {
			return nil, fmt.Errorf("--account %q: there is no such account; want one of %s", name, strings.Join(c.accountNames(), ", "))
		}
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if len(o.Accounts) > 0 && !slices.Contains(o.Accounts, a.Name) {
			continue
		}
		if o.RequestsPerMinute > a.RequestsPerMinute {
			return nil, fmt.Errorf("--requests-per-minute %d: account %s has a budget of %d", o.RequestsPerMinute, a.Name, a.RequestsPerMinute)
		}
		accounts = append(accounts, a)
	}
	for _, name := range o.Bots {
		known := false
		for _, a := range accounts {
			for _, b := range a.Bots {
				if b.Name == name || b.BotID == name {
					options.Bots, known = append(options.Bots, b.BotID), true
				}
			}
		}
		if !known {
			return nil, fmt.Errorf("--bot %q: no account that is audited has such a bot", name)
		}
	}
	return accounts, nil
}

// kept returns an error if there are no topics, or if they do not keep events of the span any more: all would be missing.
func kept(ctx context.Context, c *Config, from time.Time) error {
	plans, err := kafka.PlanTopics(ctx, topicOptions(c))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, p := range plans {
		if !p.Exists {
			return fmt.Errorf("audit: topic %s does not exist; check kafka.topic_prefix, or see poller topics plan", p.Name)
		}
	}
	if c.Kafka.Timestamp == kafka.TimestampObserved {
		return nil // records are younger than their events
	}
	for _, p := range plans {
		if keeps := p.Keeps(); keeps >= 0 && time.Since(from) > keeps {
			return &UsageError{fmt.Errorf("topic %s keeps records for %v: earlier events are gone from it, and would all be missing; audit from %s on",
				p.Name, keeps, time.Now().Add(-keeps).UTC().Add(time.Hour).Truncate(time.Hour).Format(time.RFC3339))}
		}
	}
	return nil
}
