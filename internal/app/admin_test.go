package app

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/secret"
	"agentassist-poller/internal/status"
)

// unstarted returns an app that is not run, and its log.
func unstarted(t *testing.T, change func(*Config)) (*App, *bytes.Buffer) {
	t.Helper()
	cfg := lifecycleConfig(t, "exactly-once", "127.0.0.1:1", "")
	if change != nil {
		change(cfg)
	}
	var out bytes.Buffer
	log, level := NewLog(cfg.Log, &out)
	a, err := New(cfg, Options{Log: log, Level: level})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a, &out
}

// ask sends a request to the admin server's handler.
func (a *App) ask(method, path, body string, change ...func(*http.Request)) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8079"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	a.adminHandler().ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// The level of the log changes at once, also for loggers that were derived before.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	a, out := unstarted(t, nil)
	derived := a.log.With("account", "retail")
	code, answer := a.ask("GET", "/admin/log-level", "")
	require.Equal(t, 200, code)
	require.Equal(t, "info", answer)
	for _, level := range []string{"debug", "error", "warn", "info"} {
		code, answer = a.ask("PUT", "/admin/log-level", level+"\n")
		require.Equal(t, 200, code)
		require.Equal(t, level, answer)
		_, answer = a.ask("GET", "/admin/log-level", "")
		require.Equal(t, level, answer)
		out.Reset()
		derived.Debug("a detail")
		require.Equal(t, level == "debug", strings.Contains(out.String(), "a detail"))
	}
	for _, body := range []string{"", "verbose", "INFO+1", strings.Repeat("debug ", 100)} {
		code, answer = a.ask("PUT", "/admin/log-level", body)
		require.Equal(t, 400, code)
		require.Equal(t, "the body is not a level; want one of debug, info, warn, error", answer)
	}
	code, _ = a.ask("POST", "/admin/log-level", "debug")
	require.Equal(t, 405, code)
}

// Every change is in the log, the one to a level that would not show it too.
func TestAdminIsLogged(t *testing.T) {
	t.Parallel()
	a, out := unstarted(t, nil)
	a.ask("PUT", "/admin/log-level", "error")
	require.Contains(t, out.String(), `"msg":"log level changed","from":"INFO","to":"ERROR"`)
	a.ask("PUT", "/admin/log-level", "info")
	require.Contains(t, out.String(), `"from":"ERROR","to":"INFO"`)
	a.ask("PUT", "/admin/accounts/retail/pause", "")
	a.ask("PUT", "/admin/accounts/retail/pause", "")
	require.Equal(t, 1, strings.Count(out.String(), "account paused"))
	a.ask("PUT", "/admin/accounts/retail/resume", "")
	a.ask("PUT", "/admin/accounts/retail/resume", "")
	require.Equal(t, 1, strings.Count(out.String(), "account resumed"))
}

func TestPauseUnknownAccount(t *testing.T) {
	t.Parallel()
	a, _ := unstarted(t, nil)
	for _, verb := range []string{"pause", "resume"} {
		code, answer := a.ask("PUT", "/admin/accounts/nobody/"+verb, "")
		require.Equal(t, 404, code)
		require.Equal(t, `account "nobody": no such account is configured`, answer)
	}
	code, _ := a.ask("GET", "/admin/accounts/retail/pause", "")
	require.Equal(t, 405, code, "what changes something is never asked for by a link")
}

