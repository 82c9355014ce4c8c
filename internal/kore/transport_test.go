package kore

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
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
