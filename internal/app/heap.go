package app

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
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

// tendHeap bounds the heap until ctx ends: by smallHeap, and where more than that lives by Go's default, twice what lives.
// Whoever has set GOGC or GOMEMLIMIT gets that instead.
func tendHeap(ctx context.Context) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(heapGrowth))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(heapReview)
	defer tick.Stop()
	for last := int64(0); ; {
		metrics.Read(live)
		// In steps, because setting the limit stops the world for a moment.
		if limit := max(smallHeap, (2*int64(live[0].Value.Uint64())+heapRoom)&^(4<<20-1)); limit != last {
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
