package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// run runs a command of the real binary to its end.
func (s *setup) run(t *testing.T, binary string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := s.command(t, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (s *setup) command(t *testing.T, binary string, args ...string) *exec.Cmd {
	t.Helper()
	config := filepath.Join(s.dir, "poller.yaml")
	if was, err := os.ReadFile(config); err != nil || string(was) != s.yaml() { // one that starts may just be reading it
		require.NoError(t, os.WriteFile(config, []byte(s.yaml()), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), binary, append(args, "--config", config)...)
	cmd.Env = noSettings()
	return cmd
}

func TestSmallBackfill(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for _, delivery := range []string{kafka.ExactlyOnce, kafka.AtLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			testBackfill(t, embedded(t), delivery)
		})
	}
}

func TestKafkaBackfill(t *testing.T) {
	t.Parallel()
	testBackfill(t, apache(t), kafka.ExactlyOnce)
}

// A backfill has the real poller read time before its start. The poller is killed meanwhile and started again. It publishes everything
// once, and the command follows the job to its end.
func testBackfill(t *testing.T, p *platform, delivery string) {
	now := time.Now().UTC().Truncate(time.Second)
	live := serve(t, "live", koresim.Config{
		Seed: 71, Start: now.Add(-2 * time.Hour), End: now.Add(5 * time.Second), SegmentsPerDay: 4_000, Pace: koresim.Burst,
	})
	world := live.start
	live.start = now.Add(-10 * time.Minute) // of reading
	s := newSetup(t, p, live.yaml(quickSettings("1h")))
	s.delivery = delivery
	c := s.follow(t)
	poller := binary(t, "")

	code, _, said := s.run(t, poller, "backfill", "--account", "dead", "--from", "2026-01-01")
	require.Equal(t, 2, code)
	require.Contains(t, said, `--account "dead": there is no such account; want one of live`)
	code, _, said = s.run(t, poller, "backfill", "--account", "live", "--from", now.Add(-100*24*time.Hour).Format(time.RFC3339))
	require.Equal(t, 1, code)
	require.Contains(t, said, "would drop events of")

	first := s.startProcess(t, poller)
	cmd := s.command(t, poller, "backfill", "--account", "live", "--from", world.Format(time.RFC3339), "--to", live.start.Format(time.RFC3339))
	var told logs
	cmd.Stderr = &told
	require.NoError(t, cmd.Start())
	eventually(t, waitLimit, func() error {
		if !strings.Contains(told.text(), "running: ") {
			return fmt.Errorf("it is not begun: %s", told.text())
		}
		return nil
	})
	first.kill(t)
	second := s.startProcess(t, poller)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		require.NoError(t, err, told.text())
	case <-time.After(waitLimit):
		require.FailNow(t, "the backfill does not end", told.text())
	}
	require.Contains(t, told.text(), " done: ")

	live.start = world
	c.settleAfterKills(t, delivery, live, 1)
	live.checkRequests(t)

	// poller tail shows every feedback that is on the topic.
	code, shown, said := s.run(t, poller, "tail", "feedback", "--since", world.AddDate(0, -1, 0).Format(time.DateOnly), "--follow=false", "--json")
	require.Zero(t, code, said)
	feedback := 0
	for _, r := range c.read(t) {
		if r.Topic == c.names.Event(events.TypeFeedback) {
			feedback++
		}
	}
	require.NotZero(t, feedback)
	require.Equal(t, feedback, strings.Count(shown, "\n"))

	// poller explain finds every event of a conversation as the API shows it, by whatever id it is asked.
	for _, r := range c.read(t) {
		if r.Topic != c.names.Event(events.TypeFeedback) || r.Field("session_id") == "" {
			continue
		}
		for _, name := range []string{"conversation_id", "session_id", "entity_id"} {
			code, shown, said = s.run(t, poller, "explain", r.Field(name), "--since", "60d")
			require.Zero(t, code, "%s\n%s", shown, said)
			require.Regexp(t, `All \d+ events that the API shows are published\.`, shown)
			require.Contains(t, shown, r.Field("entity_id"))
		}
		break
	}
	code, shown, said = s.run(t, poller, "explain", "nobody")
	require.Equal(t, app.ExitFailure, code)
	require.Contains(t, shown, "Nothing is known of nobody")
	require.Contains(t, said, "explain nobody: nothing is known of it")

	// poller audit finds every event as the API shows it, within a budget of its own.
	code, shown, said = s.run(t, poller, "audit", "--from", world.Format(time.RFC3339), "--requests-per-minute", "600")
	require.Zero(t, code, "%s\n%s", shown, said)
	require.Regexp(t, `(?m)^\d{3,} events are published as the API shows them \(\d+ requests\)\.$`, shown)
	require.Contains(t, said, "live: sends at most 600 requests a minute, which count towards the account's budget of 6000")

	// poller check finds all in order, and disturbs nobody: the poller goes on below as the owner that it was.
	code, shown, said = s.run(t, poller, "check", "--json")
	require.Zero(t, code, "%s\n%s", shown, said)
	require.NotContains(t, shown, live.account().ClientSecret)

	// A second backfill of the same time publishes nothing. The command is stopped before the job ends.
	records := c.count()
	watch := s.command(t, poller, "backfill", "--account", "live", "--from", world.Format(time.RFC3339), "--endpoint", "interactions")
	var seen logs
	watch.Stderr = &seen
	require.NoError(t, watch.Start())
	eventually(t, waitLimit, func() error {
		if !strings.Contains(seen.text(), "backfill ") {
			return errNotYet
		}
		return nil
	})
	_ = watch.Process.Signal(syscall.SIGINT)
	require.NoError(t, watch.Wait(), seen.text())
	require.Regexp(t, "goes on without this command|done: ", seen.text())
	code, _, said = s.run(t, poller, "backfill", "--account", "live", "--from", world.Format(time.RFC3339), "--bot", live.account().Bots[0].ID)
	require.Zero(t, code, said)
	require.Equal(t, records, c.count())
	second.stop(t)
}
