package kafka_test

import (
	"math/rand/v2"
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

// odd counts the partitions that have an account in these tests.
func (a *assignments) odd() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.own {
		n += int(p % 2)
	}
	return n
}

// However members come and go, each has as many accounts as any other, or one more, and nothing moves without need.
func TestShare(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		weights := make([]int, 64)
		accounts, total := func(p int32) int { return weights[p] }, 0
		for range rnd.IntN(100) {
			weights[rnd.IntN(64)]++
			total++
		}
		owners := make([]int, 64)
		n := 1 + rnd.IntN(6)
		for p := range owners {
			owners[p] = rnd.IntN(n+1) - 1
		}
		shared := kafka.Share(owners, n, accounts)
		loads := make([]int, n)
		heaviest := 1
		for p, member := range shared {
			loads[member] += weights[p]
			heaviest = max(heaviest, weights[p])
		}
		require.LessOrEqual(t, slices.Max(loads)-slices.Min(loads), heaviest, "%v", loads)
		require.Equal(t, shared, kafka.Share(shared, n, accounts), "what is even stays")
	}
}

// Members share the partitions; one that leaves hands its own over.
func TestGroup(t *testing.T) {
	f := open(t, newCluster(t), append(fast(), kgo.ClientID("x")), transactional)
	join := func() (*kafka.Member, *assignments) {
		a := &assignments{}
		m, err := f.Join(a, func(p int32) int { return int(p % 2) })
		require.NoError(t, err)
		return m, a
	}
	first, one := join()
	require.Eventually(t, func() bool { return one.count() == 64 && first.Alive() }, 5*time.Minute, 10*time.Millisecond)
	second, two := join()
	require.Eventually(t, func() bool { return one.odd() == 16 && two.odd() == 16 && second.Alive() }, 5*time.Minute, 10*time.Millisecond)
	owners, err := second.Owners(t.Context())
	require.NoError(t, err)
	require.Len(t, owners, 64)
	require.NoError(t, first.Leave(t.Context()))
	require.Eventually(t, func() bool { return two.count() == 64 }, 5*time.Minute, 10*time.Millisecond)
	require.NoError(t, second.Leave(t.Context()))
	require.Zero(t, one.count()+two.count())
}
