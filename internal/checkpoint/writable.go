package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// Writable returns how many bytes the process may still write to the disk of the file at path, or why Open could not make or write it. It
// leaves the file alone, which another process may hold: where there is none, it makes an empty file of another name in the directory,
// or in the nearest one that exists, and removes it.
func Writable(path string) (free uint64, err error) {
	dir, err := tryToWrite(path)
	var disk syscall.Statfs_t
	if err == nil {
		err = syscall.Statfs(dir, &disk)
	}
	if err != nil {
		return 0, classify("write", path, err)
	}
	return disk.Bavail * uint64(disk.Bsize), nil
}

// tryToWrite returns a directory on the disk of the file.
func tryToWrite(path string) (dir string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		return filepath.Dir(path), f.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	for dir = filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if f, err = os.CreateTemp(dir, ".poller-check-"); err == nil {
			return dir, errors.Join(f.Close(), os.Remove(f.Name()))
		}
		if !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", err
		}
	}
}
