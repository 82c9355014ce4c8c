package owner

import (
	"time"

	"agentassist-poller/internal/kafka"
)

// A Lease is the right to send requests for an account that is attached. It implements poll.Lease.
//
// In a group it lasts as long as the group counts on this instance, which knows that it is no longer counted on before the group
// assigns the account to another. Without a group it lasts until another instance takes the partition over, and only the next
// transaction shows that.
type Lease struct {
	counted func() bool // whether the group counts on this instance; nil: there is no group
	shard   *kafka.Shard
}

// MayAsk implements poll.Lease.
func (l *Lease) MayAsk() bool { return l.counted == nil || l.counted() }

// Confirmed implements poll.Lease.
func (l *Lease) Confirmed() bool { return l.counted != nil || l.shard.Owned() }

// Overlap implements poll.Lease.
func (l *Lease) Overlap() time.Duration {
	if l.counted != nil {
		return 0
	}
	return kafka.OwnedFor
}
