// Command feedback-board is a microservice that answers over HTTP which feedback each agent gave: GET /agents, as JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"agentassist-poller/examples/feed"
)

func main() {
	brokers := flag.String("brokers", "localhost:9092", "addresses of Kafka, separated by commas")
	registry := flag.String("registry", "http://localhost:8081", "address of the schema registry")
	topic := flag.String("topic", "agentassist.feedback", "topic to read")
	listen := flag.String("listen", "127.0.0.1:8095", "address of the HTTP server")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", *listen)
	if err == nil {
		fmt.Printf("http://%s/agents\n", listener.Addr())
		err = run(ctx, feed.Config{Brokers: strings.Split(*brokers, ","), Registry: *registry, Topic: *topic}, listener)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "feedback-board:", err)
		os.Exit(1)
	}
}

// stopTimeout is how long requests that have begun may go on after a stop.
const stopTimeout = 5 * time.Second

// run reads and serves until ctx ends. It closes the listener.
func run(ctx context.Context, cfg feed.Config, listener net.Listener) error {
	b := newBoard()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /agents", b.serve)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return feed.Read(ctx, cfg, b.handle) })
	g.Go(func() error { return serve(ctx, listener, mux, stopTimeout) })
	return g.Wait()
}

// serve answers until ctx ends, then lets requests that have begun finish, for at most the limit.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, limit time.Duration) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		server.Close() // a client still reads; the process stops all the same
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
