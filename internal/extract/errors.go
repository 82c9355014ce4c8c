package extract

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Fault says why a page as a whole could not be read.
type Fault string

// The faults of pages.
const (
	Truncated Fault = "truncated" // the body ends in the middle
	HTML      Fault = "html"      // a proxy or a login page answered
	NotJSON   Fault = "not-json"
	Refused   Fault = "refused"   // status 200 with an error inside
	Encrypted Fault = "encrypted" // payload encryption is switched on
	Shape     Fault = "shape"     // JSON, but not this endpoint's
)

// A PageError is returned by Decode for a page that cannot be read as a whole. Nothing of the page may be used, and the
// time that it covers stays unread.
type PageError struct {
	Fault  Fault
	Detail string // what was found, bounded in length
	Code   int64  // upstream's own code, for Refused
	Err    error
}

func (e *PageError) Unwrap() error { return e.Err }

// Retryable reports whether the same request may well succeed later without anybody changing anything.
func (e *PageError) Retryable() bool {
	return e.Fault == Truncated || e.Fault == HTML || e.Fault == NotJSON
}

func (e *PageError) Error() string {
	switch e.Fault {
	case Truncated:
		return "decode page: the body ends in the middle: " + e.Detail
	case HTML:
		return fmt.Sprintf("decode page: HTML instead of JSON (%s): a proxy, a gateway or a login page answered; check base_url and the proxy between", e.Detail)
	case Refused:
		return fmt.Sprintf("decode page: the API answered 200 with an error: %s (code %d)", e.Detail, e.Code)
	case Encrypted:
		return fmt.Sprintf("decode page: the payload is encrypted (%s): switch off \"Enforce Request and Response Payload Encryption\" in the security settings of this API app (its client_id is in auth.client_id)", e.Detail)
	case Shape:
		return "decode page: " + e.Detail
	default:
		return "decode page: not JSON: " + e.Detail
	}
}

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
