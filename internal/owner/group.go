package owner

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/kafka"
)

const (
	// readersEvery is how often the group is asked who reads what.
	readersEvery = 5 * time.Second
	// leaveTimeout bounds the goodbye to the group, which will notice by itself.
	leaveTimeout = 3 * time.Second
)

// share reads the accounts of the partitions that the group assigns to this instance, until ctx ends.
func (i *Instance) share(ctx context.Context) error {
	m := &membership{in: i, ctx: ctx, stop: map[int32]func(){}}
	accounts := map[string]string{}
	for _, a := range i.o.Accounts {
		accounts[a.ID] = a.Name
	}
	member, err := i.o.Publisher.Join(m, accounts)
	if err != nil {
		return err
	}
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error { i.watch(watching, member); return nil })
	<-ctx.Done()
	m.stopAll()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := member.Leave(leaving); err != nil {
		i.o.Log.Warn("the group will find out by itself that this instance has gone", "err", err)
	}
	return g.Wait()
}

// membership is this instance's part of the work of a group, as kafka.Assignment.
type membership struct {
	in  *Instance
	ctx context.Context // of Run: once it has ended, nothing more is begun

	mu sync.Mutex
	// stop has a function for each partition that is run here. It ends the run and waits for the end. Guarded by mu, which is held
	// meanwhile: a partition is not run twice.
	stop map[int32]func()
}

// Assigned implements kafka.Assignment.
func (m *membership) Assigned(member *kafka.Member, partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	byPartition := m.in.byPartition()
	for _, number := range partitions {
		if len(byPartition[number]) == 0 || m.ctx.Err() != nil {
			continue
		}
		p := m.in.newPartition(number, byPartition[number])
		p.counted = member.Alive
		p.enter(Waiting)
		ctx, cancel := context.WithCancel(m.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := p.run(ctx); err != nil {
				m.in.o.Log.Error("reading ended", "partition", number, "accounts", p.names(), "err", err)
			}
		}()
		m.stop[number] = func() {
			cancel()
			<-done
		}
	}
	m.in.mu.Lock()
	m.in.joined = true
	m.in.mu.Unlock()
	select {
	case m.in.look <- struct{}{}:
	default: // it is to look anyway
	}
}

// Revoked implements kafka.Assignment.
func (m *membership) Revoked(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopThese(partitions)
}

func (m *membership) stopAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var partitions []int32
	for number := range m.stop {
		partitions = append(partitions, number)
	}
	m.stopThese(partitions)
}

// stopThese gives partitions back, and waits until their accounts are read no more. The caller holds mu.
func (m *membership) stopThese(partitions []int32) {
	byPartition := m.in.byPartition()
	var stopping sync.WaitGroup
	for _, number := range partitions {
		stop := m.stop[number]
		if stop == nil {
			continue
		}
		stopping.Go(stop)
		delete(m.stop, number)
		for _, a := range byPartition[number] {
			m.in.o.Log.Info("no longer read here", "partition", number, "account", a.Name)
		}
	}
	stopping.Wait()
}

// Trouble implements kafka.Assignment.
func (m *membership) Trouble(err error) {
	m.in.o.Log.Warn("no part in the group; it is tried again", "err", err)
	m.in.o.GroupTrouble(err)
}

// watch keeps in the status who reads the accounts that are not read here, until ctx ends, and notes when that has settled.
func (i *Instance) watch(ctx context.Context, member *kafka.Member) {
	tick := time.NewTicker(readersEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.look:
		case <-tick.C:
		}
		i.mu.Lock()
		settled := i.joined // before the group is asked
		i.mu.Unlock()
		sharing, err := member.Sharing(ctx)
		if err != nil {
			i.o.Log.Debug("look up who reads what", "err", err)
			continue
		}
		if member.Alive() {
			i.o.GroupTrouble(nil)
		}
		if sharing.Stable {
			i.o.Problems("group", problemsOf(sharing))
		}
		i.mu.Lock()
		for _, a := range i.assignments {
			a.readBy = sharing.Owners[a.partition]
			if sharing.Stable {
				a.noteUnread(sharing)
			}
			settled = settled && a.readBy != ""
		}
		i.settled = i.settled || settled
		i.mu.Unlock()
	}
}

// problemsOf returns what is wrong with how the group divides the accounts: those of all instances, which each of them shows.
func problemsOf(sharing *kafka.Sharing) (problems []error) {
	if sharing.Foreign != nil {
		problems = append(problems, sharing.Foreign)
	}
	for _, id := range slices.Sorted(maps.Keys(sharing.Unread)) {
		problems = append(problems, sharing.Unread[id])
	}
	return problems
}
