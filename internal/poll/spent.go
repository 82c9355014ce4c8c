package poll

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
)

// spent is what is recorded of the request budget with every request, so that a process that is killed and started again
// does not break the server's minute.
type spent struct {
	Time  time.Time `json:"time"` // by our clock
	Slots int       `json:"slots"`
	// InFlight is how many more requests may have been sent since: as many as all endpoints may have in flight; 0 for one of each.
	InFlight int `json:"in_flight,omitempty"`
}

// spentName is the key of the record.
const spentName = "budget"

// addSpent adds the record to a change of the checkpoint.
func (a *Account) addSpent(records map[string][]byte) error {
	now := time.Now()
	s := spent{Time: now.UTC(), InFlight: a.mostInFlight()}
	for _, n := range a.budget.Used(now) {
		s.Slots += n
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write record of the budget spent: %w", err)
	}
	records[spentName] = b
	return nil
}

// recordSpent writes the record by itself, after a request that brought nothing to publish.
func (a *Account) recordSpent(ctx context.Context) error {
	unlock := a.lockPublishing(ctx)
	if unlock == nil { // the next process allows for the requests in flight
		return nil
	}
	defer unlock()
	return a.deliverSpent(ctx)
}

// deliverSpent does so for a caller that has locked publishing.
func (a *Account) deliverSpent(ctx context.Context) error {
	return a.deliver(ctx, &kafka.Batch{Account: a.cfg.Name, Recording: a.newRecording()})
}

// mostInFlight returns how many requests of the account may be in flight at the same time.
func (a *Account) mostInFlight() (n int) {
	for _, l := range a.loops {
		n += l.workers
	}
	return n
}

// chargeSpent takes as many permits of the budget as requests of the process before may still count for: those recorded, and as many as it
// had in flight at most, which it may have sent before it ended, or before it learned that it had lost the lease.
func (a *Account) chargeSpent(record []byte) error {
	if record == nil {
		return nil
	}
	var s spent
	if err := json.Unmarshal(record, &s); err != nil {
		return fmt.Errorf("read record of the budget spent: %w", err)
	}
	now := time.Now()
	a.budget.Precharge(max(s.InFlight, len(a.cfg.Endpoints)), now.Add(a.cfg.Lease.Overlap()+plan.HoldFor))
	if until := s.Time.Add(plan.HoldFor); until.After(now) { // our clock may have been set back since
		a.budget.Precharge(s.Slots, timeline.Earlier(until, now.Add(plan.HoldFor)))
	}
	return nil
}
