package app

import (
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
)

// Status describes the process as it is now.
//
// What is known of an account stays in the status while the account is not read: while Kafka is away, while its partition is taken over,
// or before it is. Only another instance that reads the account ends that: then that instance's status has it.
func (a *App) Status() status.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := status.Status{
		Version: a.o.Version, Now: time.Now().UTC(), Started: a.started.UTC(),
		Delivery: status.Delivery{
			State: status.OK, Mode: a.cfg.Kafka.Delivery, Brokers: a.cfg.Kafka.Brokers, Registry: a.cfg.SchemaRegistry.URL,
			LastError: a.trouble,
		},
		Checkpoint: a.checkpoint(),
		Problems:   a.problems.list(),
	}
	if a.trouble != nil {
		s.Delivery.State = status.Failing
	} else if a.publisher == nil {
		s.Delivery.State = status.Waiting
	}
	total := a.earlier
	for _, r := range a.readers {
		account, delivered := a.describe(r)
		s.Accounts = append(s.Accounts, account)
		addDelivered(&total, delivered)
		for _, err := range []*status.Error{failureOf(account.Owner), delivered.LastError} {
			if err != nil && s.Checkpoint.State != status.Failing { // else that is what keeps anything from being delivered
				s.Delivery.State, s.Delivery.LastError = status.Failing, err
			}
		}
	}
	s.Delivery.Published, s.Delivery.DeadLetters, s.Delivery.LastAck = total.Published, total.DeadLetters, total.LastAck
	if others := a.observe.paths.replaced(); others != nil {
		s.Others = append(s.Others, *others)
	}
	s.State = s.Worst()
	return s
}

// addDelivered adds what an account delivered to a sum. LastError is left out.
func addDelivered(sum *poll.Delivered, d poll.Delivered) {
	sum.Published += d.Published
	sum.DeadLetters += d.DeadLetters
	if d.LastAck != nil && (sum.LastAck == nil || d.LastAck.After(*sum.LastAck)) {
		sum.LastAck = d.LastAck
	}
}

// failureOf returns why an account is not read, or was not the last times; nil unless that is red.
func failureOf(o *status.Owner) *status.Error {
	if o == nil || o.State != status.Failing {
		return nil
	}
	return o.LastError
}

// checkpoint describes the checkpoint file.
func (a *App) checkpoint() status.Checkpoint {
	s := status.Checkpoint{State: status.OK, Path: a.cfg.Checkpoint.Path}
	store := a.file.Store()
	if stats, err := store.Stats(); err != nil {
		s.State = status.Failing
		s.LastError = &status.Error{Text: err.Error(), Class: status.ClassRetry, Since: time.Now().UTC(), Count: 1}
	} else {
		s.Bytes, s.Entities = stats.Bytes, stats.Entities
	}
	if f := store.Failing(); f != nil {
		s.State, s.LastError = status.Failing, checkpointError(f)
	}
	return s
}

func checkpointError(f *checkpoint.Failure) *status.Error {
	e := &status.Error{Text: f.Err.Error(), Hint: f.Err.Hint(), Class: status.ClassRetry, Since: f.Since, Count: f.Count}
	if e.Hint != "" {
		e.Class = status.ClassPermanent
	}
	return e
}

// describe describes an account, and what it has delivered since it was attached. The caller holds mu.
func (a *App) describe(r *reader) (s status.Account, delivered poll.Delivered) {
	o := a.owner(r)
	elsewhere := o != nil && !o.Mine && o.Instance != ""
	switch {
	case r.account != nil:
		s, delivered = r.account.Status()
		s.Read = true
	case elsewhere:
		r.last = nil // out of date from now on
		s = poll.Unread(accountOptions(a.cfg, r.Account))
		s.Endpoints = []status.Endpoint{}
	case r.last != nil:
		s, _ = r.last.Status()
	default:
		s = poll.Unread(accountOptions(a.cfg, r.Account))
	}
	s.Owner, s.Jobs = o, a.jobs.of(r.Name)
	switch {
	case r.paused.IsZero():
		s.Paused = nil
	case s.Paused == nil:
		s.Paused = &status.Pause{Since: r.paused}
	}
	failure, wait := a.unread(r, o, delivered.LastError)
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		switch {
		case e.State.Red(): // whatever else there is
		case failure != nil:
			why := *failure
			e.State, e.LastError, e.Waiting = status.Failing, &why, nil
		case wait != nil:
			why := *wait
			e.State, e.Waiting = status.Waiting, &why
		}
	}
	return s, delivered
}

// unread returns why the endpoints of an account are not read although nothing is wrong with them: a failure, or what they wait for.
// Undelivered is why nothing can be delivered, nil if it can. The caller holds mu.
func (a *App) unread(r *reader, o *status.Owner, undelivered *status.Error) (*status.Error, *status.Wait) {
	switch failure := failureOf(o); {
	case r.account != nil:
		return undelivered, nil
	case a.trouble != nil:
		return a.trouble, nil
	case failure != nil:
		return failure, nil
	}
	wait := &status.Wait{Reason: status.WaitAccount, Since: r.detached}
	if wait.Since.IsZero() {
		wait.Since = a.started.UTC()
	}
	switch {
	case a.publisher == nil:
		wait.Text = "Kafka and the schema registry are being asked, and have not both answered yet"
	case o == nil:
		wait.Text = "the account is about to be read"
	case o.Mine && o.LastError != nil:
		wait.Text = "the part of the checkpoint that the account belongs to is taken over again: " + o.Step + "; it was lost: " + o.LastError.Text
	case o.Mine:
		wait.Text = "the part of the checkpoint that the account belongs to is taken over: " + o.Step
	default:
		wait.Text = "the group has not said yet which instance reads the account"
	}
	return nil, wait
}
