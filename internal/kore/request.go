package kore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/memory"
)

// Query asks for one page: what its endpoint takes, as events.Takes says.
type Query struct {
	Endpoint events.Endpoint
	// BotID is the bot of interactions and conversations.
	BotID string
	// IID is the bot that the account-wide endpoints want named in the header iId. Empty sends none.
	IID string
	// From and To are both included, as the API has it. They are widened to whole seconds in UTC, or to whole days on
	// conversations.
	From, To time.Time
	// Offset counts records on interactions, pages or records on the account-wide endpoints (installations differ), and
	// is the page number from 1 on conversations.
	Offset, Limit int
	// ConversationIDs asks for these conversations only, on interactions and conversations. IDsAsString sends them to
	// conversations as one comma-separated string, which is the documented type; a list is what the samples show.
	ConversationIDs []string
	IDsAsString     bool
	// Channels and Agents ask for rows of these only, on interactions. Empty asks for all.
	Channels, Agents []string
	// Bare leaves out of conversations everything that takes the server long: for counting.
	Bare bool
	// NoTranscripts leaves the messages of customers and agents out of conversations.
	NoTranscripts bool
	// Memory is what the answer takes, and what is made of it until it is published. Fetch waits for it within the timeout of the
	// request. Nil: the answer may take as much as it needs.
	Memory *memory.Held

	fields []string // that are selected on the account-wide endpoints
}

// route is the method and URL of a query, below the base URL, and its JSON body, nil for none.
type route struct {
	method string
	url    string
	body   any
}

type conversationsBody struct {
	From            string `json:"from"`
	To              string `json:"to"`
	Page            int    `json:"page"`
	Limit           int    `json:"limit"`
	History         bool   `json:"includeHistory,omitempty"`
	AgenticHistory  bool   `json:"includeAgenticHistory,omitempty"`
	Feedback        bool   `json:"includeFeedback,omitempty"`
	Summary         bool   `json:"includeSummary,omitempty"`
	ConversationIDs any    `json:"conversationIds,omitempty"`
}

type analyticsBody struct {
	StartDate      string   `json:"startDate"`
	EndDate        string   `json:"endDate"`
	TimeZoneOffset int      `json:"timeZoneOffset"`
	SelectedFields []string `json:"selectedFields,omitempty"`
}

type filterBody struct {
	ConversationIDs []string `json:"conversationIds,omitempty"`
	Channels        []string `json:"channels,omitempty"`
	AgentIDs        []string `json:"agentIds,omitempty"`
}

// Check returns why the API takes no such query, or nil. Fetch sends none that Check refuses.
func (q Query) Check() error {
	if !q.Endpoint.Known() {
		return fmt.Errorf("there is no endpoint %q", q.Endpoint)
	}
	spec := q.Endpoint.Spec()
	if !spec.PerAccount {
		if text := checkID(q.BotID); text != "" {
			return fmt.Errorf("bot id %s", text)
		}
	}
	if len(q.ConversationIDs) > 0 && !spec.Takes.IDs {
		return fmt.Errorf("%s has no filter for conversations", q.Endpoint)
	}
	if len(q.Channels)+len(q.Agents) > 0 && !spec.Takes.Filters {
		return fmt.Errorf("%s has no filter for channels or agents", q.Endpoint)
	}
	if err := spec.Takes.CheckPage(q.Offset, q.Limit); err != nil {
		return err
	}
	return spec.Takes.CheckRange(q.From, q.To)
}

// route says how the API wants a query asked. An error means that no such request exists.
func (q Query) route(accountID string) (route, error) {
	if err := q.Check(); err != nil {
		return route{}, err
	}
	from, to := q.Endpoint.Spec().Takes.Widen(q.From, q.To)
	return routes[q.Endpoint.Index()](q, url.PathEscape(accountID), from, to), nil
}

// routes makes the request of each endpoint. The bounds are as widened.
var routes = events.ForEach(interactions, conversations, analytics("/v2/interactionDetails"), analytics("/calldetails"))

func interactions(q Query, _ string, from, to time.Time) route {
	const layout = "2006-01-02T15:04:05"
	r := route{method: http.MethodGet, url: q.bot() + "/v2/agentassistinteractions" + q.page() +
		"&from=" + url.QueryEscape(from.Format(layout)) +
		"&to=" + url.QueryEscape(to.Format(layout)) +
		"&includeAgenticData=true"}
	if len(q.ConversationIDs)+len(q.Channels)+len(q.Agents) > 0 {
		r.method, r.body = http.MethodPost, filterBody{q.ConversationIDs, q.Channels, q.Agents}
	}
	return r
}

func conversations(q Query, _ string, from, to time.Time) route {
	body := conversationsBody{
		From: from.Format(time.DateOnly), To: to.Format(time.DateOnly), Page: q.Offset, Limit: q.Limit,
		History: !q.Bare && !q.NoTranscripts, AgenticHistory: !q.Bare, Feedback: !q.Bare, Summary: !q.Bare,
	}
	switch {
	case len(q.ConversationIDs) == 0:
	case q.IDsAsString:
		body.ConversationIDs = strings.Join(q.ConversationIDs, ",")
	default:
		body.ConversationIDs = q.ConversationIDs
	}
	return route{http.MethodPost, q.bot() + "/aaconversation", body}
}

// analytics returns the route of an endpoint that runs once for the account, which ends in path.
func analytics(path string) func(q Query, account string, from, to time.Time) route {
	return func(q Query, account string, from, to time.Time) route {
		return route{http.MethodPost, "/agentassist/api/public/analytics/account/" + account + path + q.page(), analyticsBody{
			StartDate: from.Format(time.DateTime), EndDate: to.Format(time.DateTime), SelectedFields: q.fields,
		}}
	}
}

func (q Query) bot() string { return "/agentassist/api/v1/public/" + url.PathEscape(q.BotID) }

func (q Query) page() string {
	return "?offset=" + strconv.Itoa(q.Offset) + "&limit=" + strconv.Itoa(q.Limit)
}

// newRequest builds a request that net/http sends at most once.
//
// The transport repeats a request by itself when a kept-alive connection turns out dead, and the token with it, which
// the server takes for a replay; it would also spend the budget twice. It only does so if it can send the body again: a
// body without GetBody forbids it. A GET gets an empty one, which does not appear on the wire.
func (c *Client) newRequest(ctx context.Context, q Query, r route, token string) (*http.Request, error) {
	var payload []byte
	if r.body != nil {
		var err error
		if payload, err = json.Marshal(r.body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.cfg.BaseURL+r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(payload))
	req.ContentLength = int64(len(payload))

	req.Header.Set("auth", c.authPrefix+token)
	req.Header.Set("accountId", c.cfg.AccountID)
	if q.IID != "" {
		req.Header.Set("iId", q.IID)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip") // by ourselves, so that net/http leaves the body as it came
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	return req, nil
}
