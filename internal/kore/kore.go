// Package kore asks the four endpoints of the API for pages.
//
// A Client makes exactly one attempt per Fetch, with a token of its own, and classifies its failures by what
// to do about them. The caller decides what to ask, when and how often: this package has no retries and no budget, and does not
// understand a page's content.
package kore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/memory"
	"agentassist-poller/internal/payload"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/status"
)

// Client speaks for one account. It is safe for concurrent use.
type Client struct {
	cfg        Config
	authPrefix string
	transport  http.RoundTripper
	observe    func(Attempt)
	clock      clock
	options    map[events.Endpoint]*option
}

// Response is a page as it came.
type Response struct {
	Body     []byte
	Sent     time.Time // our clock, before the first byte left
	Received time.Time // our clock, after the last byte came
	// ServerTime is when the server answered by its own clock, to the second below. Zero if it did not say.
	ServerTime time.Time
	// Age is for how long a cache had kept the page: it shows what was so long ago. 0 if it came from the API.
	Age time.Duration

	refused func(payload.Finding) *Error
}

// Refused returns the error that Fetch would have returned had the answer held nothing but the refusal. It serves refusals that
// accompany data and show only when the page is read.
func (r *Response) Refused(code int, message string) error {
	f := payload.Finding{Fault: payload.Refused, Detail: message, Code: code}
	if r.refused == nil { // it did not come from a Client
		return &Error{Class: f.Fault.Class(), Reason: ReasonServer, Code: code, Message: message}
	}
	return r.refused(f)
}

// Attempt is one request that was sent, or tried to be, for those who count.
type Attempt struct {
	Endpoint events.Endpoint
	Status   int           // 0 if no answer came
	Outcome  string        // "ok", "canceled" by the caller, or the error's Class
	Reason   Reason        // the error's, empty otherwise
	Duration time.Duration // until the last byte
	Bytes    int           // of the body, after decompression
}

// Option changes how a Client is made.
type Option func(*Client)

// WithTransport replaces the transport. It must keep what NewTransport promises.
func WithTransport(t http.RoundTripper) Option { return func(c *Client) { c.transport = t } }

// WithObserver has f called after every attempt, before Fetch returns, by several goroutines at once.
func WithObserver(f func(Attempt)) Option { return func(c *Client) { c.observe = f } }

// New returns a client for a valid configuration.
func New(cfg Config, options ...Option) (*Client, error) {
	if problems := cfg.Validate(); len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = errors.New(p.String())
		}
		return nil, errors.Join(errs...)
	}
	c := &Client{cfg: cfg.withDefaults(), observe: func(Attempt) {}, options: newOptions(cfg.Fields)}
	if prefix := strings.TrimSpace(cfg.AuthPrefix); prefix != "" {
		c.authPrefix = prefix + " "
	}
	for _, o := range options {
		o(c)
	}
	if c.transport == nil {
		c.transport = NewTransport()
	}
	return c, nil
}

// Close closes connections that are not in use. Fetches under way go on.
func (c *Client) Close() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Skew returns how far the server's clock is ahead of ours, and whether it is known: it is once two answers agree that
// came from the API. It is exact to half a second plus half the fastest round trip, and gets better
// with every answer.
func (c *Client) Skew() (d time.Duration, known bool) { return c.clock.skew() }

// Now is the time by the server's clock, or by ours while the difference is not known.
func (c *Client) Now() time.Time {
	skew, _ := c.clock.skew()
	return time.Now().Round(0).Add(skew)
}

