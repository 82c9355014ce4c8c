package app

import (
	"errors"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/owner"
)

// What the process exits with. The codes are part of the contract.
const (
	ExitOK      = 0 // asked to stop, or done
	ExitFailure = 1
	ExitUsage   = 2 // the command line or the configuration must be corrected
	ExitFenced  = 3 // another instance has taken over; restarting this one would only take turns
)

// A UsageError is the caller's to correct: a wrong flag, a file that is not there.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ExitCode classifies what a command returned.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		return ExitUsage
	}
	if _, ok := errors.AsType[*conf.Error](err); ok {
		return ExitUsage
	}
	if errors.Is(err, owner.ErrFenced) {
		return ExitFenced
	}
	return ExitFailure
}
