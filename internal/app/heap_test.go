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
	for limit, want := range map[int64]int64{math.MaxInt64: smallHeap, 100 << 20: smallHeap, 32 << 20: 32 << 20} {
		debug.SetMemoryLimit(limit)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			tendHeap(ctx, limit)
		}()
		require.Eventually(t, func() bool { return debug.SetMemoryLimit(-1) == want }, time.Minute, time.Millisecond, limit)
		cancel()
		<-done
		require.Equal(t, limit, debug.SetMemoryLimit(-1))
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
