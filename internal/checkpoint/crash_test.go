package checkpoint_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/checkpoint/checkpointtest"
)

// childPath is an environment variable. If it names a file, the test binary does not run tests: it commits to the file until it is killed.
// It stages what it commits if childStages is set.
const (
	childPath   = "CHECKPOINT_TEST_CHILD"
	childStages = "CHECKPOINT_TEST_STAGES"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := commitForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const batchSize = 200

// batch returns the child's n-th commit: entities that no other commit has, and the number as progress.
func batch(n int) checkpoint.Changes {
	c := checkpoint.Changes{
		Account:  account,
		ReadAt:   noon.Add(time.Duration(n) * time.Minute),
		Progress: map[string][]byte{"n": []byte(strconv.Itoa(n))},
	}
	for i := range batchSize {
		anchor := noon.Add(time.Duration(n-i) * time.Minute)
		key := checkpoint.KeyAt(anchor, i%10 == 0, hash(n*batchSize+i))
		c.Puts = append(c.Puts, checkpoint.Entry{Key: key, Value: []byte(strconv.Itoa(n))})
	}
	return c
}

func keysOf(c checkpoint.Changes) []checkpoint.Key {
	keys := make([]checkpoint.Key, len(c.Puts))
	for i, put := range c.Puts {
		keys[i] = put.Key
	}
	return keys
}

// commitForEver continues after the last commit in the file, and prints the number of each commit.
func commitForEver(path string) error {
	s, err := checkpoint.Open(path, checkpoint.Options{})
	if err != nil {
		return err
	}
	commit := s.Commit
	if os.Getenv(childStages) != "" {
		*checkpoint.StageBytes = 100_000 // about seven batches
		commit = s.Stage
	}
	record, err := s.Progress(account, "n")
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(record))
	for {
		n++
		if err := commit(batch(n)); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// A kill leaves every commit that was reported, whole, and at most the one under way.
func TestKillDuringCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poller.db")
	for round := range 8 {
		said := killChild(t, path, 2+round)
		s := checkpointtest.OpenAt(t, path)
		committed := progressOf(t, s)
		require.Contains(t, []int{said, said + 1}, committed, "a commit that was reported is there, and at most the one under way")
		hasBatches(t, s, committed)
		require.NoError(t, s.Close())
		checkpointtest.Check(t, path)
	}
}

// A kill leaves a file that lacks what was staged, and of every batch all or nothing.
func TestKillWhileStaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poller.db")
	t.Setenv(childStages, "1")
	lacked := 0
	for range 8 {
		said := killChild(t, path, 20)
		s := checkpointtest.OpenAt(t, path)
		written := progressOf(t, s)
		require.LessOrEqual(t, written, said+1)
		require.Greater(t, written, said-10)
		lacked += said - written
		hasBatches(t, s, written)
		require.NoError(t, s.Close())
		checkpointtest.Check(t, path)
	}
	require.Positive(t, lacked)
}

// killChild kills a process that commits to the file after it has reported so many commits, and returns the last that it reported.
func killChild(t *testing.T, path string, after int) (said int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childPath+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	for range after {
		require.True(t, lines.Scan(), "the child ended by itself")
		said, err = strconv.Atoi(lines.Text())
		require.NoError(t, err)
	}
	require.NoError(t, child.Process.Kill())
	for lines.Scan() { // what it had said before it died
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			said = n
		}
	}
	_ = child.Wait()
	return said
}

// fillDisk limits the size of files, so that writes fail much as on a full disk. The limit applies to the process, and holds until the
// function that it returns is called.
func fillDisk(t *testing.T) (makeRoom func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	small := limit
	small.Cur = 1 << 20
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small))
	return func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) }
}

// TestDiskFull limits the size of files, so that writes fail much as on a full disk. The limit applies to a process, and so the test
// runs in a process of its own.
func TestDiskFull(t *testing.T) {
	const inChild = "CHECKPOINT_TEST_DISK_FULL"
	if os.Getenv(inChild) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestDiskFull$")
		child.Env = append(os.Environ(), inChild+"=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	s := checkpointtest.Open(t)
	makeRoom := fillDisk(t)
	n := 1
	var err error
	for ; n < 1000 && err == nil; n++ {
		err = s.Commit(batch(n))
	}
	failed := n - 1
	classified, ok := errors.AsType[*checkpoint.Error](err)
	require.True(t, ok, "%v", err)
	require.True(t, classified.Retryable())
	first := s.Failing()
	require.Equal(t, &checkpoint.Failure{Err: classified, Since: first.Since, Last: first.Since, Count: 1}, first)
	require.Error(t, s.Commit(batch(failed)), "still full")
	require.Equal(t, 2, s.Failing().Count)
	require.Equal(t, first.Since, s.Failing().Since)
	require.ErrorIs(t, s.Failing().Err, checkpoint.ErrFull)
	require.Contains(t, s.Failing().Err.Hint(), "free space")
	require.True(t, lookup(t, s, 0, batch(failed - 1).Puts[0].Key)[0].Known, "what was known stays so")
	require.False(t, lookup(t, s, 0, batch(failed).Puts[0].Key)[0].Known, "no part of a failed commit is kept")

	makeRoom()
	require.NoError(t, s.Probe(), "there is room again")
	require.Nil(t, s.Failing())
	require.NoError(t, s.Commit(batch(failed)))
	s.Reopen(t)
	for n := 1; n <= failed; n++ {
		require.True(t, lookup(t, s, 0, batch(n).Puts[7].Key)[0].Known)
	}
}
