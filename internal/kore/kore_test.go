package kore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/memory"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/status"
)

const (
	clientSecret = "s3cr3t-c4n4ry"
	emptyPage    = `{"numResults":0,"hasMore":false,"data":[]}`
)

func config() kore.Config {
	return kore.Config{
		BaseURL:      "https://platform.example",
		AccountID:    "acc-1",
		ClientID:     "cs-1",
		ClientSecret: secret.New(clientSecret),
	}
}

func query() kore.Query {
	from := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	return kore.Query{Endpoint: events.Interactions, BotID: "st-1", From: from, To: from.Add(time.Minute), Limit: 100}
}

// transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewBufferString(body)), ContentLength: int64(len(body))}
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func newClient(t *testing.T, cfg kore.Config, options ...kore.Option) *kore.Client {
	t.Helper()
	c, err := kore.New(cfg, options...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// parseToken verifies a request's token as the API would.
func parseToken(t *testing.T, r *http.Request, key string, now time.Time) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(r.Header.Get("auth"), claims, func(*jwt.Token) (any, error) { return []byte(key), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuedAt(), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }))
	require.NoError(t, err)
	return claims
}

func TestFetchReturnsThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var seen []kore.Attempt
		c := newClient(t, config(),
			kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				time.Sleep(2 * time.Second)
				return reply(200, emptyPage, "Date", httpDate(start.Add(time.Hour))), nil
			})),
			kore.WithObserver(func(a kore.Attempt) { seen = append(seen, a) }))

		page, err := c.Fetch(t.Context(), query())
		require.NoError(t, err)
		require.Equal(t, emptyPage, string(page.Body))
		require.Equal(t, start, page.Sent)
		require.Equal(t, start.Add(2*time.Second), page.Received)
		require.Equal(t, start.UTC().Add(time.Hour), page.ServerTime)
		require.Equal(t, []kore.Attempt{{
			Endpoint: events.Interactions, Status: 200, Outcome: "ok", Duration: 2 * time.Second, Bytes: len(emptyPage),
		}}, seen)
	})
}

// A refusal that stands beside data means what it means alone, and shows no more of what the server repeats.
func TestRefusalBesideData(t *testing.T) {
	var token string
	c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		token = r.Header.Get("auth")
		return reply(200, emptyPage, "Retry-After", "90"), nil
	})))
	page, err := c.Fetch(t.Context(), query())
	require.NoError(t, err)
	for _, tc := range []struct {
		code       int
		class      status.Class
		reason     kore.Reason
		retryAfter time.Duration
	}{
		{429, status.ClassWait, kore.ReasonRateLimited, 90 * time.Second},
		{403, status.ClassPermanent, kore.ReasonScope, 0},
		{4002, status.ClassPermanent, kore.ReasonCredentials, 0},
		{77, status.ClassRetry, kore.ReasonServer, 0},
	} {
		var failure *kore.Error
		require.ErrorAs(t, page.Refused(tc.code, "no\n"+token), &failure)
		require.Equal(t, tc.class, failure.Class, failure)
		require.Equal(t, tc.reason, failure.Reason)
		require.Equal(t, tc.retryAfter, failure.RetryAfter)
		require.Equal(t, tc.code, failure.Code)
		require.Equal(t, events.Interactions, failure.Endpoint)
		require.Equal(t, "no "+secret.Redacted, failure.Message)
	}
	var failure *kore.Error
	require.ErrorAs(t, new(kore.Response).Refused(1, "no"), &failure)
	require.Equal(t, status.ClassRetry, failure.Class)
}

