package poll

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

const (
	// unsettledTries is how many passes over a span may conclude nothing before the unit is failing. One is nothing unusual: a list may
	// change while it is read.
	unsettledTries = 3
	// unsettledShare is the part of the account's budget that all passes together may cost that will probably conclude nothing.
	unsettledShare = 0.05
	// maxUnsettled bounds how many unsettled spans of a unit are remembered. Of more, those with the fewest tries are forgotten.
	maxUnsettled = 32
	// forgetUnsettled is how long after its last try an unsettled span is forgotten: it is not asked for any more. It is longer than the
	// period of any sweep.
	forgetUnsettled = 36 * time.Hour
	// stepTries is how often a step may fail, in a pass of a unit that answers other requests, before the pass ends.
	stepTries = 6
)

// unsettled is a span whose passes conclude nothing.
type unsettled struct {
	span     timeline.Span // zero for polls, and for what the scope is found out by
	why      pass.Unsettled
	class    status.Class
	tries    int
	answered int64 // requests of the unit that had been answered at the last try
	since    time.Time
	last     time.Time // try
}

// failing reports whether the tries were too many for chance.
func (s *unsettled) failing() bool { return !s.why.Quiet && s.tries >= unsettledTries }

// err describes s for the status.
func (s *unsettled) err() *status.Error {
	text := s.why.Text
	if !s.span.From.IsZero() {
		text = fmt.Sprintf("%s to %s: %s", s.span.From.Format(time.RFC3339), s.span.To.Format(time.RFC3339), text)
	}
	return &status.Error{Text: text, Hint: s.why.Hint, Class: s.class, Since: s.since, Count: s.tries}
}

// settle takes in how a pass has ended, after conclude. A pass that concluded something settles what it has read. After one that did not,
// the next waits: the first few for moments, later ones until the account can afford them.
func (a *Account) settle(r *activePass, end *pass.Outcome) {
	switch end.Unsettled {
	case nil:
		a.settled(r, end)
	case pass.ClockUnknown: // Account.clockKnown bounds how often that happens
	case pass.ZoneUnknown, pass.ZoneUnreadable:
		a.zoneUnknown(r, end)
	default:
		a.tryAgain(r, *end.Unsettled, status.ClassShape, end.ReadAt, min(r.unit.PollInterval, fruitless))
	}
}

// settled forgets what was unsettled of the spans that a pass has read.
func (a *Account) settled(r *activePass, end *pass.Outcome) {
	u := r.unit
	u.inVain[kindOf(r.work)] = max(0, u.inVain[kindOf(r.work)]-1)
	u.unsettled = slices.DeleteFunc(u.unsettled, func(s *unsettled) bool {
		over := s.span.From.IsZero() && r.work.Priority == plan.PriorityTail
		for _, read := range end.Read {
			if !s.span.From.IsZero() && !read.From.After(s.span.From) && read.To.After(s.span.From) {
				s.span.From = read.To
				over = !s.span.From.Before(s.span.To)
			}
		}
		if over && s.failing() {
			a.log.Info("passes conclude again", "endpoint", u.Endpoint, "bot", u.botName, "tries", s.tries, "what", s.why.Text)
		}
		return over
	})
}

// tryAgain notes that a pass has ended at a time without a conclusion, and why. The next try waits for pause, or for as long as it takes
// until the account can afford it if there were too many tries. Rows that the pass showed are published in any case.
func (a *Account) tryAgain(r *activePass, why pass.Unsettled, class status.Class, at time.Time, pause time.Duration) {
	u, kind := r.unit, kindOf(r.work)
	var span timeline.Span
	if kind != plan.KindTail && !u.scopeHidden() {
		span = timeline.Span{From: r.work.From, To: r.work.To}
	}
	s := u.unsettledOf(span)
	s.why, s.class = why, class
	if s.since.IsZero() {
		s.since = at
	}
	if s.tries == 0 || u.answers > s.answered { // otherwise the endpoint does not answer at all, and the span is not to blame
		s.tries++
		u.inVain[kind]++
	}
	s.last, s.answered = at, u.answers
	tries := unsettledTries
	if why.Quiet {
		tries = max(tries, len(u.bots)) // each bot is asked for once
	}
	again := at.Add(pause)
	if s.tries >= tries || u.inVain[kind] >= tries || u.unsettledError() != nil {
		again = timeline.Later(again, a.afford(r.requests, at))
		for k := range u.After {
			if plan.Kind(k) == kind || u.scopeHidden() { // then every pass is about the scope
				u.After[k] = again
			}
		}
	}
	level := slog.LevelDebug
	if s.tries == unsettledTries && s.failing() {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, "a pass concluded nothing; it is tried again", "endpoint", u.Endpoint, "bot", u.botName, "kind", kind,
		"what", s.err().Text, "hint", why.Hint, "tries", s.tries, "requests", r.requests, "retry_in", again.Sub(at).Round(time.Second))
	if s.span.From.Before(s.span.To) {
		u.hold(s.span, at, again.Sub(at), why.Text)
	}
}

// kindOf returns the kind under which a pass counts: all polls are of one.
func kindOf(w plan.Work) plan.Kind {
	if w.Priority == plan.PriorityTail {
		return plan.KindTail
	}
	return w.Kind
}

