package poll_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// jobOver is a job for all that the rig reads.
func (r *rig) jobOver(id string, from, to time.Time) poll.Job {
	return poll.Job{ID: id, Account: r.options.Name, AccountID: r.options.AccountID, From: from, To: to, Requested: time.Now()}
}

// finished waits for the last word on a job.
func (r *rig) finished(id string, limit time.Duration) poll.JobProgress {
	r.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Second) {
		if p := r.topics.job(id); p.State.Final() {
			return p
		}
	}
	r.t.Fatalf("job %s is not finished after %v: %+v", id, limit, r.topics.job(id))
	return poll.JobProgress{}
}

// slowPolls keep a simulated day cheap: nothing is polled more often than every five minutes, and little is swept.
func slowPolls(o *poll.Options) {
	for e := range o.Endpoints {
		o.Endpoints[e] = poll.EndpointOptions{PollInterval: 5 * time.Minute}
	}
	o.Policy.Tiers = []plan.Tier{{Within: 8 * time.Hour, Every: 2 * time.Hour}}
	o.Policy.ConversationTiers = []plan.Tier{{Within: timeline.Day, Every: 4 * time.Hour}}
}

// A range before the beginning is read within the budget and published once, through deaths at any moment, while new rows are
// read as before; a second job for the same range publishes nothing.
func TestJobIsReadOnceThroughDeaths(t *testing.T) {
	testsize.Slow(t)
	for _, profile := range testsize.Pick(koresim.Profiles()[:2], koresim.Profiles()) {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				world := koresim.Config{
					Seed: 61, Start: now.Add(-48 * time.Hour), Bots: 1, SegmentsPerDay: 300, RequestsPerMinute: 120, EmailOpen: time.Hour, Profile: profile,
				}
				r := newRig(t, world, slowPolls)
				r.options.Start = func(time.Time) time.Time { return now.Add(-time.Hour) }
				r.latency = usual
				r.start()
				r.runFor(10*time.Minute, time.Minute, nil)

				from, to := now.Add(-40*time.Hour), now.Add(-13*time.Hour)
				r.account.Offer(r.jobOver("older", from, to))
				for i := range 8 { // a process that is killed finds it in what it remembers
					r.runFor(time.Duration(9+i)*time.Second, time.Minute, nil)
					r.stop()
					r.start()
				}
				require.Equal(t, poll.JobRunning, r.topics.job("older").State)
				p := r.finished("older", 6*time.Hour)
				require.Equal(t, poll.JobDone, p.State)
				require.EqualValues(t, 1, p.Fraction)
				require.Positive(t, p.Events)
				require.Len(t, p.Units, 4)
				r.compare(koresim.Scope{From: from, To: to, Settled: now.Add(-12 * time.Hour)})
				for _, o := range r.between(from, to) {
					require.Equal(t, false, o.Fields["replay"])
					require.Equal(t, false, o.Fields["late"], "time that was never read is not late")
				}

				published := len(r.between(from, to))
				r.account.Offer(r.jobOver("again", from, to))
				p = r.finished("again", 6*time.Hour)
				require.Positive(t, p.Requests)
				require.Equal(t, published, len(r.between(from, to)), "what is remembered is not published again")
				r.caughtUp(time.Hour)
				stats := r.sim.Stats()
				require.Zero(t, stats.Violations)
				require.Zero(t, stats.Crowded)
				r.stop()
			})
		})
	}
}

// between returns what was published of a span.
func (r *rig) between(from, to time.Time) (out []koresim.Observed) {
	for _, o := range r.topics.observed() {
		if at, ok := o.Fields["event_time"].(time.Time); ok && !at.Before(from) && at.Before(to) {
			out = append(out, o)
		}
	}
	return out
}

// A job that reaches up to the beginning moves it: watermarks speak of all of it from then on, and never went back.
func TestJobUpToTheBeginningExtendsIt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := small(62)
		world.SegmentsPerDay, world.Start = 200, now.Add(-timeline.Day)
		r := newRig(t, world, slowPolls)
		r.options.Start = func(time.Time) time.Time { return now.Add(-time.Hour) }
		r.start()
		r.caughtUp(time.Hour)
		r.account.Offer(r.jobOver("up-to-now", now.Add(-20*time.Hour), time.Now()))
		require.Equal(t, poll.JobDone, r.finished("up-to-now", 6*time.Hour).State)
		read := time.Now()
		r.caughtUp(2 * time.Hour)
		r.runFor(20*time.Minute, time.Minute, nil) // until each has had a watermark since
		r.stop()
		for name, w := range r.topics.watermarks {
			require.Equal(t, now.Add(-20*time.Hour), *w.CompleteFrom, name)
			require.Empty(t, w.Gaps, name)
		}
		r.options.Start = func(time.Time) time.Time { return now.Add(-20 * time.Hour) }
		r.compare(koresim.Scope{From: now.Add(-20 * time.Hour), Settled: now.Add(-time.Hour), FirstRead: read})
	})
}

