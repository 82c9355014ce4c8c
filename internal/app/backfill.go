package app

import (
	"agentassist-poller/internal/conf"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll"
)

// BackfillOptions are the flags of poller backfill.
type BackfillOptions struct {
	Account         string
	From, To        string // RFC 3339, or a day; empty To: now
	Endpoints, Bots []string
	Republish       bool
	Detach          bool
}

// ErrJobRefused is wrapped by what Backfill returns if the owner of the account refuses the job.
var ErrJobRefused = errors.New("refused")

const (
	// nobodyAfter is how long a job may wait before the command says that no instance takes it.
	nobodyAfter = 15 * time.Second
	// plainEvery is how often progress is printed where there is no terminal.
	plainEvery = 10 * time.Second
	// forgetJobs is the age at which finished jobs are deleted from the topic.
	forgetJobs = 90 * 24 * time.Hour
)

// Backfill writes a job for the owner of an account and follows its progress until it is done. When ctx ends before, the job goes
// on.
func Backfill(ctx context.Context, c *Config, out Output, o BackfillOptions) error {
	job, err := newJob(c, &o, time.Now())
	if err != nil {
		return &UsageError{err}
	}
	control, err := kafka.OpenControl(ctx, kafka.Options{Config: c.Kafka, Types: c.Events.Types(), Log: out.Log})
	if err != nil {
		return err
	}
	defer control.Close()
	if err := control.Topics.CheckRetention(job.From, time.Now()); err != nil {
		return err
	}
	key, value, err := job.Encode()
	if err != nil {
		return &UsageError{err}
	}
	if err := control.Write(ctx, kafka.Record{Key: key, Value: value}); err != nil {
		return err
	}
	fmt.Fprintf(out.Err, "backfill %s: %s from %s to %s\n", job.ID, job.Account, job.From.Format(time.RFC3339), job.To.Format(time.RFC3339))
	if o.Detach {
		_, err := fmt.Fprintln(out.Out, job.ID)
		return err
	}
	return follow(ctx, control, job.ID, newProgressView(out.Err))
}

// newJob makes a job of the flags. It refuses what the configuration already shows to be wrong.
func newJob(c *Config, o *BackfillOptions, now time.Time) (*poll.Job, error) {
	i := slices.IndexFunc(c.Accounts, func(a Account) bool { return a.Name == o.Account })
	if i < 0 {
		return nil, fmt.Errorf("--account %q: there is no such account; want one of %s", o.Account, strings.Join(c.accountNames(), ", "))
	}
	account := &c.Accounts[i]
	var id [3]byte
	_, _ = rand.Read(id[:]) // never fails
	job := &poll.Job{
		ID: strings.ToLower(now.UTC().Format("20060102t150405")) + "-" + hex.EncodeToString(id[:]), Account: account.Name,
		AccountID: account.AccountID, Bots: o.Bots, Republish: o.Republish, Requested: now.UTC(), To: now.UTC().Truncate(time.Second),
	}
	var err error
	if job.From, err = parseTime("--from", o.From); err != nil {
		return nil, err
	}
	if o.To != "" {
		if job.To, err = parseTime("--to", o.To); err != nil {
			return nil, err
		}
	}
	if job.To.After(now) {
		return nil, fmt.Errorf("--to %s has not come yet", o.To)
	}
	for _, name := range o.Endpoints {
		e := events.Endpoint(name)
		if !e.Known() {
			return nil, fmt.Errorf("--endpoint %q: there is no such endpoint; want one of %s", name, strings.Join(EndpointNames(), ", "))
		}
		if !account.Endpoints.Of(e).Enabled {
			return nil, fmt.Errorf("--endpoint %s: it is switched off for account %s", name, account.Name)
		}
		job.Endpoints = append(job.Endpoints, e)
	}
	for _, name := range o.Bots {
		if !slices.ContainsFunc(account.Bots, func(b Bot) bool { return b.Name == name || b.BotID == name }) {
			return nil, fmt.Errorf("--bot %q: account %s has no such bot", name, account.Name)
		}
	}
	return job, job.Validate()
}

func (c *Config) accountNames() (names []string) {
	for _, a := range c.Accounts {
		names = append(names, a.Name)
	}
	return names
}

// EndpointNames are those of all endpoints that can be read.
func EndpointNames() (names []string) {
	for _, e := range events.Endpoints() {
		names = append(names, string(e))
	}
	return names
}

// parseTime reads a time, or the beginning of a day.
func parseTime(flag, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q is not a time; want one like 2026-11-01T00:00:00Z, or a day like 2026-11-01", flag, text)
}

// ParseDuration reads a duration as the configuration has it: 15s, 2m, 36h, 30d.
func ParseDuration(text string) (time.Duration, error) { return conf.ParseDuration(text) }

// FormatDuration returns the shortest text that ParseDuration reads as d.
func FormatDuration(d time.Duration) string { return conf.FormatDuration(d) }

