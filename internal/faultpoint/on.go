//go:build faultpoints

package faultpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// chosen is the point to die at, and after how many times.
var chosen, left = func() (string, *atomic.Int64) {
	name, times, _ := strings.Cut(os.Getenv("POLLER_FAULTPOINT"), ":")
	n, err := strconv.ParseInt(times, 10, 64)
	if name != "" && (err != nil || n < 1) {
		panic("POLLER_FAULTPOINT is not name:n")
	}
	count := new(atomic.Int64)
	count.Store(n)
	return name, count
}()

// Reach ends the process if it is at the chosen point for the n-th time.
func Reach(name string) {
	if name == chosen && left.Add(-1) == 0 {
		die(name)
	}
}

// near is how long after Near the process may live on: about as long as a small transaction takes to end.
const near = 4 * time.Millisecond

// Near ends the process a moment later, if this is the n-th time.
func Near(name string) {
	if name == chosen && left.Add(-1) == 0 {
		time.AfterFunc(rand.N(near), func() { die(name) })
	}
}

// die leaves no time for anything: neither deferred functions nor other threads. What it says is for the test's log.
func die(name string) {
	fmt.Fprintf(os.Stderr, "killed at %s\n", name)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
