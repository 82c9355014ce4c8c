package kore

import (
	"sync"
	"time"
)

// clock knows how far the server's clock is from ours, from the Date headers of its answers.
//
// One answer bounds the difference: the server wrote its Date, in whole seconds, after we had sent and before we had
// received. The bounds of many answers are intersected, so that slow ones do no harm and the second's granularity fades.
// An answer that contradicts what is known (a clock was set, a proxy answered for the server) counts only when the next
// one agrees with it: what was wrongly called complete stays so.
type clock struct {
	mu      sync.Mutex
	known   bounds
	doubted bounds // contradicts known; waits for a second answer
}

// bounds hold the server's clock less ours, as of the local time at. The zero value knows nothing.
type bounds struct {
	lo, hi time.Duration
	at     time.Time
}

// maxDrift is how fast two clocks may part, as one in so many; quartz stays well within.
const maxDrift = 10_000

// observe takes a Date that came between sent and received, and returns by how much it is certain that the server's
// clock differs from what the caller believed when it sent: 0 if the belief may have been right.
func (c *clock) observe(date, sent, received time.Time, believed time.Duration) time.Duration {
	// Wall clocks are compared, ours without its monotonic reading: the server's has none.
	sent, received = sent.Round(0), received.Round(0)
	sample := bounds{lo: date.Sub(received), hi: date.Add(time.Second).Sub(sent), at: received}

	c.mu.Lock()
	defer c.mu.Unlock()
	if both, ok := c.known.and(sample); ok && !c.known.at.IsZero() {
		c.known, c.doubted = both, bounds{}
	} else if both, ok := c.doubted.and(sample); ok && !c.doubted.at.IsZero() {
		c.known, c.doubted = both, bounds{}
	} else {
		c.doubted = sample
	}
	switch {
	case believed < sample.lo:
		return sample.lo - believed
	case believed > sample.hi:
		return sample.hi - believed
	}
	return 0
}

// skew is the middle of what is possible, and whether it is known. The first answer alone is a guess: it may have a wrong
// Date, and what is called complete on its word would stay so. The second that agrees with it makes it known.
func (c *clock) skew() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	best, known := c.known, !c.known.at.IsZero()
	if !known {
		best = c.doubted
	}
	return best.lo + (best.hi-best.lo)/2, known
}

// and intersects bounds with newer ones. It reports whether both can be true.
func (b bounds) and(newer bounds) (bounds, bool) {
	if b.at.IsZero() {
		return newer, true
	}
	drift := newer.at.Sub(b.at).Abs() / maxDrift
	both := bounds{max(b.lo-drift, newer.lo), min(b.hi+drift, newer.hi), newer.at}
	return both, both.lo <= both.hi
}
