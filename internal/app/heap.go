package app

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// Pages come and go: while history is read, most of the heap is garbage a moment later, and with Go's defaults collecting it
// every few megabytes takes a quarter of the CPU time. So the heap may grow to five times what lives, as long as the process
// stays small.
const (
	heapGrowth = 400 // per cent, see runtime/debug.SetGCPercent
	// smallHeap is what may be used before the collector works harder. It keeps RssAnon below 64 MiB.
	smallHeap = 48 << 20
	// heapRoom is what the collector is left with beside what lives, so that it never works for a few bytes.
	heapRoom   = 16 << 20
	heapReview = time.Second
)

// tendHeap bounds the heap by heapLimit until ctx ends. If the environment sets GOGC, it does nothing.
func tendHeap(ctx context.Context, most int64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(heapGrowth))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(heapReview)
	defer tick.Stop()
	for last := int64(0); ; {
		metrics.Read(live)
		// Not for every byte, because setting the limit stops the world for a moment.
		if limit := heapLimit(int64(live[0].Value.Uint64()), most); limit != last {
			debug.SetMemoryLimit(limit)
			last = limit
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// heapLimit returns how large the heap may get while live bytes of it are in use: smallHeap, or where more than that lives Go's default,
// twice what lives, and never more than most. It is a multiple of 4 MiB unless it is most.
func heapLimit(live, most int64) int64 {
	return min(max(smallHeap, (2*live+heapRoom)&^(4<<20-1)), most)
}

// cgroup is where a container finds the limits of its own.
const cgroup = "/sys/fs/cgroup"

// memoryLimit returns how many bytes Go may use: GOMEMLIMIT, or else nine tenths of what the container may; math.MaxInt64 if neither is
// limited. It must be called before tendHeap.
func memoryLimit(cgroup string) int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit
	}
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} { // of versions 2 and 1
		text, err := os.ReadFile(filepath.Join(cgroup, name))
		if err != nil {
			continue
		}
		// Version 2 says max where there is no limit, version 1 a number that no machine has.
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 && limit < 1<<50 {
			return limit / 10 * 9
		}
	}
	return math.MaxInt64
}

// answerBytes returns how many bytes the API's answers may take together, with what is made of them, where Go may use limit bytes.
func answerBytes(limit int64) int64 {
	const least, usual, most = 32 << 20, 64 << 20, 1 << 30
	if limit == math.MaxInt64 {
		return usual
	}
	return min(max(least, limit/4), most)
}
