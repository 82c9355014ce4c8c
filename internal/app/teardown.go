package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A teardown is what a process has opened, in the order in which it was opened. Its methods are not safe for concurrent use.
type teardown struct {
	steps  []step
	closed bool
}

// A step closes one thing.
type step struct {
	name   string
	within time.Duration
	close  func(ctx context.Context) error
}

// add adds what close closes. Its context ends after within, and close has to return then: a close that does not is left behind.
func (t *teardown) add(name string, within time.Duration, close func(ctx context.Context) error) {
	t.steps = append(t.steps, step{name, within, close})
}

// run closes what was opened, the last first and each once, and returns what went wrong, by name. A step that fails keeps no other from
// being closed.
func (t *teardown) run() error {
	t.closed = true
	var failed []error
	for _, s := range slices.Backward(t.steps) {
		if err := s.run(); err != nil {
			failed = append(failed, fmt.Errorf("close %s: %w", s.name, err))
		}
	}
	t.steps = nil
	return errors.Join(failed...)
}

// errLeft is returned for what does not close in time. The process is about to end, which closes it.
var errLeft = errors.New("it does not close in time, and is left as it is")

func (s *step) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.close(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // because its context ended
		return err
	case <-time.After(grace):
		return errLeft
	}
}

// grace is how long a close may take to notice that its context has ended.
const grace = time.Second
