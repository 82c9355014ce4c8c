package poll

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
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
// While somebody has paused the account there is nothing to wait for, and Ready returns nil. A unit that fails beside others that answer is
// the status's business. If none answers, as with a wrong secret, the error says what the first of them failed with.
func (a *Account) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.paused.IsZero() {
		return nil
	}
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
		for _, r := range l.active {
			if took := since(r.sent); took > stuckAfter {
				return fmt.Errorf("account %s: a request to %s has been under way for %v; restart the process", a.cfg.Name, e, took.Round(time.Second))
			}
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
	s := status.Account{
		Name: a.cfg.Name, AccountID: a.cfg.AccountID, Budget: budgetOf(a.cfg.RequestsPerMinute, a.budget.Used(time.Now())), UnreadableEntities: a.unreadable,
		Contradictions: slices.Clone(a.contradicted),
	}
	if skew, known := a.api.Skew(); known {
		s.ClockSkew = status.Of(-skew)
	}
	if !a.paused.IsZero() {
		s.Paused = &status.Pause{Since: a.paused}
		for _, l := range a.loops {
			s.Paused.InFlight += len(l.inFlight().Sent)
		}
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
		PollInterval: status.Seconds(u.PollInterval), Rows: u.rows, OtherBots: u.otherBots, Filtered: u.filtered,
		LeftOut: a.loops[u.Endpoint].leftOut, Transcripts: u.transcripts(), Events: maps.Clone(u.published),
		Gaps: []status.Gap{}, Sweeps: []status.Sweep{},
	}
	if u.lastError != nil {
		last := *u.lastError
		e.LastError = &last
	}
	failing, failed := u.failing(), u.lastFailing
	switch {
	case !a.paused.IsZero():
		e.State, e.Waiting = status.Waiting, a.waiting(u, now)
		if failing != nil {
			e.LastError, failed = failing, timeline.Later(failed, a.paused)
		}
	case failing != nil:
		e.State, e.LastError, failed = status.Failing, failing, time.Now().UTC()
	case a.mustWait(), u.lastError != nil && u.lastError.Class == status.ClassWait, u.LastPoll.IsZero(), u.Read.Empty():
		e.State, e.Waiting = status.Waiting, a.waiting(u, now)
	}
	if !failed.IsZero() {
		e.LastFailing = &failed
	}
	from := u.completeFrom()
	e.CompleteFrom = &from
	for _, r := range a.loops[u.Endpoint].active {
		if r.unit == u && r.work.From.Before(r.work.To) {
			e.InWork = append(e.InWork, status.Pass{From: r.work.From, To: r.work.To, PriorityClass: r.work.Priority.String()})
		}
	}
	for _, s := range u.unsettled {
		if s.span.From.Before(s.span.To) {
			e.Unsettled = append(e.Unsettled, status.Gap{From: s.span.From, To: s.span.To, Reason: s.why.Text})
		}
	}
	e.Lag = status.Of(max(0, now.Sub(u.Read.ReadThrough(timeline.Later(from, u.state.Began)))))
	if !u.Read.Empty() && !u.zoneAssumed() {
		through := u.Read.ReadThrough(from)
		e.ReadThrough = &through
	}
	gaps, history := u.unread()
	for _, g := range gaps {
		e.Gaps = append(e.Gaps, status.Gap{From: g.From, To: g.To, Reason: cmp.Or(u.couldNotRead(g), status.NotReadYet)})
	}
	if len(history) > 0 {
		e.FirstRead = &status.FirstRead{From: history[0].From, To: history[len(history)-1].To}
		for _, h := range history {
			e.FirstRead.Remaining += status.Seconds(h.To.Sub(h.From))
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
	e.PollIntervalActual, e.PollBoundBy = status.Seconds(c.Poll), c.PollBound.String()
	e.Concurrency, e.RequestTime = a.loops[u.Endpoint].workers, status.Seconds(a.latency(u.Endpoint).Round(time.Millisecond))
	e.LongestPollInterval = max(e.LongestPollInterval, status.Seconds(c.LongestPollInterval))
	for _, t := range a.cfg.Policy.Stated(u.Endpoint, c) {
		sweep := status.Sweep{Within: status.Seconds(t.Within), Every: status.Seconds(t.Every), Actual: status.Seconds(t.Seen), BoundBy: c.SweepBound.String()}
		if read, ok := u.Read.OldestRead(timeline.Later(from, now.Add(-t.Within)), u.Read.ReadThrough(from)); ok {
			sweep.Age = status.Of(now.Sub(read))
		}
		e.Sweeps = append(e.Sweeps, sweep)
	}
	return e
}

// unread returns the time that was not read although later time was, in order. What is older than the beginning of all reading is history,
// which is merely not read yet, unless the API does not let it be read.
func (u *unit) unread() (gaps, history []timeline.Span) {
	from, began := u.completeFrom(), u.state.Began
	to := u.Read.Bounds().To
	if u.Read.Empty() {
		to = began
	}
	for _, g := range u.Read.Gaps(from, to) {
		switch {
		case !g.From.Before(began), u.couldNotRead(g) != "":
			gaps = append(gaps, g)
		case g.To.After(began):
			history = append(history, timeline.Span{From: g.From, To: began})
			gaps = append(gaps, timeline.Span{From: began, To: g.To})
		default:
			history = append(history, g)
		}
	}
	return gaps, history
}

// couldNotRead returns why some of a span could not be read when it was asked for; empty if it was not asked for, or could be.
func (u *unit) couldNotRead(s timeline.Span) string {
	for _, w := range slices.Backward(u.withheld) {
		if w.overlaps(s) {
			return w.why
		}
	}
	for _, c := range u.state.Capped {
		if c.From.Before(s.To) && s.From.Before(c.To) {
			return "capped"
		}
	}
	return ""
}

// Unread describes an account that this process has not read: the units that it begins with, and an unspent budget.
func Unread(o Options) status.Account {
	s := status.Account{Name: o.Name, AccountID: o.AccountID, Budget: budgetOf(o.RequestsPerMinute, [plan.PriorityCount]int{}), Endpoints: []status.Endpoint{}}
	for _, e := range events.Endpoints() {
		settings, ok := o.Endpoints[e]
		if !ok {
			continue
		}
		bots := o.Bots
		if e.PerAccount() {
			bots = []Bot{{}}
		}
		for _, b := range bots {
			s.Endpoints = append(s.Endpoints, status.Endpoint{
				Endpoint: string(e), BotName: b.Name, BotID: b.ID, State: status.Waiting, PollInterval: status.Seconds(settings.PollInterval),
				Gaps: []status.Gap{}, Sweeps: []status.Sweep{}, Events: map[string]int64{},
			})
		}
	}
	return s
}

// budgetOf describes a budget of which so much was spent in the last minute.
func budgetOf(limit int, used [plan.PriorityCount]int) status.Budget {
	b := status.Budget{Limit: limit}
	for priority, used := range used {
		b.Used += used
		b.PriorityClasses = append(b.PriorityClasses, status.PriorityClass{
			Name: plan.Priority(priority).String(), Share: plan.Priority(priority).Share(), Used: used,
		})
	}
	return b
}

// failing returns what makes the unit fail, nil if it does not.
func (u *unit) failing() *status.Error {
	if e := u.lastError; e != nil && e.Class != status.ClassWait && u.failures >= redAfter[e.Class] {
		last := *e
		return &last
	}
	return u.unsettledError()
}

// redAfter is how many failures in a row make an endpoint red, by class. Failures that are expected to pass are given
// time to, and what is permanent comes again.
var redAfter = map[status.Class]int{status.ClassRetry: 5, status.ClassPermanent: 2, status.ClassShape: 2}
