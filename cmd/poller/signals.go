package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignalled returns a context that ends with the first SIGINT, SIGTERM or SIGHUP, and a channel that is closed by the
// second, when what is being finished must be given up. A third kills the process as if nobody listened. A SIGHUP that the
// parent process ignores, as nohup does, stays ignored. Call stop when done.
func untilSignalled(parent context.Context) (ctx context.Context, hurry <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	second, done, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		defer close(ended)
		for _, act := range []func(){cancel, func() { signal.Stop(signals); close(second) }} {
			select {
			case <-signals:
				act()
			case <-done:
				return
			}
		}
	}()
	return ctx, second, func() {
		close(done)
		<-ended
		signal.Stop(signals)
		cancel()
	}
}
