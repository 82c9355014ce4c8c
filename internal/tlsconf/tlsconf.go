// Package tlsconf holds how connections are protected: the sections tls of the configuration, and the files that they name, which may be
// replaced while the process runs.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
)

// Config says how a connection is protected. Naming any file, or server_name, switches it on as enabled does.
type Config struct {
	Enabled            bool   `yaml:"enabled"`
	CAFile             string `yaml:"ca_file"`
	CertFile           string `yaml:"cert_file"`
	KeyFile            string `yaml:"key_file"`
	ServerName         string `yaml:"server_name"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
}

// On reports whether TLS is on.
func (c *Config) On() bool {
	return c.Enabled || c.CAFile != "" || c.CertFile != "" || c.ServerName != "" || c.InsecureSkipVerify
}

// CertFileProblem returns what is wrong with the setting cert_file of a section, empty if nothing is.
func (c *Config) CertFileProblem(section string) string {
	if (c.CertFile == "") == (c.KeyFile == "") {
		return ""
	}
	return fmt.Sprintf("a client certificate needs both %s.cert_file and %[1]s.key_file", section)
}

// files is what the files of a Config hold. Values are equal if the files hold the same.
type files struct{ ca, cert, key string }

// read reads the files as they are now: certificates are renewed, and authorities replaced, while the process runs.
func (c *Config) read() (f files, err error) {
	for _, named := range []struct {
		setting, path string
		content       *string
	}{
		{"ca_file", c.CAFile, &f.ca}, {"cert_file", c.CertFile, &f.cert}, {"key_file", c.KeyFile, &f.key},
	} {
		if named.path == "" {
			continue
		}
		content, err := os.ReadFile(named.path)
		if err != nil {
			return files{}, fmt.Errorf("tls.%s: %w", named.setting, err)
		}
		*named.content = string(content)
	}
	return f, nil
}

// config returns the configuration of a handshake with the given server, nil where TLS is off.
func (c *Config) config(f files, server string) (*tls.Config, error) {
	if !c.On() {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server, InsecureSkipVerify: c.InsecureSkipVerify}
	if c.ServerName != "" {
		out.ServerName = c.ServerName
	}
	if c.CAFile != "" {
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM([]byte(f.ca)) {
			return nil, fmt.Errorf("tls.ca_file: there is no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.X509KeyPair([]byte(f.cert), []byte(f.key))
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file %s and tls.key_file %s: %w", c.CertFile, c.KeyFile, err)
		}
		// Sent whatever authorities the server names: its refusal says more than the absence of a certificate would.
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return out, nil
}

// Current reads the files and returns the configuration of a handshake with the given server, nil where TLS is off.
func (c *Config) Current(server string) (*tls.Config, error) {
	f, err := c.read()
	if err != nil {
		return nil, err
	}
	return c.config(f, server)
}

// A Transport is an HTTP transport that follows the files of a Config: a request that finds them changed makes new connections.
// It is safe for concurrent use.
type Transport struct {
	tls Config

	mu    sync.Mutex
	files files // that inner was made of
	inner *http.Transport
}

// NewTransport returns a transport whose connections are protected as c says.
func NewTransport(c Config) *Transport { return &Transport{tls: c} }

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	inner, err := t.current()
	if err != nil {
		return nil, err
	}
	return inner.RoundTrip(r)
}

// CloseIdleConnections closes connections that are not in use.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inner != nil {
		t.inner.CloseIdleConnections()
	}
}

func (t *Transport) current() (*http.Transport, error) {
	found, err := t.tls.read()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inner != nil && t.files == found {
		return t.inner, nil
	}
	config, err := t.tls.config(found, "") // the transport fills in the server
	if err != nil {
		return nil, err
	}
	if t.inner != nil {
		t.inner.CloseIdleConnections()
	}
	t.inner, t.files = http.DefaultTransport.(*http.Transport).Clone(), found
	t.inner.TLSClientConfig = config
	return t.inner, nil
}

// Hint says what to change in a section of the configuration if TLS is why a connection failed, and only a person can help; else
// it is empty.
func Hint(section string, err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "give the certificate of the server's authority in " + section + ".ca_file, which is read again for every connection"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "use a name that the server's certificate has, or set " + section + ".server_name to one"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the server's certificate, or set this machine's clock"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "check the server's certificate, and " + section + ".ca_file and " + section + ".server_name"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server does not speak TLS at this port: check the port, or switch " + section + " off"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // so crypto/tls names an alert of the server
		return "the server refuses the TLS handshake: check that " + section + ".cert_file and " + section +
			".key_file hold a client certificate that it trusts, where it wants one"
	}
	return ""
}
