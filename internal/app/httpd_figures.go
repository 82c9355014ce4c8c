package app

import (
	"fmt"
	"strings"
	"time"

	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

// A figure is one of the answers at the top of the page, over all accounts that are read here.
type figure struct {
	Name, Value, Why string
	Tone             status.State
}

// figures returns up to when all is complete, what is furthest behind, what is in work and to come, and what the budget goes to. They are
// empty where no endpoint is known.
func figures(s status.Status) []figure {
	var first, last, behind *status.Endpoint // the first without a statement, the one with the oldest, and the one that is furthest behind
	var firstIn, lastIn, behindIn, fullestIn *status.Account
	total, unknown := 0, 0
	passes, work := 0, map[string]int64{}
	gaps, unsettled, jobs := 0, 0, 0
	var history time.Duration
	for i := range s.Accounts {
		a := &s.Accounts[i]
		for j := range a.Endpoints {
			e := &a.Endpoints[j]
			total++
			if e.CompleteUpTo == nil {
				if unknown++; first == nil {
					first, firstIn = e, a
				}
			} else if last == nil || e.CompleteUpTo.Before(*last.CompleteUpTo) {
				last, lastIn = e, a
			}
			if e.Lag != nil && (behind == nil || *e.Lag > *behind.Lag) {
				behind, behindIn = e, a
			}
			for _, p := range e.InWork {
				work[p.PriorityClass]++
				passes++
			}
			if e.FirstRead != nil {
				history += time.Duration(e.FirstRead.Remaining)
			}
			gaps += len(e.Gaps)
			unsettled += len(e.Unsettled)
		}
		jobs += unfinished(*a)
		if len(a.Endpoints) > 0 && (fullestIn == nil || a.Budget.Used*fullestIn.Budget.Limit > fullestIn.Budget.Used*a.Budget.Limit) {
			fullestIn = a
		}
	}
	if total == 0 {
		return nil
	}

	complete := figure{Name: "Complete up to", Value: "not stated yet", Tone: status.Waiting}
	switch {
	case unknown > 0:
		complete.Why = fmt.Sprintf("by %d of %s: %s, %s", unknown, plural(total, "endpoint"), place(*firstIn, *first), unstated(*first))
		if last != nil {
			complete.Why += "; by the others " + at(s.Now, last.CompleteUpTo)
		}
	default:
		complete.Value, complete.Tone = at(s.Now, last.CompleteUpTo), ""
		complete.Why = ago(s.Now, last.CompleteUpTo) + "; the oldest is that of " + place(*lastIn, *last)
	}

	late := figure{Name: "New rows are behind by at most", Value: "not known yet", Tone: status.Waiting}
	if behind != nil {
		late.Value, late.Why, late.Tone = short(time.Duration(*behind.Lag)), place(*behindIn, *behind), ""
		switch {
		case behind.State.Red():
			late.Why, late.Tone = late.Why+" fails", status.Failing
		case behind.Waiting != nil:
			late.Why, late.Tone = late.Why+" waits", status.Waiting
		case time.Duration(*behind.Lag) > lateAfter:
			late.Tone = status.Waiting
		}
	}

	now := figure{Name: "In work", Value: plural(passes, "pass")}
	if passes > 0 {
		now.Why = countsOf(work)
	}
	var queue []string
	if history > 0 {
		queue = append(queue, short(history)+" of history")
	}
	for _, n := range []struct {
		n    int
		what string
	}{{gaps, "gap"}, {unsettled, "unsettled span"}, {jobs, "backfill"}} {
		if n.n > 0 {
			queue = append(queue, plural(n.n, n.what))
		}
	}
	if len(queue) > 0 {
		now.Why = strings.TrimPrefix(now.Why+"; to come: ", "; ") + strings.Join(queue, ", ")
	}

	b := fullestIn.Budget
	used := figure{Name: "Requests in the last minute", Value: fmt.Sprintf("%s of %s", count(int64(b.Used)), count(int64(b.Limit)))}
	var spent []string
	for _, c := range b.PriorityClasses {
		if c.Used > 0 {
			spent = append(spent, c.Name+" "+count(int64(c.Used)))
		}
	}
	if b.Used >= b.Limit {
		used.Tone = status.Waiting
		spent = append([]string{"all of the budget"}, spent...)
	}
	if len(s.Accounts) > 1 {
		spent = append([]string{fullestIn.Name + ", the most of all accounts"}, spent...)
	}
	used.Why = strings.Join(spent, ", ")
	return []figure{complete, late, now, used}
}

// unfinished counts the backfills of an account that are not done, refused or cancelled.
func unfinished(a status.Account) (n int) {
	for _, job := range a.Jobs {
		if !poll.JobState(job.State).Final() {
			n++
		}
	}
	return n
}
