package owner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/journal"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

// A partition is a partition of the checkpoint topic that this instance owns: without a group for as long as the instance runs, else
// until the group assigns it to another. Only the goroutine of run calls its methods, except that other partitions ask their lead for
// its successor.
type partition struct {
	in          *Instance
	number      int32
	assignments []*assignment // its accounts; the list never changes
	counted     func() bool   // whether the group counts on this instance; nil: there is no group
	lead        *partition    // the lowest partition, if there is no group; nil for that one itself

	// taking is held while the partition is taken over. It guards shard.
	taking sync.Mutex
	// shard is the ownership since the last takeover, closed or not; nil after a takeover that failed.
	shard *kafka.Shard
}

func (i *Instance) newPartition(number int32, assignments []*assignment) *partition {
	return &partition{in: i, number: number, assignments: assignments}
}

const (
	// A term that lasted so long was a good one: the next failure is the first in a row.
	goodTerm = time.Minute
	// maxTermPause is the longest wait between two attempts at taking over.
	maxTermPause = 30 * time.Second
	// commandPause gives a command that repairs the checkpoint the time that it needs.
	commandPause = 10 * time.Second
	// closeTimeout bounds the requests to Kafka at the end of a term.
	closeTimeout = time.Second
)

// run takes the partition over and reads its accounts, again and again, until ctx ends: then it is given back, with every account
// detached.
//
//	         ┌─────────────┐  ctx ends, in whatever state
//	         │ unassigned  │◄────────────────────────────  (given back)
//	         └──────┬──────┘
//	                │ assigned
//	         ┌──────▼──────┐
//	         │   waiting   │◄──────────────────────────────────────────────┐
//	         └──────┬──────┘                                               │
//	                │ the group counts on this instance, or there is none  │
//	         ┌──────▼──────┐                                               │
//	         │ taking over ├──────────────────┐                            │
//	         └──────┬──────┘                  │                            │
//	                │ the owner before        │ an error                   │
//	                │ is fenced               │                            │
//	         ┌──────▼──────┐                  │       ┌────────┐           │
//	         │  replaying  ├──────────────────┼──────►│ failed ├───────────┤
//	         └──────┬──────┘                  │       └────────┘           │
//	                │ the file holds          │     after 0.1 to 30 s, or  │
//	                │ what the topic does     │     10 s if a command of a │
//	         ┌──────▼──────┐                  │     person took over       │
//	         │  checking   ├──────────────────┤                            │
//	         └──┬───────┬──┘                  │                            │
//	accounts are│       │ none may be read    │                            │
//	    attached│       │        ┌─────────┐  │                            │
//	            │       └───────►│ refused ├──┼────────────────────────────┘
//	            │                └─────────┘  │     after 10 s: has somebody run the command that is named?
//	         ┌──▼──────────┐                  │
//	         │   reading   ├──────────────────┘
//	         └──────┬──────┘  the partition was lost, or the outcome of a batch is unknown
//	                │
//	                │ fenced, without a group, and the other instance stays
//	         ┌──────▼──────┐
//	         │  replaced   │  run returns ErrFenced
//	         └─────────────┘
//
// The states are those of the accounts: some accounts of a partition may be refused while others are read. The refused ones are checked
// again at the next takeover of the partition, which the command that repairs them causes.
func (p *partition) run(ctx context.Context) error {
	defer p.giveBack()
	for failures := 0; ; failures++ {
		if !p.await(ctx) {
			return nil
		}
		began, store := time.Now(), p.in.o.File.Store()
		err := p.term(ctx, store)
		if ctx.Err() != nil {
			if _, lost := errors.AsType[*kafka.LostError](err); lost || errors.Is(err, context.Canceled) {
				return nil // whoever is next finds out what became of a batch
			}
			return err
		}
		if time.Since(began) > goodTerm {
			failures = 0
		}
		wait := min(100*time.Millisecond<<min(failures, 9), maxTermPause)
		if _, refused := errors.AsType[*CheckpointError](err); refused || p.takenByCommand(ctx, err) {
			wait = commandPause
		} else if fenced(err) && p.counted == nil && !p.takesBack(ctx) {
			p.fail(err)
			p.enter(Replaced)
			return fmt.Errorf("%w: %w; two instances without kafka.group share the topics", ErrFenced, err)
		}
		if errors.Is(err, checkpoint.ErrDamaged) {
			if err := p.in.o.File.replace(store, p.in.o.Publisher.Topics, "it is damaged: "+err.Error()); err != nil {
				return err
			}
		}
		p.fail(err)
		p.in.o.Log.Warn("reading stopped; its part of the checkpoint is taken over again", "partition", p.number, "accounts", p.names(),
			"err", err, "retry_in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// await waits until the partition may be taken over: by then the group counts on this instance, or there is none. It returns false
// if ctx ended first.
func (p *partition) await(ctx context.Context) bool {
	if p.counted == nil || p.counted() {
		return true
	}
	p.enter(Waiting)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if p.counted() {
				return true
			}
		}
	}
}

// term is one time of owning the partition, from taking it over until ctx ends or it is lost. It works on one store: if another
// partition replaces the file meanwhile, the store is closed, which ends the term. It returns a *CheckpointError if no account may be
// read.
func (p *partition) term(ctx context.Context, store *checkpoint.Store) error {
	began := time.Now()
	p.enter(TakingOver)
	shard, err := p.takeOver(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = shard.Close(closing) // what was on its way belongs to a transaction that is over, or is aborted
	}()
	p.enter(Replaying)
	lost := p.checkWitness(ctx, shard)
	replayed, err := p.replay(ctx, store, shard)
	if err != nil {
		return err
	}
	p.enter(Checking)
	found := &findings{lost: lost, incomplete: replayed.incomplete, lastWatermarks: sync.OnceValues(func() (map[string]*events.Watermark, error) {
		return p.in.o.Publisher.LastWatermarks(ctx)
	})}
	var readers []func(context.Context) error
	var refused []error
	for _, a := range p.assignments {
		read, err := p.attach(a, store, shard, found)
		if refusal, ok := errors.AsType[*CheckpointError](err); ok {
			p.refuse(a, refusal)
			refused = append(refused, refusal)
			continue
		}
		if err != nil {
			return err
		}
		readers = append(readers, read)
	}
	if len(readers) == 0 {
		return errors.Join(refused...)
	}
	p.in.o.Log.Info("reading", "partition", p.number, "accounts", p.names(), "replayed_records", replayed.records,
		"took", time.Since(began).Round(time.Millisecond), "version", p.in.o.Version)
	g, ctx := errgroup.WithContext(ctx)
	for _, read := range readers {
		g.Go(func() error { return read(ctx) })
	}
	telling, end := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		p.keepWitness(telling, store)
	}()
	err = g.Wait()
	end()
	<-told
	return err
}