func TestEveryAttemptHasItsOwnToken(t *testing.T) {
	var mu sync.Mutex
	jtis := map[any]bool{}
	c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		now := time.Now()
		claims := parseToken(t, r, clientSecret, now)
		mu.Lock()
		defer mu.Unlock()
		jtis[claims["jti"]] = true
		require.Equal(t, "cs-1", claims["appId"])
		require.NotContains(t, claims, "sub")
		exp, err := claims.GetExpirationTime()
		require.NoError(t, err)
		require.WithinRange(t, exp.Time, now.Add(4*time.Minute), now.Add(6*time.Minute))
		return reply(200, emptyPage, "Date", httpDate(now)), nil
	})))
	const attempts = 64
	var group errgroup.Group
	for range attempts {
		group.Go(func() error {
			_, err := c.Fetch(context.Background(), query())
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, jtis, attempts)
}

func TestBotCredentials(t *testing.T) {
	cfg := config()
	cfg.Bots = map[string]kore.Credentials{"st-own": {ClientID: "cs-own", ClientSecret: secret.New("own")}}
	for name, tc := range map[string]struct {
		change func(*kore.Query)
		app    string
		key    string
	}{
		"account's":               {func(q *kore.Query) {}, "cs-1", clientSecret},
		"bot in the path":         {func(q *kore.Query) { q.BotID = "st-own" }, "cs-own", "own"},
		"bot in the header":       {func(q *kore.Query) { q.Endpoint, q.BotID, q.IID = events.CallDetails, "", "st-own" }, "cs-own", "own"},
		"no bot, account's":       {func(q *kore.Query) { q.Endpoint, q.BotID = events.CallDetails, "" }, "cs-1", clientSecret},
		"other bot in the header": {func(q *kore.Query) { q.Endpoint, q.BotID, q.IID = events.CallDetails, "", "st-1" }, "cs-1", clientSecret},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, cfg, kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				require.Equal(t, tc.app, parseToken(t, r, tc.key, time.Now())["appId"])
				return reply(200, emptyPage), nil
			})))
			q := query()
			tc.change(&q)
			_, err := c.Fetch(t.Context(), q)
			require.NoError(t, err)
		})
	}
}

// A secret in a file is read for every token: one that is rotated is used at once, and the hint says whether it has been.
func TestSecretIsRotated(t *testing.T) {
	cfg := config()
	cfg.ClientSecret, cfg.ClientSecretFile = secret.Secret{}, filepath.Join(t.TempDir(), "secret")
	write := func(content string) { require.NoError(t, os.WriteFile(cfg.ClientSecretFile, []byte(content), 0o600)) }
	valid, onTheWay := "old", func() {}
	c := newClient(t, cfg, kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		onTheWay()
		token, _ := jwt.Parse(r.Header.Get("auth"), func(*jwt.Token) (any, error) { return []byte(valid), nil })
		if token == nil || !token.Valid {
			return reply(401, `{"errors":[{"msg":"error verifying the jwt: invalid signature","code":401}]}`), nil
		}
		return reply(200, emptyPage), nil
	})))
	fetch := func() *kore.Error {
		_, err := c.Fetch(t.Context(), query())
		failure, _ := errors.AsType[*kore.Error](err)
		require.Equal(t, err == nil, failure == nil)
		return failure
	}
	write("old")
	require.Nil(t, fetch())

	valid = "new"
	failure := fetch()
	require.Equal(t, status.ClassPermanent, failure.Class)
	require.Contains(t, failure.Hint, "check the content of "+cfg.ClientSecretFile+" (auth.client_secret_file), which has not changed since ")
	require.False(t, failure.Renewed())

	onTheWay = func() { write("new") }
	before := failure
	failure = fetch()
	require.True(t, before.Renewed(), "there is no reason to wait any longer")
	require.Equal(t, status.ClassRetry, failure.Class)
	require.Equal(t, kore.ReasonCredentials, failure.Reason)
	require.Contains(t, failure.Hint, "has changed since the token was signed; the next one is signed with it")
	onTheWay = func() {}
	require.Nil(t, fetch())

	require.NoError(t, os.Remove(cfg.ClientSecretFile))
	failure = fetch()
	require.Equal(t, status.ClassPermanent, failure.Class)
	require.Contains(t, failure.Hint, "auth.client_secret_file must hold the client secret")
}

