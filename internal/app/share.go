package app

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/status"
)

const (
	// ownersEvery is how often it is looked up who reads what.
	ownersEvery = 5 * time.Second
	// leaveTimeout bounds the goodbye to the group, which will notice by itself.
	leaveTimeout = 3 * time.Second
)

// share reads, in transactions, the accounts of those partitions that the group assigns to this instance.
func (a *App) share(ctx context.Context) error {
	s := &sharing{App: a, ctx: ctx, stop: map[int32]func(){}}
	owned := a.partitions()
	for partition, seats := range owned {
		a.newOwner(partition, seats).vacate(nil)
	}
	member, err := a.publisher.Join(s, func(partition int32) int { return len(owned[partition]) })
	if err != nil {
		return err
	}
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error { s.watch(watching, member); return nil })
	<-ctx.Done()
	s.Revoked(nil)
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := member.Leave(leaving); err != nil {
		a.log.Warn("the group will find out by itself that this instance has gone", "err", err)
	}
	return g.Wait()
}

// sharing is this instance's part of the work of a group, as kafka.Assignment.
type sharing struct {
	*App
	ctx context.Context

	mu   sync.Mutex
	stop map[int32]func() // ends reading of a partition and waits for the end
}

// Assigned implements kafka.Assignment.
func (s *sharing) Assigned(m *kafka.Member, partitions []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owned := s.partitions()
	for _, partition := range partitions {
		if len(owned[partition]) == 0 || s.ctx.Err() != nil {
			continue
		}
		o := s.newOwner(partition, owned[partition])
		o.allowed = m.Alive
		ctx, cancel := context.WithCancel(s.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := o.run(ctx); err != nil {
				s.log.Error("reading ended", "partition", partition, "accounts", o.names(), "err", err)
			}
		}()
		s.stop[partition] = func() {
			cancel()
			<-done
		}
	}
}

// Revoked implements kafka.Assignment. Of nil partitions it ends all.
func (s *sharing) Revoked(partitions []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if partitions == nil {
		for partition := range s.stop {
			partitions = append(partitions, partition)
		}
	}
	var stopping sync.WaitGroup
	for _, partition := range partitions {
		if stop := s.stop[partition]; stop != nil {
			stopping.Go(stop)
			delete(s.stop, partition)
			for _, seat := range s.partitions()[partition] {
				s.log.Info("no longer read here", "partition", partition, "account", seat.Name)
			}
		}
	}
	stopping.Wait()
}

// Trouble implements kafka.Assignment.
func (s *sharing) Trouble(err error) {
	s.log.Warn("no part in the group; it is tried again", "err", err)
	s.inTrouble(err)
}

// watch keeps in the status who reads what.
func (s *sharing) watch(ctx context.Context, m *kafka.Member) {
	tick := time.NewTicker(ownersEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		owners, err := m.Owners(ctx)
		if err != nil {
			s.log.Debug("look up who reads what", "err", err)
			continue
		}
		s.App.mu.Lock()
		if m.Alive() {
			s.trouble = nil
		}
		for _, seat := range s.seats {
			if seat.account != nil || seat.owner.Mine {
				continue
			}
			owner := *seat.owner // what the status was given of it is not changed
			owner.Instance, owner.State = owners[seat.partition], status.OK
			if owner.Instance == "" {
				owner.State = status.Waiting
			}
			seat.owner = &owner
		}
		s.App.mu.Unlock()
	}
}
