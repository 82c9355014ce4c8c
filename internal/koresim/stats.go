package koresim

import (
	"maps"
	"time"

	"agentassist-poller/internal/events"
)

// Stats is what the server saw of its clients.
type Stats struct {
	// Requests that found an endpoint, refused or not, and rows given out by them.
	Requests, Rows map[events.Endpoint]int64
	// ByAccount counts the requests that were within the budget.
	ByAccount map[string]int64
	// Violations counts the requests beyond the budget; MaxPerMinute is the most that arrived in any sliding minute.
	Violations   int64
	MaxPerMinute int
	// MaxInFlight is the most requests of one account that were at an endpoint at the same time. Crowded counts the requests that were still
	// there when another made them more than Config.InFlight.
	MaxInFlight map[events.Endpoint]int
	Crowded     int64
	// Replays counts the tokens that came twice.
	Replays int64
	// Refused counts refusals by reason: path, method, accountId, iId, bot, jwt, scope, budget, date, range, limit, ...
	Refused map[string]int64
	Faults  map[Fault]int64
}

// Request is one request that found an account, as Config.OnRequest is told.
type Request struct {
	At           time.Time
	Endpoint     events.Endpoint
	Account, Bot string // Bot is empty on the endpoints that run per account
	URL          string
	Status, Rows int
	Fault        Fault
}

func newStats() Stats {
	return Stats{
		Requests: map[events.Endpoint]int64{}, Rows: map[events.Endpoint]int64{}, ByAccount: map[string]int64{},
		Refused: map[string]int64{}, Faults: map[Fault]int64{}, MaxInFlight: map[events.Endpoint]int{},
	}
}

// Stats returns a copy.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Requests, st.Rows, st.ByAccount = maps.Clone(st.Requests), maps.Clone(st.Rows), maps.Clone(st.ByAccount)
	st.Refused, st.Faults, st.MaxInFlight = maps.Clone(st.Refused), maps.Clone(st.Faults), maps.Clone(st.MaxInFlight)
	return st
}

func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

type trackKey struct {
	endpoint events.Endpoint
	ref      contactRef
	n        int8
}

// track remembers of one row when each of its changes was first given out.
type track struct {
	changes []moment
	served  []moment
}

// served notes that rows were given out.
func (s *Server) served(c *call, rows []row, now moment) {
	c.rows = len(rows)
	s.count(func(st *Stats) { st.Rows[c.endpoint] += int64(len(rows)) })
	if !s.cfg.Track || !c.arrives {
		return
	}
	for _, r := range rows {
		key := trackKey{c.endpoint, r.ref, r.n}
		s.mu.Lock()
		t := s.tracks[key]
		s.mu.Unlock()
		if t == nil {
			t = &track{changes: s.contact(r.ref).changes(c.endpoint, int(r.n))}
		}
		s.mu.Lock()
		for len(t.served) < len(t.changes) && t.changes[len(t.served)] <= r.seen {
			t.served = append(t.served, now)
		}
		s.tracks[key] = t
		s.mu.Unlock()
	}
}

// FirstServed returns when a version of a view was first given out, for a server that was told to Track. False: never.
func (s *Server) FirstServed(v View, version int) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[v.row]
	if t == nil {
		return time.Time{}, false
	}
	for i, at := range t.served {
		if t.changes[i] >= v.Versions[version].happened {
			return at.Time(), true
		}
	}
	return time.Time{}, false
}