// Time that was read and is not remembered any more is read again only on purpose, and its events say so.
func TestJobOverForgottenTime(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := small(63)
		world.SegmentsPerDay, world.End = 100, now.Add(6*time.Hour)
		r := newRig(t, world, slowPolls)
		r.options.Retention = 16 * time.Hour
		r.start()
		r.runFor(40*time.Hour, time.Hour, func(status.Account) {
			_, err := r.store.Expire(time.Now().Add(-r.options.Retention))
			require.NoError(t, err)
		})
		r.stop()
		r.start() // of what lies behind it is known that it was read
		from, to := now.Add(-time.Hour), now.Add(5*time.Hour)
		once := len(r.between(from, to))

		r.account.Offer(r.jobOver("by-mistake", from, to))
		p := r.finished("by-mistake", time.Minute)
		require.Equal(t, poll.JobRefused, p.State)
		require.Contains(t, p.Reason, "interactions of bot-1 from 2026-06-10T08:00:00Z to 2026-06-10T14:00:00Z")
		require.Contains(t, p.Reason, "--republish")
		r.runFor(time.Hour, time.Hour, nil)
		require.Len(t, r.between(from, to), once)

		job := r.jobOver("on-purpose", from, to)
		job.Republish = true
		r.account.Offer(job)
		p = r.finished("on-purpose", 6*time.Hour)
		require.Equal(t, poll.JobDone, p.State)
		replayed := 0
		all := r.between(from, to)
		for _, o := range all[once:] {
			require.Equal(t, true, o.Fields["replay"])
			require.Equal(t, false, o.Fields["late"])
			replayed++
		}
		require.Positive(t, replayed)
	})
}

// A job that is cancelled ends, whether it runs, waits or was never taken; the next process does not go on with it, and what was read stays
// read. Jobs behind it go on.
func TestJobCancelled(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		world := small(65)
		world.SegmentsPerDay, world.Start, world.RequestsPerMinute = 300, now.Add(-48*time.Hour), 60
		r := newRig(t, world, slowPolls)
		r.options.Start = func(time.Time) time.Time { return now.Add(-time.Hour) }
		r.latency = usual
		r.start()
		r.caughtUp(time.Hour)
		long, waiting := r.jobOver("long", now.Add(-40*time.Hour), now.Add(-2*time.Hour)), r.jobOver("waiting", now.Add(-40*time.Hour), now.Add(-2*time.Hour))
		r.account.Offer(long)
		r.account.Offer(waiting)
		r.runFor(20*time.Second, time.Minute, nil)
		require.Equal(t, poll.JobRunning, r.topics.job("long").State)
		for _, job := range []poll.Job{long, waiting, r.jobOver("never-taken", now.Add(-40*time.Hour), now)} {
			job.Cancelled = time.Now()
			r.account.Offer(job)
			p := r.finished(job.ID, time.Minute)
			require.Equal(t, poll.JobCancelled, p.State, job.ID)
			require.Less(t, p.Fraction, 1.0)
		}
		requests := r.topics.job("long").Requests
		require.Positive(t, requests)
		r.stop()
		r.start()
		r.account.Offer(long) // as if the cancellation had not been seen: the units remember it
		r.account.Offer(r.jobOver("after", now.Add(-5*time.Hour), now.Add(-4*time.Hour)))
		require.Equal(t, poll.JobDone, r.finished("after", 6*time.Hour).State)
		p := r.topics.job("long")
		require.Equal(t, poll.JobCancelled, p.State)
		require.Equal(t, requests, p.Requests)
		r.stop()
	})
}

// A job that cannot be done is refused, and says why.
func TestJobRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		r := newRig(t, small(64), func(o *poll.Options) { delete(o.Endpoints, events.CallDetails) })
		r.start()
		for id, test := range map[string]struct {
			change func(*poll.Job)
			reason string
		}{
			"endpoint": {func(j *poll.Job) { j.Endpoints = []events.Endpoint{events.CallDetails} }, "endpoint call-details is not read for account test"},
			"bot":      {func(j *poll.Job) { j.Bots = []string{"bot-9"} }, "account test has no bot bot-9"},
			"ahead":    {func(j *poll.Job) { j.From, j.To = now.Add(timeline.Day), now.Add(2*timeline.Day) }, "it asks for time that has not come yet"},
		} {
			job := r.jobOver(id, now.Add(-time.Hour), now)
			test.change(&job)
			r.account.Offer(job)
			p := r.finished(id, time.Minute)
			require.Equal(t, poll.JobRefused, p.State, id)
			require.Equal(t, test.reason, p.Reason)
		}
	})
}
