package kore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// NewTransport returns the transport that a Client makes for itself: HTTP/1.1, TLS 1.2 or newer, the proxy of the
// environment. Only the time until a connection stands is bounded here; the rest is the attempt's timeout.
//
// HTTP/2 gains nothing where few requests are in flight, and it repeats requests by itself.
func NewTransport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: withoutURL(http.ProxyFromEnvironment),
		DialContext: (&net.Dialer{
			Timeout: 10 * time.Second,
			// The server may take minutes over a page: find out meanwhile whether it is still there.
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 4},
		}).DialContext,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode/100 != 2 {
				return &tunnelError{resp.StatusCode}
			}
			return nil
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		Protocols:           &protocols,
		MaxIdleConnsPerHost: 4, // one for each endpoint
		// Shorter than the minute after which common load balancers hang up: a request that meets that moment fails.
		IdleConnTimeout:        50 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// A tunnelError is the answer of a proxy that does not connect to the server.
type tunnelError struct{ status int }

func (e *tunnelError) Error() string {
	return fmt.Sprintf("the proxy answers CONNECT with %d %s", e.status, http.StatusText(e.status))
}

// withoutURL keeps a proxy's URL, which may hold a password, out of the error that says it is wrong.
func withoutURL(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err != nil {
			return nil, errors.New("the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL")
		}
		return u, nil
	}
}
