package koresim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

const (
	maxRange            = 7 * day
	maxLimit            = 100
	maxConversations    = 20
	sloppyConversations = 10
	maxOffset           = 10
)

// bounds reads the two ends of a request. Layouts are tried in order; a date alone means its first millisecond as the
// begin and its last as the end, in zone.
func (s *Server) bounds(from, to string, zone time.Duration, layouts ...string) (moment, moment, *refusal) {
	parse := func(name, v string) (moment, bool, *refusal) {
		for _, l := range layouts {
			if t, err := time.Parse(l, v); err == nil && t.Format(l) == v {
				return momentOf(t.Add(-zone)), l == time.DateOnly, nil
			}
		}
		return 0, false, refuse(http.StatusBadRequest, "date", "%s must be a date in the form %s", name, strings.Join(layouts, " or "))
	}
	lo, _, err := parse("start", from)
	if err != nil {
		return 0, 0, err
	}
	hi, whole, err := parse("end", to)
	if err != nil {
		return 0, 0, err
	}
	switch {
	case whole:
		hi += day - 1
	case s.cfg.Profile.WholeSecond:
		hi += second - 1
	}
	if hi < lo {
		return 0, 0, refuse(http.StatusBadRequest, "range", "The end date is before the start date")
	}
	// Whole days: seven dates are a range of six days and a rest.
	if hi-lo >= maxRange {
		return 0, 0, refuse(http.StatusBadRequest, "range", "The date range must be less than 7 days")
	}
	return lo, hi, nil
}

