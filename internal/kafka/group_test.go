package kafka_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/kafka"
)

// A member counts as alive for as long as the group must have kept it, and after a silence only once the group has kept it.
func TestPulse(t *testing.T) {
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	var p kafka.Pulse
	require.False(t, p.Alive(at(0)), "it has not joined")
	p.Beat(at(0))
	require.False(t, p.Alive(at(0)), "what was answered may have been a no")
	p.Beat(at(1))
	require.True(t, p.Alive(at(1)))
	require.True(t, p.Alive(at(9.9)))
	require.False(t, p.Alive(at(10)), "since the request was sent, not since it was answered")
	p.Beat(at(12))
	require.False(t, p.Alive(at(12)), "stopped for longer than a session: it may have been thrown out")
	p.Beat(at(15))
	require.True(t, p.Alive(at(15)))
	require.False(t, p.Alive(at(16).Round(0).Add(time.Hour)), "the machine slept")
}

// assignments records what a member is told.
type assignments struct {
	mu  sync.Mutex
	own []int32
}

func (a *assignments) Assigned(_ *kafka.Member, partitions []int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own = append(a.own, partitions...)
}

func (a *assignments) Revoked(partitions []int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own = slices.DeleteFunc(a.own, func(p int32) bool { return slices.Contains(partitions, p) })
}

func (a *assignments) Trouble(error) {}

func (a *assignments) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.own)
}

// Members share the partitions; one that leaves hands its own over.
func TestGroup(t *testing.T) {
	f := open(t, newCluster(t), append(fast(), kgo.ClientID("x")), transactional)
	join := func() (*kafka.Member, *assignments) {
		a := &assignments{}
		m, err := f.Join(a)
		require.NoError(t, err)
		return m, a
	}
	first, one := join()
	require.Eventually(t, func() bool { return one.count() == 64 && first.Alive() }, 20*time.Second, 10*time.Millisecond)
	second, two := join()
	require.Eventually(t, func() bool { return one.count() == 32 && two.count() == 32 && second.Alive() }, 30*time.Second, 10*time.Millisecond)
	owners, err := second.Owners(t.Context())
	require.NoError(t, err)
	require.Len(t, owners, 64)
	require.NoError(t, first.Leave(t.Context()))
	require.Eventually(t, func() bool { return two.count() == 64 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, second.Leave(t.Context()))
	require.Zero(t, one.count()+two.count())
}
