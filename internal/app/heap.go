package app

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// heapRoom is how much the heap may grow, in addition to twice what lives, before it is collected. Pages come and go: while history is
// read, most of the heap is garbage a moment later, and with a heap of a few megabytes collecting it takes a third of the CPU time.
const heapRoom = 12 << 20

// room is heap that lives and that nobody writes to: the collector lets as much more grow, and no memory stands behind it.
var room []byte

// memoryMax is where a container finds how much memory it may use, with version 2 of control groups.
const memoryMax = "/sys/fs/cgroup/memory.max"

// sizeHeap sets when the garbage collector runs, for as long as the process lives. GOGC and GOMEMLIMIT are obeyed where they are set.
// Else the collector works harder as memory comes near to nine tenths of what the file says that the container may use.
func sizeHeap(file string) {
	if os.Getenv("GOGC") == "" {
		room = make([]byte, heapRoom)
	}
	if limit := containerLimit(file); os.Getenv("GOMEMLIMIT") == "" && limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit/10*9 + int64(len(room)))
	}
}

// containerLimit returns the memory in bytes that the file allows, math.MaxInt64 if it sets no limit or is not there.
func containerLimit(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || limit <= 0 { // "max"
		return math.MaxInt64
	}
	return limit
}
