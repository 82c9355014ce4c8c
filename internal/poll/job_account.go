package poll

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
)

const (
	// jobProgressEvery is how often the progress of a job is published while it runs.
	jobProgressEvery = time.Second
	// marginPart is the fraction of the retention that a job may not rely on: by the time the job is done, it is past.
	marginPart = 32
	// maxFinished is how many finished jobs a unit remembers, so that a job that is submitted again is not done again.
	maxFinished = 32
)

// accountJobs are the jobs that an account was offered, and what it last said of those that it took.
type accountJobs struct {
	offered map[string]Job // not final, as far as is known here
	news    chan struct{}
	said    map[string]time.Time
}

func newAccountJobs() accountJobs {
	return accountJobs{offered: map[string]Job{}, news: make(chan struct{}, 1), said: map[string]time.Time{}}
}

// again has takeJobs go through the offers once more.
func (j *accountJobs) again() {
	select {
	case j.news <- struct{}{}:
	default:
	}
}

// Offer hands a job to the account, which takes or refuses it as soon as it can, or ends it if it was cancelled. Offer does not wait for
// that, and may be called again with the same job.
func (a *Account) Offer(job Job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.jobs.offered[job.ID]; known && job.Cancelled.IsZero() {
		return
	}
	a.jobs.offered[job.ID] = job
	a.jobs.again()
}

// takeJobs takes what is offered, until ctx ends.
func (a *Account) takeJobs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.jobs.news:
		}
		if err := a.takeOffers(ctx); err != nil {
			return err
		}
	}
}

// takeOffers takes or refuses the jobs that were offered and that some unit has not taken yet. What the units record of them and the
// progress that is published of them are one batch.
func (a *Account) takeOffers(ctx context.Context) error {
	unlock := a.lockPublishing(ctx)
	if unlock == nil {
		return nil
	}
	defer unlock()
	a.mu.Lock()
	record := a.newRecording()
	batch := &kafka.Batch{Account: a.cfg.Name, Recording: record}
	jobs := make([]Job, 0, len(a.jobs.offered))
	for _, job := range a.jobs.offered {
		jobs = append(jobs, job)
	}
	slices.SortFunc(jobs, func(x, y Job) int { return cmp.Or(x.Requested.Compare(y.Requested), cmp.Compare(x.ID, y.ID)) })
	var err error
	for _, job := range jobs {
		var units []*unit
		reason := ""
		if job.Cancelled.IsZero() {
			units, reason = a.take(&job)
		} else {
			units = a.cancel(job.ID)
		}
		record.moved = append(record.moved, units...)
		word := a.jobProgress(job.ID)
		if !job.Cancelled.IsZero() {
			if word.State != JobDone {
				word.State = JobCancelled
			}
			a.log.Info("job cancelled", "job", job.ID, "state", word.State, "fraction", word.Fraction)
		} else if reason != "" {
			word.State, word.Reason = JobRefused, reason
			a.log.Warn("job refused", "job", job.ID, "reason", reason)
		} else if len(units) > 0 {
			a.log.Info("job taken", "job", job.ID, "from", job.From, "to", job.To, "units", len(units), "republish", job.Republish)
		}
		if word.State.Final() {
			delete(a.jobs.offered, job.ID)
		}
		var said kafka.Record
		if said.Key, said.Value, err = word.Encode(); err != nil {
			break
		}
		batch.Control = append(batch.Control, said)
	}
	a.mu.Unlock()
	if err != nil || len(batch.Control) == 0 {
		return err
	}
	if err := a.deliver(ctx, batch); err != nil {
		return err
	}
	for e := range a.loops {
		a.nudge(e)
	}
	return nil
}

