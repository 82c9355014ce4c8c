package kore

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/status"
)

// net/http quotes the whole of a proxy's URL, password included, when it cannot parse it.
func TestProxyPasswordIsNotShown(t *testing.T) {
	broken := func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`invalid proxy address "http://me:c4n4ry@proxy:port"`)
	}
	_, err := withoutURL(broken)(nil)
	require.ErrorContains(t, err, "HTTPS_PROXY")
	require.NotContains(t, err.Error(), "c4n4ry")

	proxy := &url.URL{Scheme: "http", Host: "proxy"}
	got, err := withoutURL(http.ProxyURL(proxy))(nil)
	require.NoError(t, err)
	require.Equal(t, proxy, got)
}

// A proxy that refuses to connect means the same as one that refuses a request.
func TestProxyRefusesToConnect(t *testing.T) {
	for code, want := range map[int]struct {
		class  status.Class
		reason Reason
	}{
		http.StatusProxyAuthRequired: {status.ClassPermanent, ReasonRejected},
		http.StatusForbidden:         {status.ClassPermanent, ReasonRejected},
		http.StatusBadGateway:        {status.ClassRetry, ReasonConnection},
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }))
		defer proxy.Close()
		transport := NewTransport()
		address, err := url.Parse(proxy.URL)
		require.NoError(t, err)
		transport.Proxy = http.ProxyURL(address)
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example/", nil)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		require.Error(t, err)
		failure := classify(events.Interactions, answer{err: err})
		require.Equal(t, want.class, failure.Class, err)
		require.Equal(t, want.reason, failure.Reason)
		require.Contains(t, failure.Hint, "the proxy of HTTPS_PROXY")
	}
}

// A server that speaks HTTP/2 only is named, not called a broken connection.
func TestServerOfHTTP2(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = io.WriteString(conn, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\n")
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), nil)
	require.NoError(t, err)
	resp, err := NewTransport().RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	require.Error(t, err)
	require.Contains(t, classify(events.Interactions, answer{err: err}).Hint, "HTTP/1.1", err)
}

// What a body is shows in the body: whatever encoding its header claims, or does not, a page is read if it can be.
func TestBodiesAreReadAsTheyCome(t *testing.T) {
	const page = `{"numResults":0,"data":[]}`
	var gzipped, enveloped, raw bytes.Buffer
	deflater, err := flate.NewWriter(&raw, flate.DefaultCompression)
	require.NoError(t, err)
	for _, c := range []io.WriteCloser{gzip.NewWriter(&gzipped), zlib.NewWriter(&enveloped), deflater} {
		_, err := io.WriteString(c, page)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	for name, c := range map[string]struct{ encoding, body string }{
		"plain":                            {"", page},
		"identity":                         {"identity", page},
		"gzip":                             {"gzip", gzipped.String()},
		"GZIP":                             {"GZIP", gzipped.String()},
		"x-gzip":                           {"x-gzip", gzipped.String()},
		"gzip, and no header":              {"", gzipped.String()},
		"header of gzip, but plain":        {"gzip", page},
		"header of deflate, but plain":     {"deflate", page},
		"header of br, but plain":          {"br", "{\n" + page[1:]},
		"header of deflate, but gzip":      {"deflate", gzipped.String()},
		"deflate with an envelope":         {"deflate", enveloped.String()},
		"deflate without an envelope":      {"deflate", raw.String()},
		"header of gzip, and nothing else": {"gzip", ""},
	} {
		resp := &http.Response{
			StatusCode: 200, Header: http.Header{"Content-Encoding": {c.encoding}}, ContentLength: int64(len(c.body)),
			Body: io.NopCloser(strings.NewReader(c.body)),
		}
		require.NoError(t, inflate(resp), name)
		body, err := readPage(t.Context(), resp, 1000, nil)
		require.NoError(t, err, name)
		if c.body == "" {
			require.Equal(t, ReasonConnection, classify(events.Interactions, answer{status: 200, header: resp.Header, body: body}).Reason)
			continue
		}
		require.JSONEq(t, page, string(body), name)
		require.Nil(t, classify(events.Interactions, answer{status: 200, header: resp.Header, body: body}), name)
	}
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Encoding": {"br"}}, Body: io.NopCloser(strings.NewReader("\x0b\x0d\x80abc"))}
	require.NoError(t, inflate(resp))
	failure := classify(events.Interactions, answer{status: 200, header: resp.Header})
	require.Equal(t, ReasonEncoding, failure.Reason)
	require.Equal(t, "Content-Encoding: br", failure.Message)
}
