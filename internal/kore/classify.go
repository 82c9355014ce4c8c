package kore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/status"
)

// answer is everything known of one attempt.
type answer struct {
	err     error         // the transport's, or that of reading the body
	status  int           // 0 if no answer came
	header  http.Header   // nil if no answer came
	body    []byte        // of an error status, its beginning
	off     time.Duration // how wrong the token's time was, by the answer's own Date; 0 if it may have been right
	now     time.Time     // the server's clock when the answer came
	timeout time.Duration // how long the attempt could have taken
	maxBody int64
}

var (
	errTooLarge = errors.New("the answer is too large")
	errNoMemory = errors.New("the answer waited for memory until the request timed out: answers that are read or published at this time have all of it")
	errCutShort = errors.New("the answer ends before it is complete")
)

const (
	defaultWait = time.Minute // what a 429 without Retry-After asks for: the limit's own window
	minWait     = time.Second // what one with a Retry-After of now or before does
	maxWait     = time.Hour   // what is honoured of a longer one: the API counts by the minute and by the hour

	proxyLogin = "the proxy of HTTPS_PROXY wants credentials"

	codeInvalidSDK = 4002 // "Invalid SDK credentials"
)

// classify is the one place that decides what a failed attempt means. It returns nil for a page.
//
// Statuses are not documented for these endpoints, and the API reports errors with status 200 too, so the numbers in its
// error bodies count as much. What is not known is retried.
func classify(e events.Endpoint, a answer) *Error {
	if a.err != nil && (a.status == 0 || a.status/100 == 2) {
		return classifyTransport(e, a)
	}
	encoding := a.header.Get("Content-Encoding")
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		f := payload.Finding{Detail: "Content-Encoding: " + encoding}
		if a.status/100 == 2 {
			return a.fail(e, f, status.ClassShape, ReasonEncoding, "the answer is compressed in a way that was not asked for: have the "+
				"proxy, gateway or CDN on the way leave Accept-Encoding and Content-Encoding as they are, or switch its compression off")
		}
		return classifyFinding(e, a, f)
	}
	f := payload.Judge(a.header.Get("Content-Type"), a.body)
	if a.status/100 != 2 && f.Fault != payload.Refused && f.Fault != payload.HTML {
		f = payload.Finding{Detail: string(a.body)} // an error body of a form we do not know is shown as it is
	}
	return classifyFinding(e, a, f)
}

// fail is the error of a complete answer. An HTML page says more than its status does.
func (a *answer) fail(e events.Endpoint, f payload.Finding, c status.Class, r Reason, hint string) *Error {
	if f.Fault == payload.HTML {
		hint = f.Fault.Hint()
	}
	return &Error{Endpoint: e, Class: c, Reason: r, Status: a.status, Code: f.Code, Message: f.Detail, Hint: hint}
}

// classifyFinding says what an answer means that brought what was found in it. It returns nil for a page.
func classifyFinding(e events.Endpoint, a answer, f payload.Finding) *Error {
	code := a.status
	switch {
	case f.Code == http.StatusUnauthorized, f.Code == http.StatusTooManyRequests:
		code = f.Code
	case f.Code == codeInvalidSDK:
		code = http.StatusUnauthorized
	case code/100 == 2 && f.Code >= 400 && f.Code < 600:
		code = f.Code
	}
	fail := func(c status.Class, r Reason, hint string) *Error { return a.fail(e, f, c, r, hint) }
	wait := func(r Reason) *Error {
		v := fail(status.ClassWait, r, "")
		v.Asked = retryAfter(a.header.Get("Retry-After"), a.now)
		v.RetryAfter = min(v.Asked, maxWait)
		return v
	}

	switch {
	// A request to wait comes first, whatever else the answer says.
	case code == http.StatusTooManyRequests, strings.Contains(strings.ToLower(f.Detail), "rate limit"):
		return wait(ReasonRateLimited)
	case code/100 == 5 && a.header.Get("Retry-After") != "":
		return wait(ReasonServer)

	// Tokens. A wrong date and a repeated jti pass with the next token, which has neither. Dates are in whole seconds: less
	// than one is no reason.
	case code == http.StatusUnauthorized && a.off.Abs() >= time.Second:
		return fail(status.ClassRetry, ReasonClock, fmt.Sprintf("the server's clock differs from ours by %v or more; "+
			"the next token allows for it, but set this machine's clock", a.off.Round(time.Second)))
	case code == http.StatusUnauthorized && strings.Contains(strings.ToLower(f.Detail), "replay"):
		return fail(status.ClassRetry, ReasonReplay, "every token is sent once: if this goes on, something on the way repeats requests")
	case code == http.StatusUnauthorized:
		return fail(status.ClassPermanent, ReasonCredentials, "") // its hint follows from where the secret is
	case code == http.StatusForbidden:
		return fail(status.ClassPermanent, ReasonScope, fmt.Sprintf("give the JWT app the API scope %q, publish the app, "+
			"and check account_id", e.Spec().Scope))
	case code == http.StatusNotFound:
		return fail(status.ClassPermanent, ReasonNotFound, idsHint(e)+", and that base_url is their environment")
	case code == http.StatusProxyAuthRequired:
		return fail(status.ClassPermanent, ReasonRejected, proxyLogin)

	case code/100 == 3:
		v := fail(status.ClassPermanent, ReasonRedirect, "set base_url to the address that answers by itself: "+
			"tokens are not carried to where a redirect points")
		v.Message = redirectTarget(a.header.Get("Location"))
		return v
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return fail(status.ClassRetry, ReasonServer, "")
	case code/100 == 4:
		return fail(status.ClassPermanent, ReasonRejected, "the API refuses the request as it is: "+idsHint(e)+
			"; if they are right, a proxy on the way changes what is sent (headers accountId and iId), or the API has changed and a newer version of "+
			"this program is needed")
	case code/100 != 2:
		return fail(status.ClassRetry, ReasonServer, "")
	}

	if f.Fault == "" {
		return nil
	}
	return fail(f.Fault.Class(), reasons[f.Fault], f.Fault.Hint())
}

