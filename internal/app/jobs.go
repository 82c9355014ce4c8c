package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

const (
	// maxJobsShown is how many jobs of an account /status has.
	maxJobsShown = 20
	// tailRetry is when the topic of jobs is asked for again after a failure.
	tailRetry = 10 * time.Second
)

// jobs are those on the topic of jobs, as far as it was read. The zero value is ready for use.
type jobs struct {
	mu     sync.Mutex
	all    map[string]*jobEntry
	caught bool // what was there at the beginning is known
}

// jobEntry is what the topic says of one job.
type jobEntry struct {
	job      *poll.Job
	progress *poll.JobProgress
}

func (e *jobEntry) open() bool {
	return e.job != nil && (e.progress == nil || !e.progress.State.Final())
}

// status returns what people are shown of a job that the topic has.
func (e *jobEntry) status(id string) status.Job {
	s := status.Job{ID: id, State: "requested", From: e.job.From, To: e.job.To, Republish: e.job.Republish, Updated: e.job.Requested}
	if p := e.progress; p != nil {
		s.State, s.Reason, s.Fraction, s.Requests, s.Events, s.Updated = string(p.State), p.Reason, p.Fraction, p.Requests, p.Events, p.Updated
	}
	return s
}

// note takes in a record. It returns the job if there is something to do about it.
func (j *jobs) note(key, value []byte) (*poll.Job, error) {
	r, err := poll.DecodeJobRecord(key, value)
	if err != nil || r.ID == "" {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.all == nil {
		j.all = map[string]*jobEntry{}
	}
	e := j.all[r.ID]
	switch {
	case r.Job == nil && r.Progress == nil:
		delete(j.all, r.ID)
		return nil, nil
	case e == nil:
		e = &jobEntry{}
		j.all[r.ID] = e
	}
	if r.Progress != nil {
		e.progress = r.Progress
		return nil, nil
	}
	e.job = r.Job
	if j.caught && e.open() {
		return e.job, nil
	}
	return nil, nil
}

// ready says that all that was there at the beginning is known.
func (j *jobs) ready() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.caught = true
}

// open returns the jobs that are not finished, the oldest first. There are none before ready.
func (j *jobs) open() (open []poll.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.all {
		if j.caught && e.open() {
			open = append(open, *e.job)
		}
	}
	slices.SortFunc(open, func(a, b poll.Job) int { return a.Requested.Compare(b.Requested) })
	return open
}

// of returns the jobs of an account for /status, the newest first.
func (j *jobs) of(account string) []status.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []status.Job
	for id, e := range j.all {
		if e.job == nil || e.job.Account != account {
			continue
		}
		out = append(out, e.status(id))
	}
	slices.SortFunc(out, newestFirst)
	return out[:min(len(out), maxJobsShown)]
}

// newestFirst orders jobs by when something was last said of them.
func newestFirst(a, b status.Job) int {
	return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(a.ID, b.ID))
}

// followJobs hands the jobs on the topic to the accounts that they are for, until ctx ends. A topic that cannot be read stops no
// account.
func (a *App) followJobs(ctx context.Context, control *kafka.Control) {
	for failed := false; ; {
		err := control.Tail(ctx, func(key, value []byte) {
			job, err := a.jobs.note(key, value)
			if err != nil {
				a.log.Warn("a record on the topic of jobs could not be read", "err", err)
			}
			if job != nil {
				a.offer(ctx, control, job)
			}
		}, func() {
			a.jobs.ready()
			for _, job := range a.jobs.open() {
				a.offer(ctx, control, &job)
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !failed {
			a.log.Warn("the topic of jobs cannot be read; no backfill is taken before it can", "err", err, "retry_in", tailRetry)
			failed = true
		}
		if !pause(ctx, tailRetry) {
			return
		}
	}
}

// offer hands a job to the account that it is for, if that is read here. One for an account that nobody has is refused, by the
// one instance that there is.
func (a *App) offer(ctx context.Context, control *kafka.Control, job *poll.Job) {
	a.mu.Lock()
	known := false
	var account *poll.Account
	for _, r := range a.readers {
		if r.Name == job.Account {
			known, account = true, r.account
		}
	}
	a.mu.Unlock()
	switch {
	case account != nil:
		account.Offer(*job)
	case !known && a.cfg.Kafka.Group == "":
		word := poll.JobProgress{
			ID: job.ID, Account: job.Account, State: poll.JobRefused, Updated: time.Now().UTC(),
			Reason: fmt.Sprintf("no account %s is configured", job.Account),
		}
		if !job.Cancelled.IsZero() {
			word.State, word.Reason = poll.JobCancelled, ""
		}
		key, value, err := word.Encode()
		if err == nil {
			err = control.Write(ctx, kafka.Record{Key: key, Value: value})
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("refuse job", "job", job.ID, "err", err)
		}
	}
}
