package poll

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// Delivered is what an account has handed to Kafka since it was started.
type Delivered struct {
	Published, DeadLetters int64
	LastAck                *time.Time
	LastError              *status.Error // nil while deliveries succeed
}

// Ready returns nil once the API has been asked for every unit, and has answered for at least one of them, since the account was made.
// A unit that fails beside others that answer is the status's business. If none answers, as with a wrong secret, the error says what the
// first of them failed with.
func (a *Account) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	answered := false
	for _, u := range a.units {
		if !u.answered && u.lastError == nil {
			return fmt.Errorf("account %s: %s has not been read yet", a.cfg.Name, u)
		}
		answered = answered || u.answered
	}
	if answered || len(a.units) == 0 {
		return nil
	}
	first := a.units[0].lastError
	text := fmt.Sprintf("account %s: no endpoint has answered yet: %s", a.cfg.Name, first.Text)
	if first.Hint != "" && !strings.Contains(first.Text, first.Hint) {
		text += "; " + first.Hint
	}
	return errors.New(text)
}

// stuckAfter is how long a request, or an attempt at a delivery, may be under way before the account counts as stuck. Either takes an
// hour at the most, as far as can be configured.
const stuckAfter = 2 * time.Hour

// Alive returns an error if the account is stuck: a request, or an attempt at a delivery, has been under way for longer than any may
// take, so that only a restart helps. An account that waits is alive, for however long: for work, for the budget, for the
// lease, for Kafka, or for another endpoint to publish. So is one whose requests or deliveries fail, as they are tried again.
func (a *Account) Alive() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for e, l := range a.loops {
		if took := since(l.sent); took > stuckAfter {
			return fmt.Errorf("account %s: a request to %s has been under way for %v; restart the process", a.cfg.Name, e, took.Round(time.Second))
		}
	}
	if took := since(a.attempt); took > stuckAfter {
		return fmt.Errorf("account %s: a delivery to Kafka has been under way for %v; restart the process", a.cfg.Name, took.Round(time.Second))
	}
	return nil
}

// since returns the time since t, 0 if t is zero.
func since(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return time.Since(t)
}

// Status describes the account as it is now.
func (a *Account) Status() (status.Account, Delivered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.api.Now()
	s := status.Account{Name: a.cfg.Name, AccountID: a.cfg.AccountID, Budget: status.Budget{Limit: a.cfg.RequestsPerMinute},
		UnreadableEntities: a.unreadable,
	}
	if skew, known := a.api.Skew(); known {
		s.ClockSkew = status.Of(-skew)
	}
	for priority, used := range a.budget.Used(time.Now()) {
		s.Budget.Used += used
		s.Budget.PriorityClasses = append(s.Budget.PriorityClasses, status.PriorityClass{
			Name: plan.Priority(priority).String(), Share: plan.Priority(priority).Share(), Used: used,
		})
	}
	if until := a.budget.PausedUntil(); until.After(time.Now()) {
		s.Budget.BlockedUntil = &until
		if asked := a.askedUntil; asked.After(until) {
			s.Budget.AskedUntil = &asked
		}
	}
	for i, u := range a.units {
		var c *plan.Cadence
		if a.plan != nil && i < len(a.plan.Units) {
			c = &a.plan.Units[i]
		}
		s.Endpoints = append(s.Endpoints, a.describe(u, c, now))
	}
	return s, a.delivered
}

// describe says how one unit is.
func (a *Account) describe(u *unit, c *plan.Cadence, now time.Time) status.Endpoint {
	e := status.Endpoint{
		Endpoint: string(u.Endpoint), BotName: u.botName, BotID: u.Bot, State: status.OK,
		PollInterval: status.Seconds(u.PollInterval), Rows: u.rows, Events: maps.Clone(u.published),
		Gaps: []status.Gap{}, Sweeps: []status.Sweep{},
	}
	switch {
	case u.lastError != nil && u.lastError.Class == status.ClassWait:
		e.State = status.Waiting
	case u.lastError != nil && u.failures >= redAfter[u.lastError.Class]:
		e.State = status.Failing
	case u.LastPoll.IsZero() || u.Read.Empty():
		e.State = status.Waiting
	}
	if u.lastError != nil {
		last := *u.lastError
		e.LastError = &last
	}
	from := u.completeFrom()
	if !u.Read.Empty() {
		through := u.Read.ReadThrough(from)
		e.ReadThrough, e.Lag = &through, status.Of(now.Sub(through))
		for _, g := range u.Read.Gaps(from, u.Read.Bounds().To) {
			e.Gaps = append(e.Gaps, status.Gap{From: g.From, To: g.To, Reason: u.gapReason(g)})
		}
	}
	if !u.state.CompleteUpTo.IsZero() {
		complete := u.state.CompleteUpTo
		e.CompleteUpTo = &complete
	}
	e.LongestPollInterval = status.Seconds(u.longestPollInterval)
	if c == nil {
		return e
	}
	e.PollIntervalActual = status.Seconds(c.Poll)
	e.LongestPollInterval = max(e.LongestPollInterval, status.Seconds(c.LongestPollInterval))
	for k, t := range a.cfg.Policy.TiersOf(u.Endpoint) {
		sweep := status.Sweep{Within: status.Seconds(t.Within), Every: status.Seconds(t.Every), Actual: status.Seconds(c.SeenWithin[k])}
		if read, ok := u.Read.OldestRead(timeline.Later(from, now.Add(-t.Within)), u.Read.ReadThrough(from)); ok {
			sweep.Age = status.Of(now.Sub(read))
		}
		e.Sweeps = append(e.Sweeps, sweep)
	}
	return e
}

// redAfter is how many failures in a row make an endpoint red, by class. Failures that are expected to pass are given
// time to, and what is permanent comes again.
var redAfter = map[status.Class]int{status.ClassRetry: 5, status.ClassPermanent: 2, status.ClassShape: 2}
