package demo

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
)

// take listens on an address until the test ends.
func take(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// The demonstration takes another port where that of its status page is taken, and says so; not if somebody has chosen the port.
func TestDemoWhereThePortIsTaken(t *testing.T) {
	taken := take(t, "127.0.0.1:0")
	var log bytes.Buffer
	open := func(any bool) (*demo, error) {
		d := &demo{
			o:   Options{Seed: 1, Listen: taken, AnyPort: any},
			out: app.Output{Out: io.Discard, Err: io.Discard, Log: slog.New(slog.NewTextHandler(&log, nil))},
		}
		err := d.open(t.TempDir())
		t.Cleanup(func() {
			d.sim.listener.Close()
			d.broker.Close()
			d.schema.Close()
			if d.app != nil {
				require.NoError(t, d.app.Close())
			}
		})
		return d, err
	}
	d, err := open(true)
	require.NoError(t, err)
	require.NotEqual(t, taken, d.app.Addr())
	require.Equal(t, "http://"+d.app.Addr()+"/ ("+taken+" is taken)", d.statusPage())
	require.Contains(t, log.String(), "is taken; another one is used")
	_, err = open(false)
	require.ErrorContains(t, err, "choose another address")
}

// Where broker and registry of one demonstration are, another one takes other ports.
func TestDemosBesideEachOther(t *testing.T) {
	one, two := newTestScreen(t, &bytes.Buffer{}).d, newTestScreen(t, &bytes.Buffer{}).d
	require.NotEqual(t, one.broker.ListenAddrs(), two.broker.ListenAddrs())
	require.NotEqual(t, one.schema.URL, two.schema.URL)
}

// What simulate prints can be run where its own port and the poller's are taken.
func TestSimulateWherePortsAreTaken(t *testing.T) {
	var defaults app.Config
	defaults.SetDefaults()
	if l, err := net.Listen("tcp", defaults.Server.Listen); err == nil { // else somebody else has it
		defer l.Close()
	}
	taken := take(t, "127.0.0.1:0")
	simulate := func(any bool) (string, error) {
		var log, said bytes.Buffer
		out, in := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			err := Simulate(ctx, app.Output{Out: in, Err: &said, Log: slog.New(slog.NewTextHandler(&log, nil))}, SimulateOptions{
				Listen: taken, AnyPort: any, Seed: 1, Accounts: 1, Bots: 1, SegmentsPerDay: 10, Profile: "documented", RequestsPerMinute: 60,
				Brokers: []string{"kafka-1:9092", "kafka-2:9092"}, Registry: "http://registry:8081", Prefix: "trial", Burst: true,
			})
			in.CloseWithError(err)
			done <- err
		}()
		printed := make([]byte, 1<<16)
		n, _ := out.Read(printed) // all of it: it is written at once
		cancel()
		err := <-done
		if any {
			require.Contains(t, log.String(), "the address for the simulated API is taken; another one is used")
			require.Contains(t, log.String(), "the configuration names another one")
			require.Regexp(t, `^The simulated API listens on http://127.0.0.1:\d+ until Ctrl-C.\nNext, .*: poller check`, said.String())
		}
		return string(printed[:n]), err
	}
	printed, err := simulate(true)
	require.NoError(t, err)
	cfg, _, err := app.Parse(app.LoadOptions{Path: "poller.yaml"}, []byte(printed))
	require.NoError(t, err, printed)
	require.NotContains(t, cfg.Accounts[0].BaseURL, taken)
	require.Equal(t, app.Lateness{Max: 30 * time.Second}, cfg.Accounts[0].AllowedLateness)
	require.Equal(t, []string{"kafka-1:9092", "kafka-2:9092"}, cfg.Kafka.Brokers)
	require.Equal(t, "trial", cfg.Kafka.TopicPrefix)
	require.Equal(t, "http://registry:8081", cfg.SchemaRegistry.URL)
	require.NotEqual(t, defaults.Server.Listen, cfg.Server.Listen)
	take(t, cfg.Server.Listen)
	_, err = simulate(false)
	require.ErrorContains(t, err, "choose another address with --listen")
}
