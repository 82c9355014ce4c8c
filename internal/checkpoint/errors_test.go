package checkpoint_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt/errors"

	"agentassist-poller/internal/checkpoint"
)

func TestErrorsAreClassified(t *testing.T) {
	for _, c := range []struct {
		cause     error
		kind      error
		retryable bool
	}{
		{syscall.ENOSPC, checkpoint.ErrFull, true},
		{syscall.EDQUOT, checkpoint.ErrFull, true},
		{&fs.PathError{Op: "write", Path: "p", Err: syscall.EFBIG}, checkpoint.ErrFull, true},
		{fmt.Errorf("write page: %w", syscall.EROFS), checkpoint.ErrReadOnly, true},
		{&fs.PathError{Op: "open", Path: "p", Err: syscall.EACCES}, checkpoint.ErrReadOnly, true},
		{syscall.EIO, checkpoint.ErrDisk, true},
		{errors.New("whatever"), checkpoint.ErrDisk, true},
		{bolt.ErrTimeout, checkpoint.ErrLocked, true},
		{bolt.ErrChecksum, checkpoint.ErrDamaged, false},
		{bolt.ErrDatabaseNotOpen, checkpoint.ErrClosed, false},
		{os.ErrClosed, checkpoint.ErrClosed, false},
	} {
		t.Run(c.cause.Error(), func(t *testing.T) {
			err := checkpoint.Classify("commit", "poller.db", c.cause)
			require.ErrorIs(t, err, c.kind)
			require.ErrorIs(t, err, c.cause)
			require.ErrorContains(t, err, "commit in checkpoint poller.db: ")
			classified, ok := errors.AsType[*checkpoint.Error](err)
			require.True(t, ok)
			require.Equal(t, c.retryable, classified.Retryable())
			require.Same(t, err, checkpoint.Classify("again", "poller.db", err), "said once")
		})
	}
	require.NoError(t, checkpoint.Classify("commit", "poller.db", nil))
}
