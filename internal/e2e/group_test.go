package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// Three replicas share the accounts. Every few seconds one is killed, or suspended, or asked to stop, and comes back with or without its
// disk. The others read its accounts: nothing is lost, nothing is published twice, and no two replicas spend one budget.
func TestKafkaGroup(t *testing.T) {
	t.Parallel()
	testGroup(t, apache(t), 20, 3)
}

func TestSmallGroup(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	testGroup(t, embedded(t), 4, 2)
}

func testGroup(t *testing.T, p *platform, accounts, kills int) {
	now := time.Now().UTC().Truncate(time.Second)
	lasting := time.Duration(scaled(p, 5+10*kills, 20+20*kills)) * time.Second
	var centres []*centre
	var yaml []string
	for i := range accounts {
		c := serve(t, fmt.Sprintf("centre-%02d", i), koresim.Config{
			Seed: uint64(100 + i), Start: now.Add(-10 * time.Minute), End: now.Add(lasting), SegmentsPerDay: 5_000, Pace: koresim.Burst,
		})
		centres, yaml = append(centres, c), append(yaml, c.yaml(quickSettings("1h")))
	}
	s := newSetup(t, p, yaml...)
	s.group = s.prefix
	consumer := s.follow(t)
	poller := binary(t, "")
	var replicas []*replica
	for range 3 {
		r := &replica{setup: *s}
		r.dir = t.TempDir()
		r.run = r.startProcess(t, poller)
		replicas = append(replicas, r)
	}
	watch := watchSilence(t, centres)
	eventually(t, waitLimit, func() error { return allRead(centres, nil) })

	rnd := rand.New(rand.NewPCG(7, uint64(now.Unix())))
	var unowned []time.Duration
	for n := range kills {
		watch.reset()
		r := slices.MaxFunc(replicas, func(a, b *replica) int { return a.reads(t) - b.reads(t) })
		switch n % 3 {
		case 0:
			r.run.kill(t)
		case 1:
			require.NoError(t, r.run.cmd.Process.Signal(syscall.SIGSTOP))
		case 2:
			r.run.stop(t)
		}
		before := counts(centres)
		eventually(t, waitLimit, func() error { return allRead(centres, before) })
		if n%3 == 1 {
			require.NoError(t, r.run.cmd.Process.Signal(syscall.SIGCONT))
		} else {
			if rnd.IntN(2) == 0 {
				r.dir = t.TempDir()
			}
			r.run = r.startProcess(t, poller)
		}
		unowned = append(unowned, watch.longest())
		before = counts(centres)
		eventually(t, waitLimit, func() error { return allRead(centres, before) })
	}
	consumer.settle(t, centres...)
	for _, c := range centres {
		c.checkRequests(t)
	}
	for _, r := range replicas {
		r.run.stop(t)
	}
	if len(unowned) > 0 {
		slices.Sort(unowned)
		t.Logf("longest time that an account was not read, by replica gone: median %v, worst %v", unowned[len(unowned)/2], unowned[len(unowned)-1])
	}
}

// replica is one of several pollers with the same configuration, each with its own disk.
type replica struct {
	setup
	run *process
}

// reads returns how many accounts are assigned to the replica.
func (r *replica) reads(t *testing.T) (n int) {
	t.Helper()
	for _, e := range r.run.entries() {
		if e.Addr == "" {
			continue
		}
		for _, a := range statusAt(t, e.Addr).Accounts {
			if a.Read {
				n++
			}
		}
	}
	return n
}

func counts(centres []*centre) map[string]int64 {
	out := map[string]int64{}
	for _, c := range centres {
		out[c.name] = c.Stats().ByAccount[c.account().ID]
	}
	return out
}

// allRead returns an error that names an account for which no request came since a time.
func allRead(centres []*centre, before map[string]int64) error {
	for name, n := range counts(centres) {
		if n <= before[name] {
			return fmt.Errorf("%s is not read", name)
		}
	}
	return nil
}

// silence tracks how long each centre has had no request.
type silence struct {
	reset   func()
	longest func() time.Duration
}

func watchSilence(t *testing.T, centres []*centre) silence {
	t.Helper()
	type question struct{ reset bool }
	questions, answers := make(chan question), make(chan time.Duration)
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		seen, at, longest := counts(centres), map[string]time.Time{}, time.Duration(0)
		for {
			select {
			case <-done:
				return
			case q := <-questions:
				if q.reset {
					longest = 0
				}
				answers <- longest
			case now := <-tick.C:
				for name, n := range counts(centres) {
					if n != seen[name] || at[name].IsZero() {
						seen[name], at[name] = n, now
					}
					longest = max(longest, now.Sub(at[name]))
				}
			}
		}
	}()
	t.Cleanup(func() { close(done) })
	ask := func(q question) time.Duration {
		questions <- q
		return <-answers
	}
	require.NotEmpty(t, centres)
	return silence{
		reset:   func() { ask(question{reset: true}) },
		longest: func() time.Duration { return ask(question{}) },
	}
}
