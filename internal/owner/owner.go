// Package owner decides which accounts this process reads, when deliveries are in transactions.
//
// Every account belongs to a partition of the checkpoint topic. Who owns the partition reads its accounts: a partition is taken
// over, its records are replayed into the checkpoint file, what they say is checked, and then its accounts are attached, which
// is to say read. Without a group this process owns every partition with accounts; in a group, those that the group assigns.
//
// Where to look: partition.go is the life of one partition, with a picture of its states; trust.go says what a replayed
// checkpoint must be like; group.go shares partitions with other instances; file.go is the checkpoint file that all partitions
// of a process have in common; journal.go is the order in which topic and file are written.
package owner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// ErrFenced is returned when another instance does this one's work.
var ErrFenced = errors.New("fenced by another instance")

// An Account is a configured account, as far as its owner has to know it.
type Account struct {
	Name string
	ID   string // decides on the partition of the checkpoint topic
}

// AccountDeps are what an account is read with for as long as it is attached.
type AccountDeps struct {
	// Store is the checkpoint file as of this term; it holds what the topic says of the account.
	Store    *checkpoint.Store
	Delivery kafka.Delivery // of the partition; it ends for good when the partition is lost
	Journal  *Journal       // of this account; an Instance always sets it
	// Lease is the right to ask the API; an Instance always sets it.
	Lease *Lease
}

// Options are what an Instance depends on. None of it changes after New, and all functions must be safe for concurrent use:
// partitions are on their way independently of each other.
type Options struct {
	// Publisher is open, in transactions, until Run has returned.
	Publisher *kafka.Publisher
	// File is the checkpoint file. It is closed by whoever opened it, after Run has returned.
	File *File
	// Group is whether a group shares the partitions out (kafka.group). Without one this instance owns them all.
	Group bool
	// Accounts are all that are configured, whoever reads them.
	Accounts []Account
	// Attach makes an account ready to be read, and returns what reads it until its context ends or the partition is lost. It
	// makes no request to the API. Detach follows before the account is attached again.
	Attach func(a Account, with AccountDeps) (read func(context.Context) error, err error)
	// Detach says that an account is no longer read here: what Attach returned has ended, or was never called. It may be called
	// for an account that is not attached.
	Detach func(a Account)
	// GroupTrouble is told why this instance has no part in the group, and nil once it has again.
	GroupTrouble func(err error)
	// Problems is told what is wrong and stops no account of this instance by itself, by who looks for it: always all of it, and
	// nothing once it is over.
	Problems func(source string, found []error)
	// Config is the path that --config named. It is quoted in the commands that people are told to run.
	Config string
	// Instance and Version are for people who read log and status.
	Instance, Version string
	Log               *slog.Logger
}

// An Instance is this process as an owner of accounts. It is used once: New, then Run. Settled and Status may be called at any time.
type Instance struct {
	o Options

	// mu guards the state of every assignment, and all fields below. Nothing is called back while it is held.
	mu sync.Mutex
	// assignments has one for each account, in their order. The list itself never changes.
	assignments []*assignment
	// joined is set for good by the first assignment of the group, even an empty one.
	joined bool
	// settled is set for good once it is known which accounts this instance is to read: at once without a group; in a group, once
	// every account was assigned to some member after this instance had joined. An instance that joins others is assigned nothing at
	// first, until the others give something back.
	settled bool

	// look has watch ask the group at once who reads what.
	look chan struct{}
}

// New returns an instance that does nothing before Run.
func New(o Options) *Instance {
	i := &Instance{o: o, look: make(chan struct{}, 1)}
	for _, a := range o.Accounts {
		i.assignments = append(i.assignments, &assignment{Account: a, partition: kafka.CheckpointPartition(a.ID)})
	}
	return i
}

// Run reads the accounts of all partitions that this instance owns, until ctx ends and every account is detached. A failure of one
// partition is logged, shown in the status and retried, and does not stop the others. Run returns an error that wraps
// ErrFenced if it has no group and another instance has taken over.
func (i *Instance) Run(ctx context.Context) error {
	if err := i.o.File.match(i.o.Publisher.Topics); err != nil {
		return fmt.Errorf("match checkpoint with Kafka: %w", err)
	}
	if i.o.Group {
		return i.share(ctx)
	}
	return i.ownAll(ctx)
}

// ownAll reads every partition with accounts, as the only instance.
func (i *Instance) ownAll(ctx context.Context) error {
	i.mu.Lock()
	i.settled = true
	i.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	byPartition := i.byPartition()
	var lead *partition
	for _, number := range slices.Sorted(maps.Keys(byPartition)) {
		p := i.newPartition(number, byPartition[number])
		if p.lead = lead; lead == nil {
			lead = p
		}
		g.Go(func() error { return p.run(ctx) })
	}
	return g.Wait()
}

// byPartition returns the assignments by partition of the checkpoint topic.
func (i *Instance) byPartition() map[int32][]*assignment {
	out := map[int32][]*assignment{}
	for _, a := range i.assignments {
		out[a.partition] = append(out[a.partition], a)
	}
	return out
}

// Settled reports whether it is known which accounts this instance is to read: those of which Status says that they are mine.
func (i *Instance) Settled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.settled
}

// Status returns who reads the account of a name, and what is wrong with that; nil if there is no such account.
func (i *Instance) Status(account string) *status.Owner {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, a := range i.assignments {
		if a.Name == account {
			return a.status(i.o.Instance)
		}
	}
	return nil
}
