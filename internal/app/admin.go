package app

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/secret"
)

// Paths of the admin server.
const (
	logLevelPath = "/admin/log-level"
	accountPath  = "/admin/accounts/" // then its name, and /pause or /resume
)

// logLevels are the values of log.level.
var logLevels = []string{"debug", "info", "warn", "error"}

// adminHandler serves what may be changed while the poller runs. All of it is forgotten when the process ends.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+logLevelPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, strings.ToLower(a.o.Level.Level().String()))
	})
	mux.HandleFunc("PUT "+logLevelPath, a.putLogLevel)
	mux.HandleFunc("PUT "+accountPath+"{account}/pause", a.putPause)
	mux.HandleFunc("PUT "+accountPath+"{account}/resume", a.putResume)
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "a web page of another origin asked for this; use poller admin, or curl", http.StatusForbidden)
	}))
	return a.authorized(protection.Handler(mux))
}

// authorized hands on the requests that an operator sends: those that carry the token. Without a token the server listens on a loopback
// address only, and takes requests to that address or to localhost: a web page can have its own name resolve to a loopback address and is
// of one origin with it then, but it cannot send its requests under another name than its own.
func (a *App) authorized(next http.Handler) http.Handler {
	c := &a.cfg.Server.Admin
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.hasToken() {
			if !isLoopback(hostOf(r.Host)) {
				http.Error(w, fmt.Sprintf("the request is to host %q; want localhost or a loopback address", r.Host), http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		want, err := secret.Source{Text: c.Token, File: c.TokenFile}.Read()
		if err != nil {
			a.log.Warn("the token of server.admin cannot be read; its requests are refused", "err", err)
			http.Error(w, "the token cannot be read; the log says why", http.StatusInternalServerError)
			return
		}
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
		if !ok || !same(got, want.Reveal()) {
			a.log.Warn("a request to server.admin without the right token was refused", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr)
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "want the header Authorization: Bearer, with the token of server.admin", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

const bearer = "Bearer "

// same compares two texts in a time that says nothing of either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// hostOf returns the host of an address without its port, if it has one.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

func (a *App) putLogLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
	name := strings.TrimSpace(string(body))
	if err != nil || !slices.Contains(logLevels, name) {
		http.Error(w, fmt.Sprintf("the body is not a level; want one of %s", strings.Join(logLevels, ", ")), http.StatusBadRequest)
		return
	}
	was, level := a.o.Level.Level(), slog.LevelInfo
	_ = level.UnmarshalText([]byte(name)) // is one of the levels
	a.o.Level.Set(min(was, level))        // whichever of the two shows more shows the change
	a.log.Info("log level changed", "from", was, "to", level, "by", r.RemoteAddr)
	a.o.Level.Set(level)
	fmt.Fprintln(w, name)
}

func (a *App) putPause(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("account")
	if err := a.pause(name, r.RemoteAddr); err != nil {
		refuse(w, err)
		return
	}
	fmt.Fprintf(w, "%s is paused, until it is resumed or this process ends\n", name)
}

func (a *App) putResume(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("account")
	if err := a.resume(name, r.RemoteAddr); err != nil {
		refuse(w, err)
		return
	}
	fmt.Fprintf(w, "%s goes on\n", name)
}

func refuse(w http.ResponseWriter, err error) {
	code := http.StatusConflict
	if errors.Is(err, errNoAccount) {
		code = http.StatusNotFound
	}
	http.Error(w, err.Error(), code)
}

var errNoAccount = errors.New("no such account is configured")

// pause keeps this instance from sending requests for an account, until resume or the end of the process: also once the account is taken
// over again. It refuses an account that another instance reads.
func (a *App) pause(name, by string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.reader(name)
	if err != nil {
		return err
	}
	if o := a.owner(r); o != nil && !o.Mine && o.Instance != "" {
		return fmt.Errorf("account %s is read by %s; pause it there", name, o.Instance)
	}
	if !r.paused.IsZero() {
		return nil
	}
	r.paused = time.Now().UTC()
	if r.account != nil {
		r.account.Pause(r.paused)
	}
	a.log.Warn("account paused: no request is sent for it until somebody resumes it, or this process ends", "account", name, "by", by)
	return nil
}

// resume ends a pause.
func (a *App) resume(name, by string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.reader(name)
	if err != nil || r.paused.IsZero() {
		return err
	}
	if r.account != nil {
		r.account.Resume()
	}
	a.log.Info("account resumed", "account", name, "by", by, "paused_for", time.Since(r.paused).Round(time.Second))
	r.paused = time.Time{}
	return nil
}

// reader returns the reader of a configured account. The caller holds mu.
func (a *App) reader(name string) (*reader, error) {
	for _, r := range a.readers {
		if r.Name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("account %q: %w", name, errNoAccount)
}