// take gives a job to the units that it is for and that do not have it yet. It returns these units, or why the job is refused.
func (a *Account) take(job *Job) (units []*unit, reason string) {
	if reason := a.unknown(job); reason != "" {
		return nil, reason
	}
	now := a.api.Now()
	job.To = timeline.Earlier(job.To, now).Truncate(time.Second)
	job.From = job.From.Truncate(time.Second)
	if !job.From.Before(job.To) {
		return nil, "it asks for time that has not come yet"
	}
	reach := a.remembered(now)
	taken := map[*unit]*unitJob{}
	var forgotten []string
	for _, u := range a.units {
		if !job.wants(u) || u.job(job.ID) != nil {
			continue
		}
		j := &unitJob{ID: job.ID, From: job.From, To: job.To, Left: u.spansOf(job.From, job.To, reach)}
		if n := u.openJobs(); n >= bound.OpenJobs {
			return nil, fmt.Sprintf("%s has %d jobs under way; ask again once some are done", u, n)
		}
		if n := len(j.Left); n > bound.JobSpans {
			return nil, fmt.Sprintf("%s has read that time in %d pieces, and at most %d can be asked for at once; ask for less time", u, n, bound.JobSpans)
		}
		for _, s := range j.Left {
			if s.Replay && !job.Republish {
				forgotten = append(forgotten, fmt.Sprintf("%s from %s to %s", u, s.From.Format(time.RFC3339), s.To.Format(time.RFC3339)))
			}
		}
		taken[u] = j
		units = append(units, u)
	}
	if len(forgotten) > 0 {
		const most = 3
		if n := len(forgotten) - most; n > 0 {
			forgotten = append(forgotten[:most], fmt.Sprintf("%d more", n))
		}
		return nil, "this was read before and what it showed is no longer remembered, so that it would be published again: " +
			strings.Join(forgotten, "; ") + "; ask for other time, or with --republish, which marks the events as replay"
	}
	for u, j := range taken {
		u.addJob(j)
	}
	a.plan = nil // there is more to do
	return units, ""
}

// cancel ends a job in all units that are not done with it, and the passes that read for it. It returns these units.
func (a *Account) cancel(id string) (units []*unit) {
	now := a.api.Now()
	for _, u := range a.units {
		if j := u.job(id); j != nil && j.Finished.IsZero() {
			j.Finished, j.Cancelled = now, true
			u.queue()
			units = append(units, u)
		}
	}
	for _, l := range a.loops {
		for _, r := range slices.Clone(l.active) {
			if r.job != nil && r.job.ID == id { // what its request in flight brings is not taken in: see errEnded
				l.finish(r, passDropped)
			}
		}
	}
	a.plan = nil // there is less to do
	return units
}

// remembered returns the oldest time of a read that a job may still rely on: what was read before is forgotten soon, or already.
func (a *Account) remembered(now time.Time) time.Time {
	return now.Add(a.cfg.Retention/marginPart - a.cfg.Retention)
}

// unknown returns which name in the job is not known to this account, or "".
func (a *Account) unknown(job *Job) string {
	for _, e := range job.Endpoints {
		if _, ok := a.cfg.Endpoints[e]; !ok {
			return fmt.Sprintf("endpoint %s is not read for account %s", e, a.cfg.Name)
		}
	}
	for _, name := range job.Bots {
		if !slices.ContainsFunc(a.cfg.Bots, func(b Bot) bool { return b.ID == name || b.Name == name }) {
			return fmt.Sprintf("account %s has no bot %s", a.cfg.Name, name)
		}
	}
	if !slices.ContainsFunc(a.units, job.wants) {
		return fmt.Sprintf("account %s reads nothing that it asks for", a.cfg.Name)
	}
	return ""
}

// jobSteps counts a step of a pass that a job asked for, and returns the progress of jobs to publish with its batch: that a job is
// done, in the batch that makes it so, and how far the running job has come, every jobProgressEvery.
func (a *Account) jobSteps(r *activePass, published int, ended bool) (words []kafka.Record, err error) {
	if r.job != nil {
		r.job.Requests++
		r.job.Events += int64(published)
	}
	now := a.api.Now()
	var ids []string
	for _, j := range r.unit.state.Jobs {
		if ended && len(j.Left) == 0 && j.Finished.IsZero() {
			j.Finished = now
			r.unit.extend(a.remembered(now))
			ids = append(ids, j.ID)
		} else if j == r.job && now.Sub(a.jobs.said[j.ID]).Abs() >= jobProgressEvery {
			ids = append(ids, j.ID)
		}
	}
	if ended {
		r.unit.queue()
	}
	for _, id := range ids {
		word := a.jobProgress(id)
		if word.State == JobDone {
			a.log.Info("job done", "job", id, "requests", word.Requests, "events", word.Events)
			delete(a.jobs.offered, id)
		}
		key, value, err := word.Encode()
		if err != nil {
			return nil, err
		}
		words = append(words, kafka.Record{Key: key, Value: value})
		a.jobs.said[id] = now
	}
	return words, nil
}

