package poll

import (
	"time"

	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

const (
	// unsettledTries is how many passes of a kind in a row may conclude nothing before the unit is failing: a list that changes while it
	// is read is common, and the next pass mostly succeeds.
	unsettledTries = 3
	// unsettledShare is the part of the account's budget that all units together may spend on passes that will probably conclude nothing.
	unsettledShare = 0.05
)

// unsettled are passes of one kind of a unit that concluded nothing, in a row.
type unsettled struct {
	why   *pass.Unsettled // of the last one; nil if the last pass of the kind concluded something
	count int
	since time.Time
}

// failing reports whether the passes were too many for chance.
func (s *unsettled) failing() bool { return s.why != nil && !s.why.Quiet && s.count >= unsettledTries }

// settle notes whether a pass that has ended concluded anything. If it did not, settle delays the next pass of the kind: the first few by
// moments, later ones so that they cost at most unsettledShare of the budget. The rows that the pass showed are published in any case.
func (a *Account) settle(r *activePass, end *pass.Outcome) {
	u, kind := r.unit, r.work.Kind
	if kind == plan.KindProbe || end.Unsettled == pass.NoRows { // before the scope is known, all passes are about it
		kind = plan.KindTail
	}
	if end.Unsettled == pass.ZoneUnknown {
		u.zone.RetryAt = end.ReadAt.Add(a.affordable(r.requests))
		a.log.Warn("could not find something out; it is tried again", "endpoint", u.Endpoint, "bot", u.botName, "what", end.Unsettled.Text,
			"hint", end.Unsettled.Hint, "again", u.zone.RetryAt)
		return
	}
	s := &u.unsettled[kind]
	if end.Unsettled == nil {
		if s.failing() {
			a.log.Info("passes conclude again", "endpoint", u.Endpoint, "bot", u.botName, "kind", kind, "unsettled", s.count)
		}
		*s = unsettled{}
		return
	}
	if s.why == nil {
		s.since = end.ReadAt
	}
	s.why = end.Unsettled
	s.count++
	tries := unsettledTries
	if s.why.Quiet {
		tries = max(tries, len(u.bots))
	}
	wait := min(u.PollInterval, fruitless)
	if s.count >= tries {
		wait = max(wait, a.affordable(r.requests))
	}
	if s.count == unsettledTries && s.failing() {
		a.log.Warn("passes conclude nothing; they are tried again", "endpoint", u.Endpoint, "bot", u.botName, "kind", kind, "what", s.why.Text,
			"hint", s.why.Hint, "retry_in", wait.Round(time.Second))
	}
	if kind == plan.KindTail {
		u.PollAfter = end.ReadAt.Add(wait)
		if s.why == pass.NoRows {
			u.NotBefore = u.PollAfter
		}
		return
	}
	if r.work.From.Before(r.work.To) {
		u.Held = append(u.Held, plan.Held{Span: timeline.Span{From: r.work.From, To: r.work.To}, Until: end.ReadAt.Add(max(wait, time.Minute))})
	}
}

// affordable returns how long to wait after a pass of so many requests that concluded nothing, so that passes like it cost at most
// unsettledShare of the budget, shared by all units with such passes.
func (a *Account) affordable(requests int) time.Duration {
	units := 0
	zone := false
	for _, u := range a.units {
		zone = zone || u.zone != nil && !u.zone.Known
		for k := range u.unsettled {
			if u.unsettled[k].why != nil {
				units++
			}
		}
	}
	if zone {
		units++
	}
	perMinute := unsettledShare * float64(a.cfg.RequestsPerMinute) / float64(max(1, units))
	return time.Duration(float64(requests) / perMinute * float64(time.Minute))
}

// unsettledError returns what the passes of the unit could not find out, nil if there is nothing.
func (u *unit) unsettledError() *status.Error {
	if u.zone != nil && u.zone.Assumed() {
		return &status.Error{Text: pass.ZoneUnknown.Text, Hint: pass.ZoneUnknown.Hint, Class: status.ClassShape, Since: u.zone.AssumedAt, Count: 1}
	}
	for k := range u.unsettled {
		if s := &u.unsettled[k]; s.failing() {
			return &status.Error{Text: s.why.Text, Hint: s.why.Hint, Class: status.ClassShape, Since: s.since, Count: s.count}
		}
	}
	return nil
}

// waiting returns why the unit waits, as status says it.
func (u *unit) waiting(began time.Time) *status.Wait {
	if e := u.lastError; e != nil && e.Class == status.ClassWait {
		until := u.NotBefore
		return &status.Wait{Reason: status.WaitRetryAfter, Text: "the API said when requests may be sent again", Since: e.Since, Until: &until}
	}
	if s := &u.unsettled[plan.KindTail]; s.why != nil && s.why.Quiet {
		again := u.PollAfter
		return &status.Wait{Reason: status.WaitNoRows, Text: s.why.Text, Since: s.since, Until: &again}
	}
	return &status.Wait{Reason: status.WaitFirstRead, Text: "the first pass has not ended yet; polls of other units, or the budget, may go first", Since: began}
}

// assumedWrong takes back what was read of `interactions` under the assumption that the server reads bounds in UTC, after another zone was
// found. Passes that were begun before end, except for the one that found it.
func (a *Account) assumedWrong(found *activePass) {
	for _, u := range a.units {
		if u.zone != nil {
			u.Read, u.PollAfter = &timeline.Set{}, time.Time{}
		}
	}
	l := a.loops[found.unit.Endpoint]
	l.active = []*activePass{found}
	a.plan = nil
	a.log.Warn("the zone of the bounds is not UTC, as was assumed; interactions is read again from its start", "zone", a.bounds.Zone)
}
