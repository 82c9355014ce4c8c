package poll_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// An account that waits, or whose requests and deliveries fail, is alive, however long that lasts: a restart would not help.
func TestAccountIsAliveWhateverItWaitsFor(t *testing.T) {
	var gone atomic.Bool
	kafkaGone := func(r *rig) {
		r.topics.fail = func() error {
			if gone.Load() {
				return errors.New("away")
			}
			return nil
		}
	}
	for name, prepare := range map[string]func(*rig){
		"nothing new": func(*rig) {},
		"API": func(r *rig) {
			r.wrap = func(api poll.API) poll.API {
				return &brokenAPI{api, func(context.Context, kore.Query) error {
					if gone.Load() {
						return &kore.Error{Class: status.ClassRetry}
					}
					return nil
				}}
			}
		},
		"Kafka": kafkaGone,
		"lease": func(r *rig) { r.options.Lease = lease{mayAsk: func() bool { return !gone.Load() }} },
		"word that the lease still holds": func(r *rig) {
			r.options.Lease = lease{confirmed: func() bool { return !gone.Load() }}
			kafkaGone(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				world := small(1)
				world.SegmentsPerDay = 10
				r := newRig(t, world, quickSweeps)
				prepare(r)
				gone.Store(false)
				r.start()
				alive := func(status.Account) { require.NoError(t, r.account.Alive()) }
				r.runFor(10*time.Minute, time.Minute, alive)
				gone.Store(true)
				r.runFor(5*time.Hour, time.Minute, alive)
				gone.Store(false)
				r.runFor(10*time.Minute, time.Second, alive)
			})
		})
	}
}

// A request that never ends, whatever its limit of time, and a delivery that never ends, show.
func TestStuckAccountShows(t *testing.T) {
	testsize.Slow(t)
	for name, test := range map[string]struct {
		block func(r *rig, stuck <-chan struct{})
		want  string
	}{
		"request": {func(r *rig, stuck <-chan struct{}) {
			r.wrap = func(api poll.API) poll.API {
				return &brokenAPI{api, func(_ context.Context, q kore.Query) error {
					if q.Endpoint == events.CallDetails {
						<-stuck
					}
					return nil
				}}
			}
		}, "a request to call-details has been under way for 2h"},
		"delivery": {func(r *rig, stuck <-chan struct{}) {
			r.topics.fail = func() error { <-stuck; return nil }
		}, "a delivery to Kafka has been under way for 2h"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, small(1), nil)
				stuck := make(chan struct{})
				test.block(r, stuck)
				r.start()
				r.runFor(2*time.Hour, time.Minute, func(status.Account) { require.NoError(t, r.account.Alive()) })
				time.Sleep(2 * time.Minute)
				require.ErrorContains(t, r.account.Alive(), test.want)
				close(stuck)
				time.Sleep(time.Minute)
				require.NoError(t, r.account.Alive())
			})
		})
	}
}

// brokenAPI is an API with something between that may fail or take its time.
type brokenAPI struct {
	poll.API
	before func(context.Context, kore.Query) error
}

func (b *brokenAPI) Fetch(ctx context.Context, q kore.Query) (*kore.Response, error) {
	if err := b.before(ctx, q); err != nil {
		return nil, err
	}
	return b.API.Fetch(ctx, q)
}
