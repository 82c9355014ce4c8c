package app

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

// A disk that is full shows at the checkpoint, with what to do about it, and not at Kafka. It is over once there is room, without a
// restart. A limit of the size of files stands for the disk; it applies to a process, and so the test runs in a process of its own.
func TestFullDiskShowsAtTheCheckpoint(t *testing.T) {
	const inChild = "APP_TEST_DISK_FULL"
	if os.Getenv(inChild) == "" {
		t.Parallel()
		child := exec.Command(os.Args[0], "-test.run=^TestFullDiskShowsAtTheCheckpoint$")
		child.Env = append(os.Environ(), inChild+"=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	full := limit
	full.Cur = 1
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
				s.delivery = delivery
				a, _ := s.run("one")
				_, last := s.ready(a, 5*time.Minute)
				require.NoError(s, last)
				require.Equal(s, status.OK, a.Status().State)
				require.Equal(s, 1.0, shown(s.T, a)["poller_checkpoint_up"])

				require.NoError(s, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full))
				time.Sleep(3 * time.Minute)
				was := a.Status()
				require.Equal(s, status.Failing, was.State)
				require.Equal(s, status.OK, was.Delivery.State, "Kafka is well")
				e := was.Checkpoint.LastError
				require.Equal(s, status.Failing, was.Checkpoint.State)
				require.Contains(s, e.Text, "disk is full")
				require.Equal(s, "free space on the disk of checkpoint.path, or enlarge it; no restart is needed", e.Hint)
				require.Equal(s, status.ClassPermanent, e.Class)
				require.Greater(s, e.Count, 1)
				require.Less(s, time.Since(e.Since), 3*time.Minute)
				require.Equal(s, 0.0, shown(s.T, a)["poller_checkpoint_up"])
				for _, e := range was.Accounts[0].Endpoints {
					require.Equal(s, status.Failing, e.State)
					require.Contains(s, e.LastError.Hint, "free space")
				}

				require.NoError(s, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
				time.Sleep(time.Minute)
				require.Equal(s, status.OK, a.Status().Checkpoint.State)
				require.Equal(s, 1.0, shown(s.T, a)["poller_checkpoint_up"])
				time.Sleep(10 * time.Minute)
				require.Equal(s, status.OK, a.Status().State)
			})
		})
	}
}
