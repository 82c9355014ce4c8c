package extract

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/status"
)

// A PageError is returned by Decode for a page that cannot be read as a whole. Nothing of the page may be used, and the
// time that it covers stays unread.
type PageError struct {
	Fault  payload.Fault
	Class  status.Class // what to do about it
	Hint   string       // what to change, empty if that is not known
	Detail string       // what was found, bounded in length
	Code   int          // upstream's own code, for a refusal
	Err    error        // of the decoder, nil if it got no further than the body's shape
}

// errNoRecords is returned for a JSON object that holds no list of records.
var errNoRecords = errors.New("neither data nor results is a list of records")

// errRecordsMissing is returned for a response that has null for the records that it announces: it must not count as read.
var errRecordsMissing = errors.New("the response has null for its records")

// errTooMuch is wrapped by the error of a page that holds more than is read at once.
var errTooMuch = errors.New("the page holds too much")

// pageError says what is wrong with a body that could not be read for err.
func pageError(body []byte, err error) *PageError {
	var refused *refusedError
	f := payload.Judge("", body)
	e := &PageError{Err: err}
	switch {
	case f.Fault != "":
		e.Err = nil
	case errors.As(err, &refused):
		f = payload.Finding{Fault: payload.Refused, Detail: refused.message, Code: refused.code}
	case errors.Is(err, io.ErrUnexpectedEOF):
		f = payload.Finding{Fault: payload.Truncated, Detail: "the body ends in the middle: " + err.Error()}
	case errors.Is(err, errTooMuch):
		f = payload.Finding{Fault: payload.TooMuch, Detail: err.Error()}
	case errors.Is(err, errNoRecords), errors.Is(err, errRecordsMissing), errors.Is(err, errDepth):
		f = payload.Finding{Fault: payload.Shape, Detail: err.Error()}
	default:
		f = payload.Finding{Fault: payload.NotJSON, Detail: err.Error()}
	}
	e.Fault, e.Class, e.Hint, e.Detail, e.Code = f.Fault, f.Fault.Class(), f.Fault.Hint(), excerpt(f.Detail), f.Code
	return e
}

// refusedError is what the API reports beside a page.
type refusedError struct {
	message string
	code    int
}

func (e *refusedError) Error() string { return fmt.Sprintf("%s (code %d)", e.message, e.code) }

func (e *PageError) Unwrap() error { return e.Err }

func (e *PageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "decode page: %s", e.Fault)
	if e.Code != 0 {
		fmt.Fprintf(&b, " (code %d)", e.Code)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// TooMuch reports whether the page holds more than is read at once: fewer records may be asked for.
func (e *PageError) TooMuch() bool { return e.Fault == payload.TooMuch }

// excerpt makes text from outside fit for one line of a log.
func excerpt(s string) string {
	const limit = 160
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}
