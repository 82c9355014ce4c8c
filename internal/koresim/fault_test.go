package koresim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// outcome is how a request went, in words.
func outcome(client http.RoundTripper, r *http.Request) (string, []byte, http.Header) {
	resp, err := client.RoundTrip(r)
	if err != nil {
		return "no answer", nil, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "broken body", body, resp.Header
	case resp.StatusCode != 200:
		return resp.Status[:3], body, resp.Header
	case bytes.Contains(body, []byte("<html>")):
		return "html", body, resp.Header
	}
	var v map[string]json.RawMessage
	if json.Unmarshal(body, &v) != nil {
		return "no object", body, resp.Header
	}
	for _, k := range []string{"errors", "encryptedKey", "data"} {
		if v[k] != nil {
			return k, body, resp.Header
		}
	}
	return "something else", body, resp.Header
}

var wantOutcome = map[koresim.Fault]string{
	koresim.FaultUnauthorized: "401", koresim.FaultForbidden: "403", koresim.FaultTooMany: "429", koresim.FaultInternal: "500",
	koresim.FaultBadGateway: "502", koresim.FaultUnavailable: "503", koresim.FaultTimeout: "no answer", koresim.FaultReset: "no answer",
	koresim.FaultHalfBody: "broken body", koresim.FaultHTML: "html", koresim.FaultWrongJSON: "no object", koresim.FaultErrors200: "errors",
	koresim.FaultEncrypted: "encryptedKey", koresim.FaultBadRecord: "data", koresim.FaultSlow: "data", koresim.FaultClock: "data",
	koresim.FaultDropped: "no answer",
}

// Each fault shows the same way with and without a socket.
func TestFaults(t *testing.T) {
	require.Len(t, wantOutcome, len(koresim.FaultKinds()))
	cfg := koresim.Config{Seed: 1, Faults: koresim.Faults{Hang: 20 * time.Millisecond, Slow: 20 * time.Millisecond}}
	c := newClient(t, cfg)
	c.now = start.Add(24 * time.Hour)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- c.s.Serve(ctx, ln) }()
	socket := &http.Transport{DisableKeepAlives: true}
	for _, f := range koresim.FaultKinds() {
		for name, client := range map[string]http.RoundTripper{"direct": c.s.Transport(), "socket": socket} {
			t.Run(string(f)+"/"+name, func(t *testing.T) {
				before := c.s.Stats()
				ask := func() (string, []byte, http.Header) {
					// A POST, so that the transport does not repeat it by itself.
					r := c.request(t, events.Interactions, window(start, start.Add(24*time.Hour), 0, 10), map[string]any{})
					r.URL.Host = ln.Addr().String()
					return outcome(client, r)
				}
				c.s.InjectOnce(f, events.Interactions)
				got, body, header := ask()
				require.Equal(t, wantOutcome[f], got, string(body))
				switch f {
				case koresim.FaultBadRecord:
					var p struct{ Data []any }
					require.NoError(t, json.Unmarshal(body, &p))
					require.Len(t, p.Data, 11)
				case koresim.FaultClock:
					date, err := http.ParseTime(header.Get("Date"))
					require.NoError(t, err)
					require.Equal(t, 3*time.Hour, date.Sub(c.now))
				case koresim.FaultTooMany:
					require.Equal(t, "2", header.Get("Retry-After"))
				}
				got, _, _ = ask()
				require.Equal(t, "data", got, "only once")
				after := c.s.Stats()
				require.Equal(t, before.Faults[f]+1, after.Faults[f])
			})
		}
	}
	cancel()
	require.NoError(t, <-served)
	socket.CloseIdleConnections()
}

func TestRandomFaults(t *testing.T) {
	kinds := func(seed uint64) (list []string) {
		c := newClient(t, koresim.Config{Seed: 1, Faults: koresim.Faults{Rate: 0.5, Seed: seed, Hang: time.Nanosecond, Slow: time.Nanosecond}})
		for range 200 {
			got, _, _ := outcome(c.s.Transport(), c.request(t, events.Interactions, window(start, start, 0, 10), nil))
			list = append(list, got)
		}
		n := int64(0)
		for _, m := range c.s.Stats().Faults {
			n += m
		}
		require.InDelta(t, 100, n, 30)
		return list
	}
	require.Equal(t, kinds(1), kinds(1))
	require.NotEqual(t, kinds(1), kinds(2))
}

// A request that hangs ends with its context, on simulated time.
func TestHangingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, koresim.Config{Seed: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		for _, f := range []koresim.Fault{koresim.FaultTimeout, koresim.FaultSlow} {
			c.s.InjectOnce(f, "")
			r := c.request(t, events.Interactions, window(start, start, 0, 10), nil).WithContext(ctx)
			_, _, _ = outcome(c.s.Transport(), r)
		}
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// A dropped answer has cost its request and its token: to send the same again is a replay.
func TestDroppedAnswersAreSpent(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 1, RequestsPerMinute: 60})
	r := c.request(t, events.Interactions, window(start, start, 0, 10), nil)
	c.s.InjectOnce(koresim.FaultDropped, "")
	got, _, _ := outcome(c.s.Transport(), r.Clone(t.Context()))
	require.Equal(t, "no answer", got)
	got, body, _ := outcome(c.s.Transport(), r)
	require.Equal(t, "401", got)
	require.Contains(t, message(t, body), "replay")
	require.EqualValues(t, 1, c.s.Stats().Replays)
	require.EqualValues(t, 1, c.s.Stats().ByAccount[c.account.ID])
}