func (p *partition) takeOver(ctx context.Context) (*kafka.Shard, error) {
	p.taking.Lock()
	defer p.taking.Unlock()
	var err error
	p.shard, err = p.in.o.Publisher.TakeOver(ctx, p.number)
	return p.shard, err
}

// attach makes an account ready to be read, if its checkpoint may be used, and returns what reads it.
func (p *partition) attach(a *assignment, store *checkpoint.Store, shard *kafka.Shard, found *findings) (read func(context.Context) error, err error) {
	j, err := journal.New(store, a.ID)
	if err != nil {
		return nil, err
	}
	if err := p.trust(a, store, j, found); err != nil {
		return nil, err
	}
	with := AccountDeps{
		Store: store, Delivery: shard, Journal: NewJournal(store, j, a.ID, p.number), Lease: &Lease{counted: p.counted, shard: shard},
	}
	if read, err = p.in.o.Attach(a.Account, with); err != nil {
		return nil, err
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	a.enter(Reading)
	return read, nil
}

// refuse notes that an account is not read, and why.
func (p *partition) refuse(a *assignment, err *CheckpointError) {
	trouble := status.Error{
		Text: err.Error(), Hint: "run: " + err.Command, Class: status.ClassPermanent, Since: time.Now().UTC(), Count: 1,
	}
	p.in.mu.Lock()
	if a.trouble != nil && a.trouble.Text == trouble.Text {
		trouble = *trouble.After(a.trouble)
	}
	a.state, a.trouble = Refused, &trouble
	p.in.mu.Unlock()
	if trouble.Count == 1 {
		p.in.o.Log.Error("account is not read", "account", a.Name, "partition", p.number, "err", err)
	}
}

// fail detaches the accounts after a term that ended with an error. Accounts that were all refused stay so: of each it was said why.
func (p *partition) fail(err error) {
	if _, refused := errors.AsType[*CheckpointError](err); !refused {
		trouble := status.Error{Text: err.Error(), Hint: kafka.Hint(err), Class: status.ClassRetry, Since: time.Now().UTC(), Count: 1}
		if may, known := kafka.Retryable(err); known && !may {
			trouble.Class = status.ClassPermanent
		}
		if e, ok := errors.AsType[*checkpoint.Error](err); ok && e.Hint() != "" {
			trouble.Class, trouble.Hint = status.ClassPermanent, e.Hint()
		}
		p.in.mu.Lock()
		for _, a := range p.assignments {
			a.troubled(Failed, trouble)
		}
		p.in.mu.Unlock()
	}
	p.detach()
}

// giveBack ends the ownership.
func (p *partition) giveBack() {
	p.detach()
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	for _, a := range p.assignments {
		if a.state != Replaced {
			a.enter(Unassigned)
		}
	}
}

func (p *partition) detach() {
	for _, a := range p.assignments {
		p.in.o.Detach(a.Account)
	}
}

func (p *partition) names() (names []string) {
	for _, a := range p.assignments {
		names = append(names, a.Name)
	}
	return names
}