// Fetch makes one attempt to get a page. Its error is an *Error, or wraps ctx's if the caller gave up. In every case but
// that of Reason request, the server may have counted the attempt.
func (c *Client) Fetch(ctx context.Context, q Query) (*Response, error) {
	options := c.fit(&q)
	r, err := q.route(c.cfg.AccountID)
	if err != nil {
		return nil, unsent(q, err)
	}
	creds := c.cfg.credentials(q)
	key, err := creds.secret().Read()
	if err != nil {
		return nil, &Error{
			Endpoint: q.Endpoint, Class: status.ClassPermanent, Reason: ReasonCredentials, Message: err.Error(),
			Hint: "auth.client_secret_file must hold the client secret; it is read again for every request", cause: err,
		}
	}
	believed, _ := c.clock.skew()
	token, err := sign(creds.ClientID, key, time.Now().Add(believed))
	if err != nil {
		return nil, unsent(q, err)
	}
	timeout := c.cfg.Timeouts[q.Endpoint]
	attemptCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := c.newRequest(attemptCtx, q, r, token)
	if err != nil {
		return nil, unsent(q, err)
	}

	resp, a := c.attempt(req, q.Memory, believed)
	a.timeout, a.maxBody = timeout, c.cfg.MaxBody
	seen := Attempt{
		Endpoint: q.Endpoint, Status: a.status, Outcome: "ok",
		Duration: resp.Received.Sub(resp.Sent), Bytes: len(a.body),
	}
	defer func() { c.observe(seen) }()
	traceAttempt(ctx, req, seen)

	if a.err != nil && ctx.Err() != nil {
		seen.Outcome = "canceled"
		return nil, fmt.Errorf("fetch %s: %w", q.Endpoint, ctx.Err())
	}
	// complete makes an error fit to be shown, and says of a refused token what is known of the secret.
	complete := func(failure *Error) *Error {
		failure.Message = line(scrub(failure.Message, key, secret.New(token)))
		if failure.Reason == ReasonCredentials && failure.Hint == "" {
			refused(failure, creds.secret(), key)
		}
		return c.leaveOut(failure, q, options)
	}
	if failure := classify(q.Endpoint, a); failure != nil {
		failure = complete(failure)
		seen.Outcome, seen.Reason = string(failure.Class), failure.Reason
		return nil, failure
	}
	resp.refused = func(f payload.Finding) *Error { return complete(classifyFinding(q.Endpoint, a, f)) }
	return resp, nil
}

// refused adds to a refusal of a token what is known of the secret that it was signed with. A file may have been replaced meanwhile:
// then the next token is signed with its new content.
func refused(failure *Error, source secret.Source, signedWith secret.Secret) {
	failure.Hint = "check auth.client_id and auth.client_secret, that base_url is their environment, that the JWT app signs with HS256, " +
		"and that no proxy on the way removes the header auth"
	if source.File == "" {
		return
	}
	failure.renewed = func() bool {
		now, err := source.Read()
		return err == nil && now.Reveal() != signedWith.Reveal()
	}
	if failure.Renewed() {
		failure.Class = status.ClassRetry
		failure.Hint = fmt.Sprintf("the content of %s (auth.client_secret_file) has changed since the token was signed; the next one is signed with it", source.File)
		return
	}
	failure.Hint += "; " + source.Advice("auth.client_secret")
}

// attempt sends the request once and reads what comes. The transport is used without an http.Client, which would follow
// redirects and take the token along.
func (c *Client) attempt(req *http.Request, held *memory.Held, believed time.Duration) (*Response, answer) {
	r := &Response{Sent: time.Now()}
	resp, err := c.transport.RoundTrip(req)
	r.Received = time.Now()
	if err != nil {
		return r, answer{err: err}
	}
	r.Age = ageOf(resp.Header)
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	answered := r.Received
	if err := inflate(resp); err != nil {
		a.err = err
	} else if resp.StatusCode/100 == 2 {
		if a.body, a.err = readPage(req.Context(), resp, c.cfg.MaxBody, held); a.err == nil {
			a.err = takeDecoded(req.Context(), a.body, held)
		}
		if resp.StatusCode == http.StatusNoContent && len(a.body) == 0 {
			a.body = []byte(noRows)
		}
	} else {
		a.body = readError(resp)
	}
	r.Body, r.Received = a.body, time.Now()

	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		a.now = c.Now()
		return r, a
	}
	a.now, r.ServerTime = date, date
	if a.speaksForTheServer() {
		a.off = c.clock.observe(date, r.Sent, answered, believed)
	}
	return r, a
}

// speaksForTheServer reports whether an answer's Date can be taken for the API's clock. Proxies and caches have their own.
func (a *answer) speaksForTheServer() bool {
	switch {
	case ageOf(a.header) > 0, a.status/100 == 3, a.status/100 == 5, a.status == http.StatusProxyAuthRequired:
		return false
	}
	return payload.Judge(a.header.Get("Content-Type"), a.body).Fault != payload.HTML
}

// ageOf returns for how long a cache had kept an answer: a cache that asks the API first says 0, or nothing. Of several caches the one that
// kept it longest counts.
func ageOf(header http.Header) (age time.Duration) {
	for _, text := range strings.Split(strings.Join(header.Values("Age"), ","), ",") {
		if seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32); err == nil {
			age = max(age, time.Duration(seconds)*time.Second)
		}
	}
	return age
}

func unsent(q Query, err error) *Error {
	return &Error{Endpoint: q.Endpoint, Class: status.ClassPermanent, Reason: ReasonRequest, Message: err.Error(), cause: err}
}

// scrub removes what must not be shown, also tokens that are not ours or not whole.
func scrub(text string, secrets ...secret.Secret) string {
	return tokenLike.ReplaceAllString(secret.Scrub(text, secrets...), secret.Redacted)
}