// number reads a decimal query parameter within [lo, hi].
func number(q url.Values, name string, def, lo, hi int) (int, *refusal) {
	if !q.Has(name) {
		return def, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < lo || n > hi {
		return 0, refuse(http.StatusBadRequest, name, "%s must be a number between %d and %d", name, lo, hi)
	}
	return n, nil
}

func (s *Server) serveInteractions(r *http.Request, c *call, now moment) ([]byte, *refusal) {
	q := r.URL.Query()
	from, to, err := s.bounds(q.Get("from"), q.Get("to"), s.cfg.Profile.BoundsZone, zoneless, time.DateTime, time.DateOnly)
	if err != nil {
		return nil, err
	}
	offset, err := number(q, "offset", 0, 0, 1<<30)
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", maxLimit, 0, maxLimit)
	if err != nil {
		return nil, err
	}
	var filter struct{ ConversationIds, SessionIds, Channels, AgentIds []string }
	if r.Method == http.MethodPost {
		if err := decodeBody(r, &filter); err != nil {
			return nil, err
		}
	}
	p := &s.cfg.Profile
	for _, name := range p.Refuses {
		if name == "channels" && filter.Channels != nil || name == "agentIds" && filter.AgentIds != nil {
			return nil, refuse(http.StatusBadRequest, name, "%q is not allowed", name)
		}
	}
	stored := moment(p.Broken.SelectsStored.Milliseconds())
	rows := s.segments(c.account.number, c.bot, from-stored, to-stored, now)
	if len(filter.ConversationIds)+len(filter.SessionIds)+len(filter.Channels)+len(filter.AgentIds) > 0 {
		rows = slices.DeleteFunc(rows, func(r row) bool {
			c := s.contact(r.ref)
			g := c.segments[r.n]
			return !among(filter.ConversationIds, c.conversationID) || !among(filter.SessionIds, g.session) ||
				!among(filter.Channels, assistNames[c.outline.channel]) || !among(filter.AgentIds, g.agent.id)
		})
	}
	if p.Broken.IgnoresOffset[c.endpoint] {
		offset = 0
	}
	page := cut(rows, offset, limit)
	more := offset+len(page) < len(rows)
	w := newJSONWriter(len(page))
	w.obj("")
	room := limit - len(page) // for second copies
	w.num("numResults", int64(len(page)))
	if !s.cfg.Profile.NoHasMore && now%2 == 0 {
		w.flag("hasMore", more)
	}
	w.arr("data")
	for _, r := range page {
		if p.Broken.Unreadable[events.Interactions] {
			w.str("", "a record that is lost")
			continue
		}
		if c := s.contact(r.ref); !c.renderMisfit(w, events.Interactions, int(r.n)) {
			agenticToo := q.Get("includeAgenticData") == "true"
			if t, ok := c.twin(int(r.n)); ok && room > 0 {
				c.renderSegment(w, c.segments[r.n], t, agenticToo)
				room--
			}
			c.renderSegment(w, c.segments[r.n], r.seen, agenticToo)
		}
	}
	w.end()
	if !s.cfg.Profile.NoHasMore && now%2 != 0 {
		w.flag("hasMore", more)
	}
	w.end()
	s.served(c, page, now)
	return w.b, nil
}

func among(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }

func (s *Server) serveConversations(r *http.Request, c *call, now moment) ([]byte, *refusal) {
	body := struct {
		From, To                                                               string
		Page, Limit                                                            *int
		IncludeHistory, IncludeAgenticHistory, IncludeFeedback, IncludeSummary bool
		ConversationIds                                                        json.RawMessage
	}{}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	p := &s.cfg.Profile
	from, to, err := s.bounds(body.From, body.To, p.DayZone, time.DateOnly)
	if err != nil {
		return nil, err
	}
	page, limit := 1, maxConversations
	if body.Page != nil {
		page = *body.Page
	}
	if body.Limit != nil {
		limit = *body.Limit
	}
	if page < 1 || limit < 1 || limit > maxConversations {
		return nil, refuse(http.StatusBadRequest, "limit", "page must be at least 1 and limit between 1 and %d", maxConversations)
	}
	if p.Sloppy {
		limit = min(limit, sloppyConversations)
	}
	ids, err := p.conversationIDs(body.ConversationIds)
	if err != nil {
		return nil, err
	}
	rows := s.conversations(c.account.number, c.bot, from, to, now)
	if ids != nil {
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(ids, s.contact(r.ref).conversationID) })
	}
	if p.Broken.IgnoresOffset[c.endpoint] {
		page = 1
	}
	skip := (page - 1) * limit
	found := cut(rows, skip, limit)
	w := newJSONWriter(len(found))
	w.obj("")
	w.arr("results")
	inc := include{body.IncludeHistory, body.IncludeAgenticHistory, body.IncludeFeedback, body.IncludeSummary}
	for _, r := range found {
		if c := s.contact(r.ref); !c.renderMisfit(w, events.Conversations, 0) {
			c.renderConversation(w, r.seen, inc)
		}
	}
	w.end()
	w.num("skip", int64(skip))
	w.num("limit", int64(limit))
	w.flag("hasMore", skip+len(found) < len(rows))
	total := len(rows)
	if p.Broken.TotalsDiffer {
		total++
	}
	if p.Broken.TotalsGrow {
		total += int((now - momentOf(s.cfg.Start)) / second)
	}
	pages := (total + limit - 1) / limit
	if p.Sloppy {
		w.str("totalPages", strconv.Itoa(pages))
		w.str("totalResults", strconv.Itoa(total))
	} else {
		w.num("totalPages", int64(pages))
		w.num("totalResults", int64(total))
	}
	w.end()
	// What was left out of the records has not been served, but for transcripts, which not everybody wants.
	c.arrives = c.arrives && inc.agentic && inc.feedback && inc.summary && (inc.history || !p.AgenticNeedsHistory)
	s.served(c, found, now)
	return w.b, nil
}

// conversationIDs reads the filter as the profile does. Nil means no filter.
func (p *Profile) conversationIDs(raw json.RawMessage) ([]string, *refusal) {
	if len(raw) == 0 || string(raw) == "null" || p.IDs == IDsIgnored {
		return nil, nil
	}
	var list []string
	var one string
	isList := json.Unmarshal(raw, &list) == nil
	isOne := json.Unmarshal(raw, &one) == nil
	switch {
	case p.IDs == IDsAsArray && isList:
		return append([]string{}, list...), nil
	case p.IDs == IDsAsString && isOne:
		return strings.Split(one, ","), nil
	case p.IDs == IDsAsArray && isOne:
		return nil, nil
	}
	return nil, refuse(http.StatusBadRequest, "conversationIds", "conversationIds must be a String")
}

