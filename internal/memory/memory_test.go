package memory_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/memory"
)

func TestGrowWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(100)
		first, second, third := b.Hold(), b.Hold(), b.Hold()
		require.NoError(t, first.Grow(t.Context(), 60))
		require.NoError(t, second.Grow(t.Context(), 60), "one may take more than there is")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, third.Grow(ctx, 1), context.DeadlineExceeded)
		require.NoError(t, second.Grow(t.Context(), 1000), "and goes on to")
		time.AfterFunc(time.Second, second.Release)
		require.NoError(t, third.Grow(t.Context(), 40))
		first.Release()
		first.Release()
		third.Shrink(1000)
		all := b.Hold()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, all.Grow(ctx, 100), "all of it was given back")
		require.NoError(t, (*memory.Budget)(nil).Hold().Grow(ctx, 1<<40))
	})
}

// However much is wanted at once, everybody gets it in the end, and never is more taken than the budget and what one takes.
func TestNobodyWaitsForEver(t *testing.T) {
	const budget, most, holders = 1000, 700, 40
	b := memory.New(budget)
	var taken, peak atomic.Int64
	var group sync.WaitGroup
	for n := range holders {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for range 200 {
				h, mine := b.Hold(), int64(0)
				for mine < most {
					more := min(1+r.Int64N(200), most-mine)
					ctx, cancel := context.WithCancel(t.Context())
					if r.IntN(50) == 0 {
						cancel()
					}
					err := h.Grow(ctx, more)
					cancel()
					if err != nil {
						break
					}
					mine += more
					now := taken.Add(more)
					for p := peak.Load(); now > p && !peak.CompareAndSwap(p, now); p = peak.Load() {
					}
					if r.IntN(4) == 0 {
						taken.Add(-10)
						mine -= 10
						h.Shrink(10)
					}
				}
				taken.Add(-mine)
				h.Release()
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, peak.Load(), int64(budget+most))
	require.Zero(t, taken.Load())
}
