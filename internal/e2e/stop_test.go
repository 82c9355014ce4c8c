package e2e_test

import (
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

// Asked to stop, the real binary drains and exits 0 in time whatever it is doing: before it has reached Kafka, during a takeover, while it
// reads, while Kafka does not answer. Asked twice, it exits at once. The next process goes on where it stopped.
func TestSmallStop(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 41, Start: now.Add(-10 * time.Minute), End: now.Add(10 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
	})
	poller := binary(t, "")
	s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")))
	s.group = s.prefix
	c := s.follow(t)

	silent := *s // it accepts connections and never answers
	silent.platform = &platform{broker: silentServer(t), registry: s.platform.registry}
	silent.dir, silent.drain = t.TempDir(), 2*time.Second
	run := silent.startProcess(t, poller)
	run.awaitLog(t, "http server listens")
	run.stop(t)

	for i := range 6 { // at any moment of a start
		run = s.startProcess(t, poller)
		run.awaitLog(t, "http server listens")
		time.Sleep(time.Duration(i) * 300 * time.Millisecond)
		run.stop(t)
	}
	patient := *s
	patient.drain = waitLimit + time.Minute
	run = patient.startProcess(t, poller)
	run.awaitLog(t, `"msg":"reading"`)
	require.NoError(t, run.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, run.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-run.done:
		require.Contains(t, []int{app.ExitOK, app.ExitFailure}, run.cmd.ProcessState.ExitCode())
	case <-time.After(waitLimit):
		require.FailNow(t, "asked twice, the poller does not stop")
	}
	run = s.startProcess(t, poller)
	c.settle(t, live)
	run.stop(t)
	live.checkRequests(t)
}

// silentServer returns the address of a server that accepts connections and says nothing.
func silentServer(t *testing.T) string {
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

// When transactions are switched on, the file that was written without them is taken over, with a batch that a kill left half published.
// From then on the checkpoint is on the topic.
func TestSmallSwitchToTransactions(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 42, Start: now.Add(-10 * time.Minute), End: now.Add(8 * time.Second), SegmentsPerDay: 20_000, Pace: koresim.Burst,
	})
	s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")))
	c := s.follow(t)
	s.delivery = kafka.AtLeastOnce
	victim := s.startProcess(t, build(t, "-tags", "faultpoints"), "POLLER_FAULTPOINT="+faultpoint.AfterProduce+":8")
	select {
	case <-victim.done:
	case <-time.After(waitLimit):
		require.FailNow(t, "it never came to the point")
	}
	require.NoError(t, anyEvent(c))
	s.delivery = ""
	run := s.startInProcess(t)
	run.awaitLog(t, "is published again")
	repeats := c.settleAfterKills(t, kafka.AtLeastOnce, live, 1)
	run.stop(t)
	t.Logf("%d records repeated", repeats)

	s.delivery = kafka.AtLeastOnce
	cfg, _, err := app.Parse(app.LoadOptions{Path: "e2e.yaml"}, []byte(s.yaml()))
	require.NoError(t, err)
	_, err = app.New(cfg, app.Options{Log: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "name a new checkpoint.path", "the way back would repeat what the file does not know")
}
