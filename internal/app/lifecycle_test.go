package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

// lifecycleConfig is a configuration of a poller with everything but an API that answers.
func lifecycleConfig(t *testing.T, delivery, broker, listen string) *Config {
	t.Helper()
	cfg, _, err := Parse(LoadOptions{Path: "test.yaml"}, fmt.Appendf(nil, `
accounts:
  - {name: retail, base_url: "http://127.0.0.1:1", account_id: a1, auth: {client_id: cs-1, client_secret: x}, bots: [{name: care, bot_id: st-1}]}
kafka: {brokers: [%q], group: "", delivery: %s, topics: {partitions: 1, replication_factor: 1}}
checkpoint: {path: %q}
server: {listen: %q}
`, broker, delivery, filepath.Join(t.TempDir(), "poller.db"), listen))
	require.NoError(t, err)
	return cfg
}

func newBroker(t *testing.T) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

var quiet = Options{Log: slog.New(slog.DiscardHandler)}

// attached waits until the account is read.
func (a *App) attached(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return a.Status().Accounts[0].Read }, 5*time.Minute, 5*time.Millisecond)
}

// Stopped, a process leaves nothing open: the next one has the same file and the same address. To stop it again does nothing.
func TestStartStop(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", newBroker(t), "127.0.0.1:0")
	for range 2 {
		a, err := New(cfg, quiet)
		require.NoError(t, err)
		cfg.Server.Listen = a.Addr()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		a.attached(t)
		resp, err := http.Get("http://" + a.Addr() + "/healthz")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, a.Close())
		require.NoError(t, a.Close())
		require.ErrorContains(t, a.Run(t.Context()), "was closed")
	}
}

// The same without transactions.
func TestStartStopAtLeastOnce(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "at-least-once", newBroker(t), "")
	for range 2 {
		a, err := New(cfg, quiet)
		require.NoError(t, err)
		require.Empty(t, a.Addr())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		a.attached(t)
		cancel()
		require.NoError(t, <-done)
	}
}

// A process that is never run frees what it took.
func TestCloseWithoutRun(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", "127.0.0.1:1", "127.0.0.1:0")
	for range 2 {
		a, err := New(cfg, quiet)
		require.NoError(t, err)
		cfg.Server.Listen = a.Addr()
		require.NoError(t, a.Close())
		require.NoError(t, a.Close())
	}
}

// A failure in the middle of the set-up closes what was opened before.
func TestFailedSetUp(t *testing.T) {
	t.Parallel()
	t.Run("address in use", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		cfg := lifecycleConfig(t, "exactly-once", "127.0.0.1:1", listener.Addr().String())
		_, err = New(cfg, quiet)
		require.ErrorContains(t, err, "listen on server.listen")
		cfg.Server.Listen = ""
		a, err := New(cfg, quiet)
		require.NoError(t, err, "the file is free")
		require.NoError(t, a.Close())
	})
	t.Run("Kafka refuses", func(t *testing.T) {
		cfg := lifecycleConfig(t, "exactly-once", newBroker(t), "127.0.0.1:0")
		cfg.Kafka.Topics.Create = false
		a, err := New(cfg, quiet)
		require.NoError(t, err)
		cfg.Server.Listen = a.Addr()
		require.ErrorContains(t, a.Run(t.Context()), "kafka.topics.create")
		cfg.Kafka.Topics.Create = true
		a, err = New(cfg, quiet)
		require.NoError(t, err, "file and address are free")
		require.NoError(t, a.Close())
	})
}

// A process whose context has ended, or ends while Kafka is not there, stops in order.
func TestContextCancelled(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		a, err := New(lifecycleConfig(t, "exactly-once", "127.0.0.1:1", "127.0.0.1:0"), quiet)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		if before {
			cancel()
		}
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		if !before {
			require.Eventually(t, func() bool { return a.Status().Delivery.LastError != nil }, 5*time.Minute, 5*time.Millisecond)
			require.ErrorContains(t, a.ready(), "the schema registry or Kafka is not ready: ")
		}
		cancel()
		require.NoError(t, <-done)
	}
}

// What was opened last is closed first. Whatever fails or hangs is said, by name, and keeps nothing else from being closed.
func TestTeardown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down teardown
		order := make(chan string, 5)
		stuck := make(chan struct{})
		add := func(name string, close func(ctx context.Context) error) {
			down.add(name, time.Minute, func(ctx context.Context) error {
				order <- name
				return close(ctx)
			})
		}
		add("first", func(context.Context) error { return errors.New("no space left") })
		add("stuck", func(context.Context) error { <-stuck; return nil })
		add("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		add("last", func(context.Context) error { return nil })
		began := time.Now()
		err := down.run()
		for _, want := range []string{"last", "slow", "stuck", "first"} {
			require.Equal(t, want, <-order)
		}
		require.Equal(t, "close slow: context deadline exceeded\nclose stuck: it does not close in time, and is left as it is\n"+
			"close first: no space left", err.Error())
		require.Equal(t, 2*time.Minute+grace, time.Since(began))
		require.NoError(t, down.run())
		require.Empty(t, order)
		close(stuck)
	})
}
