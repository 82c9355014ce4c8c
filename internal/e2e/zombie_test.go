package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/faultpoint"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/owner"
)

// A poller without a group is suspended for longer than a transaction may last, while another with the same configuration takes over. When
// it is resumed it finds out before it asks the API for anything: it publishes nothing, spends nothing of the budget, and exits with code 3.
func TestKafkaZombie(t *testing.T) {
	t.Parallel()
	p := apache(t)
	for _, test := range []struct {
		point string
		stop  time.Duration
	}{
		{faultpoint.BeforeBegin, 12 * time.Second},
		{faultpoint.AfterProduce, 12 * time.Second},
		{faultpoint.BeforeEnd, 3 * time.Second},
		{faultpoint.BeforeDisk, 12 * time.Second},
		{anyInstant, 80 * time.Second},
	} {
		t.Run(fmt.Sprintf("%s-%v", test.point, test.stop), func(t *testing.T) {
			t.Parallel()
			centre, s := scarceCentre(t, p, test.stop)
			c := s.follow(t)
			zombie := s.startProcess(t, build(t, "-tags", "faultpoints"), "POLLER_FAULTPOINT="+test.point+":12:stop")
			if test.point == anyInstant {
				eventually(t, waitLimit, func() error { return anyEvent(c) })
				require.NoError(t, zombie.cmd.Process.Signal(syscall.SIGSTOP))
			}
			eventually(t, waitLimit, zombie.stopped)
			other := *s
			other.dir = t.TempDir()
			young := other.startProcess(t, binary(t, ""))
			time.Sleep(test.stop)
			require.NoError(t, zombie.cmd.Process.Signal(syscall.SIGCONT))
			zombie.endsFenced(t)
			c.settle(t, centre)
			checkRecords(t, c)
			young.stop(t)
			centre.checkRequests(t)
			t.Logf("at most %d requests a minute of %d", centre.Stats().MaxPerMinute, centre.limit)
		})
	}
}

// Of two pollers with the same configuration and no group, one stays and one exits with code 3, whichever starts first and however many
// partitions the accounts are in.
func TestKafkaTwoInstances(t *testing.T) {
	t.Parallel()
	p := apache(t)
	for name, apart := range map[string]time.Duration{"together": 0, "one after the other": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, s := scarceCentre(t, p, 10*time.Second)
			s.prefix = strings.ReplaceAll(s.prefix, " ", "-")
			now := time.Now().UTC().Truncate(time.Second)
			second := serve(t, "second", koresim.Config{
				Seed: 62, Start: now.Add(-time.Minute), End: now.Add(10 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
			})
			s.accounts += second.yaml(quickSettings("1h"))
			c := s.follow(t)
			other := *s
			other.dir = t.TempDir()
			one := s.startProcess(t, binary(t, ""))
			time.Sleep(apart)
			two := other.startProcess(t, binary(t, ""))
			stays, ends := one, two
			select {
			case <-one.done:
				stays, ends = two, one
			case <-two.done:
			case <-time.After(waitLimit):
				require.FailNow(t, "both go on")
			}
			ends.endsFenced(t)
			c.settle(t, first, second)
			stays.stop(t)
			// Without a group nobody tells an owner that it was taken over: what it has in flight then, it has beside the other's.
			first.checkRequestsBeside(t, len(events.Endpoints()))
			second.checkRequestsBeside(t, len(events.Endpoints()))
		})
	}
}

// If each of two pollers has taken a partition from the other, the owner of the lowest partition takes the rest back; the other exits.
func TestSmallInstances(t *testing.T) {
	t.Parallel()
	one := quietCentre(t, "one", 63)
	two := quietCentreApart(t, "two", one)
	low, high := kafka.CheckpointPartition(one.account().ID), kafka.CheckpointPartition(two.account().ID)
	if low > high {
		low, high = high, low
	}
	s := newSetup(t, withoutRegistry(t), one.yaml(quickSettings("1h")), two.yaml(quickSettings("1h")))
	c := s.follow(t)
	p := s.startInProcess(t)
	p.awaitReading(t, "one")
	p.awaitReading(t, "two")
	cfg, _, err := app.Parse(app.LoadOptions{Path: "e2e.yaml"}, []byte(s.yaml()))
	require.NoError(t, err)
	other, err := kafka.Open(t.Context(), kafka.Options{
		Config: cfg.Kafka, Instance: "other", Registry: cfg.SchemaRegistry, Types: events.Types(), Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close(context.WithoutCancel(t.Context()))) })
	take := func(partition int32, until func() bool) { // again if the poller had a transaction open: it takes that for a timeout
		eventually(t, waitLimit, func() error {
			if until() {
				return nil
			}
			shard, err := other.TakeOver(t.Context(), partition)
			if err != nil {
				return err
			}
			_ = shard.Close(t.Context())
			return errNotYet
		})
	}
	take(high, func() bool { return p.contains(fmt.Sprintf("another instance has taken over partition %d", high)) })
	c.settle(t, one, two)
	take(low, func() bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	require.ErrorIs(t, p.err, owner.ErrFenced)
}

// scarceCentre serves a centre whose budget is always used up, and returns a setup that reads it.
func scarceCentre(t *testing.T, p *platform, length time.Duration) (*centre, *setup) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	c := serve(t, "scarce", koresim.Config{
		Seed: 61, Start: now.Add(-time.Minute), End: now.Add(length + 10*time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
		RequestsPerMinute: 40,
	})
	return c, newSetup(t, p, c.yaml(quickSettings("1h")))
}

// stopped returns nil if the process is suspended.
func (p *process) stopped() error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return err
	}
	if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
		return fmt.Errorf("the process is in state %.1s", state)
	}
	return nil
}

func (p *process) endsFenced(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
		require.Equal(t, app.ExitFenced, p.cmd.ProcessState.ExitCode(), "%s", p.tail(20))
	case <-time.After(waitLimit):
		require.FailNow(t, "it goes on, although another one has taken over", "%s", p.tail(20))
	}
}
