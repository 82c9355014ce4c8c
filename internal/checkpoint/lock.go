package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// openLocked opens or creates the file and locks it. It waits for the lock until the timeout.
func openLocked(path string, mode os.FileMode, timeout time.Duration) (*os.File, error) {
	for deadline := time.Now().Add(timeout); ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, mode)
		if err != nil {
			return nil, err
		}
		if err := lock(f, deadline); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The previous holder of the lock may have set the file aside.
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(held, there) {
			if held.Size() > 0 {
				return f, nil
			}
			return f, syncDir(path)
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func lock(f *os.File, deadline time.Time) error {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if time.Now().After(deadline) {
			return &Error{Op: "open", Path: f.Name(), Kind: ErrLocked}
		}
		<-retry.C
	}
}

// release unlocks and closes the file. Closing alone is not enough, because a memory map of the file keeps the lock. It is not an error
// if the file is closed already.
func release(f *os.File) error {
	var unlock error
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { unlock = syscall.Flock(int(fd), syscall.LOCK_UN) })
	}
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return errors.Join(err, unlock, f.Close())
}

// rename renames a damaged file to a name that is free.
func rename(path string) (string, error) {
	name := path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
	for n := 1; ; n++ {
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s.damaged-%s.%d", path, time.Now().UTC().Format("20060102T150405Z"), n)
	}
	if err := os.Rename(path, name); err != nil {
		return "", err
	}
	return name, syncDir(path)
}

// syncDir makes a file's name as durable as its content.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