// Without a token only requests to this machine are taken, and none that a page of another origin makes a browser send: not under its own
// name for this machine, and not across origins.
func TestAdminAndBrowsers(t *testing.T) {
	t.Parallel()
	a, _ := unstarted(t, nil)
	for _, name := range []string{"localhost:8079", "localhost", "127.0.0.1:8079", "[::1]:8079", "[::1]"} {
		code, _ := a.ask("PUT", "/admin/log-level", "info", host(name))
		require.Equal(t, 200, code, name)
	}
	for _, name := range []string{"", "evil.example:8079", "localhost.evil.example", "127.0.0.1.evil.example:8079", "10.0.0.1:8079"} {
		for _, method := range []string{"GET", "PUT"} {
			code, answer := a.ask(method, "/admin/log-level", "debug", host(name), header("Sec-Fetch-Site", "same-origin"))
			require.Equal(t, 403, code, name)
			require.Contains(t, answer, "want localhost or a loopback address")
		}
	}
	for _, from := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "http://localhost:8080"}} {
		code, answer := a.ask("PUT", "/admin/accounts/retail/pause", "", header(from[0], from[1]))
		require.Equal(t, 403, code, from)
		require.Contains(t, answer, "a web page of another origin asked for this")
	}
	require.Nil(t, a.Status().Accounts[0].Paused)
	r := httptest.NewRequest("OPTIONS", "/admin/log-level", nil)
	r.Host = "localhost:8079"
	r.Header.Set("Origin", "https://evil.example")
	w := httptest.NewRecorder()
	a.adminHandler().ServeHTTP(w, r)
	require.Equal(t, 405, w.Code)
	for name := range w.Header() {
		require.NotContains(t, name, "Access-Control")
	}
}

// With a token every request needs it, on whatever address and by whatever name. A file of it is read for each request, and what is wrong
// with that is in the log only.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	const token = "c4n4ry-of-the-token"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	for name, admin := range map[string]Admin{"text": {Token: secret.New(token)}, "file": {TokenFile: file}} {
		t.Run(name, func(t *testing.T) {
			a, out := unstarted(t, func(c *Config) { c.Server.Admin = admin })
			for _, given := range []string{"", "Bearer", "Bearer ", "Bearer wrong", token, "Basic " + token, "Bearer " + token + "x", "bearer " + token} {
				for _, method := range []string{"GET", "PUT"} {
					code, answer := a.ask(method, "/admin/log-level", "debug", header("Authorization", given))
					require.Equal(t, 401, code, given)
					require.NotContains(t, answer, token)
				}
			}
			code, _ := a.ask("PUT", "/admin/log-level", "debug", header("Authorization", "Bearer "+token), host("poller.example:8079"))
			require.Equal(t, 200, code)
			code, _ = a.ask("PUT", "/admin/log-level", "debug", header("Authorization", "Bearer "+token), header("Origin", "https://evil.example"))
			require.Equal(t, 403, code)
			require.NotContains(t, out.String(), token)
			require.Contains(t, out.String(), "without the right token was refused")
		})
	}
	a, out := unstarted(t, func(c *Config) { c.Server.Admin.TokenFile = file })
	require.NoError(t, os.WriteFile(file, []byte("the next one"), 0o600))
	code, _ := a.ask("GET", "/admin/log-level", "", header("Authorization", "Bearer the next one"))
	require.Equal(t, 200, code)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	code, answer := a.ask("GET", "/admin/log-level", "", header("Authorization", "Bearer "))
	require.Equal(t, 500, code)
	require.Equal(t, "the token cannot be read; the log says why", answer)
	require.Contains(t, out.String(), "the file is empty")
}

