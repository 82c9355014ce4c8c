// Package demotest runs the demo for tests of consumers, which read its broker and its schema registry.
package demotest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"testing"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/demo"
)

// Start runs the demo until the test ends, and returns the addresses that it prints.
func Start(t *testing.T) (broker, registry string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	hurry, ended := make(chan struct{}), make(chan error, 1)
	out := &addresses{found: make(chan []string, 1)}
	go func() {
		ended <- demo.Run(ctx, app.Output{Out: out, Err: io.Discard, Log: slog.New(slog.DiscardHandler)}, demo.Options{Version: "test", Seed: 1, Hurry: hurry})
	}()
	var failed error
	over := make(chan struct{})
	go func() {
		failed = <-ended
		close(over)
	}()
	t.Cleanup(func() {
		close(hurry)
		stop()
		<-over
		if failed != nil && !errors.Is(failed, demo.ErrNoVerdict) {
			t.Errorf("the demo ends: %v", failed)
		}
	})
	select {
	case a := <-out.found:
		return a[1], a[2]
	case <-over:
		t.Fatal("the demo ends before it prints its addresses")
	}
	return "", ""
}

// addresses finds the addresses in what the demo prints.
type addresses struct {
	mu    sync.Mutex
	text  bytes.Buffer
	found chan []string
	done  bool
}

var command = regexp.MustCompile(`poller tail --brokers (\S+) --registry (\S+)\n`)

func (a *addresses) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return len(p), nil
	}
	a.text.Write(p)
	if m := command.FindStringSubmatch(a.text.String()); m != nil {
		a.done = true
		a.found <- m
	}
	return len(p), nil
}
