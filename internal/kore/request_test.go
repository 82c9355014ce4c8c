package kore_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/status"
)

func TestRequests(t *testing.T) {
	from := time.Date(2026, 3, 1, 23, 59, 5, 0, time.FixedZone("IST", 5*3600+1800)) // 18:29:05 UTC
	to := from.Add(36 * time.Hour).Add(250 * time.Millisecond)                      // 3 March 06:29:05.25 UTC
	for name, tc := range map[string]struct {
		q      kore.Query
		method string
		url    string
		body   string
		iid    string
	}{
		"interactions": {
			q:      kore.Query{Endpoint: events.Interactions, BotID: "st-1", From: from, To: to, Offset: 200, Limit: 100},
			method: "GET",
			url: "https://platform.example/agentassist/api/v1/public/st-1/v2/agentassistinteractions" +
				"?offset=200&limit=100&from=2026-03-01T18%3A29%3A05&to=2026-03-03T06%3A29%3A06&includeAgenticData=true",
		},
		"interactions of some conversations": {
			q:      kore.Query{Endpoint: events.Interactions, BotID: "st-1", From: from, To: from, Limit: 1, ConversationIDs: []string{"a", "b"}},
			method: "POST",
			url: "https://platform.example/agentassist/api/v1/public/st-1/v2/agentassistinteractions" +
				"?offset=0&limit=1&from=2026-03-01T18%3A29%3A05&to=2026-03-01T18%3A29%3A05&includeAgenticData=true",
			body: `{"conversationIds":["a","b"]}`,
		},
		"interactions of some channels and agents": {
			q: kore.Query{Endpoint: events.Interactions, BotID: "st-1", From: from, To: from, Limit: 1,
				Channels: []string{"chat", "voice"}, Agents: []string{"a-1"}},
			method: "POST",
			url: "https://platform.example/agentassist/api/v1/public/st-1/v2/agentassistinteractions" +
				"?offset=0&limit=1&from=2026-03-01T18%3A29%3A05&to=2026-03-01T18%3A29%3A05&includeAgenticData=true",
			body: `{"channels":["chat","voice"],"agentIds":["a-1"]}`,
		},
		"a bot id that needs escaping": {
			q:      kore.Query{Endpoint: events.Interactions, BotID: "st/../x?y=1#%", From: from, To: from, Limit: 1},
			method: "GET",
			url: "https://platform.example/agentassist/api/v1/public/st%2F..%2Fx%3Fy=1%23%25/v2/agentassistinteractions" +
				"?offset=0&limit=1&from=2026-03-01T18%3A29%3A05&to=2026-03-01T18%3A29%3A05&includeAgenticData=true",
		},
		"conversations": {
			q:      kore.Query{Endpoint: events.Conversations, BotID: "st-1", From: from, To: to, Offset: 3, Limit: 20},
			method: "POST",
			url:    "https://platform.example/agentassist/api/v1/public/st-1/aaconversation",
			body: `{"from":"2026-03-01","to":"2026-03-03","page":3,"limit":20,"includeHistory":true,"includeAgenticHistory":true,` +
				`"includeFeedback":true,"includeSummary":true}`,
		},
		"conversations without transcripts": {
			q:      kore.Query{Endpoint: events.Conversations, BotID: "st-1", From: from, To: from, Offset: 1, Limit: 20, NoTranscripts: true},
			method: "POST",
			url:    "https://platform.example/agentassist/api/v1/public/st-1/aaconversation",
			body: `{"from":"2026-03-01","to":"2026-03-01","page":1,"limit":20,"includeAgenticHistory":true,` +
				`"includeFeedback":true,"includeSummary":true}`,
		},
		"conversations, counting": {
			q:      kore.Query{Endpoint: events.Conversations, BotID: "st-1", From: from, To: from, Offset: 1, Limit: 1, Bare: true},
			method: "POST",
			url:    "https://platform.example/agentassist/api/v1/public/st-1/aaconversation",
			body:   `{"from":"2026-03-01","to":"2026-03-01","page":1,"limit":1}`,
		},
		"conversations by ids": {
			q: kore.Query{Endpoint: events.Conversations, BotID: "st-1", From: from, To: from, Offset: 1, Limit: 2, Bare: true,
				ConversationIDs: []string{"a", "b"}},
			method: "POST",
			url:    "https://platform.example/agentassist/api/v1/public/st-1/aaconversation",
			body:   `{"from":"2026-03-01","to":"2026-03-01","page":1,"limit":2,"conversationIds":["a","b"]}`,
		},
		"conversations by ids in a string": {
			q: kore.Query{Endpoint: events.Conversations, BotID: "st-1", From: from, To: from, Offset: 1, Limit: 2, Bare: true,
				ConversationIDs: []string{"a", "b"}, IDsAsString: true},
			method: "POST",
			url:    "https://platform.example/agentassist/api/v1/public/st-1/aaconversation",
			body:   `{"from":"2026-03-01","to":"2026-03-01","page":1,"limit":2,"conversationIds":"a,b"}`,
		},
		"interaction details": {
			q:      kore.Query{Endpoint: events.InteractionDetails, From: from, To: to, Offset: 10, Limit: 100},
			method: "POST",
			url:    "https://platform.example/agentassist/api/public/analytics/account/acc-1/v2/interactionDetails?offset=10&limit=100",
			body: `{"startDate":"2026-03-01 18:29:05","endDate":"2026-03-03 06:29:06","timeZoneOffset":0,` +
				`"selectedFields":["skills","customerinfo","userleveltags","sessionleveltags"]}`,
		},
		"call details": {
			q:      kore.Query{Endpoint: events.CallDetails, IID: "st-9", From: from, To: from, Limit: 100},
			method: "POST",
			url:    "https://platform.example/agentassist/api/public/analytics/account/acc-1/calldetails?offset=0&limit=100",
			body: `{"startDate":"2026-03-01 18:29:05","endDate":"2026-03-01 18:29:05","timeZoneOffset":0,` +
				`"selectedFields":["skills","customerinfo","userleveltags","sessionleveltags"]}`,
			iid: "st-9",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				require.Equal(t, tc.method, r.Method)
				require.Equal(t, tc.url, r.URL.String())
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, tc.body, string(body))
				require.EqualValues(t, len(tc.body), r.ContentLength)
				require.Equal(t, "acc-1", r.Header.Get("accountId"))
				require.Equal(t, tc.iid, r.Header.Get("iId"))
				require.Equal(t, "application/json", r.Header.Get("Content-Type"))
				require.Equal(t, "agentassist-poller", r.Header.Get("User-Agent"))
				require.Equal(t, "no-cache", r.Header.Get("Cache-Control"))
				require.Regexp(t, `^eyJ[^ ]+$`, r.Header.Get("auth"))
				return reply(200, emptyPage), nil
			})))
			_, err := c.Fetch(t.Context(), tc.q)
			require.NoError(t, err)
		})
	}
}

