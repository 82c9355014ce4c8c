package koresim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"agentassist-poller/internal/events"
)

// RetryAfter is the form of the header that comes with status 429.
type RetryAfter int

const (
	RetryAfterSeconds RetryAfter = iota
	RetryAfterDate
	RetryAfterAbsent
)

// Server answers for a world over HTTP. It is safe for concurrent use.
type Server struct {
	*World

	mu       sync.Mutex
	arrivals map[string][]time.Time // by account, those of the last minute
	tokens   map[string]time.Time   // jti to its expiry
	injected map[events.Endpoint][]Fault
	faults   Faults
	requests uint64
	visits   map[string]map[*visit]bool // by account and endpoint
	stats    Stats
	tracks   map[trackKey]*track
}

// New returns a world with the server in front of it.
func New(cfg Config) (*Server, error) {
	w, err := NewWorld(cfg)
	if err != nil {
		return nil, err
	}
	return &Server{
		World:    w,
		arrivals: map[string][]time.Time{},
		tokens:   map[string]time.Time{},
		injected: map[events.Endpoint][]Fault{},
		faults:   w.cfg.Faults,
		visits:   map[string]map[*visit]bool{},
		stats:    newStats(),
		tracks:   map[trackKey]*track{},
	}, nil
}

// reply is what the server says, before any trouble on the way.
type reply struct {
	status int
	header http.Header
	body   []byte
	fault  Fault
	endure time.Duration // how long a hanging or slow answer takes
	leave  func()        // to be called when the answer goes out
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	reason string // for Stats.Refused
	msg    string
	code   int
}

func (r *refusal) Error() string { return r.msg }

func refuse(status int, reason, format string, args ...any) *refusal {
	return &refusal{status, reason, fmt.Sprintf(format, args...), status}
}

func errorBody(msg string, code int) []byte {
	b, _ := json.Marshal(map[string]any{"errors": []any{map[string]any{"msg": msg, "code": code}}})
	return b
}

// clock is what the server's own clock says.
func (s *Server) clock() time.Time { return s.cfg.Clock().Add(s.cfg.Skew) }

// answer handles one request up to the moment when the answer would go out.
func (s *Server) answer(r *http.Request) (rep reply) {
	now := s.cfg.Clock()
	rep = reply{status: http.StatusOK, header: http.Header{}, leave: func() {}}
	rep.header.Set("Content-Type", "application/json; charset=utf-8")
	rep.header.Set("Date", s.clock().UTC().Format(http.TimeFormat))
	call, err := s.route(r)
	if s.cfg.OnRequest != nil && call != nil {
		defer func() {
			s.cfg.OnRequest(Request{
				At: now, Endpoint: call.endpoint, Account: call.account.ID, Bot: call.botID(), URL: r.URL.String(),
				Status: rep.status, Rows: call.rows, Fault: rep.fault,
			})
		}()
	}
	if err == nil {
		rep.leave = s.enter(r.Context(), call)
		if err = s.authorize(r, call); err == nil {
			err = s.admit(call, now, rep.header)
		}
	}
	if err == nil {
		rep.fault, rep.endure = s.nextFault(call.endpoint)
		if s.strikes(&rep) {
			return rep
		}
		call.arrives = rep.fault != FaultDropped && rep.fault != FaultHalfBody
		rep.body, err = s.serve(r, call, now)
	}
	if err != nil {
		s.count(func(st *Stats) { st.Refused[err.reason]++ })
		rep.status, rep.body, rep.fault = err.status, errorBody(err.msg, err.code), FaultNone
		return rep
	}
	s.spoil(&rep)
	return rep
}

// call is a request that has found its endpoint.
type call struct {
	endpoint events.Endpoint
	account  *Account
	bot      int // -1 on the endpoints that run per account
	arrives  bool
	rows     int
}

func (c *call) botID() string {
	if c.bot < 0 {
		return ""
	}
	return c.account.Bots[c.bot].ID
}