// jobProgress adds up what the units say of a job.
func (a *Account) jobProgress(id string) *JobProgress {
	p := &JobProgress{ID: id, Account: a.cfg.Name, State: JobAccepted, Updated: a.api.Now().UTC().Truncate(time.Millisecond)}
	finished, cancelled := 0, false
	for _, u := range a.units {
		j := u.job(id)
		if j == nil {
			continue
		}
		p.Units = append(p.Units, JobUnit{
			Endpoint: u.Endpoint, Bot: u.botName, Fraction: j.fraction(), Requests: j.Requests, Events: j.Events, Capped: j.Capped,
		})
		p.Fraction += j.fraction()
		p.Requests += j.Requests
		p.Events += j.Events
		if !j.Finished.IsZero() {
			finished++
		}
		cancelled = cancelled || j.Cancelled
	}
	switch n := len(p.Units); {
	case n == 0:
		return p
	case finished == n && cancelled:
		p.State = JobCancelled
	case finished == n:
		p.State = JobDone
	case p.Requests > 0 || finished > 0:
		p.State = JobRunning
	}
	p.Fraction /= float64(len(p.Units))
	return p
}

// job returns what the unit remembers of a job, nil if it has not taken it.
func (u *unit) job(id string) *unitJob {
	for _, j := range u.state.Jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

// openJobs counts the jobs of the unit that are not finished.
func (u *unit) openJobs() (n int) {
	for _, j := range u.state.Jobs {
		if j.Finished.IsZero() {
			n++
		}
	}
	return n
}

func (u *unit) addJob(j *unitJob) {
	finished := len(u.state.Jobs) - u.openJobs()
	u.state.Jobs = slices.DeleteFunc(u.state.Jobs, func(old *unitJob) bool { // the oldest come first
		if old.Finished.IsZero() || finished < maxFinished {
			return false
		}
		finished--
		return true
	})
	u.state.Jobs = append(u.state.Jobs, j)
	u.queue()
}

// queue tells the plan what is left of the first job that is not finished.
func (u *unit) queue() {
	u.Backfills = nil
	if u.zoneAssumed() { // nothing of a job would count as read
		return
	}
	for _, j := range u.state.Jobs {
		if !j.Finished.IsZero() {
			continue
		}
		for _, s := range j.Left {
			u.Backfills = append(u.Backfills, s.Span)
		}
		return
	}
}

// asked returns the job that asks for the time from t on, and whether what was published of it is to be published again.
func (u *unit) asked(t time.Time) (*unitJob, bool) {
	for _, j := range u.state.Jobs {
		if s := j.at(t); s != nil && j.Finished.IsZero() {
			return j, s.Replay
		}
	}
	return nil, false
}

// readForJobs notes for all jobs that a pass has read a span. Rows before Start were published only if a job asked for them.
func (u *unit) readForJobs(w plan.Work, span timeline.Span, readAt time.Time) {
	seen := timeline.Span{From: u.Start, To: span.To}
	if w.Asked {
		seen = w.Within
	}
	span = timeline.Span{From: timeline.Later(span.From, seen.From), To: timeline.Earlier(span.To, seen.To)}
	for _, j := range u.state.Jobs {
		part := timeline.Span{From: timeline.Later(span.From, j.From), To: timeline.Earlier(span.To, j.To)}
		if part.From.Before(part.To) && j.subtract(part, w.Replay) && part.From.Before(u.Start) {
			u.past.Mark(part.From, timeline.Earlier(part.To, u.Start), readAt)
		}
	}
}

// cappedForJobs takes out of all jobs the seconds that hold more rows than the API gives out: they would be asked for again without
// end.
func (u *unit) cappedForJobs(w plan.Work, capped []timeline.Span) {
	for _, span := range capped {
		for _, j := range u.state.Jobs {
			if j.subtract(span, w.Replay) {
				j.Capped += int64(span.To.Sub(span.From) / time.Second)
			}
		}
	}
}

// extend moves the start of the unit back to where a job has read from, as far as what the job read is remembered: sweeps then find
// late edits there too, and watermarks cover it.
func (u *unit) extend(reach time.Time) {
	reach = timeline.Later(reach, u.state.StoreLost)
	start := u.Start
	spans := u.past.ReadSpans(reach, start)
	for _, s := range slices.Backward(spans) {
		if s.To.Before(start) || s.ReadAt.Before(reach) {
			break
		}
		u.Read.Mark(s.From, s.To, s.ReadAt)
		start = s.From
	}
	if start = timeline.CeilSecond(start); start.Before(u.Start) {
		u.Start, u.state.Start = start, start
	}
}

// lastRead returns when the time t was last read; zero if it never was.
func (u *unit) lastRead(t time.Time) time.Time {
	set := u.Read
	if t.Before(u.Start) {
		set = u.past
	}
	read, _ := set.LastRead(t)
	return read
}
