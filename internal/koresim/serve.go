package koresim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Clock returns a clock that says from now on, and runs speed times as fast as the real one. A client that measures time
// by the Date header only follows speeds near 1.
func Clock(from time.Time, speed float64) func() time.Time {
	began := time.Now()
	return func() time.Time {
		return from.Add(time.Duration(float64(time.Since(began)) * speed))
	}
}

// Serve answers on ln until ctx is done, then closes it and what is open. It returns nil when it was asked to stop.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	// Requests that hang on purpose end with ctx.
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve simulated API on %s: %w", ln.Addr(), err)
	}
	return nil
}
