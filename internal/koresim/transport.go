package koresim

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

const (
	drops   = 20      // that a slow body comes in
	maxBody = 1 << 20 // bytes of a request
)

// ServeHTTP answers over a real connection, and breaks it where a fault says so. It ignores write errors:
// the client has gone, or sees the failure on its end of the connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody)) // until it is read, net/http does not notice that the client goes
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rep := s.answer(r)
	if rep.fault == FaultTimeout {
		_ = wait(r.Context(), rep.endure) // reset either way
	}
	rep.leave()
	switch rep.fault {
	case FaultTimeout, FaultReset, FaultDropped:
		reset(w)
		return
	}
	for k, v := range rep.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(rep.body)))
	w.WriteHeader(rep.status)
	switch rep.fault {
	case FaultHalfBody:
		_, _ = w.Write(rep.body[:len(rep.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case FaultSlow:
		_, _ = io.Copy(flushing{w}, &slowBody{ctx: r.Context(), body: rep.body, pause: rep.endure / drops})
	default:
		_, _ = w.Write(rep.body)
	}
}

// reset ends the connection with RST instead of an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it ends with FIN, which is a fault as well
	}
	conn.Close()
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}

// Transport returns a RoundTripper that asks the server without a socket, so that simulated time can be used around it.
// Faults of the connection come as the errors that net/http would report.
func (s *Server) Transport() http.RoundTripper { return direct{s} }

type direct struct{ s *Server }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	asked := r.Clone(ctx)
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		asked.Body = io.NopCloser(bytes.NewReader(b))
	}
	rep := d.s.answer(asked)
	var ended error
	if rep.fault == FaultTimeout {
		ended = wait(ctx, rep.endure)
	}
	rep.leave()
	if ended != nil {
		return nil, ended
	}
	broken := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	var body io.Reader = bytes.NewReader(rep.body)
	switch rep.fault {
	case FaultTimeout, FaultReset, FaultDropped:
		return nil, broken
	case FaultHalfBody:
		body = io.MultiReader(bytes.NewReader(rep.body[:len(rep.body)/2]), failing{io.ErrUnexpectedEOF})
	case FaultSlow:
		body = &slowBody{ctx: ctx, body: rep.body, pause: rep.endure / drops}
	}
	return &http.Response{
		Status: strconv.Itoa(rep.status) + " " + http.StatusText(rep.status), StatusCode: rep.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rep.header, Body: io.NopCloser(body), ContentLength: int64(len(rep.body)), Request: r,
	}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// slowBody gives a part of the body after each pause.
type slowBody struct {
	ctx   context.Context
	body  []byte
	pause time.Duration
	sent  int
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.sent == len(b.body) {
		return 0, io.EOF
	}
	if err := wait(b.ctx, b.pause); err != nil {
		return 0, err
	}
	part := b.body[b.sent:min(b.sent+len(b.body)/drops+1, len(b.body))]
	n := copy(p, part)
	b.sent += n
	return n, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
