package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"agentassist-poller/internal/secret"
)

// AdminLogLevel prints the log level of the running poller, or changes it unless level is empty.
func AdminLogLevel(ctx context.Context, c *Config, out Output, level string) error {
	method := http.MethodGet
	if level != "" {
		method = http.MethodPut
	}
	return c.Server.Admin.ask(ctx, out, method, logLevelPath, level)
}

// AdminPause pauses an account of the running poller.
func AdminPause(ctx context.Context, c *Config, out Output, account string) error {
	return c.Server.Admin.ask(ctx, out, http.MethodPut, accountPath+url.PathEscape(account)+"/pause", "")
}

// AdminResume ends the pause of an account of the running poller.
func AdminResume(ctx context.Context, c *Config, out Output, account string) error {
	return c.Server.Admin.ask(ctx, out, http.MethodPut, accountPath+url.PathEscape(account)+"/resume", "")
}

// adminTimeout is more than an answer takes of a poller that is well.
const adminTimeout = 10 * time.Second

// ask sends a request to the admin server of the poller that runs with the same configuration on this machine, and prints the answer.
func (c *Admin) ask(ctx context.Context, out Output, method, path, body string) error {
	if c.Listen == "" {
		return &UsageError{errors.New("server.admin.listen is empty, so that the poller cannot be asked; set an address such as 127.0.0.1:8079 and start the poller again")}
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(host, port)+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	token, err := secret.Source{Text: c.Token, File: c.TokenFile}.Read()
	if err != nil {
		return err
	}
	if !token.IsZero() {
		r.Header.Set("Authorization", bearer+token.Reveal())
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // through no proxy
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("ask the poller: %w; does it run here, with this configuration (server.admin.listen %q)?", err, c.Listen)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case err != nil:
		return fmt.Errorf("ask the poller: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the poller refuses: %s", strings.TrimSpace(string(answer)))
	}
	_, err = out.Out.Write(answer)
	return err
}