// ParseSince reads a time, the beginning of a day, or a duration before now. Flag names the text in an error.
func ParseSince(flag, text string, now time.Time) (time.Time, error) {
	if d, err := conf.ParseDuration(text); err == nil && d >= 0 {
		return now.UTC().Add(-d), nil
	}
	t, err := parseTime(flag, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w, or a duration like 15m or 7d", err)
	}
	return t, nil
}

// follow shows the progress of a job until it is finished.
func follow(ctx context.Context, control *kafka.Control, id string, view *progressView) error {
	nobody := time.AfterFunc(nobodyAfter, view.nobody)
	defer nobody.Stop()
	last, err := watch(ctx, control, id, func(p *poll.JobProgress) {
		nobody.Stop()
		view.show(p)
	}, func(known *jobs) { cleanUp(ctx, control, known, time.Now()) })
	view.end()
	switch {
	case err != nil:
		return fmt.Errorf("follow backfill %s, which goes on without: %w", id, err)
	case last == nil || !last.State.Final():
		fmt.Fprintf(view.w, "backfill %s goes on without this command; /status shows how far it is\n", id)
		return nil
	case last.State == poll.JobCancelled:
		return fmt.Errorf("backfill %s was cancelled at %.0f %%: %s, %s", id, 100*last.Fraction, plural(int(last.Requests), "request"),
			plural(int(last.Events), "event"))
	case last.State == poll.JobRefused:
		return fmt.Errorf("backfill %s %w: %s", id, ErrJobRefused, last.Reason)
	}
	fmt.Fprintf(view.w, "backfill %s done: %s, %s\n", id, plural(int(last.Requests), "request"), plural(int(last.Events), "event"))
	for _, u := range last.Units {
		if u.Capped > 0 {
			fmt.Fprintf(view.w, "%s %s: %s more rows than the API gives out\n", u.Endpoint, u.Bot, plural(int(u.Capped), "second")+" held")
		}
	}
	return nil
}

// watch calls show for each progress of a job, and caughtUp once all jobs are known that there were before. It returns the last progress, nil
// if there is none, once that is final or ctx ends.
func watch(ctx context.Context, control *kafka.Control, id string, show func(*poll.JobProgress), caughtUp func(*jobs)) (*poll.JobProgress, error) {
	tailing, stop := context.WithCancel(ctx)
	defer stop()
	var known jobs
	var last *poll.JobProgress
	err := control.Tail(tailing, func(key, value []byte) {
		if _, err := known.note(key, value); err != nil {
			return // somebody else's
		}
		if e := known.all[id]; e != nil && e.progress != last {
			last = e.progress
			show(last)
			if last.State.Final() {
				stop()
			}
		}
	}, func() { caughtUp(&known) })
	return last, err
}

// cleanUp deletes jobs that were finished long ago from the topic. Its failure does no harm.
func cleanUp(ctx context.Context, control *kafka.Control, known *jobs, now time.Time) {
	var old []kafka.Record
	for id, e := range known.all {
		if e.progress != nil && e.progress.State.Final() && now.Sub(e.progress.Updated) > forgetJobs {
			for _, prefix := range []string{"progress/", "backfill/"} {
				old = append(old, kafka.Record{Key: []byte(prefix + id)})
			}
		}
	}
	if len(old) > 0 {
		_ = control.Write(ctx, old...)
	}
}

// progressView shows progress: a bar on a terminal, lines elsewhere.
type progressView struct {
	w        io.Writer
	terminal bool
	printed  time.Time
	state    poll.JobState
}

func newProgressView(w io.Writer) *progressView {
	return &progressView{w: w, terminal: Terminal(w) != nil}
}

func (v *progressView) show(p *poll.JobProgress) {
	if v.terminal {
		const width = 30
		full := int(p.Fraction * width)
		fmt.Fprintf(v.w, "\r\x1b[K[%s%s] %3.0f %%  %s, %s", strings.Repeat("█", full), strings.Repeat("·", width-full), 100*p.Fraction,
			plural(int(p.Requests), "request"), plural(int(p.Events), "event"))
		v.printed = time.Now()
		return
	}
	if p.State == v.state && time.Since(v.printed) < plainEvery {
		return
	}
	v.state, v.printed = p.State, time.Now()
	fmt.Fprintf(v.w, "%s: %.0f %%, %s, %s\n", p.State, 100*p.Fraction, plural(int(p.Requests), "request"), plural(int(p.Events), "event"))
}

// nobody says that no instance has taken the job yet.
func (v *progressView) nobody() {
	fmt.Fprintln(v.w, "no poller has taken it so far; it stays on the topic of jobs until one that reads the account runs")
}

func (v *progressView) end() {
	if v.terminal && !v.printed.IsZero() {
		fmt.Fprintln(v.w)
	}
}
