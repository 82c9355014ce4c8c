package poll_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/testsize"
)

// Stored entities that cannot be read are published again as revision 1. That is counted and shown, and logged once.
func TestUnreadableEntitiesShow(t *testing.T) {
	testsize.Slow(t)
	inBubble(t, func(t *testing.T) {
		r := newRig(t, small(5), quickSweeps)
		var log bytes.Buffer
		var damaged atomic.Bool
		counted := &unreadableCount{}
		r.options.Log, r.options.Observer = slog.New(slog.NewTextHandler(&log, nil)), counted
		r.wrapStore = func(s poll.Store) poll.Store { return &damagedStore{s, &damaged} }
		r.start()
		r.runFor(10*time.Minute, time.Minute, nil)
		s, _ := r.account.Status()
		require.Zero(t, s.UnreadableEntities)
		require.Zero(t, counted.n.Load())

		damaged.Store(true)
		r.runFor(10*time.Minute, time.Minute, nil)
		damaged.Store(false)
		r.runFor(time.Minute, time.Minute, nil)
		s, _ = r.account.Status()
		r.stop()
		require.Greater(t, s.UnreadableEntities, int64(1))
		require.Equal(t, s.UnreadableEntities, counted.n.Load())
		require.Equal(t, 1, strings.Count(log.String(), "a stored entity cannot be read"), log.String())
		require.Contains(t, log.String(), "read stored entity ")
	})
}

// damagedStore is a store of which, while it is damaged, no entity can be read.
type damagedStore struct {
	poll.Store
	damaged *atomic.Bool
}

func (s *damagedStore) Lookup(account string, probes []checkpoint.Probe, out []checkpoint.Found) error {
	err := s.Store.Lookup(account, probes, out)
	for i := range out {
		if out[i].Known && s.damaged.Load() {
			out[i].Value = []byte("damage")
		}
	}
	return err
}

// unreadableCount counts the entities that an observer is told cannot be read.
type unreadableCount struct {
	noObserver
	n atomic.Int64
}

func (c *unreadableCount) Entities(_ string, _ events.Endpoint, _, _, unreadable int) {
	c.n.Add(int64(unreadable))
}
