package kore

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/status"
)

// Reason names what went wrong, in few enough words to be a label.
type Reason string

// The reasons, by class.
const (
	ReasonTimeout    Reason = "timeout"    // Retry
	ReasonDNS        Reason = "dns"        // Retry: an unreachable resolver and a wrong host look alike
	ReasonConnection Reason = "connection" // Retry: refused, reset, closed, or an answer cut short
	ReasonServer     Reason = "server"     // Retry: 5xx, or an error with a number nobody knows; Wait if it says so
	ReasonReplay     Reason = "replay"     // Retry: the token's jti came twice
	ReasonClock      Reason = "clock"      // Retry: the token was dated wrongly, the next one will not be

	ReasonRateLimited Reason = "rate-limited" // Wait

	ReasonRequest     Reason = "request"     // Permanent: the query makes no request; nothing was sent
	ReasonTLS         Reason = "tls"         // Permanent; Retry if the server broke off the handshake
	ReasonCredentials Reason = "credentials" // Permanent; Retry if the file of the secret holds another one by now
	ReasonScope       Reason = "scope"       // Permanent
	ReasonNotFound    Reason = "not-found"   // Permanent
	ReasonRedirect    Reason = "redirect"    // Permanent
	ReasonRejected    Reason = "rejected"    // Permanent: any other 4xx
	ReasonOption      Reason = "option"      // Retry: a part that the request can do without, see Error.LeftOut

	ReasonMemory Reason = "memory" // Retry: the process had no room for the answer in time

	ReasonTooLarge  Reason = "too-large" // Shape: fewer rows may be asked for
	ReasonEncoding  Reason = "encoding"  // Shape
	ReasonEncrypted Reason = "encrypted" // Shape
	ReasonHTML      Reason = "html"      // Shape; an HTML page with an error status has that status's reason
	ReasonNotJSON   Reason = "not-json"  // Shape
	ReasonShape     Reason = "shape"     // Shape: JSON of another shape
)

// Error is what came of an attempt that brought no page. It contains neither token nor secret, even if the server
// repeated them. errors.Is and errors.As find the transport's error, if there was one; there is no Unwrap, because that
// error's own text may quote what the server sent.
type Error struct {
	Endpoint   events.Endpoint
	Class      status.Class // what to do about it; none is a reason to end the process
	Reason     Reason
	Status     int           // 0 if no answer came
	Code       int           // the number in the API's own error body, 0 for none
	RetryAfter time.Duration // how long to wait from now, an hour at most; ClassWait only
	Asked      time.Duration // how long the server asked to wait: RetryAfter, or longer; ClassWait only
	Message    string        // what the server or the network said, cut to a line
	LeftOut    []string      // what requests to the endpoint are sent without from now on; ReasonOption only
	Hint       string        // what to change, empty if there is nothing to do but wait

	Beginning []byte // of an answer that is too large, unchecked; nil for other errors

	cause   error
	renewed func() bool // nil unless a secret in a file was refused
}

// Renewed reports whether the file of a secret that was refused holds another one by now: then there is no reason to wait. It reads the
// file.
func (e *Error) Renewed() bool { return e.renewed != nil && e.renewed() }

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fetch %s: %s", e.Endpoint, e.Reason)
	switch {
	case e.Status != 0 && e.Code != 0:
		fmt.Fprintf(&b, " (status %d, code %d)", e.Status, e.Code)
	case e.Status != 0:
		fmt.Fprintf(&b, " (status %d)", e.Status)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if e.Class == status.ClassWait {
		fmt.Fprintf(&b, "; wait %v", e.RetryAfter)
		if e.Asked > e.RetryAfter {
			fmt.Fprintf(&b, ", though the server asked for %v", e.Asked)
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Is serves errors.Is.
func (e *Error) Is(target error) bool { return errors.Is(e.cause, target) }

// As serves errors.As.
func (e *Error) As(target any) bool { return errors.As(e.cause, target) }

// LogValue shows the parts that are set.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("endpoint", string(e.Endpoint)),
		slog.String("class", string(e.Class)),
		slog.String("reason", string(e.Reason)),
	}
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("status", e.Status))
	}
	if e.Code != 0 {
		attrs = append(attrs, slog.Int("code", e.Code))
	}
	if e.Class == status.ClassWait {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
		if e.Asked > e.RetryAfter {
			attrs = append(attrs, slog.Duration("asked", e.Asked))
		}
	}
	if e.Message != "" {
		attrs = append(attrs, slog.String("message", e.Message))
	}
	if e.Hint != "" {
		attrs = append(attrs, slog.String("hint", e.Hint))
	}
	return slog.GroupValue(attrs...)
}
