package kore

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// Deflate was not asked for, but is read in both its forms.
func TestDeflateIsRead(t *testing.T) {
	const page = `{"numResults":0,"data":[]}`
	for name, compressor := range map[string]func(io.Writer) io.WriteCloser{
		"zlib": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"raw": func(w io.Writer) io.WriteCloser {
			c, err := flate.NewWriter(w, flate.DefaultCompression)
			require.NoError(t, err)
			return c
		},
	} {
		var compressed bytes.Buffer
		c := compressor(&compressed)
		_, err := io.WriteString(c, page)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		resp := &http.Response{
			StatusCode: 200, Header: http.Header{"Content-Encoding": {"deflate"}}, ContentLength: int64(compressed.Len()), Body: io.NopCloser(&compressed),
		}
		inflate(resp)
		body, err := readPage(resp, 1000)
		require.NoError(t, err, name)
		require.Equal(t, page, string(body))
		require.Nil(t, classify(events.Interactions, answer{status: 200, header: resp.Header, body: body}))
	}
}
