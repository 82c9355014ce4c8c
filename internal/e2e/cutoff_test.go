package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

// A replica loses its connection to Kafka but not to the API, so that another takes its account over while the first is alive. Then a
// replica loses the API but not Kafka. Nothing is published twice, and two replicas never spend the budget at the same time.
func TestSmallCutOff(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 31, Start: now.Add(-10 * time.Minute), End: now.Add(20 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
		RequestsPerMinute: 600,
	})
	s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")))
	s.group = s.prefix
	c := s.follow(t)
	var replicas []*cutOff
	for i := range 2 {
		r := &cutOff{setup: *s}
		r.dir = t.TempDir()
		r.inProcess = r.startInProcessWith(t, app.Options{
			Instance: fmt.Sprintf("replica-%d", i), KafkaClient: []kgo.Opt{kgo.Dialer(r.dial)}, Transport: r,
		})
		replicas = append(replicas, r)
	}
	owner := func() *cutOff {
		for _, r := range replicas {
			if r.reads(t) {
				return r
			}
		}
		return nil
	}
	eventually(t, waitLimit, func() error {
		if owner() == nil {
			return errNotYet
		}
		return nil
	})
	first := owner()
	first.kafka.Store(true)
	eventually(t, waitLimit, func() error {
		for _, r := range replicas {
			if r != first && r.reads(t) {
				return nil
			}
		}
		return errNotYet
	})
	first.kafka.Store(false)
	second := replicas[0]
	if second == first {
		second = replicas[1]
	}
	second.api.Store(true)
	before := live.Stats().ByAccount[live.account().ID]
	eventually(t, waitLimit, func() error { // it says so
		for _, a := range second.status(t).Accounts {
			for _, e := range a.Endpoints {
				if e.State == status.Failing {
					return nil
				}
			}
		}
		return errNotYet
	})
	second.api.Store(false)
	eventually(t, waitLimit, func() error {
		if live.Stats().ByAccount[live.account().ID] == before {
			return errNotYet
		}
		return nil
	})
	c.settle(t, live)
	live.checkRequests(t)
	for _, r := range replicas {
		r.stop(t)
	}
}

// cutOff is a replica whose connections to Kafka and to the API can be cut.
type cutOff struct {
	setup
	*inProcess
	kafka, api atomic.Bool
}

// reads reports whether the replica reads the account.
func (r *cutOff) reads(t *testing.T) bool { return r.status(t).Accounts[0].Read }

// RoundTrip implements http.RoundTripper.
func (r *cutOff) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.api.Load() {
		return nil, errors.New("no route to host")
	}
	return http.DefaultTransport.RoundTrip(req)
}

func (r *cutOff) dial(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, host)
	return &cutConn{conn, &r.kafka}, err
}

// cutConn drops what is sent on it while it is cut.
type cutConn struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
