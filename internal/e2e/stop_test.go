package e2e_test

import (
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/faultpoint"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// Asked to stop, the real binary ends in order and in time whatever it is doing: before it has found Kafka, while it takes over,
// while it reads, while Kafka does not answer. Asked twice, it ends at once. What it leaves is taken up.
func TestSmallStop(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 41, Start: now.Add(-10 * time.Minute), End: now.Add(10 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
	})
	poller := binary(t, "")
	s := newSetup(t, unregistered(t), live.yaml(quick("1h")))
	s.group = s.prefix
	c := s.follow(t)

	silent := *s // it accepts connections and never answers
	silent.platform = &platform{broker: deaf(t), registry: s.platform.registry}
	silent.dir = t.TempDir()
	run := silent.launch(t, poller)
	run.said(t, "http server listens")
	run.stop(t)

	for i := range 6 { // at any moment of a start
		run = s.launch(t, poller)
		run.said(t, "http server listens")
		time.Sleep(time.Duration(i) * 300 * time.Millisecond)
		run.stop(t)
	}
	run = s.launch(t, poller)
	run.said(t, `"msg":"reading"`)
	require.NoError(t, run.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, run.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-run.done:
		require.Contains(t, []int{app.ExitOK, app.ExitFailure}, run.cmd.ProcessState.ExitCode())
	case <-time.After(10 * time.Second):
		require.FailNow(t, "asked twice, the poller does not stop")
	}
	run = s.launch(t, poller)
	c.settle(t, live)
	run.stop(t)
	live.checkManners(t)
}

// deaf returns the address of a server that accepts connections and says nothing.
func deaf(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// A file that was written without transactions is taken along when they are switched on, with the batch that a kill has left half
// published in it, and is on the topic from then on.
func TestSmallSwitchToTransactions(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 42, Start: now.Add(-15 * time.Minute), End: now.Add(15 * time.Second), SegmentsPerDay: 50_000, Pace: koresim.Burst,
	})
	s := newSetup(t, unregistered(t), live.yaml(quick("1h")))
	c := s.follow(t)
	s.delivery = kafka.AtLeastOnce
	victim := s.launch(t, build(t, "-tags", "faultpoints"), "POLLER_FAULTPOINT="+faultpoint.AfterProduce+":20")
	select {
	case <-victim.done:
	case <-time.After(patience):
		require.FailNow(t, "it never came to the point")
	}
	require.NoError(t, some(c))
	s.delivery = ""
	run := s.begin(t)
	repeats := c.settleKilled(t, kafka.AtLeastOnce, live, 1)
	require.True(t, run.contains("is published again"))
	run.stop(t)
	t.Logf("%d records repeated", repeats)

	s.delivery = kafka.AtLeastOnce
	cfg, _, err := app.Parse(app.LoadOptions{Path: "e2e.yaml"}, []byte(s.yaml()))
	require.NoError(t, err)
	_, err = app.New(cfg, app.Options{Log: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "name a new checkpoint.path", "the way back would repeat what the file does not know")
}

// said waits for a line of the log.
func (p *outside) said(t *testing.T, text string) {
	t.Helper()
	eventually(t, patience, func() error {
		if !p.contains(text) {
			return fmt.Errorf("it has not said %s yet", text)
		}
		return nil
	})
}
