package kore_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/status"
)

// rawServer answers by hand, so that a test decides about connections. It keeps what arrived.
type rawServer struct {
	net.Listener
	mu       sync.Mutex
	arrived  []string // request heads, as they came
	handlers sync.WaitGroup
}

// serveRaw calls answer with the number of the request, over all connections, from 1. It returns false to have the
// connection closed.
func serveRaw(t *testing.T, answer func(n int, conn net.Conn) bool) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &rawServer{Listener: l}
	s.handlers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.handlers.Go(func() { s.serve(conn, answer) })
		}
	})
	t.Cleanup(func() { l.Close(); s.handlers.Wait() })
	return s
}

func (s *rawServer) serve(conn net.Conn, answer func(int, net.Conn) bool) {
	defer conn.Close()
	var head strings.Builder
	in := bufio.NewReader(io.TeeReader(conn, &head))
	for {
		head.Reset()
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.arrived = append(s.arrived, head.String())
		n := len(s.arrived)
		s.mu.Unlock()
		if !answer(n, conn) {
			return
		}
	}
}

func (s *rawServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived
}

func (s *rawServer) url() string { return "http://" + s.Addr().String() }

func write(conn net.Conn, body string) bool {
	_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return err == nil
}

// The server hangs up on a kept-alive connection when the second request has arrived, without a word: the moment at which
// net/http repeats a request by itself.
func TestNothingIsSentTwice(t *testing.T) {
	hangUp := func(n int, conn net.Conn) bool { return n != 2 && write(conn, emptyPage) }

	t.Run("net/http alone does", func(t *testing.T) {
		s := serveRaw(t, hangUp)
		c := &http.Client{Transport: kore.NewTransport()}
		defer c.CloseIdleConnections()
		for range 2 {
			resp, err := c.Get(s.url())
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			resp.Body.Close()
		}
		require.Len(t, s.requests(), 3)
	})

	post := query()
	post.Endpoint, post.Offset, post.Limit = events.Conversations, 1, 20
	for name, q := range map[string]kore.Query{"GET": query(), "POST": post} {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, hangUp)
			cfg := config()
			cfg.BaseURL = s.url()
			c := newClient(t, cfg)
			_, err := c.Fetch(t.Context(), q)
			require.NoError(t, err)

			_, err = c.Fetch(t.Context(), q)
			var failure *kore.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, status.ClassRetry, failure.Class)
			require.Equal(t, kore.ReasonConnection, failure.Reason)
			require.Len(t, s.requests(), 2)

			_, err = c.Fetch(t.Context(), q)
			require.NoError(t, err)
			heads := s.requests()
			require.Len(t, heads, 3)
			for _, head := range heads {
				require.True(t, strings.HasPrefix(head, name), head)
				require.NotContains(t, head, "Transfer-Encoding")
				require.Equal(t, name == "POST", strings.Contains(head, "Content-Length"), head)
			}
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	opened := map[string]bool{}
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		opened[r.RemoteAddr] = true
		n := len(opened)
		mu.Unlock()
		if r.URL.Query().Get("offset") == "1" {
			w.WriteHeader(500)
		}
		fmt.Fprintf(w, `{"data":%d}`, n)
	}))
	defer server.Close()
	cfg := config()
	cfg.BaseURL = server.URL
	c := newClient(t, cfg)
	q := query()
	for i := range 6 {
		q.Offset = i % 3
		_, err := c.Fetch(t.Context(), q)
		require.Equal(t, q.Offset == 1, err != nil, err)
	}
	require.Len(t, opened, 1)
}

