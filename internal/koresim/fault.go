package koresim

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// Fault is one way for an answer to go wrong.
type Fault string

const (
	FaultNone         Fault = ""
	FaultUnauthorized Fault = "401"
	FaultForbidden    Fault = "403"
	FaultTooMany      Fault = "429"
	FaultInternal     Fault = "500"
	FaultBadGateway   Fault = "502"
	FaultUnavailable  Fault = "503"
	FaultTimeout      Fault = "timeout"     // nothing comes for Faults.Hang, then the connection breaks
	FaultReset        Fault = "reset"       // the connection breaks before the request is handled
	FaultHalfBody     Fault = "half-body"   // the connection breaks in the middle of the body
	FaultHTML         Fault = "html"        // a proxy's page with status 200
	FaultWrongJSON    Fault = "wrong-json"  // JSON of another shape
	FaultErrors200    Fault = "errors-200"  // {"errors":[...]} with status 200
	FaultEncrypted    Fault = "encrypted"   // the payload encrypted
	FaultBadRecord    Fault = "bad-record"  // one record too many, which nobody can decode
	FaultSlow         Fault = "slow"        // the body comes in drops over Faults.Slow
	FaultClock        Fault = "wrong-clock" // the Date header is hours off
	FaultDropped      Fault = "dropped"     // handled, but the connection breaks before the answer
)

// About says how an answer goes wrong, for a person who chooses faults.
func (f Fault) About() string {
	switch f {
	case FaultUnauthorized, FaultForbidden, FaultTooMany, FaultInternal, FaultBadGateway, FaultUnavailable:
		return "this status"
	case FaultTimeout:
		return "nothing comes, then the connection breaks"
	case FaultReset:
		return "the connection breaks before the request is handled"
	case FaultHalfBody:
		return "the connection breaks in the middle of the answer"
	case FaultHTML:
		return "a proxy's page with status 200"
	case FaultWrongJSON:
		return "JSON of another shape"
	case FaultErrors200:
		return "errors with status 200"
	case FaultEncrypted:
		return "an encrypted answer"
	case FaultBadRecord:
		return "one record too many, which nobody can read"
	case FaultSlow:
		return "the answer comes in drops"
	case FaultClock:
		return "a clock that is hours off"
	case FaultDropped:
		return "handled, but the connection breaks before the answer"
	}
	return ""
}

// joined returns faults as a list for a message.
func joined(faults []Fault) string {
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// FaultKinds returns every fault.
func FaultKinds() []Fault {
	return []Fault{
		FaultUnauthorized, FaultForbidden, FaultTooMany, FaultInternal, FaultBadGateway, FaultUnavailable, FaultTimeout,
		FaultReset, FaultHalfBody, FaultHTML, FaultWrongJSON, FaultErrors200, FaultEncrypted, FaultBadRecord, FaultSlow,
		FaultClock, FaultDropped,
	}
}

// PassingFaults returns the faults that a client must get over by itself: all but those that say that the
// configuration is wrong.
func PassingFaults() []Fault {
	return slices.DeleteFunc(FaultKinds(), func(f Fault) bool {
		return f == FaultUnauthorized || f == FaultForbidden || f == FaultEncrypted || f == FaultClock
	})
}

// Faults make a random share of all answers go wrong.
type Faults struct {
	Rate  float64
	Kinds []Fault // default: PassingFaults
	Seed  uint64
	Hang  time.Duration // default 30 s
	Slow  time.Duration // default 2 s
}

func (f Faults) withDefaults() Faults {
	if f.Kinds == nil {
		f.Kinds = PassingFaults()
	}
	if f.Hang == 0 {
		f.Hang = 30 * time.Second
	}
	if f.Slow == 0 {
		f.Slow = 2 * time.Second
	}
	return f
}

// SetFaults replaces the random faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f.withDefaults()
}

// InjectOnce makes the next admitted request to an endpoint ("": to any) go wrong. Several queue up.
func (s *Server) InjectOnce(f Fault, e events.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected[e] = append(s.injected[e], f)
}

func (s *Server) nextFault(e events.Endpoint) (f Fault, endure time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	for _, key := range []events.Endpoint{e, ""} {
		if queue := s.injected[key]; len(queue) > 0 {
			f, s.injected[key] = queue[0], queue[1:]
			break
		}
	}
	if f == FaultNone && s.faults.Rate > 0 {
		if d := roll(s.faults.Seed, 4, s.requests); d.chance(s.faults.Rate) && len(s.faults.Kinds) > 0 {
			f = pick(d, s.faults.Kinds)
		}
	}
	if f != FaultNone {
		s.stats.Faults[f]++
	}
	if f == FaultSlow {
		return f, s.faults.Slow
	}
	return f, s.faults.Hang
}

// strikes turns rep into the answer of a fault that keeps the request from being handled, if it is one.
func (s *Server) strikes(rep *reply) bool {
	status := map[Fault]int{
		FaultUnauthorized: 401, FaultForbidden: 403, FaultTooMany: 429, FaultInternal: 500, FaultBadGateway: 502, FaultUnavailable: 503,
	}[rep.fault]
	switch rep.fault {
	case FaultTimeout, FaultReset:
		return true
	case FaultHTML:
		rep.header.Set("Content-Type", "text/html")
		rep.body = []byte("<html><head><title>Welcome</title></head><body>Please sign in to the corporate proxy.</body></html>")
		return true
	case FaultBadGateway:
		rep.header.Set("Content-Type", "text/html")
		rep.status, rep.body = status, []byte("<html><body><h1>502 Bad Gateway</h1></body></html>")
		return true
	case FaultWrongJSON:
		rep.body = []byte(`["unexpected",{"data":7}]`)
		return true
	case FaultErrors200:
		rep.body = errorBody("Something went wrong. Please try again later", 500)
		return true
	case FaultEncrypted:
		rep.body = []byte(`{"encryptedKey":"bm90IGEga2V5","encryptedData":"bm90IGRhdGE=","iv":"MDAwMDAwMDAwMDAw","algorithm":"AES-256-GCM"}`)
		return true
	}
	if status == 0 {
		return false
	}
	if status == http.StatusTooManyRequests {
		setRetryAfter(rep.header, s.cfg.RetryAfter, s.clock(), 2*time.Second)
	}
	rep.status, rep.body = status, errorBody(http.StatusText(status), status)
	return true
}

// spoil changes a good answer into that of a fault that comes after the handling.
func (s *Server) spoil(rep *reply) {
	switch rep.fault {
	case FaultClock:
		rep.header.Set("Date", s.clock().Add(3*time.Hour).UTC().Format(http.TimeFormat))
	case FaultBadRecord:
		s.mu.Lock()
		n := s.requests
		s.mu.Unlock()
		for _, list := range []string{`"data":[`, `"results":[`} {
			if i := bytes.Index(rep.body, []byte(list)); i >= 0 {
				i += len(list)
				bad := fmt.Sprintf(`"record %d is lost in migration"`, n)
				if rep.body[i] != ']' {
					bad += ","
				}
				rep.body = slices.Insert(rep.body, i, []byte(bad)...)
				return
			}
		}
	}
}