func (s *Server) route(r *http.Request) (*call, *refusal) {
	c := &call{bot: -1}
	var account, bot string
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(path) == 7 && strings.Join(path[:4], "/") == "agentassist/api/v1/public" && path[5] == "v2" && path[6] == "agentassistinteractions":
		c.endpoint, bot = events.Interactions, path[4]
	case len(path) == 6 && strings.Join(path[:4], "/") == "agentassist/api/v1/public" && path[5] == "aaconversation":
		c.endpoint, bot = events.Conversations, path[4]
	case len(path) == 8 && strings.Join(path[:5], "/") == "agentassist/api/public/analytics/account" && path[6] == "v2" && strings.EqualFold(path[7], "interactionDetails"):
		c.endpoint, account = events.InteractionDetails, path[5]
	case len(path) == 7 && strings.Join(path[:5], "/") == "agentassist/api/public/analytics/account" && strings.EqualFold(path[6], "calldetails"):
		c.endpoint, account = events.CallDetails, path[5]
	default:
		return nil, refuse(http.StatusNotFound, "path", "Cannot %s %s", r.Method, r.URL.Path)
	}
	s.count(func(st *Stats) { st.Requests[c.endpoint]++ })
	if r.Method != http.MethodPost && (c.endpoint != events.Interactions || r.Method != http.MethodGet) {
		return nil, refuse(http.StatusMethodNotAllowed, "method", "Method %s is not allowed", r.Method)
	}
	header := r.Header.Get("accountId")
	if header == "" {
		return nil, refuse(http.StatusBadRequest, "accountId", "accountId is required")
	}
	for _, a := range s.accounts {
		if a.ID == header {
			c.account = a
		}
	}
	if c.account == nil || account != "" && account != header {
		return nil, refuse(http.StatusForbidden, "accountId", "Invalid account")
	}
	if bot != "" {
		if c.bot = c.account.bot(bot); c.bot < 0 {
			return nil, refuse(http.StatusBadRequest, "bot", "Invalid stream id %s", bot)
		}
	}
	return c, nil
}

// admit keeps the budget: RequestsPerMinute arrivals in any sliding minute. Refused requests do not count.
func (s *Server) admit(c *call, now time.Time, header http.Header) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.cfg.RequestsPerMinute
	recent := s.arrivals[c.account.ID]
	recent = slices.DeleteFunc(recent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	s.stats.MaxPerMinute = max(s.stats.MaxPerMinute, len(recent)+1)
	if limit > 0 && len(recent) >= limit {
		s.arrivals[c.account.ID] = recent
		s.stats.Violations++
		wait := time.Minute - now.Sub(recent[len(recent)-limit])
		setRetryAfter(header, s.cfg.RetryAfter, s.clock(), wait)
		return refuse(http.StatusTooManyRequests, "budget",
			"You've exceeded the per-minute rate limit. Please wait for sometime before retrying.")
	}
	s.arrivals[c.account.ID] = append(recent, now)
	s.stats.ByAccount[c.account.ID]++
	return nil
}

func setRetryAfter(header http.Header, form RetryAfter, now time.Time, wait time.Duration) {
	switch form {
	case RetryAfterSeconds:
		header.Set("Retry-After", fmt.Sprint(int((wait+time.Second-1)/time.Second)))
	case RetryAfterDate:
		at := now.Add(wait + time.Second - 1).UTC().Truncate(time.Second)
		header.Set("Retry-After", at.Format(http.TimeFormat))
	}
}

func (s *Server) serve(r *http.Request, c *call, now time.Time) ([]byte, *refusal) {
	if s.cfg.Readable != nil {
		now = s.cfg.Readable()
	}
	page := events.ForEach(s.serveInteractions, s.serveConversations, s.serveOutcomes, s.serveOutcomes)[c.endpoint.Index()]
	return page(r, c, momentOf(now))
}

// decodeBody reads a JSON object. An empty body is an empty object.
func decodeBody(r *http.Request, v any) *refusal {
	if r.Body == nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return refuse(http.StatusBadRequest, "body", "Unreadable body")
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return refuse(http.StatusBadRequest, "body", "Content-Type must be application/json")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return refuse(http.StatusBadRequest, "body", "Invalid JSON in the body: %v", err)
	}
	return nil
}