// reasons names what was found in place of a page.
var reasons = map[payload.Fault]Reason{
	payload.Truncated: ReasonConnection,
	payload.Refused:   ReasonServer, // with a number nobody knows
	payload.HTML:      ReasonHTML,
	payload.Encrypted: ReasonEncrypted,
	payload.NotJSON:   ReasonNotJSON,
	payload.Shape:     ReasonShape,
}

// classifyTransport is the part of classify for attempts that brought no complete answer. Something may have arrived at
// the server all the same.
func classifyTransport(e events.Endpoint, a answer) *Error {
	fail := func(c status.Class, r Reason, hint string) *Error {
		return &Error{Endpoint: e, Class: c, Reason: r, Status: a.status, Message: a.err.Error(), Hint: hint, cause: a.err}
	}
	switch err := a.err; {
	case errors.Is(err, errTooLarge):
		v := fail(status.ClassShape, ReasonTooLarge, fmt.Sprintf("raise max_body of the account, now %dMiB, or find out why a row is so large", a.maxBody>>20))
		v.Beginning = a.body
		return v
	case errors.Is(err, errNoMemory):
		return fail(status.ClassRetry, ReasonMemory, "if Kafka takes events, give the process more memory, or lower max_body")

	case is[*tunnelError](err):
		refusal, _ := errors.AsType[*tunnelError](err)
		switch {
		case refusal.status == http.StatusProxyAuthRequired:
			return fail(status.ClassPermanent, ReasonRejected, proxyLogin)
		case refusal.status/100 == 4:
			return fail(status.ClassPermanent, ReasonRejected, "have the proxy of HTTPS_PROXY let this machine connect to the host and port of base_url")
		}
		return fail(status.ClassRetry, ReasonConnection, "the proxy of HTTPS_PROXY does not reach base_url: check the proxy")

	case strings.Contains(err.Error(), "no application protocol"), strings.Contains(err.Error(), `malformed HTTP response "\x00\x00`):
		return fail(status.ClassPermanent, ReasonConnection, "HTTP/2 is all that base_url speaks, or a proxy before it: have it speak HTTP/1.1 too")

	case is[*net.DNSError](err):
		return fail(status.ClassRetry, ReasonDNS, "check the host of base_url, and name resolution here")
	case isTimeout(err) && hasOp(err, "dial", "proxyconnect"):
		return fail(status.ClassRetry, ReasonTimeout, "base_url does not answer: check its address, the firewall, and HTTPS_PROXY")
	case isTimeout(err):
		return fail(status.ClassRetry, ReasonTimeout, fmt.Sprintf("if this goes on, raise endpoints.%s.timeout, now %v", e, a.timeout))

	case is[*tls.CertificateVerificationError](err):
		return fail(status.ClassPermanent, ReasonTLS, "the certificate of base_url is not trusted here: check the address, and give "+
			"a private authority's certificate in SSL_CERT_FILE")
	case is[tls.RecordHeaderError](err):
		return fail(status.ClassPermanent, ReasonTLS, "the server does not speak TLS there: check the scheme and port of base_url")
	case hasOp(err, "remote error", "local error"): // crypto/tls so names alerts
		return fail(status.ClassRetry, ReasonTLS, "the server breaks off the TLS handshake: check base_url, and that it offers TLS 1.2")

	case hasOp(err, "dial", "proxyconnect"):
		return fail(status.ClassRetry, ReasonConnection, "base_url cannot be reached: check its address, the firewall, and HTTPS_PROXY")
	default: // reset, closed while idle, half a body, damaged compression, and what nobody has met yet
		return fail(status.ClassRetry, ReasonConnection, "")
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// hasOp reports in which operation of a connection an error came up. In dial and proxyconnect nothing was sent.
func hasOp(err error, ops ...string) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && slices.Contains(ops, op.Op)
}

// idsHint names the ids that a request to an endpoint is made of.
func idsHint(e events.Endpoint) string {
	if e.PerAccount() {
		return fmt.Sprintf("check account_id and endpoints.%s.iid", e)
	}
	return "check bot_id and account_id"
}

// redirectTarget is where a redirect points, without the parts that may be confidential.
func redirectTarget(location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// retryAfter is how long a Retry-After asks to wait, in either of its forms, counted from now on the server's clock.
func retryAfter(value string, now time.Time) time.Duration {
	const longest = time.Duration(1<<63 - 1)
	value = strings.TrimSpace(value)
	wait := defaultWait
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds == seconds { // not NaN
		if seconds = max(seconds, 0); seconds < longest.Seconds() {
			wait = time.Duration(seconds * float64(time.Second))
		} else {
			wait = longest
		}
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	return max(wait, minWait)
}
