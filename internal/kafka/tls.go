package kafka

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

// TLSConfig says how a connection is protected. Naming any file, or server_name, switches it on as enabled does.
type TLSConfig struct {
	Enabled            bool   `yaml:"enabled"`
	CAFile             string `yaml:"ca_file"`
	CertFile           string `yaml:"cert_file"`
	KeyFile            string `yaml:"key_file"`
	ServerName         string `yaml:"server_name"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
}

func (c *TLSConfig) on() bool {
	return c.Enabled || c.CAFile != "" || c.CertFile != "" || c.ServerName != "" || c.InsecureSkipVerify
}

func (c *TLSConfig) validate(p *problems, prefix string) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		p.add(prefix+"cert_file", "a client certificate needs both %scert_file and %skey_file", prefix, prefix)
	}
}

// tlsFiles is what the files of a TLSConfig hold. Values are equal if the files hold the same.
type tlsFiles struct{ ca, cert, key string }

// read reads the files as they are now: certificates are renewed, and authorities replaced, while the process runs.
func (c *TLSConfig) read() (files tlsFiles, err error) {
	for _, f := range []struct {
		setting, path string
		content       *string
	}{
		{"ca_file", c.CAFile, &files.ca}, {"cert_file", c.CertFile, &files.cert}, {"key_file", c.KeyFile, &files.key},
	} {
		if f.path == "" {
			continue
		}
		content, err := os.ReadFile(f.path)
		if err != nil {
			return tlsFiles{}, fmt.Errorf("tls.%s: %w", f.setting, err)
		}
		*f.content = string(content)
	}
	return files, nil
}

// config returns the configuration of a handshake with the given server, nil where TLS is off.
func (c *TLSConfig) config(files tlsFiles, server string) (*tls.Config, error) {
	if !c.on() {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server, InsecureSkipVerify: c.InsecureSkipVerify}
	if c.ServerName != "" {
		out.ServerName = c.ServerName
	}
	if c.CAFile != "" {
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM([]byte(files.ca)) {
			return nil, fmt.Errorf("tls.ca_file: there is no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.X509KeyPair([]byte(files.cert), []byte(files.key))
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file %s and tls.key_file %s: %w", c.CertFile, c.KeyFile, err)
		}
		// Sent whatever authorities the server names: its refusal says more than the absence of a certificate would.
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return out, nil
}

// current reads the files and returns the configuration of a handshake with the given server, nil where TLS is off.
func (c *TLSConfig) current(server string) (*tls.Config, error) {
	files, err := c.read()
	if err != nil {
		return nil, err
	}
	return c.config(files, server)
}

// tlsTransport is an HTTP transport that follows the files of a TLSConfig: a request that finds them changed makes new connections.
// It is safe for concurrent use.
type tlsTransport struct {
	tls TLSConfig

	mu    sync.Mutex
	files tlsFiles // that inner was made of
	inner *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *tlsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	inner, err := t.current()
	if err != nil {
		return nil, err
	}
	return inner.RoundTrip(r)
}

func (t *tlsTransport) current() (*http.Transport, error) {
	files, err := t.tls.read()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inner != nil && t.files == files {
		return t.inner, nil
	}
	config, err := t.tls.config(files, "") // the transport fills in the server
	if err != nil {
		return nil, err
	}
	if t.inner != nil {
		t.inner.CloseIdleConnections()
	}
	t.inner, t.files = http.DefaultTransport.(*http.Transport).Clone(), files
	t.inner.TLSClientConfig = config
	return t.inner, nil
}

// tlsHint says what to change in a section of the configuration if TLS is why a connection failed, and only a person can help; else
// it is empty.
func tlsHint(section string, err error) string {
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
