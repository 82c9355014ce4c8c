package koresim

import (
	"context"
	"time"
)

// noticing is how long net/http may take to notice that a client has gone. It does so on a goroutine of its own, which a busy
// machine keeps waiting. It is shorter than a client waits for an answer: one that gives up meanwhile was there.
const noticing = 5 * time.Second

// A visit is one request at an endpoint, from its arrival until its answer goes out or its client has given up.
type visit struct {
	client context.Context // done soon after the client has given up
	most   int             // the most requests that were there when a later one came
}

// enter notes that a request has come, and returns what notes that its answer goes out.
//
// Whether two requests were there at the same time is decided when the earlier one is answered. Its client may have given up before
// the later one came, as a client does whose time is over, and then there was one request.
func (s *Server) enter(client context.Context, c *call) (leave func()) {
	key := c.account.ID + "/" + string(c.endpoint)
	v := &visit{client: client}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.visits[key] == nil {
		s.visits[key] = map[*visit]bool{}
	}
	for other := range s.visits[key] {
		if other.client.Err() != nil {
			delete(s.visits[key], other)
		}
	}
	s.visits[key][v] = true
	for other := range s.visits[key] {
		if other != v {
			other.most = max(other.most, len(s.visits[key]))
		}
	}
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, 1)
	return func() { s.leave(key, v) }
}

func (s *Server) leave(key string, v *visit) {
	s.mu.Lock()
	most := v.most
	s.mu.Unlock()
	stayed := most > 1 && wait(v.client, noticing) == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.visits[key], v)
	if stayed {
		s.stats.MaxInFlight = max(s.stats.MaxInFlight, most)
	}
}