// Each of these is a bad day on the wire.
func TestWireFaults(t *testing.T) {
	big := `{"data":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, tc := range map[string]struct {
		answer func(n int, conn net.Conn) bool
		class  status.Class
		reason kore.Reason
		status int
		hint   string
		is     error
	}{
		"closed without an answer": {
			answer: func(n int, conn net.Conn) bool { return false },
			class:  status.ClassRetry, reason: kore.ReasonConnection,
		},
		"reset": {
			answer: func(n int, conn net.Conn) bool { _ = conn.(*net.TCPConn).SetLinger(0); return false },
			class:  status.ClassRetry, reason: kore.ReasonConnection, is: syscall.ECONNRESET,
		},
		"not HTTP": {
			answer: func(n int, conn net.Conn) bool { io.WriteString(conn, "SSH-2.0-OpenSSH\r\n"); return false },
			class:  status.ClassRetry, reason: kore.ReasonConnection,
		},
		"half a body, length announced": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":[{}]}")
				return false
			},
			class: status.ClassRetry, reason: kore.ReasonConnection, status: 200, is: io.ErrUnexpectedEOF,
		},
		"half a body, in chunks": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"data\":[\r\n")
				return false
			},
			class: status.ClassRetry, reason: kore.ReasonConnection, status: 200, is: io.ErrUnexpectedEOF,
		},
		"half a body, until the end of the connection": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":[{\"a\":1},{\"b\"")
				return false
			},
			class: status.ClassRetry, reason: kore.ReasonConnection, status: 200,
		},
		"half a compressed body": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"+compress(t, emptyPage)[:20])
				return false
			},
			class: status.ClassRetry, reason: kore.ReasonConnection, status: 200,
		},
		"damaged compression": {
			answer: func(n int, conn net.Conn) bool {
				z := []byte(compress(t, emptyPage))
				z[len(z)-6] ^= 0xff
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(z), z)
				return false
			},
			class: status.ClassRetry, reason: kore.ReasonConnection, status: 200,
		},
		"too large, length announced": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{")
				return false
			},
			class: status.ClassShape, reason: kore.ReasonTooLarge, status: 200, hint: "max_body",
		},
		"too large, in the end": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+big)
				return false
			},
			class: status.ClassShape, reason: kore.ReasonTooLarge, status: 200, hint: "max_body",
		},
		"too large, decompressed": {
			answer: func(n int, conn net.Conn) bool {
				z := compress(t, big)
				require.Less(t, len(z), 10_000)
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(z), z)
				return false
			},
			class: status.ClassShape, reason: kore.ReasonTooLarge, status: 200, hint: "max_body",
		},
		"another encoding": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc")
				return false
			},
			class: status.ClassShape, reason: kore.ReasonEncoding, status: 200, hint: "Content-Encoding",
		},
		"an error whose body breaks off": {
			answer: func(n int, conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 429 Too Many\r\nRetry-After: 90\r\nContent-Length: 100\r\n\r\n{\"err")
				return false
			},
			class: status.ClassWait, reason: kore.ReasonRateLimited, status: 429,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, tc.answer)
			cfg := config()
			cfg.BaseURL, cfg.MaxBody = s.url(), 1<<20
			_, err := newClient(t, cfg).Fetch(t.Context(), query())
			var failure *kore.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, tc.class, failure.Class, err)
			require.Equal(t, tc.reason, failure.Reason, err)
			require.Equal(t, tc.status, failure.Status, err)
			require.Contains(t, failure.Hint, tc.hint)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
			require.Len(t, s.requests(), 1)
		})
	}
}

func compress(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func TestCompressedPage(t *testing.T) {
	body, accepted := compress(t, emptyPage), ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, body)
	}))
	defer server.Close()
	cfg := config()
	cfg.BaseURL = server.URL
	page, err := newClient(t, cfg).Fetch(t.Context(), query())
	require.NoError(t, err)
	require.Equal(t, "gzip", accepted)
	require.Equal(t, emptyPage, string(page.Body))
	require.WithinDuration(t, time.Now(), page.ServerTime, time.Minute)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Error("the token was carried elsewhere")
	}))
	defer elsewhere.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/login?state=confidential", code)
		}))
		cfg := config()
		cfg.BaseURL = server.URL
		_, err := newClient(t, cfg).Fetch(t.Context(), query())
		server.Close()
		var failure *kore.Error
		require.ErrorAs(t, err, &failure)
		require.Equal(t, status.ClassPermanent, failure.Class)
		require.Equal(t, kore.ReasonRedirect, failure.Reason)
		require.Equal(t, elsewhere.URL+"/login", failure.Message)
		require.Contains(t, failure.Hint, "base_url")
	}
}

func TestTLS(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != "HTTP/1.1" {
			t.Errorf("came over %s", r.Proto)
		}
		io.WriteString(w, emptyPage)
	})
	fetch := func(t *testing.T, url string, change func(*http.Transport)) *kore.Error {
		cfg := config()
		cfg.BaseURL = url
		tr := kore.NewTransport()
		change(tr)
		_, err := newClient(t, cfg, kore.WithTransport(tr)).Fetch(t.Context(), query())
		if err == nil {
			return nil
		}
		failure, ok := errors.AsType[*kore.Error](err)
		require.True(t, ok, err)
		return failure
	}
	start := func(t *testing.T, change func(*httptest.Server)) *httptest.Server {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = true
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		change(server)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	asIs := func(*httptest.Server) {}

	t.Run("trusted, by HTTP/1.1 though the server has HTTP/2", func(t *testing.T) {
		server := start(t, asIs)
		require.Nil(t, fetch(t, server.URL, func(tr *http.Transport) {
			tr.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		}))
	})
	t.Run("unknown authority", func(t *testing.T) {
		failure := fetch(t, start(t, asIs).URL, func(*http.Transport) {})
		require.Equal(t, status.ClassPermanent, failure.Class)
		require.Equal(t, kore.ReasonTLS, failure.Reason)
		require.Contains(t, failure.Hint, "SSL_CERT_FILE")
	})
	t.Run("another host's certificate", func(t *testing.T) {
		server := start(t, asIs)
		failure := fetch(t, server.URL, func(tr *http.Transport) {
			tr.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			tr.TLSClientConfig.ServerName = "platform.kore.example"
		})
		require.Equal(t, status.ClassPermanent, failure.Class)
		require.Equal(t, kore.ReasonTLS, failure.Reason)
	})
	t.Run("no TLS there", func(t *testing.T) {
		server := httptest.NewServer(handler)
		defer server.Close()
		failure := fetch(t, strings.Replace(server.URL, "http:", "https:", 1), func(*http.Transport) {})
		require.Equal(t, status.ClassPermanent, failure.Class, failure)
		require.Equal(t, kore.ReasonTLS, failure.Reason)
		require.Contains(t, failure.Hint, "scheme")
	})
	t.Run("TLS 1.1 only", func(t *testing.T) {
		server := start(t, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		})
		failure := fetch(t, server.URL, func(tr *http.Transport) { tr.TLSClientConfig.InsecureSkipVerify = true })
		require.Equal(t, kore.ReasonTLS, failure.Reason, failure)
		require.Contains(t, failure.Hint, "TLS 1.2")
	})
}

func TestNoConnection(t *testing.T) {
	dial := func(t *testing.T, f func(ctx context.Context, network, addr string) (net.Conn, error)) *kore.Error {
		tr := kore.NewTransport()
		tr.DialContext = f
		_, err := newClient(t, config(), kore.WithTransport(tr)).Fetch(t.Context(), query())
		failure, ok := errors.AsType[*kore.Error](err)
		require.True(t, ok, err)
		require.Equal(t, status.ClassRetry, failure.Class)
		require.Contains(t, failure.Hint, "base_url")
		return failure
	}
	t.Run("refused", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		failure := dial(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		})
		require.Equal(t, kore.ReasonConnection, failure.Reason)
		require.ErrorIs(t, failure, syscall.ECONNREFUSED)
	})
	t.Run("no such host", func(t *testing.T) {
		failure := dial(t, func(_ context.Context, network, _ string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: "platform.example", IsNotFound: true}}
		})
		require.Equal(t, kore.ReasonDNS, failure.Reason)
		require.Contains(t, failure.Message, "platform.example")
	})
	t.Run("resolver times out", func(t *testing.T) {
		failure := dial(t, func(_ context.Context, network, _ string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "i/o timeout", Name: "platform.example", IsTimeout: true}}
		})
		require.Equal(t, kore.ReasonDNS, failure.Reason)
	})
	t.Run("nobody answers", func(t *testing.T) {
		failure := dial(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Deadline: time.Unix(1, 0)}).DialContext(ctx, network, "192.0.2.1:443")
		})
		require.Equal(t, kore.ReasonTimeout, failure.Reason)
		require.Contains(t, failure.Hint, "firewall")
	})
}
