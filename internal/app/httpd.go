package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"agentassist-poller/internal/status"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// HTTPOptions say what the HTTP server serves. Its functions are called for every request and must be safe for
// concurrent use.
type HTTPOptions struct {
	Listen  string
	Pprof   bool
	Metrics prometheus.Gatherer
	Status  func() status.Status
	// Healthy returns nil as long as the process does its rounds, even while what it asks fails: an error here makes
	// Kubernetes restart it. Nil means always.
	Healthy func() error
	// Ready returns nil while a roll-out need not wait for this process; else the error says what it waits for. Nil means always.
	Ready func() error
	// AsyncAPI returns the description of the topics as YAML. Nil: there is none.
	AsyncAPI func() ([]byte, error)
	// Refresh is after how many whole seconds the status page reloads itself; 0 means 5 s.
	Refresh time.Duration
	Log     *slog.Logger
}

// HTTPServer is the server of one address.
type HTTPServer struct {
	listener net.Listener
	server   *http.Server
}

// NewHTTPServer binds the address, so that a port that is taken is known before anything else begins. Serve or Close
// must follow.
func NewHTTPServer(o HTTPOptions) (*HTTPServer, error) {
	return bind("server.listen", o.Listen, newHandler(o), o.Log)
}

// bind binds the address that a setting names.
func bind(setting, listen string, handler http.Handler, log *slog.Logger) (*HTTPServer, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s %q: %w; is another instance running? choose another address, or \"\" for no server", setting, listen, err)
	}
	return &HTTPServer{
		listener: listener,
		server: &http.Server{
			Handler:           plain(handler),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      2 * time.Minute, // a CPU profile takes 30 seconds, or as long as it is asked for
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}, nil
}

// Addr is where the server listens; the port is known even if 0 was asked for.
func (s *HTTPServer) Addr() net.Addr { return s.listener.Addr() }

// pageAt returns an address of the status page for a browser on the same machine.
func pageAt(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// stopTimeout is how long requests that have begun may go on after a stop.
const stopTimeout = 3 * time.Second

// Serve answers until ctx ends, then lets requests that have begun finish for a moment. It returns nil after a stop.
func (s *HTTPServer) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.server.Shutdown(stop); err != nil {
		s.server.Close() // someone still reads; the process stops all the same
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http on %s: %w", s.Addr(), err)
	}
	return nil
}

// Close frees the address of a server that is never served. After Serve there is nothing to close.
func (s *HTTPServer) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return s.server.Close()
}

func newHandler(o HTTPOptions) http.Handler {
	mux := http.NewServeMux()
	fromStatus := prometheus.NewRegistry()
	fromStatus.MustRegister(gauges{o.Status})
	metrics := prometheus.Gatherers{o.Metrics, fromStatus}
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.Handle("GET /healthz", probe(o.Healthy))
	mux.Handle("GET /readyz", probe(o.Ready))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(o.Status()); err != nil {
			o.Log.Debug("status was not sent", "err", err)
		}
	})
	if o.AsyncAPI != nil {
		mux.HandleFunc("GET /asyncapi.yaml", func(w http.ResponseWriter, r *http.Request) {
			text, err := o.AsyncAPI()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/yaml")
			if _, err := w.Write(text); err != nil {
				o.Log.Debug("description of the topics was not sent", "err", err)
			}
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The page needs nothing but its own style, so nothing else is allowed to run or load.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
		if err := writePage(w, o.Status(), o.Refresh); err != nil {
			o.Log.Debug("status page was not sent", "err", err)
		}
	})
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// plain has nothing that is served kept, guessed at or passed on.
func plain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// probe answers 200 or 503, in both cases with a word for the person who looks.
func probe(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if check != nil {
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
}
