package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/koresim"
)

// The disk is lost. With transactions the checkpoint topic has everything, and nothing is published twice.
func TestSmallDiskLost(t *testing.T) {
	t.Parallel()
	run := testDiskLost(t, "", func(_ *inProcess, c *consumer, live *centre) { c.settle(t, live) })
	require.NotContains(t, run.tail(1000), "reading goes on from the last watermark")
}

// The file is truncated under a running poller. The poller sets it aside and makes it again, and publishes nothing twice.
func TestSmallDiskDamagedInUse(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 23, Start: now.Add(-10 * time.Minute), End: now.Add(6 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
	})
	s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")))
	c := s.follow(t)
	run := s.startInProcess(t)
	eventually(t, waitLimit, func() error { return anyEvent(c) })
	require.NoError(t, os.Truncate(filepath.Join(s.dir, "poller.db"), int64(2*os.Getpagesize())))
	run.awaitLog(t, "has been set aside")
	c.settle(t, live)
	run.stop(t)
	live.checkRequests(t)
}

// Without transactions the checkpoint is lost with the disk. Events may be published again, but none is lost: reading goes on from the last
// watermark, and what happened while nothing was read is published.
func TestSmallCheckpointLost(t *testing.T) {
	t.Parallel()
	testDiskLost(t, "at-least-once", func(run *inProcess, c *consumer, live *centre) {
		run.awaitLog(t, "reading goes on from the last watermark")
		c.awaitAll(t, live)
	})
}

// testDiskLost removes the file between two runs, and ends the second run when the topics hold everything.
func testDiskLost(t *testing.T, delivery string, settle func(*inProcess, *consumer, *centre)) *inProcess {
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 22, Start: now.Add(-10 * time.Minute), End: now.Add(8 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
	})
	s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")))
	s.delivery = delivery
	c := s.follow(t)
	run := s.startInProcess(t)
	eventually(t, waitLimit, func() error {
		st := run.status(t)
		if !st.Accounts[0].Read {
			return errNotYet
		}
		for _, e := range st.Accounts[0].Endpoints {
			if e.CompleteUpTo == nil {
				return fmt.Errorf("%s is not complete up to anything yet", e.Endpoint)
			}
		}
		return nil
	})
	run.stop(t)
	require.NoError(t, os.Remove(filepath.Join(s.dir, "poller.db")))

	run = s.startInProcess(t)
	settle(run, c, live)
	run.stop(t)
	return run
}
