// Package memory bounds what the API's answers take in a process, those of all accounts together: their bodies while they arrive, and
// what is made of them until it is published. An answer that needs more than there is waits.
package memory

import (
	"context"
	"sync"
)

// A Budget is a number of bytes that answers share. It is safe for concurrent use. A nil Budget is unlimited.
//
// One Held at a time may take more than there is: the one that has waited longest. So one can always finish, however much all of them
// hold and want, and what is taken is never more than the budget and what one Held takes.
type Budget struct {
	mu      sync.Mutex
	free    int64 // below zero while somebody has taken more than there is
	beyond  *Held // the one that may take more than there is; nil for none
	waiting []*waiter
}

// waiter is a Grow that waits.
type waiter struct {
	held  *Held
	bytes int64
	ready chan struct{} // closed once the bytes are taken
}

// New returns a budget of so many bytes.
func New(bytes int64) *Budget { return &Budget{free: bytes} }

// A Held is what one answer takes. It is not safe for concurrent use. A nil Held is unlimited.
type Held struct {
	budget *Budget
	bytes  int64
}

// Hold returns a Held of nothing. It must be released.
func (b *Budget) Hold() *Held { return &Held{budget: b} }

// Grow takes more bytes, and waits until there are as many. It returns ctx's error, and has taken nothing, if ctx ends first.
func (h *Held) Grow(ctx context.Context, bytes int64) error {
	if h == nil || h.budget == nil || bytes <= 0 {
		return nil
	}
	b := h.budget
	b.mu.Lock()
	w := &waiter{held: h, bytes: bytes, ready: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.serve()
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.serve()
			return ctx.Err()
		}
	}
	return nil // it was served meanwhile
}

// Shrink gives bytes back.
func (h *Held) Shrink(bytes int64) {
	if h == nil || h.budget == nil || bytes <= 0 {
		return
	}
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes = min(bytes, h.bytes)
	h.bytes -= bytes
	b.free += bytes
	b.serve()
}

// Release gives everything back. It may be called more than once.
func (h *Held) Release() {
	if h == nil || h.budget == nil {
		return
	}
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += h.bytes
	h.bytes = 0
	if b.beyond == h {
		b.beyond = nil
	}
	b.serve()
}

// serve gives to those who wait what they wait for, in order. The caller holds mu.
func (b *Budget) serve() {
	left := b.waiting[:0]
	for _, w := range b.waiting {
		switch {
		case len(left) == 0 && w.bytes <= b.free: // nobody before it waits
		case b.beyond == w.held:
		case b.beyond == nil:
			b.beyond = w.held
		default:
			left = append(left, w)
			continue
		}
		b.free -= w.bytes
		w.held.bytes += w.bytes
		close(w.ready)
	}
	clear(b.waiting[len(left):])
	b.waiting = left
}
