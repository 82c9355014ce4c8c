package kore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/status"
)

const htmlPage = "<!DOCTYPE html>\n<html><head><title>Sign in\n to the proxy</title></head></html>"

// The table of what failures mean.
func TestClassify(t *testing.T) {
	type want struct {
		class      status.Class
		reason     kore.Reason
		code       int
		retryAfter time.Duration
		message    string
		hint       string
	}
	for _, tc := range []struct {
		name     string
		endpoint events.Endpoint // interactions if empty
		status   int
		header   []string
		body     string
		want     want
	}{
		// Tokens
		{name: "bad secret", status: 401, body: `{"errors":[{"msg":"error verifying the jwt: invalid signature","code":401}]}`,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 401, 0, "error verifying the jwt: invalid signature", "auth.client_secret"}},
		{name: "bad secret, status 200", status: 200, body: ` {"errors" : [{"msg":"error verifying the jwt: invalid signature","code":401}]}`,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 401, 0, "error verifying the jwt: invalid signature", "auth.client_secret"}},
		{name: "bad secret, status 400", status: 400, body: `{"errors":[{"msg":"error verifying the jwt","code":401}]}`,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 401, 0, "error verifying the jwt", "auth.client_secret"}},
		{name: "wrong app", status: 400, body: `{"errors":[{"msg":"Invalid SDK credentials","code":4002}]}`,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 4002, 0, "Invalid SDK credentials", "base_url"}},
		{name: "wrong app, status 200, code in a string", status: 200, body: `{"errors":[{"msg":"Invalid SDK credentials","code":"4002"}]}`,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 4002, 0, "Invalid SDK credentials", "auth.client_id"}},
		{name: "nothing said", status: 401,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 0, 0, "", "auth.client_id"}},
		{name: "replay", status: 401, body: `{"errors":[{"msg":"error verifying the jwt: possibly a replay","code":401}]}`,
			want: want{status.ClassRetry, kore.ReasonReplay, 401, 0, "error verifying the jwt: possibly a replay", "repeats requests"}},
		{name: "expired, our clock is slow", status: 401, header: []string{"Date", httpDate(synctestStart.Add(10 * time.Minute))},
			body: `{"errors":[{"msg":"jwt expired","code":401}]}`,
			want: want{status.ClassRetry, kore.ReasonClock, 401, 0, "jwt expired", "10m0s or more"}},
		{name: "expires too late, our clock is fast", status: 200, header: []string{"Date", httpDate(synctestStart.Add(-2 * time.Hour))},
			body: `{"errors":[{"msg":"error verifying the jwt: if \"jti\" claim \"exp\" must be <= 1 hour(s)","code":401}]}`,
			want: want{status.ClassRetry, kore.ReasonClock, 401, 0, `error verifying the jwt: if "jti" claim "exp" must be <= 1 hour(s)`, "clock"}},
		{name: "expired, though the clocks agree", status: 401, header: []string{"Date", httpDate(synctestStart)},
			body: `{"errors":[{"msg":"jwt expired","code":401}]}`,
			want: want{status.ClassPermanent, kore.ReasonCredentials, 401, 0, "jwt expired", "auth.client_id"}},

		// Rights and places
		{name: "scope of interactions", status: 403, body: `{"errors":[{"msg":"Forbidden","code":403}]}`,
			want: want{status.ClassPermanent, kore.ReasonScope, 403, 0, "Forbidden", `"AgentAssist Analytics", publish`}},
		{name: "scope of conversations", endpoint: events.Conversations, status: 403,
			want: want{status.ClassPermanent, kore.ReasonScope, 0, 0, "", `"AgentAssist Analytics", publish`}},
		{name: "scope of interaction details", endpoint: events.InteractionDetails, status: 403,
			want: want{status.ClassPermanent, kore.ReasonScope, 0, 0, "", `"SmartAssist Analytics", publish`}},
		{name: "scope of call details, status 200", endpoint: events.CallDetails, status: 200, body: `{"errors":[{"msg":"no","code":403}]}`,
			want: want{status.ClassPermanent, kore.ReasonScope, 403, 0, "no", `"SmartAssist Analytics", publish`}},
		{name: "wrong bot", status: 404, body: `{"errors":[{"msg":"Bot not found","code":404}]}`,
			want: want{status.ClassPermanent, kore.ReasonNotFound, 404, 0, "Bot not found", "bot_id"}},
		{name: "wrong account", endpoint: events.CallDetails, status: 404, body: "Cannot POST /agentassist",
			want: want{status.ClassPermanent, kore.ReasonNotFound, 0, 0, "Cannot POST /agentassist", "account_id"}},
		{name: "bad request", status: 400, body: `{"message":"from is required"}`,
			want: want{status.ClassPermanent, kore.ReasonRejected, 0, 0, "from is required", "newer version"}},
		{name: "bad request in an unknown form", status: 400, body: `{"oops":["x"]}`,
			want: want{status.ClassPermanent, kore.ReasonRejected, 0, 0, `{"oops":["x"]}`, "newer version"}},
		{name: "method", status: 405,
			want: want{status.ClassPermanent, kore.ReasonRejected, 0, 0, "", "newer version"}},
		{name: "proxy's own login", status: 407,
			want: want{status.ClassPermanent, kore.ReasonRejected, 0, 0, "", "HTTPS_PROXY"}},
		{name: "not modified", status: 304,
			want: want{status.ClassPermanent, kore.ReasonRedirect, 0, 0, "", "base_url"}},

		// Asked to wait
		{name: "rate limit, seconds", status: 429, header: []string{"Retry-After", "3600"},
			body: `{"errors":[{"msg":"You've exceeded the hourly rate limit.","code":429}]}`,
			want: want{status.ClassWait, kore.ReasonRateLimited, 429, time.Hour, "You've exceeded the hourly rate limit.", ""}},
		{name: "rate limit, date, by the server's clock", status: 429,
			header: []string{"Date", httpDate(synctestStart.Add(time.Hour)), "Retry-After", httpDate(synctestStart.Add(time.Hour + 90*time.Second))},
			want:   want{status.ClassWait, kore.ReasonRateLimited, 0, 90 * time.Second, "", ""}},
		{name: "rate limit, date, no clock but ours", status: 429, header: []string{"Retry-After", httpDate(synctestStart.Add(90 * time.Second))},
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, 90 * time.Second, "", ""}},
		{name: "rate limit, absent", status: 429,
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Minute, "", ""}},
		{name: "rate limit, nonsense", status: 429, header: []string{"Retry-After", "soon"},
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Minute, "", ""}},
		{name: "rate limit, past", status: 429, header: []string{"Retry-After", httpDate(synctestStart.Add(-time.Hour))},
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Second, "", ""}},
		{name: "rate limit, zero", status: 429, header: []string{"Retry-After", "0"},
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Second, "", ""}},
		{name: "rate limit, for ever", status: 429, header: []string{"Retry-After", "99999999999999999999"},
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Hour, "", ""}},
		{name: "rate limit, HTML", status: 429, body: htmlPage,
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Minute, "Sign in to the proxy", "HTML"}},
		{name: "rate limit, status 200", status: 200, body: `{"errors":[{"msg":"slow down","code":429}]}`,
			want: want{status.ClassWait, kore.ReasonRateLimited, 429, time.Minute, "slow down", ""}},
		{name: "rate limit, only in words", status: 400, body: `{"errors":[{"msg":"Rate limit for this API has been reached. Please try again later"}]}`,
			want: want{status.ClassWait, kore.ReasonRateLimited, 0, time.Minute, "Rate limit for this API has been reached. Please try again later", ""}},
		{name: "maintenance", status: 503, header: []string{"Retry-After", "120"},
			want: want{status.ClassWait, kore.ReasonServer, 0, 2 * time.Minute, "", ""}},

		// Passing by themselves
		{name: "unavailable", status: 503, want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "", ""}},
		{name: "internal", status: 500, body: `{"errors":"boom"}`, want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "boom", ""}},
		{name: "gateway", status: 502, body: htmlPage, want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "Sign in to the proxy", "HTML"}},
		{name: "gateway timeout", status: 504, body: "upstream request timeout", want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "upstream request timeout", ""}},
		{name: "request timeout", status: 408, want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "", ""}},
		{name: "too early", status: 425, want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "", ""}},
		{name: "unknown error, status 200", status: 200, body: `{"errors":[{"msg":"odd","code":77}]}`,
			want: want{status.ClassRetry, kore.ReasonServer, 77, 0, "odd", ""}},
		{name: "error among others, status 200", status: 200, body: `{"status":"fail","errors":[{"message":"odd"}]}`,
			want: want{status.ClassRetry, kore.ReasonServer, 0, 0, "odd", ""}},
		{name: "server error, status 200", status: 200, body: `{"errors":[{"msg":"odd","code":500}]}`,
			want: want{status.ClassRetry, kore.ReasonServer, 500, 0, "odd", ""}},
		{name: "empty", status: 200, want: want{status.ClassRetry, kore.ReasonConnection, 0, 0, "the body is empty", "cuts answers short"}},
		{name: "cut short", status: 200, body: `{"data":[{"a":`, want: want{status.ClassRetry, kore.ReasonConnection, 0, 0, "the body ends in the middle", "cuts answers short"}},

		// Unreadable
		{name: "login page", status: 200, header: []string{"Content-Type", "text/html; charset=utf-8"}, body: htmlPage,
			want: want{status.ClassShape, kore.ReasonHTML, 0, 0, "Sign in to the proxy", "base_url"}},
		{name: "login page that calls itself JSON", status: 200, header: []string{"Content-Type", "application/json"}, body: "\ufeff\n " + htmlPage,
			want: want{status.ClassShape, kore.ReasonHTML, 0, 0, "Sign in to the proxy", "base_url"}},
		{name: "forbidden by a firewall", status: 403, body: htmlPage,
			want: want{status.ClassPermanent, kore.ReasonScope, 0, 0, "Sign in to the proxy", "HTML"}},
		{name: "not found by another server", status: 404, body: htmlPage,
			want: want{status.ClassPermanent, kore.ReasonNotFound, 0, 0, "Sign in to the proxy", "base_url"}},
		{name: "plain text", status: 200, body: "OK", want: want{status.ClassShape, kore.ReasonNotJSON, 0, 0, "OK", "base_url"}},
		{name: "encrypted object", status: 200, body: `{"encryptedPayload":"AAAA","encryptedKey":"BBBB","iv":"CCCC"}`,
			want: want{status.ClassShape, kore.ReasonEncrypted, 0, 0, "neither data nor results, only encryptedKey, encryptedPayload, iv", "Enforce Request and Response Payload Encryption"}},
		{name: "encrypted, named late", status: 200, body: `{"v":1,"cipherText":"AAAA"}`,
			want: want{status.ClassShape, kore.ReasonEncrypted, 0, 0, "neither data nor results, only cipherText, v", "Enforce Request and Response Payload Encryption"}},
		{name: "encrypted, JWE", status: 200, body: "eyJhbGciOiJSU0EtT0FFUCJ9." + strings.Repeat("A_-", 40) + "." + strings.Repeat("B", 16) + ".C.D",
			want: want{status.ClassShape, kore.ReasonEncrypted, 0, 0, "one opaque word", "Enforce Request and Response Payload Encryption"}},
		{name: "encrypted, base64 in a string", status: 200, body: `"` + strings.Repeat("Zm9v", 40) + `=="`,
			want: want{status.ClassShape, kore.ReasonEncrypted, 0, 0, "one opaque word", "Enforce Request and Response Payload Encryption"}},
		{name: "another API", status: 200, body: `{"rows":[]}`,
			want: want{status.ClassShape, kore.ReasonShape, 0, 0, "neither data nor results, only rows", "base_url"}},
		{name: "a list", status: 200, body: `[]`,
			want: want{status.ClassShape, kore.ReasonShape, 0, 0, "an array instead of an object with data or results", "base_url"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen kore.Attempt
				c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
					return reply(tc.status, tc.body, tc.header...), nil
				})), kore.WithObserver(func(a kore.Attempt) { seen = a }))
				q := query()
				if tc.endpoint != "" {
					q.Endpoint, q.Offset, q.Limit = tc.endpoint, 1, 20
				}
				_, err := c.Fetch(t.Context(), q)
				failure, ok := errors.AsType[*kore.Error](err)
				require.True(t, ok, "%v", err)
				require.Contains(t, failure.Hint, tc.want.hint)
				require.Equal(t, tc.want.hint == "", failure.Hint == "", failure.Hint)
				got := want{failure.Class, failure.Reason, failure.Code, failure.RetryAfter, failure.Message, tc.want.hint}
				require.Equal(t, tc.want, got)
				require.Equal(t, q.Endpoint, failure.Endpoint)
				require.Equal(t, tc.status, failure.Status)
				require.Equal(t, string(failure.Class), seen.Outcome)
				require.Equal(t, failure.Reason, seen.Reason)
			})
		})
	}
}

