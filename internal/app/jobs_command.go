package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

// JobsList prints the jobs on the topic of jobs, the newest first.
func JobsList(ctx context.Context, c *Config, out Output, asJSON bool) error {
	control, known, err := openJobs(ctx, c, out)
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	control.Close()
	type job struct {
		Account string `json:"account"`
		status.Job
	}
	all := []job{}
	for id, e := range known.all {
		if e.job != nil {
			all = append(all, job{e.job.Account, e.status(id)})
		}
	}
	slices.SortFunc(all, func(a, b job) int { return newestFirst(a.Job, b.Job) })
	if asJSON {
		return printJSON(out.Out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(out.Out, "there are no jobs")
		return err
	}
	table := tabwriter.NewWriter(out.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tACCOUNT\tSTATE\tREAD\tFROM\tTO\tREQUESTS\tEVENTS")
	for _, j := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%.0f %%\t%s\t%s\t%d\t%d\n", j.ID, j.Account, j.State, 100*j.Fraction, j.From.Format(time.RFC3339),
			j.To.Format(time.RFC3339), j.Requests, j.Events)
	}
	return table.Flush()
}

// JobsCancel asks the owner of an account to end a job, and waits until it has. What the job has read stays read. When ctx ends before,
// the request stays, and the instance that reads the account next ends the job.
func JobsCancel(ctx context.Context, c *Config, out Output, id string) error {
	control, known, err := openJobs(ctx, c, out)
	if err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	defer control.Close()
	e := known.all[id]
	switch {
	case e == nil || e.job == nil:
		return &UsageError{fmt.Errorf("cancel job %s: there is no such job; poller jobs list has those that there are", id)}
	case !e.open() && e.progress.State != poll.JobCancelled:
		return fmt.Errorf("cancel job %s: it is %s since %s, and there is nothing to cancel", id, e.progress.State, e.progress.Updated.Format(time.RFC3339))
	case e.open() && e.job.Cancelled.IsZero():
		job := *e.job
		job.Cancelled = time.Now().UTC()
		key, value, err := job.Encode()
		if err == nil {
			err = control.Write(ctx, kafka.Record{Key: key, Value: value})
		}
		if err != nil {
			return fmt.Errorf("cancel job %s: %w", id, err)
		}
	}
	nobody := time.AfterFunc(nobodyAfter, func() {
		fmt.Fprintln(out.Err, "no poller has ended it so far; the request stays on the topic of jobs until one that reads the account runs")
	})
	defer nobody.Stop()
	last, err := watch(ctx, control, id, func(*poll.JobProgress) {}, func(*jobs) {})
	switch {
	case err != nil:
		return fmt.Errorf("cancel job %s: it was asked for, and what came of it is not known: %w", id, err)
	case last == nil || !last.State.Final():
		_, err = fmt.Fprintf(out.Err, "job %s ends without this command; poller jobs list shows when\n", id)
	case last.State == poll.JobCancelled:
		_, err = fmt.Fprintf(out.Err, "job %s is cancelled, with %.0f %% read: %s, %s\n", id, 100*last.Fraction, plural(int(last.Requests), "request"),
			plural(int(last.Events), "event"))
	default:
		err = fmt.Errorf("cancel job %s: it was %s before", id, last.State)
	}
	return err
}

// openJobs opens the topic of jobs, and returns what is on it. The caller closes the topic.
func openJobs(ctx context.Context, c *Config, out Output) (*kafka.Control, *jobs, error) {
	control, err := kafka.OpenControl(ctx, kafka.Options{Config: c.Kafka, Types: c.Events.Types(), Log: out.Log})
	if err != nil {
		return nil, nil, err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	known := &jobs{}
	err = control.Tail(reading, func(key, value []byte) {
		_, _ = known.note(key, value) // one that cannot be read is somebody else's
	}, stop)
	if err = cmp.Or(err, ctx.Err()); err != nil {
		control.Close()
		return nil, nil, err
	}
	return control, known, nil
}
