package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt/errors"
)

// The kinds of errors about the file. Every error of this package about the file wraps exactly one of them.
var (
	// ErrLocked is returned by Open when another process holds the file.
	ErrLocked = errors.New("another process holds the file; only one poller may use it")
	// ErrDamaged is returned when the file is not as it was written. A store that has returned it stays unusable.
	ErrDamaged = errors.New("file is damaged")
	// ErrFormat is returned by Open when the file is sound, but in a format that this build does not read.
	ErrFormat = errors.New("file has another format")
	// ErrFull is returned when the disk has no room left. The store works again once there is room.
	ErrFull = errors.New("disk is full; free space on it")
	// ErrReadOnly is returned when the file or its disk cannot be written.
	ErrReadOnly = errors.New("file cannot be written; check its owner and how its disk is mounted")
	// ErrDisk is returned when the disk failed in another way.
	ErrDisk = errors.New("disk failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("store is closed")
)

// Error is an error about the file.
type Error struct {
	Op   string // what was attempted
	Path string
	Kind error // one of the sentinels above
	Err  error // the cause; nil if Kind says it all
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s in checkpoint %s: %v", e.Op, e.Path, e.Kind)
	}
	return fmt.Sprintf("%s in checkpoint %s: %v (%v)", e.Op, e.Path, e.Kind, e.Err)
}

// Unwrap makes both the kind and the cause visible to errors.Is.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Hint says what a person is to do about the error; empty if there is nothing.
func (e *Error) Hint() string {
	switch {
	case errors.Is(e.Kind, ErrFull):
		return "free space on the disk of checkpoint.path, or enlarge it; no restart is needed"
	case errors.Is(e.Kind, ErrReadOnly):
		return "check the owner of checkpoint.path, and how its disk is mounted; no restart is needed"
	case errors.Is(e.Kind, ErrDisk):
		return "check the disk of checkpoint.path; no restart is needed once it works"
	}
	return ""
}

// Retryable reports whether the same call can succeed later with the same file. Nothing was lost: a failed commit either left the store
// as it was or took full effect.
func (e *Error) Retryable() bool {
	return slices.Contains([]error{ErrFull, ErrReadOnly, ErrDisk, ErrLocked}, e.Kind)
}

// A Failure is why a store could not be written.
type Failure struct {
	Err   *Error    // of the last attempt
	Since time.Time // of the first in a row
	Last  time.Time
	Count int // of attempts in a row
}

// classify wraps err with what was attempted. It returns an *Error as it is.
func classify(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op, Path: path, Kind: kindOf(err), Err: err}
}

func kindOf(err error) error {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	_, damaged := errors.AsType[damageError](err)
	switch {
	case is(bolt.ErrTimeout):
		return ErrLocked
	case is(bolt.ErrDatabaseNotOpen, fs.ErrClosed):
		return ErrClosed
	case damaged, is(ErrDamaged, bolt.ErrInvalid, bolt.ErrChecksum, bolt.ErrVersionMismatch),
		is(bolt.ErrIncompatibleValue, bolt.ErrBucketNotFound, bolt.ErrBucketExists): // two parts of the file disagree
		return ErrDamaged
	case is(syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, bolt.ErrMaxSizeReached):
		return ErrFull
	case is(syscall.EROFS, fs.ErrPermission, bolt.ErrDatabaseReadOnly):
		return ErrReadOnly
	default:
		return ErrDisk
	}
}
