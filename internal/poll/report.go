package poll

import (
	"fmt"
	"maps"
	"time"

	"agentassist-poller/internal/status"

	"agentassist-poller/internal/poll/timeline"

	"agentassist-poller/internal/poll/plan"
)

// Delivered is what an account has handed to Kafka since it was started.
type Delivered struct {
	Published, DeadLetters int64
	LastAck                *time.Time
	LastError              *status.Error // nil while deliveries succeed
}

// Ready returns nil once every unit has been looked at, whatever came of it.
func (a *Account) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.units {
		if u.LastLook.IsZero() {
			return fmt.Errorf("account %s: %s has not been read yet", a.cfg.Name, u)
		}
	}
	return nil
}

// stuckAfter is far longer than any step of a loop may take: the slowest request is given 15 minutes.
const stuckAfter = time.Hour

// Alive returns an error if the loop of an endpoint has stopped to turn. Whatever merely fails is alive: waiting for the
// API or for Kafka is what the loop is for, and a restart would not help.
func (a *Account) Alive() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.delivered.LastError != nil {
		return nil
	}
	for e, l := range a.loops {
		if since := time.Since(l.turned); !l.turned.IsZero() && since > stuckAfter {
			return fmt.Errorf("account %s: the loop of %s has not turned for %v", a.cfg.Name, e, since.Round(time.Second))
		}
	}
	return nil
}

// Status describes the account as it is now.
func (a *Account) Status() (status.Account, Delivered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.api.Now()
	s := status.Account{Name: a.cfg.Name, AccountID: a.cfg.AccountID, Budget: status.Budget{Limit: a.cfg.RequestsPerMinute}}
	if skew, known := a.api.Skew(); known {
		s.ClockSkew = status.Of(-skew)
	}
	for lane, used := range a.budget.Used(time.Now()) {
		s.Budget.Used += used
		s.Budget.Lanes = append(s.Budget.Lanes, status.Lane{
			Name: plan.Priority(lane).String(), Share: plan.Priority(lane).Share(), Used: used,
		})
	}
	if until := a.budget.PausedUntil(); until.After(time.Now()) {
		s.Budget.BlockedUntil = &until
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
	case u.LastLook.IsZero() || u.Read.Empty():
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
	e.LongestLook = status.Seconds(u.longestLook)
	if c == nil {
		return e
	}
	e.PollIntervalActual = status.Seconds(c.Poll)
	e.LongestLook = max(e.LongestLook, status.Seconds(c.LongestLook))
	for k, t := range a.cfg.Policy.TiersOf(u.Endpoint) {
		sweep := status.Sweep{Within: status.Seconds(t.Within), Every: status.Seconds(t.Every), Actual: status.Seconds(c.SeenWithin[k])}
		if read, ok := u.Read.OldestRead(timeline.Later(from, now.Add(-t.Within)), u.Read.ReadThrough(from)); ok {
			sweep.Age = status.Of(now.Sub(read))
		}
		e.Sweeps = append(e.Sweeps, sweep)
	}
	return e
}

// redAfter is how many failures in a row make an endpoint red, by class. What passes by itself is given time to.
var redAfter = map[status.Class]int{status.ClassRetry: 5, status.ClassPermanent: 1, status.ClassShape: 1}
