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

// chosen is the point to end at, after how many times, and by which signal.
var (
	chosen string
	left   atomic.Int64
	signal = syscall.SIGKILL
)

func init() {
	parts := strings.Split(os.Getenv("POLLER_FAULTPOINT"), ":")
	if len(parts) < 2 {
		return
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n < 1 {
		panic("POLLER_FAULTPOINT is not name:n or name:n:stop")
	}
	chosen = parts[0]
	left.Store(n)
	if len(parts) > 2 {
		signal = syscall.SIGSTOP
	}
}

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
	fmt.Fprintf(os.Stderr, "%v at %s\n", signal, name)
	_ = syscall.Kill(os.Getpid(), signal)
	if signal == syscall.SIGKILL {
		select {}
	}
}