func (s *Server) serveOutcomes(r *http.Request, c *call, now moment) ([]byte, *refusal) {
	p := &s.cfg.Profile
	iid := r.Header.Get("iId")
	if iid == "" {
		return nil, refuse(http.StatusBadRequest, "iId", "iId is required")
	}
	scope := c.account.bot(iid)
	if scope < 0 {
		return nil, refuse(http.StatusBadRequest, "iId", "Invalid stream id %s", iid)
	}
	body := struct {
		StartDate, EndDate     string
		TimeZoneOffset         *int
		SelectedFields         []string
		Queues, Channels, Bots []string
		Direction              string
	}{}
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	if body.TimeZoneOffset == nil || *body.TimeZoneOffset < -14*60 || *body.TimeZoneOffset > 14*60 {
		return nil, refuse(http.StatusBadRequest, "timeZoneOffset", "timeZoneOffset is required, in minutes")
	}
	view := analyticsView{
		v1:     c.endpoint == events.CallDetails,
		zone:   -time.Duration(*body.TimeZoneOffset) * time.Minute,
		fields: map[string]bool{},
	}
	for i, f := range body.SelectedFields {
		if slices.Contains(p.Refuses, f) {
			return nil, refuse(http.StatusBadRequest, "selectedFields", "selectedFields[%d] %q is not allowed", i, f)
		}
		view.fields[f] = true
	}
	from, to, err := s.bounds(body.StartDate, body.EndDate, view.zone, time.DateTime, time.DateOnly)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	offset, err := number(q, "offset", 0, 0, maxOffset)
	if err != nil {
		return nil, err
	}
	limit, err := number(q, "limit", maxLimit, 1, maxLimit)
	if err != nil {
		return nil, err
	}
	var bots []int
	for i, b := range c.account.Bots {
		if (!p.ScopedByIID || i == scope) && among(body.Bots, b.ID) {
			bots = append(bots, i)
		}
	}
	if p.Broken.IgnoresWindow[c.endpoint] {
		from, to = momentOf(s.cfg.Start), now
	}
	first, second := s.sessions(c.endpoint, c.account.number, bots, from, to, now)
	if p.Broken.IgnoresOffset[c.endpoint] {
		offset = 0
	}
	skip := offset
	if !p.OffsetInRecords {
		skip *= limit
	}
	var page []row
	if p.LimitPerList {
		page = slices.Concat(cut(first, skip, limit), cut(second, skip, limit))
	} else {
		page = cut(append(first, second...), skip, limit)
	}
	w := newJSONWriter(len(page))
	w.obj("")
	w.num("numResults", int64(len(page)))
	w.arr("data")
	for _, r := range page {
		if p.Broken.Unreadable[c.endpoint] {
			w.str("", "a record that is lost")
			continue
		}
		if found := s.contact(r.ref); !found.renderMisfit(w, c.endpoint, 0) {
			found.renderOutcome(w, r.seen, view)
		}
	}
	w.end()
	w.end()
	s.served(c, page, now)
	return w.b, nil
}

// Path returns the path of an endpoint for an account or one of its bots.
func (a *Account) Path(e events.Endpoint, bot string) string {
	return events.ForEach(
		"/agentassist/api/v1/public/"+bot+"/v2/agentassistinteractions",
		"/agentassist/api/v1/public/"+bot+"/aaconversation",
		"/agentassist/api/public/analytics/account/"+a.ID+"/v2/interactionDetails",
		"/agentassist/api/public/analytics/account/"+a.ID+"/calldetails",
	)[e.Index()]
}
