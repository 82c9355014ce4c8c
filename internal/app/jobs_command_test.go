package app

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/status"
)

// A backfill is listed, and cancelled by whatever instance reads the account, even if none runs when somebody asks for it.
func TestJobsAreCancelled(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", newBroker(t), "")
	output := func() (Output, *bytes.Buffer, *bytes.Buffer) {
		var out, errs bytes.Buffer
		return Output{Out: &out, Err: &errs, Log: slog.New(slog.DiscardHandler)}, &out, &errs
	}
	run := func() (stop func()) {
		a, err := New(cfg, quiet)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		a.attached(t)
		return func() {
			cancel()
			require.NoError(t, <-done)
		}
	}
	backfill := func() string {
		out, text, _ := output()
		require.NoError(t, Backfill(t.Context(), cfg, out, BackfillOptions{
			Account: "retail", From: time.Now().Add(-3 * time.Hour).UTC().Format(time.RFC3339), Detach: true,
		}))
		return strings.TrimSpace(text.String())
	}
	stateOf := func(id string) string {
		out, text, _ := output()
		require.NoError(t, JobsList(t.Context(), cfg, out, true))
		var jobs []status.Job
		require.NoError(t, json.Unmarshal(text.Bytes(), &jobs))
		for _, j := range jobs {
			if j.ID == id {
				return j.State
			}
		}
		return ""
	}
	out, text, _ := output()
	require.NoError(t, JobsList(t.Context(), cfg, out, false))
	require.Equal(t, "there are no jobs\n", text.String())

	stop := run()
	id := backfill()
	out, _, said := output()
	require.NoError(t, JobsCancel(t.Context(), cfg, out, id))
	require.Contains(t, said.String(), "job "+id+" is cancelled, with 0 % read: 0 requests, 0 events")
	require.Equal(t, "cancelled", stateOf(id))
	require.NoError(t, JobsCancel(t.Context(), cfg, out, id), "it is what was wanted")
	err := JobsCancel(t.Context(), cfg, out, "nobody-s")
	require.ErrorContains(t, err, "cancel job nobody-s: there is no such job; poller jobs list has those that there are")
	require.Equal(t, ExitUsage, ExitCode(err))
	stop()

	id = backfill()
	require.Equal(t, "requested", stateOf(id))
	cancelled := make(chan error, 1)
	go func() { cancelled <- JobsCancel(t.Context(), cfg, out, id) }()
	stop = run()
	require.NoError(t, <-cancelled)
	stop()
	require.Equal(t, "cancelled", stateOf(id))
	stop = run() // a restart does not begin it again
	require.Equal(t, "cancelled", stateOf(id))
	stop()
	out, text, _ = output()
	require.NoError(t, JobsList(t.Context(), cfg, out, false))
	require.Regexp(t, `(?m)^`+id+`  retail   cancelled  0 %`, text.String())
}
