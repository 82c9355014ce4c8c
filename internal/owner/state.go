package owner

import (
	"fmt"
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// State is how far a partition has come on the way to being read, or one account of it. The picture is over partition.run.
type State int

// The states, in the order in which they are passed through.
const (
	// Unassigned: the accounts are not to be read here. It is the state before the first assignment, and after the partition was
	// given back.
	Unassigned State = iota
	// Waiting for a sign that the group counts on this instance.
	Waiting
	// TakingOver: Kafka fences the previous owner and ends its transaction.
	TakingOver
	// Replaying: the topic is replayed into the file.
	Replaying
	// Checking: what was replayed is checked, and accounts that pass are attached.
	Checking
	// Reading.
	Reading
	// Refused: the checkpoint of the account must not be used; the status names the command that repairs it.
	Refused
	// Failed: the partition could not be taken over, or was lost; it is taken over again soon.
	Failed
	// Replaced: another instance owns the partition and stays, and there is no group. This instance ends.
	Replaced
)

func (s State) String() string {
	switch s {
	case Unassigned:
		return "not assigned"
	case Waiting:
		return "waiting for the group"
	case TakingOver:
		return "taking over"
	case Replaying:
		return "replaying"
	case Checking:
		return "checking"
	case Reading:
		return "reading"
	case Refused:
		return "refused"
	case Failed:
		return "failed"
	case Replaced:
		return "replaced"
	}
	return fmt.Sprintf("state %d", int(s))
}

// An assignment is one account, and what this instance has to do with it. Account and partition never change; Instance.mu guards
// the rest.
type assignment struct {
	Account
	partition int32
	state     State
	// trouble is why the account is not read, or why it was not the last time; nil while Unassigned. While Reading it counts until the
	// term has turned out well: what ends one term after the other is one failure, however often the partition is taken over.
	trouble *status.Error
	began   time.Time     // when Reading was entered last
	lasted  time.Duration // how long the account had been read when trouble came last
	// readBy is the instance that the partition is assigned to, as of the last time that the group was asked; empty for nobody. It
	// counts while Unassigned.
	readBy string
	// unread says why no instance reads the account although the partition is assigned; nil if that is not so. It counts while
	// Unassigned.
	unread *status.Error
}

// noteUnread notes whether some instance reads the account. The caller holds Instance.mu.
func (a *assignment) noteUnread(sharing *kafka.Sharing) {
	err := sharing.Unread[a.ID]
	if err == nil {
		a.unread = nil
		return
	}
	a.unread = status.Error{Text: err.Error(), Class: status.ClassPermanent, Since: time.Now().UTC(), Count: 1}.After(a.unread)
}

// status describes the assignment. The caller holds Instance.mu.
func (a *assignment) status(instance string) *status.Owner {
	s := &status.Owner{
		State: status.Waiting, Step: a.state.String(), Partition: a.partition, Instance: instance, Mine: a.state != Unassigned, LastError: a.trouble,
	}
	switch {
	case a.state == Unassigned && a.unread != nil:
		s.State, s.LastError = status.Failing, a.unread
	case a.state == Unassigned:
		if s.Instance = a.readBy; s.Instance != "" {
			s.State = status.OK
		}
	case a.state == Reading && a.trouble != nil && a.trouble.Count > 1 && !a.wellAgain(time.Now()):
		s.State = status.Failing
	case a.state == Reading:
		s.State, s.LastError = status.OK, nil
	case a.trouble != nil && (a.trouble.Count > 1 || a.trouble.Class == status.ClassPermanent): // else it may pass by itself
		s.State = status.Failing
	}
	return s
}

// wellAgain reports whether the account has been read for so long that its trouble is over: for longer than a term that is a good one,
// and for twice as long as the time before.
func (a *assignment) wellAgain(now time.Time) bool {
	const enough = 10 * goodTerm
	return now.Sub(a.began) > min(max(goodTerm, 2*a.lasted), enough)
}

// troubled notes that the account is read no more, and why. The caller holds Instance.mu.
func (a *assignment) troubled(s State, why status.Error) {
	if a.state == Reading {
		now := time.Now()
		if a.wellAgain(now) {
			a.trouble = nil
		}
		a.lasted = now.Sub(a.began)
	}
	a.state, a.trouble = s, why.After(a.trouble)
}

// enter brings a partition into a state, and all of its accounts.
func (p *partition) enter(s State) {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	for _, a := range p.assignments {
		a.enter(s)
	}
}

// enter brings an account into a state. The caller holds Instance.mu.
func (a *assignment) enter(s State) {
	a.state = s
	switch s {
	case Reading:
		a.began = time.Now()
	case Unassigned:
		a.trouble, a.unread, a.readBy = nil, nil, "" // until the group is asked
	}
}
