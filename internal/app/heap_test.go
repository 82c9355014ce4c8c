package app

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The heap is bounded while it is tended, never above what the process may use, and left as it was.
func TestTendHeap(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	t.Setenv("GOGC", "")
	for _, limit := range []int64{math.MaxInt64, 32 << 20} {
		debug.SetMemoryLimit(limit - 2) // another than tendHeap sets
		before := debug.SetMemoryLimit(-1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			tendHeap(ctx, limit)
		}()
		// How much lives depends on the tests before this one.
		require.Eventually(t, func() bool {
			now := debug.SetMemoryLimit(-1)
			return now != before && now >= min(smallHeap, limit) && now <= limit
		}, time.Minute, time.Millisecond, limit)
		cancel()
		<-done
		require.Equal(t, before, debug.SetMemoryLimit(-1))
	}
}

func TestHeapLimit(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ live, most, want int64 }{
		{0, math.MaxInt64, smallHeap},
		{16 * mib, math.MaxInt64, smallHeap},
		{17 * mib, math.MaxInt64, 48 * mib},
		{18*mib - 1, math.MaxInt64, 48 * mib},
		{18 * mib, math.MaxInt64, 52 * mib},
		{100 * mib, math.MaxInt64, 216 * mib},
		{100 * mib, 100 * mib, 100 * mib},
		{0, 32 * mib, 32 * mib},
		{0, 7, 7},
	} {
		require.Equal(t, c.want, heapLimit(c.live, c.most), "%+v", c)
	}
}

func TestMemoryLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	for name, c := range map[string]struct {
		file, text string
		want       int64
	}{
		"version 2":            {"memory.max", "1000\n", 900},
		"version 2, unlimited": {"memory.max", "max\n", math.MaxInt64},
		"version 1":            {"memory/memory.limit_in_bytes", "1000\n", 900},
		"version 1, unlimited": {"memory/memory.limit_in_bytes", "9223372036854771712\n", math.MaxInt64},
		"none":                 {"other", "1000\n", math.MaxInt64},
	} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "memory"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600))
		require.Equal(t, c.want, memoryLimit(dir), name)
	}
	debug.SetMemoryLimit(7 << 20)
	require.Equal(t, int64(7<<20), memoryLimit(t.TempDir()), "GOMEMLIMIT comes first")
}

func TestAnswerBytes(t *testing.T) {
	const mib = 1 << 20
	for limit, want := range map[int64]int64{math.MaxInt64: 64 * mib, 480 * mib: 120 * mib, 64 * mib: 32 * mib, 64 << 30: 1024 * mib} {
		require.Equal(t, want, answerBytes(limit), limit)
	}
}