func TestBaseURLAndPrefix(t *testing.T) {
	cfg := config()
	cfg.BaseURL, cfg.AuthPrefix = "http://gateway.example:8443/kore/", "Bearer"
	c := newClient(t, cfg, kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
		require.Equal(t, "/kore/agentassist/api/v1/public/st-1/v2/agentassistinteractions", r.URL.Path)
		require.Regexp(t, `^Bearer eyJ[^ ]+$`, r.Header.Get("auth"))
		return reply(200, emptyPage), nil
	})))
	_, err := c.Fetch(t.Context(), query())
	require.NoError(t, err)
}

func TestQueriesThatMakeNoRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*kore.Query)
		want   string
	}{
		"endpoint":       {func(q *kore.Query) { q.Endpoint = "calls" }, `no endpoint "calls"`},
		"no bot":         {func(q *kore.Query) { q.BotID = "" }, "bot id is missing"},
		"dots for a bot": {func(q *kore.Query) { q.BotID = ".." }, "not an id"},
		"offset":         {func(q *kore.Query) { q.Offset = -1 }, "the first is 0"},
		"page 0":         {func(q *kore.Query) { q.Endpoint, q.Limit = events.Conversations, 20 }, "the first is 1"},
		"limit":          {func(q *kore.Query) { q.Limit = 101 }, "want 1 to 100"},
		"no limit":       {func(q *kore.Query) { q.Limit = 0 }, "want 1 to 100"},
		"page size":      {func(q *kore.Query) { q.Endpoint, q.Offset, q.Limit = events.Conversations, 1, 21 }, "want 1 to 20"},
		"eleventh":       {func(q *kore.Query) { q.Endpoint, q.Offset = events.CallDetails, 11 }, "split the window"},
		"filter":         {func(q *kore.Query) { q.Endpoint, q.ConversationIDs = events.CallDetails, []string{"c"} }, "no filter"},
		"no range":       {func(q *kore.Query) { q.From, q.To = time.Time{}, time.Time{} }, "no range"},
		"backwards":      {func(q *kore.Query) { q.To = q.From.Add(-1) }, "no range"},
		"all seven days": {func(q *kore.Query) { q.To = q.From.Add(7 * 24 * time.Hour) }, "below 7 days"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, config(), kore.WithTransport(transport(func(r *http.Request) (*http.Response, error) {
				t.Error("a request was made")
				return reply(200, emptyPage), nil
			})), kore.WithObserver(func(kore.Attempt) { t.Error("an attempt was seen") }))
			q := query()
			tc.change(&q)
			_, err := c.Fetch(t.Context(), q)
			var failure *kore.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, status.ClassPermanent, failure.Class)
			require.Equal(t, kore.ReasonRequest, failure.Reason)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
