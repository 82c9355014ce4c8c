package koresim_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// Requests at the same time are counted, and those that are more than the server was told of, by endpoint.
func TestRequestsAtTheSameTimeAreCounted(t *testing.T) {
	for allowed, crowded := range map[int]int64{0: 1, 1: 1, 2: 0} {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, koresim.Config{Seed: 1, InFlight: map[events.Endpoint]int{events.Interactions: allowed, events.Conversations: 9}})
			c.s.InjectOnce(koresim.FaultTimeout, "")
			first := c.request(t, events.Interactions, window(start, start, 0, 10), nil)
			second := c.request(t, events.Interactions, window(start, start, 0, 10), nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _, _ = outcome(c.s.Transport(), first)
			}()
			synctest.Wait()
			_, _, _ = outcome(c.s.Transport(), second)
			<-done
			require.Equal(t, map[events.Endpoint]int{events.Interactions: 2}, c.s.Stats().MaxInFlight)
			require.Equal(t, crowded, c.s.Stats().Crowded)
		})
	}
}

// A client that gives up on a request and sends the next one has one at a time, however long the server works on the first.
func TestRequestThatWasGivenUpIsNotCounted(t *testing.T) {
	for name, dial := range map[string]func(t *testing.T, s *koresim.Server) (http.RoundTripper, string){
		"direct": func(_ *testing.T, s *koresim.Server) (http.RoundTripper, string) { return s.Transport(), "kore.test" },
		"socket": func(t *testing.T, s *koresim.Server) (http.RoundTripper, string) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx, ln) }()
			socket := &http.Transport{DisableKeepAlives: true}
			t.Cleanup(func() {
				cancel()
				require.NoError(t, <-served)
				socket.CloseIdleConnections()
			})
			return socket, ln.Addr().String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			come := make(chan struct{}, 2)
			c := newClient(t, koresim.Config{
				Seed: 1, Faults: koresim.Faults{Hang: time.Hour}, OnRequest: func(koresim.Request) { come <- struct{}{} },
			})
			client, host := dial(t, c.s)
			for range 10 {
				c.s.InjectOnce(koresim.FaultTimeout, "")
				ctx, giveUp := context.WithCancel(t.Context())
				r := c.request(t, events.Interactions, window(start, start, 0, 10), map[string]any{}).WithContext(ctx)
				r.URL.Host = host
				go func() {
					<-come
					giveUp()
				}()
				got, _, _ := outcome(client, r)
				require.Equal(t, "no answer", got)
			}
			require.Equal(t, map[events.Endpoint]int{events.Interactions: 1}, c.s.Stats().MaxInFlight)
			require.Zero(t, c.s.Stats().Crowded)
		})
	}
}