// The commands ask the poller that runs with the same configuration.
func TestAdminCommands(t *testing.T) {
	t.Parallel()
	cfg := lifecycleConfig(t, "exactly-once", newBroker(t), "")
	cfg.Server.Admin = Admin{Listen: "127.0.0.1:0", Token: secret.New("a token")}
	log, level := NewLog(Log{Level: "error"}, t.Output())
	a, err := New(cfg, Options{Log: log, Level: level})
	require.NoError(t, err)
	cfg.Server.Admin.Listen = a.admin.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.attached(t)
	var said bytes.Buffer
	out := Output{Out: &said}
	for _, c := range []struct {
		ask  func() error
		want string
	}{
		{func() error { return AdminLogLevel(t.Context(), cfg, out, "") }, "error\n"},
		{func() error { return AdminLogLevel(t.Context(), cfg, out, "warn") }, "warn\n"},
		{func() error { return AdminPause(t.Context(), cfg, out, "retail") }, "retail is paused, until it is resumed or this process ends\n"},
		{func() error { return AdminResume(t.Context(), cfg, out, "retail") }, "retail goes on\n"},
	} {
		said.Reset()
		require.NoError(t, c.ask())
		require.Equal(t, c.want, said.String())
	}
	require.Equal(t, slog.LevelWarn, level.Level())
	require.EqualError(t, AdminPause(t.Context(), cfg, out, "no/body"), `the poller refuses: account "no/body": no such account is configured`)
	require.ErrorContains(t, AdminLogLevel(t.Context(), cfg, out, "loud"), "want one of debug, info, warn, error")
	wrong := *cfg
	wrong.Server.Admin.Token = secret.New("another")
	require.ErrorContains(t, AdminPause(t.Context(), &wrong, out, "retail"), "the poller refuses: want the header Authorization")
	cancel()
	require.NoError(t, <-done)
	require.ErrorContains(t, AdminPause(t.Context(), cfg, out, "retail"), "does it run here, with this configuration")
	cfg.Server.Admin.Listen = ""
	err = AdminPause(t.Context(), cfg, out, "retail")
	require.ErrorContains(t, err, "server.admin.listen is empty")
	require.Equal(t, ExitUsage, ExitCode(err))
}

// A pause outlasts the loss of the partition, shows in status and metrics, and is refused where another instance reads the account.
func TestPauseAndTakeover(t *testing.T) {
	inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
		s.group = "pollers"
		one, stop := s.run("one")
		_, last := s.ready(one, 5*time.Minute)
		require.NoError(s, last)
		require.Equal(s, 0.0, shown(s.T, one)["poller_account_paused,account=retail"])
		code, answer := one.ask("PUT", "/admin/accounts/retail/pause", "")
		require.Equal(s, 200, code, answer)
		time.Sleep(10 * time.Second) // what is on its way ends
		asked := func() int64 { return s.sim.Stats().ByAccount[s.sim.Accounts()[0].ID] }
		before := asked()
		paused := func(a *App) {
			account := a.Status().Accounts[0]
			require.NotNil(s, account.Paused)
			require.Zero(s, account.Paused.InFlight)
			require.Equal(s, 1.0, shown(s.T, a)["poller_account_paused,account=retail"])
			require.Equal(s, before, asked())
		}
		for range 60 {
			time.Sleep(time.Second)
			paused(one)
			require.Equal(s, status.Waiting, one.Status().State)
			require.NoError(s, one.ready())
			require.NoError(s, one.healthy())
			require.True(s, one.Status().Accounts[0].Read, "the lease is kept")
		}
		s.cut(true)
		time.Sleep(time.Minute)
		paused(one)
		s.cut(false)
		time.Sleep(2 * time.Minute)
		require.True(s, one.Status().Accounts[0].Read)
		paused(one)

		two, _ := s.run("two")
		time.Sleep(20 * time.Second)
		code, answer = two.ask("PUT", "/admin/accounts/retail/pause", "")
		require.Equal(s, 409, code)
		require.Equal(s, "account retail is read by one; pause it there", answer)
		require.Nil(s, two.Status().Accounts[0].Paused)
		paused(one)
		require.NoError(s, stop())
		time.Sleep(time.Minute)
		require.Greater(s, asked(), before, "the pause does not hold in another instance")
		require.Nil(s, two.Status().Accounts[0].Paused)
	})
	inBubble(t, koresim.Config{SegmentsPerDay: 1000}, func(s *stage) {
		a, _ := s.run("one")
		code, _ := a.ask("PUT", "/admin/accounts/retail/pause", "")
		require.Equal(s, 200, code)
		time.Sleep(time.Minute)
		require.NoError(s, a.ready())
		require.Zero(s, s.sim.Stats().ByAccount[s.sim.Accounts()[0].ID], "it was paused before its first request")
		a.ask("PUT", "/admin/accounts/retail/resume", "")
		time.Sleep(time.Minute)
		require.Equal(s, status.OK, a.Status().State)
	})
}
