package koresim

import (
	"context"
	"time"

	"agentassist-poller/internal/events"
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
// The server decides when it answers the earlier of two requests whether both were in flight at once. The client of the earlier one
// may have given up, by its time limit, before the later one came: then only one was in flight.
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
	return func() { s.leave(key, c.endpoint, v) }
}

func (s *Server) leave(key string, e events.Endpoint, v *visit) {
	allowed := max(1, s.cfg.InFlight[e])
	s.mu.Lock()
	most := max(1, v.most)
	s.mu.Unlock()
	stayed := most <= allowed || wait(v.client, noticing) == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.visits[key], v)
	if !stayed {
		return
	}
	s.stats.MaxInFlight[e] = max(s.stats.MaxInFlight[e], most)
	if most > allowed {
		s.stats.Crowded++
	}
}
