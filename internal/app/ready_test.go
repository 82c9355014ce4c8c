package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/koresim"
)

// A stage is a simulated API and a Kafka in memory, in simulated time, for apps without an HTTP server.
type stage struct {
	*testing.T
	network kfake.VirtualNetwork
	cluster *kfake.Cluster
	sim     *koresim.Server
	secret  string // of the account; empty: the right one
	group   string

	delivery string // empty: exactly-once
	file     string // checkpoint.path; empty: a new one for each run
	traces   string // the section, with which events name trace spans; empty: none

	abort     context.Context     // nil: never
	collector http.RoundTripper   // of traces
	asked     func(*http.Request) // sees each request to the API; nil: nobody does

	mu    sync.Mutex
	away  bool       // nobody reaches Kafka
	conns []net.Conn // to Kafka
}

// RoundTrip implements http.RoundTripper: it is the transport to the API.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.asked != nil {
		s.asked(r)
	}
	return s.sim.Transport().RoundTrip(r)
}

// cut takes Kafka away, or brings it back.
func (s *stage) cut(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	if away {
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.conns = nil
	}
}

func (s *stage) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errors.New("nobody is there")
	}
	conn, err := s.network.DialContext(ctx, network, addr)
	if err == nil {
		s.conns = append(s.conns, conn)
	}
	return conn, err
}

func inBubble(t *testing.T, world koresim.Config, test func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 6, 10, 9, 0, 0, 0, time.UTC)))
		s := &stage{T: t}
		var err error
		s.cluster, err = kfake.NewCluster(kfake.Ports(9092), kfake.ListenFn(s.network.Listen))
		require.NoError(t, err)
		t.Cleanup(func() {
			s.cluster.Close()
			time.Sleep(time.Second) // what sleeps in it is to end too
		})
		for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.InitProducerID} { // what takes a moment elsewhere
			s.cluster.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
				s.cluster.KeepControl()
				s.cluster.SleepControl(func() { time.Sleep(100 * time.Millisecond) })
				return nil, nil, false
			})
		}
		world.Seed, world.Start, world.SegmentsPerDay = 1, time.Now().Add(-time.Hour), cmp.Or(world.SegmentsPerDay, 20_000)
		s.sim, err = koresim.New(world)
		require.NoError(t, err)
		test(s)
	})
}

// run runs an app until the test ends, or what is returned is called.
func (s *stage) run(name string) (_ *App, stop func() error) {
	s.Helper()
	a := s.sim.Accounts()[0]
	secret := s.secret
	if secret == "" {
		secret = a.ClientSecret
	}
	cfg, _, err := Parse(LoadOptions{Path: "test.yaml"}, fmt.Appendf(nil, `
accounts:
  - name: retail
    base_url: http://kore.test
    account_id: %s
    auth: {client_id: %s, client_secret: %s}
    start: %s
    bots: [{name: care, bot_id: %s}]
kafka: {brokers: [%q], group: %q, delivery: %s, traceparent: %v, topics: {partitions: 1, replication_factor: 1}}
checkpoint: {path: %q}
server: {listen: ""}
%s
`, a.ID, a.ClientID, secret, time.Now().Add(-time.Hour).Format(time.RFC3339), a.Bots[0].ID, s.cluster.ListenAddrs()[0], s.group,
		cmp.Or(s.delivery, "exactly-once"), s.traces != "", cmp.Or(s.file, filepath.Join(s.TempDir(), "poller.db")), s.traces))
	require.NoError(s, err)
	app, err := New(cfg, Options{
		Instance: name, Abort: s.abort, Collector: s.collector, Log: slog.New(slog.DiscardHandler), Transport: s, KafkaClient: []kgo.Opt{kgo.Dialer(s.dial)},
	})
	require.NoError(s, err)
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = app.Run(ctx)
	}()
	stop = func() error {
		cancel()
		<-done
		return err
	}
	s.Cleanup(func() { require.NoError(s, stop()) })
	return app, stop
}

// ready looks at an app for a while, again and again, and returns when it was first ready. It must then stay so.
func (s *stage) ready(a *App, within time.Duration) (after time.Duration, last error) {
	s.Helper()
	began := time.Now()
	for since := time.Duration(0); since < within; since = time.Since(began) {
		last = a.ready()
		if after == 0 && last == nil {
			after = since
			require.Positive(s, after, "at the very beginning nothing can be ready")
		}
		if after > 0 {
			require.NoError(s, last, "ready after %v, and not after %v", after, since)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return after, last
}

// An instance is ready once, and not before it has read what it is to read: alone, in a group that it is first in, and in a group of
// which it is assigned nothing.
func TestReady(t *testing.T) {
	for _, group := range []string{"", "pollers"} {
		t.Run("group "+group, func(t *testing.T) {
			inBubble(t, koresim.Config{}, func(s *stage) {
				s.group = group
				one, stop := s.run("one")
				after, _ := s.ready(one, 20*time.Second)
				require.Positive(s, after)
				for _, e := range one.Status().Accounts[0].Endpoints {
					require.Positive(s, e.Rows, e.Endpoint)
				}
				if group == "" {
					return
				}
				two, _ := s.run("two")
				after, _ = s.ready(two, 20*time.Second)
				require.Positive(s, after, "an instance that is assigned nothing is ready")
				require.False(s, two.Status().Accounts[0].Owner.Mine)
				require.Empty(s, two.Status().Accounts[0].Endpoints, "they are in the status of the one that reads the account")
				require.NoError(s, stop())
				for !two.Status().Accounts[0].Owner.Mine {
					time.Sleep(time.Millisecond)
				}
				require.ErrorContains(s, two.ready(), "account retail is not read yet: ")
				for two.ready() != nil {
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// A roll-out with a wrong secret does not become ready, whatever it tries; one with an endpoint that may not be asked does: what is
// wrong with that is in the status.
func TestReadyWithWrongSettings(t *testing.T) {
	inBubble(t, koresim.Config{}, func(s *stage) {
		s.secret = "wrong"
		a, _ := s.run("one")
		after, last := s.ready(a, time.Minute)
		require.Zero(s, after)
		require.ErrorContains(s, last, "account retail: no endpoint has answered yet")
		require.ErrorContains(s, last, "check auth.client_id and auth.client_secret")
	})
	inBubble(t, koresim.Config{Unscoped: []string{koresim.ScopeSmartAssist}}, func(s *stage) {
		a, _ := s.run("one")
		after, _ := s.ready(a, 20*time.Second)
		require.Positive(s, after)
		require.True(s, a.Status().State.Red())
	})
}
