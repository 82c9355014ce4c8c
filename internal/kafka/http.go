package kafka

import (
	"context"
	"fmt"
	"io"
	"time"
)

const (
	// silentFor is how long the brokers may leave a first request unanswered before they are asked whether they are brokers. An HTTP server
	// waits for the rest of what it takes for a request.
	silentFor = 2 * time.Second
	// probeTimeout is how long they may take to answer that.
	probeTimeout = 2 * time.Second
)

// httpError says that what is named as a broker is an HTTP server.
type httpError struct{ addr string }

func (e *httpError) Error() string { return e.addr + " is an HTTP server, not a Kafka broker" }

// Hint says what to do.
func (e *httpError) Hint() string {
	return "name the port of Kafka itself in kafka.brokers, often 9092; a REST proxy, a schema registry or a page has another one"
}

// probe returns an *httpError if one of the configured brokers answers as an HTTP server does, else nil.
func (c *connector) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, addr := range c.config.Brokers {
		if c.speaksHTTP(ctx, addr) {
			return &httpError{addr}
		}
	}
	return nil
}

func (c *connector) speaksHTTP(ctx context.Context, addr string) bool {
	conn, err := c.dial(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", addr); err != nil {
		return false
	}
	answer := make([]byte, len("HTTP/"))
	_, err = io.ReadFull(conn, answer)
	return err == nil && string(answer) == "HTTP/"
}
