package app

import (
	"time"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/poll"
)

var (
	_ poll.Lease = groupLease{}
	_ poll.Lease = partitionLease{}
)

// groupLease is the right to ask for an account that the group has assigned to this instance. It lasts as long as the group counts on
// the instance; an instance knows that it does not before the group assigns anything of it to another.
type groupLease struct{ counted func() bool }

func (l groupLease) MayAsk() bool         { return l.counted() }
func (groupLease) Confirmed() bool        { return true }
func (groupLease) Overlap() time.Duration { return 0 }

// partitionLease is the right to ask for an account where there is no group: it lasts until another instance takes its partition of
// the checkpoint over, and only the next transaction shows that.
type partitionLease struct{ owned func() bool }

func (partitionLease) MayAsk() bool           { return true }
func (l partitionLease) Confirmed() bool      { return l.owned() }
func (partitionLease) Overlap() time.Duration { return kafka.OwnedFor }