// unsettledOf returns what is unsettled of a span, and adds it if it is not known yet.
func (u *unit) unsettledOf(span timeline.Span) *unsettled {
	for _, s := range u.unsettled {
		if s.span == span || s.span.From.Before(span.To) && span.From.Before(s.span.To) {
			s.span = span
			return s
		}
	}
	if len(u.unsettled) == maxUnsettled {
		least := slices.MinFunc(u.unsettled, func(a, b *unsettled) int { return a.tries - b.tries })
		u.unsettled = slices.DeleteFunc(u.unsettled, func(s *unsettled) bool { return s == least })
	}
	s := &unsettled{span: span}
	u.unsettled = append(u.unsettled, s)
	return s
}

// afford notes that so many requests were spent in vain, and returns when the account can afford to spend as many again: unsettledShare
// of its budget is for that.
func (a *Account) afford(requests int, now time.Time) time.Time {
	perMinute := unsettledShare * float64(a.cfg.RequestsPerMinute)
	a.affordable = timeline.Later(a.affordable, now).Add(time.Duration(float64(requests) / perMinute * float64(time.Minute)))
	return a.affordable
}

// zoneUnknown takes in that a search for the zone of the bounds of `interactions` has found none.
func (a *Account) zoneUnknown(r *activePass, end *pass.Outcome) {
	a.bounds.RetryAt = a.afford(r.requests, end.ReadAt)
	level := slog.LevelDebug
	if a.bounds.Tries == 1 {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, "the zone of the bounds of windows could not be found; UTC is assumed, and the search is repeated",
		"endpoint", r.unit.Endpoint, "bot", r.unit.botName, "what", end.Unsettled.Text, "hint", end.Unsettled.Hint, "tries", a.bounds.Tries,
		"requests", r.requests, "retry_in", a.bounds.RetryAt.Sub(end.ReadAt).Round(time.Second))
}

// zoneCorrected takes back what was read of `interactions` as if its zone were UTC, after found has found another. All other passes of
// the endpoint end without a conclusion.
func (a *Account) zoneCorrected(found *activePass) {
	for _, u := range a.units {
		if u.zone != nil {
			u.Read, u.After, u.Held, u.unsettled = &timeline.Set{}, [plan.KindCount]time.Time{}, nil, nil
		}
	}
	a.loops[found.unit.Endpoint].finishAll(found, passDropped)
	a.plan = nil
	a.log.Warn("the zone of the bounds of windows is not UTC, as was assumed: interactions is read again from its start", "zone", a.bounds.Zone)
}

// unsettledError returns what the passes of the unit could not find out, nil if there is nothing that an operator should know.
func (u *unit) unsettledError() *status.Error {
	if u.zoneAssumed() {
		why := u.zone.Why()
		return &status.Error{Text: why.Text, Hint: why.Hint, Class: status.ClassShape, Since: u.zone.AssumedAt, Count: max(1, u.zone.Tries)}
	}
	var worst *unsettled
	for _, s := range u.unsettled {
		if s.failing() && (worst == nil || s.tries > worst.tries) {
			worst = s
		}
	}
	if worst == nil {
		return nil
	}
	return worst.err()
}

// forgetUnsettled forgets the spans that are not asked for any more.
func (u *unit) forgetUnsettled(now time.Time) {
	u.unsettled = slices.DeleteFunc(u.unsettled, func(s *unsettled) bool {
		return s.last.Before(now.Add(-forgetUnsettled)) || !s.span.From.IsZero() && !s.span.To.After(u.Start)
	})
}

// mustWait reports whether the API asked to send no request of the account now.
func (a *Account) mustWait() bool {
	return !a.blockedSince.IsZero() && a.budget.PausedUntil().After(time.Now())
}

// waiting says why a unit waits that is not failing. Its times are by our clock.
func (a *Account) waiting(u *unit, now time.Time) *status.Wait {
	skew, _ := a.api.Skew()
	local := func(t time.Time) time.Time { return t.Add(-skew) }
	w := &status.Wait{Reason: status.WaitFirstRead, Since: a.began}
	until := func(t time.Time) *status.Wait {
		if t.After(local(now)) {
			w.Until = &t
		}
		return w
	}
	if !a.paused.IsZero() {
		w.Reason, w.Text, w.Since = status.WaitPaused, "somebody paused the account; poller admin resume "+a.cfg.Name+" lets it go on", a.paused
		return w
	}
	const askedToWait = "the API said when requests may be sent again"
	if a.mustWait() {
		w.Reason, w.Text, w.Since = status.WaitRetryAfter, askedToWait, a.blockedSince
		return until(a.budget.PausedUntil())
	}
	if e := u.lastError; e != nil && e.Class == status.ClassWait {
		w.Reason, w.Text, w.Since = status.WaitRetryAfter, askedToWait, local(e.Since)
		return until(local(u.NotBefore))
	}
	for _, s := range u.unsettled {
		if s.why.Quiet {
			w.Reason, w.Text, w.Since = status.WaitNoRows, s.why.Text+"; to do: "+s.why.Hint, local(s.since)
			return until(local(u.After[plan.KindTail]))
		}
	}
	switch {
	case u.Start.After(now):
		w.Text = "reading begins at the configured start"
		return until(local(u.Start))
	case !a.cfg.Lease.MayAsk():
		w.Text = "this instance may not ask the API now, because its group has not confirmed that it still reads the account"
	case a.delivered.LastError != nil:
		w.Text = "nothing is read while batches cannot be delivered to Kafka"
	case u.LastPoll.IsZero():
		w.Text = "the first poll has not begun yet: other units, or the budget, come first"
	default:
		w.Text = "the first poll has not ended yet"
	}
	return w
}
