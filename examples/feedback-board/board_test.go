package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/examples/feed"
	"agentassist-poller/internal/demo/demotest"
)

// The board counts the last revision of each feedback, once, however often and in whatever order events come.
func TestBoard(t *testing.T) {
	b := newBoard()
	event := func(entity string, revision int64, sentiment string) feedback {
		f := feedback{EntityID: entity, Revision: revision, Sentiment: sentiment, GivenBy: "AGENT"}
		f.Agent.AgentID = "a-1"
		return f
	}
	moved, customer := event("d", 2, "POSITIVE"), event("e", 1, "NEGATIVE")
	moved.SupersededBy, customer.GivenBy = "f", "CUSTOMER"
	for _, f := range []feedback{
		event("a", 1, "POSITIVE"), event("a", 2, "NEGATIVE"), event("a", 1, "POSITIVE"), event("a", 2, "NEGATIVE"),
		event("b", 2, "POSITIVE"), event("b", 1, "NEGATIVE"),
		event("c", 1, "NEGATIVE"), event("c", 2, "WITHDRAWN"),
		event("d", 1, "POSITIVE"), moved, customer,
	} {
		require.NoError(t, b.handle(t.Context(), f))
	}
	require.Equal(t, map[string]counts{"a-1": {Positive: 1, Negative: 1}}, b.agents())
	require.Len(t, b.current, 5, "an entry for each feedback, not for each event")
}

// A request that has begun is answered when the service is asked to stop, unless it takes too long.
func TestStopFinishesRequests(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "whole")
	})
	for _, test := range []struct {
		limit    time.Duration
		finished bool
	}{{time.Minute, true}, {time.Millisecond, false}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := listener.Addr().String()
		ctx, stop := context.WithCancel(t.Context())
		ended, answered := make(chan error, 1), make(chan string, 1)
		go func() { ended <- serve(ctx, listener, handler, test.limit) }()
		go func() {
			resp, err := http.Get("http://" + address)
			if err != nil {
				answered <- ""
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answered <- string(body)
		}()
		<-begun
		stop()
		if !test.finished {
			require.NoError(t, <-ended)
			require.Empty(t, <-answered)
			release <- struct{}{}
			continue
		}
		require.Eventually(t, func() bool { // it takes no new ones
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err != nil
		}, time.Minute, time.Millisecond)
		release <- struct{}{}
		require.Equal(t, "whole", <-answered)
		require.NoError(t, <-ended)
	}
}

// The service reads what a poller publishes, and answers with it.
func TestBoardOfTheDemo(t *testing.T) {
	broker, registry := demotest.Start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, feed.Config{Brokers: []string{broker}, Registry: registry, Topic: "agentassist.feedback"}, listener)
	}()

	address := "http://" + listener.Addr().String() + "/agents"
	require.Eventually(t, func() bool {
		select {
		case err := <-ended:
			ended <- err
			return true
		default:
		}
		resp, err := http.Get(address)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		agents := map[string]counts{}
		if json.NewDecoder(resp.Body).Decode(&agents) != nil {
			return false
		}
		named := 0
		for id := range agents {
			if id != "" {
				named++
			}
		}
		return named >= 3
	}, 2*time.Minute, 50*time.Millisecond, "the board knows what no three agents think")
	require.Empty(t, ended, "the service ends by itself")
	stop()
	require.NoError(t, <-ended)
}
