package poll

import (
	"sync"
	"time"
)

// carefulClock is the server's clock as an account may rely on it. What is read up to now counts as read, so that a clock that is
// ahead of the server's loses rows. It is our own clock until the server's is known. It goes back at once when the server's does, and
// ahead by more than 2 s only after the server has insisted for two minutes: if one of several servers has a wrong clock, the account
// is only kept behind.
type carefulClock struct {
	API

	mu    sync.Mutex
	known bool
	skew  time.Duration // of the server's clock, as relied on
	ahead time.Time     // since when the server says that it is further ahead, by our clock; zero if it does not
}

const (
	// hair is by how much the measured clock may move as answers make it more exact.
	hair = 2 * time.Second
	// convinced is for how long a clock must be ahead to be believed.
	convinced = 2 * time.Minute
)

// Skew returns how far the server's clock is ahead of ours, and whether that is known.
func (c *carefulClock) Skew() (time.Duration, bool) {
	skew, known := c.API.Skew()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !known && !c.known {
		return 0, false
	}
	now := time.Now()
	switch {
	case !c.known, skew <= c.skew+hair:
		c.known, c.skew, c.ahead = true, skew, time.Time{}
	case c.ahead.IsZero():
		c.ahead = now
	case now.Sub(c.ahead) >= convinced:
		c.skew, c.ahead = skew, time.Time{}
	}
	return c.skew, true
}

// Now is the time by the server's clock.
func (c *carefulClock) Now() time.Time {
	skew, _ := c.Skew()
	return time.Now().Round(0).Add(skew)
}