func TestTimeoutOfTheEndpoint(t *testing.T) {
	hang := kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}))
	for e, want := range map[events.Endpoint]time.Duration{
		events.Interactions:       7 * time.Second,
		events.Conversations:      15 * time.Minute,
		events.InteractionDetails: 2 * time.Minute,
		events.CallDetails:        2 * time.Minute,
	} {
		t.Run(string(e), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.Timeouts = map[events.Endpoint]time.Duration{events.Interactions: 7 * time.Second}
				q := query()
				q.Endpoint, q.Offset, q.Limit = e, 1, 20
				start := time.Now()
				_, err := newClient(t, cfg, hang).Fetch(t.Context(), q)
				require.Equal(t, want, time.Since(start))
				var failure *kore.Error
				require.ErrorAs(t, err, &failure)
				require.Equal(t, status.ClassRetry, failure.Class)
				require.Equal(t, kore.ReasonTimeout, failure.Reason)
				require.Contains(t, failure.Hint, "endpoints."+string(e)+".timeout")
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}

func TestTimeoutWhileReadingTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			resp := reply(200, "")
			resp.ContentLength = -1
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewBufferString(`{"data":[`), hangingReader{r.Context()}))
			return resp, nil
		})))
		start := time.Now()
		_, err := c.Fetch(t.Context(), query())
		require.Equal(t, time.Minute, time.Since(start))
		var failure *kore.Error
		require.ErrorAs(t, err, &failure)
		require.Equal(t, kore.ReasonTimeout, failure.Reason)
		require.Equal(t, 200, failure.Status)
	})
}

type hangingReader struct{ ctx context.Context }

func (r hangingReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []kore.Attempt
		c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})), kore.WithObserver(func(a kore.Attempt) { seen = append(seen, a) }))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.Fetch(ctx, query())
		require.ErrorIs(t, err, context.Canceled)
		var failure *kore.Error
		require.NotErrorAs(t, err, &failure)
		require.Equal(t, []kore.Attempt{{Endpoint: events.Interactions, Outcome: "canceled", Duration: time.Second}}, seen)
	})
}

func TestBodyIsReadAndClosed(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		size   int
	}{
		"page":        {200, 3 << 20},
		"error":       {500, 200 << 10},
		"rate limit":  {429, 10},
		"no content":  {204, 0},
		"redirection": {302, 100},
	} {
		t.Run(name, func(t *testing.T) {
			body := &trackedBody{Reader: bytes.NewReader(append([]byte(`{"data":"`), append(bytes.Repeat([]byte("x"), tc.size), `"}`...)...))}
			c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				resp := reply(tc.status, "")
				resp.Body, resp.ContentLength = body, -1
				return resp, nil
			})))
			_, _ = c.Fetch(t.Context(), query()) // an error or not: the body is read
			require.Zero(t, body.Len(), "bytes not read")
			require.True(t, body.closed)
		})
	}
}

type trackedBody struct {
	*bytes.Reader
	closed bool
}

func (b *trackedBody) Close() error { b.closed = true; return nil }

// An answer that needs more memory than there is waits for it, for as long as the request may take. A small answer needs none.
func TestAnswerWaitsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := 0
		client := newClient(t, config(), kore.WithTransport(transport(func(*http.Request) (*http.Response, error) {
			return reply(http.StatusOK, emptyPage+strings.Repeat(" ", size)), nil
		})))
		budget := memory.New(100 << 10)
		all, more := budget.Hold(), budget.Hold()
		require.NoError(t, all.Grow(t.Context(), 100<<10))
		require.NoError(t, more.Grow(t.Context(), 1))
		fetch := func(n int) error {
			q := query()
			q.Memory, size = budget.Hold(), n
			defer q.Memory.Release()
			_, err := client.Fetch(t.Context(), q)
			return err
		}
		require.NoError(t, fetch(1000))

		began := time.Now()
		failure, ok := errors.AsType[*kore.Error](fetch(30_000))
		require.True(t, ok)
		require.Equal(t, kore.ReasonMemory, failure.Reason)
		require.Equal(t, status.ClassRetry, failure.Class)
		require.Contains(t, failure.Hint, "max_body")
		require.Equal(t, time.Minute, time.Since(began))

		time.AfterFunc(time.Second, all.Release)
		require.NoError(t, fetch(20_000))
		require.Equal(t, time.Minute+time.Second, time.Since(began))
	})
}
