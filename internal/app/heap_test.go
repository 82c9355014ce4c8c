package app

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// The heap has room, and a limit where the container has one; whoever says otherwise in the environment is obeyed.
func TestSizeHeap(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const mib = 1 << 20
	for _, test := range []struct {
		name, file, gogc, limit string
		room                    int
		want                    int64
	}{
		{"container", "536870912\n", "", "", heapRoom, 536870912/10*9 + heapRoom},
		{"container without a limit", "max\n", "", "", heapRoom, math.MaxInt64},
		{"no container", "", "", "", heapRoom, math.MaxInt64},
		{"GOGC", "536870912\n", "200", "", 0, 536870912 / 10 * 9},
		{"GOMEMLIMIT", "536870912\n", "", "100MiB", heapRoom, 100 * mib},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "memory.max")
			if test.file != "" {
				require.NoError(t, os.WriteFile(file, []byte(test.file), 0o600))
			}
			t.Setenv("GOGC", test.gogc)
			t.Setenv("GOMEMLIMIT", test.limit)
			room = nil
			debug.SetMemoryLimit(math.MaxInt64)
			if test.limit != "" { // as the runtime does when the process starts
				debug.SetMemoryLimit(100 * mib)
			}
			sizeHeap(file)
			require.Len(t, room, test.room)
			require.Equal(t, test.want, debug.SetMemoryLimit(-1))
		})
	}
	room = nil
}