// synctestStart is when time begins in a bubble.
var synctestStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPagesPass(t *testing.T) {
	for name, body := range map[string]string{
		"interactions":            emptyPage,
		"interactions, 2024":      `{"data":[],"numResults":0,"hasMore":false}`,
		"conversations":           "{\n  \"results\": [], \"skip\":0,\"limit\":20,\"hasMore\":false,\"totalPages\":0,\"totalResults\":0}\n",
		"conversations, reversed": `{"totalResults":0,"results":[]}`,
		"byte order mark":         "\ufeff" + emptyPage,
		"unknown name first":      `{"requestId":"x","data":[]}`,
		"errors beside data":      `{"errors":[],"data":[]}`,
		"null beside data":        `{"errors":null,"data":null}`,
		"broken in the middle":    `{"errors":[{"msg" "x"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				return reply(200, body, "Content-Type", "text/html"), nil // some gateways say so of everything
			})))
			page, err := c.Fetch(t.Context(), query())
			require.NoError(t, err)
			require.Equal(t, body, string(page.Body))
		})
	}
}

func TestMessagesAreOneShortLine(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"controls": {"a\r\n\tb\x00\x1b[31mc", "a b [31mc"},
		"long":     {strings.Repeat("äb ", 200), strings.Repeat("äb ", 99) + "äb…"},
		"invalid":  {"a\xff\xfeb", "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				return reply(500, tc.body), nil
			})))
			_, err := c.Fetch(t.Context(), query())
			failure, ok := errors.AsType[*kore.Error](err)
			require.True(t, ok)
			require.Equal(t, tc.want, failure.Message)
		})
	}
}

func TestErrorReads(t *testing.T) {
	for want, f := range map[string]transport{
		`fetch interactions: credentials (status 401, code 4002): Invalid SDK credentials; check auth.client_id and ` +
			`auth.client_secret, that base_url is their environment, that the JWT app signs with HS256, and that no proxy on the way removes the header auth`: func(*http.Request) (*http.Response, error) {
			return reply(401, `{"errors":[{"msg":"Invalid SDK credentials","code":4002}]}`), nil
		},
		`fetch interactions: rate-limited (status 429); wait 1m30s`: func(*http.Request) (*http.Response, error) {
			return reply(429, "", "Retry-After", "90"), nil
		},
		`fetch interactions: rate-limited (status 429); wait 1h0m0s, though the server asked for 277777h46m39s`: func(*http.Request) (*http.Response, error) {
			return reply(429, "", "Retry-After", "999999999"), nil
		},
		`fetch interactions: connection: connection reset by peer`: func(*http.Request) (*http.Response, error) {
			return nil, errors.New("connection reset by peer")
		},
	} {
		_, err := newClient(t, config(), kore.WithTransport(f)).Fetch(t.Context(), query())
		require.EqualError(t, err, want)
	}
}

// A server that sends back whatever it was sent, in every place that finds its way into errors.
func TestSecretsAreNeverShown(t *testing.T) {
	echoes := map[string]func(token string) (*http.Response, error){
		"text": func(s string) (*http.Response, error) { return reply(400, "bad token "+s), nil },
		"error body": func(s string) (*http.Response, error) {
			return reply(401, `{"errors":[{"msg":"`+s+`","code":401}]}`), nil
		},
		"error body, 200": func(s string) (*http.Response, error) { return reply(200, `{"errors":[{"msg":"`+s+`"}]}`), nil },
		"escaped":         func(s string) (*http.Response, error) { return reply(500, `{"message":"\u0065`+s[1:]+`"}`), nil },
		"token cut short": func(s string) (*http.Response, error) { return reply(500, s[:60]+"..."), nil },
		"cut by the limit": func(s string) (*http.Response, error) { // just before its end
			return reply(500, strings.Repeat("x", 303-len(s))+" "+s), nil
		},
		"title":     func(s string) (*http.Response, error) { return reply(200, "<title>"+s+"</title>"), nil },
		"location":  func(s string) (*http.Response, error) { return reply(302, "", "Location", "https://h/"+s+"?t="+s), nil },
		"encoding":  func(s string) (*http.Response, error) { return reply(200, "x", "Content-Encoding", s), nil },
		"transport": func(s string) (*http.Response, error) { return nil, fmt.Errorf("malformed HTTP response %q", s) },
		"body": func(s string) (*http.Response, error) {
			resp := reply(200, "")
			resp.ContentLength, resp.Body = -1, io.NopCloser(failingReader{errors.New("damaged " + s)})
			return resp, nil
		},
	}
	for name, echo := range echoes {
		for _, what := range []string{"token", "secret"} {
			t.Run(name+", "+what, func(t *testing.T) {
				var forbidden []string
				c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
					token := r.Header.Get("auth")
					parts := strings.Split(token, ".")
					forbidden = []string{clientSecret[:8], parts[1][:40], parts[2][:20]}
					if what == "secret" {
						return echo("e" + strings.Repeat("-", 60) + clientSecret)
					}
					return echo(token)
				})))
				_, err := c.Fetch(t.Context(), query())
				require.Error(t, err)
				var shown bytes.Buffer
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
					fmt.Fprintf(&shown, verb, err)
					fmt.Fprintf(&shown, verb, c)
					fmt.Fprintf(&shown, verb, config())
				}
				for _, h := range []slog.Handler{slog.NewTextHandler(&shown, nil), slog.NewJSONHandler(&shown, nil)} {
					slog.New(h).Error("m", "err", err, "wrapped", fmt.Errorf("read: %w", err), "config", config())
				}
				data, err := json.Marshal([]any{err, config()})
				require.NoError(t, err)
				shown.Write(data)
				for _, s := range forbidden {
					require.NotContains(t, shown.String(), s)
				}
			})
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestErrorLogsItsParts(t *testing.T) {
	c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		return reply(429, `{"errors":[{"msg":"slow down","code":429}]}`, "Retry-After", "90"), nil
	})))
	_, err := c.Fetch(context.Background(), query())
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).Warn("read failed", "err", err)
	require.Equal(t, `level=WARN msg="read failed" err.endpoint=interactions err.class=wait err.reason=rate-limited err.status=429 `+
		`err.code=429 err.retry_after=1m30s err.message="slow down"`+"\n", log.String())
}
