package koresim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

func message(t *testing.T, body []byte) string {
	t.Helper()
	var v struct {
		Errors []struct {
			Msg  string
			Code int
		}
	}
	require.NoError(t, json.Unmarshal(body, &v), string(body))
	require.Len(t, v.Errors, 1)
	return v.Errors[0].Msg
}

func TestTokens(t *testing.T) {
	base := koresim.Config{Seed: 1}
	type claims = map[string]any
	in := func(c *client, d time.Duration) int64 { return c.now.Add(d).Unix() }
	cases := map[string]struct {
		cfg    func(*koresim.Config)
		token  func(c *client) string
		status int
		msg    string
	}{
		"good": {
			token:  func(c *client) string { return c.token() },
			status: 200,
		},
		"none": {
			token:  func(*client) string { return "" },
			status: 401, msg: "auth header is missing",
		},
		"not a token": {
			token:  func(*client) string { return "a.b" },
			status: 401, msg: "error verifying the jwt: jwt malformed",
		},
		"bearer": {
			token:  func(c *client) string { return "Bearer " + c.token() },
			status: 401, msg: "error verifying the jwt: jwt malformed",
		},
		"bearer wanted": {
			cfg:    func(cfg *koresim.Config) { cfg.AuthPrefix = "Bearer " },
			token:  func(c *client) string { return "Bearer " + c.token() },
			status: 200,
		},
		"bearer wanted and missing": {
			cfg:    func(cfg *koresim.Config) { cfg.AuthPrefix = "Bearer " },
			token:  func(c *client) string { return c.token() },
			status: 401, msg: "error verifying the jwt: jwt malformed",
		},
		"unsigned": {
			token:  func(*client) string { return "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30." },
			status: 401, msg: "error verifying the jwt: invalid algorithm",
		},
		"another algorithm": {
			token:  func(*client) string { return "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.e30.AAAA" },
			status: 401, msg: "error verifying the jwt: invalid algorithm",
		},
		"another secret": {
			token: func(c *client) string {
				return koresim.Token("guess", claims{"appId": c.account.ClientID, "jti": "x", "exp": in(c, time.Minute)})
			},
			status: 401, msg: "error verifying the jwt: invalid signature",
		},
		"another app": {
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"appId": "cs-0", "jti": "x", "exp": in(c, time.Minute)})
			},
			status: 401, msg: "Invalid SDK credentials",
		},
		"appid is not appId": {
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"app_id": c.account.ClientID, "jti": "x", "exp": in(c, time.Minute)})
			},
			status: 401, msg: "Invalid SDK credentials",
		},
		"without jti": {
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"appId": c.account.ClientID, "exp": in(c, time.Minute)})
			},
			status: 401, msg: `error verifying the jwt: "jti" claim is required`,
		},
		"without jti where that is allowed": {
			cfg: func(cfg *koresim.Config) { cfg.OptionalJTI = true },
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"appId": c.account.ClientID})
			},
			status: 200,
		},
		"jti without exp": {
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"appId": c.account.ClientID, "jti": "x"})
			},
			status: 401, msg: `error verifying the jwt: if "jti" claim "exp" must be <= 1 hour(s)`,
		},
		"exp too far": {
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"appId": c.account.ClientID, "jti": "x", "exp": in(c, 61*time.Minute)})
			},
			status: 401, msg: `error verifying the jwt: if "jti" claim "exp" must be <= 1 hour(s)`,
		},
		"expired": {
			token: func(c *client) string {
				return koresim.Token(c.account.ClientSecret, claims{"appId": c.account.ClientID, "jti": "x", "exp": in(c, 0)})
			},
			status: 401, msg: "error verifying the jwt: jwt expired",
		},
		"good by our clock, expired by the server's": {
			cfg:    func(cfg *koresim.Config) { cfg.Skew = 5 * time.Minute },
			token:  func(c *client) string { return c.token() },
			status: 401, msg: "error verifying the jwt: jwt expired",
		},
		"replayed": {
			token: func(c *client) string {
				token := c.token()
				r := c.request(c.t, events.Interactions, window(start, start, 0, 1), nil)
				r.Header.Set("auth", token)
				status, _, _ := c.send(r)
				require.Equal(c.t, 200, status)
				return token
			},
			status: 401, msg: "error verifying the jwt: possibly a replay",
		},
		"scope missing": {
			cfg:    func(cfg *koresim.Config) { cfg.Unscoped = []string{koresim.ScopeAgentAssist} },
			token:  func(c *client) string { return c.token() },
			status: 403, msg: "The app does not have the scope AgentAssist Analytics",
		},
		"another scope missing": {
			cfg:    func(cfg *koresim.Config) { cfg.Unscoped = []string{koresim.ScopeSmartAssist} },
			token:  func(c *client) string { return c.token() },
			status: 200,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := base
			if tc.cfg != nil {
				tc.cfg(&cfg)
			}
			c := newClient(t, cfg)
			r := c.request(t, events.Interactions, window(start, start, 0, 1), nil)
			r.Header.Set("auth", tc.token(c))
			status, header, body := c.send(r)
			require.Equal(t, tc.status, status, string(body))
			require.NotEmpty(t, header.Get("Date"))
			if tc.msg != "" {
				require.Equal(t, tc.msg, message(t, body))
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	at := func(d time.Duration) string { return start.Add(d).Format(seconds) }
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	query := func(k, v string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			q.Set(k, v)
			r.URL.RawQuery = q.Encode()
		}
	}
	const week = 7 * 24 * time.Hour
	good := map[events.Endpoint]any{
		events.Conversations: map[string]any{"from": "2026-06-01", "to": "2026-06-02"},
		events.InteractionDetails: map[string]any{
			"startDate": "2026-06-01 00:00:00", "endDate": "2026-06-02 00:00:00", "timeZoneOffset": 0,
		},
	}
	with := func(e events.Endpoint, k string, v any) map[string]any {
		m := map[string]any{}
		for name, value := range good[e].(map[string]any) {
			m[name] = value
		}
		if m[k] = v; v == nil {
			delete(m, k)
		}
		return m
	}
	const in, co, id = events.Interactions, events.Conversations, events.InteractionDetails
	cases := []struct {
		name   string
		e      events.Endpoint
		body   any
		change func(*http.Request)
		status int
		reason string
	}{
		{"no account", in, nil, set("accountId", ""), 400, "accountId"},
		{"another account", in, nil, set("accountId", "66"), 403, "accountId"},
		{"another account in the path", id, good[id], func(r *http.Request) {
			r.URL.Path = "/agentassist/api/public/analytics/account/66/v2/interactionDetails"
		}, 403, "accountId"},
		{"another bot", in, nil, func(r *http.Request) { r.URL.Path = "/agentassist/api/v1/public/st-0/v2/agentassistinteractions" }, 400, "bot"},
		{"another path", in, nil, func(r *http.Request) { r.URL.Path += "/x" }, 404, "path"},
		{"path without v2", in, nil, func(r *http.Request) { r.URL.Path = "/agentassist/api/v1/public/st-0/agentassistinteractions" }, 404, "path"},
		{"get where post is due", co, good[co], func(r *http.Request) { r.Method = http.MethodGet }, 405, "method"},
		{"delete", in, nil, func(r *http.Request) { r.Method = http.MethodDelete }, 405, "method"},
		{"no from", in, nil, query("from", ""), 400, "date"},
		{"zone", in, nil, query("from", "2026-06-01T00:00:00Z"), 400, "date"},
		{"fraction", in, nil, query("from", "2026-06-01T00:00:00.5"), 400, "date"},
		{"single digits", in, nil, query("from", "2026-6-1"), 400, "date"},
		{"end before start", in, nil, query("from", at(72*time.Hour)), 400, "range"},
		{"a week", in, nil, query("to", at(week)), 400, "range"},
		{"a second less than a week", in, nil, query("to", at(week-time.Second)), 200, ""},
		{"seven whole days", in, nil, func(r *http.Request) { query("from", "2026-06-01")(r); query("to", "2026-06-07")(r) }, 200, ""},
		{"eight whole days", in, nil, func(r *http.Request) { query("from", "2026-06-01")(r); query("to", "2026-06-08")(r) }, 400, "range"},
		{"limit of 101", in, nil, query("limit", "101"), 400, "limit"},
		{"limit is no number", in, nil, query("limit", "all"), 400, "limit"},
		{"offset below 0", in, nil, query("offset", "-1"), 400, "offset"},
		{"offset far beyond", in, nil, query("offset", "99999"), 200, ""},
		{"time on conversations", co, with(co, "from", "2026-06-01T00:00:00"), nil, 400, "date"},
		{"eight days of conversations", co, with(co, "to", "2026-06-08"), nil, 400, "range"},
		{"limit of 21", co, with(co, "limit", 21), nil, 400, "limit"},
		{"page 0", co, with(co, "page", 0), nil, 400, "limit"},
		{"conversationIds as string where an array is due", co, with(co, "conversationIds", "c-1"), nil, 200, ""},
		{"body is no JSON", co, nil, nil, 400, "date"},
		{"content type", co, good[co], set("Content-Type", "text/plain"), 400, "body"},
		{"no iId", id, good[id], set("iId", ""), 400, "iId"},
		{"another iId", id, good[id], set("iId", "st-0"), 400, "iId"},
		{"no timeZoneOffset", id, with(id, "timeZoneOffset", nil), nil, 400, "timeZoneOffset"},
		{"T in the date", id, with(id, "startDate", "2026-06-01T00:00:00"), nil, 400, "date"},
		{"ISO date", id, with(id, "startDate", "2026-06-01T00:00:00.000Z"), nil, 400, "date"},
		{"whole days", id, with(id, "startDate", "2026-06-01"), nil, 200, ""},
		{"a week of outcomes", id, with(id, "endDate", "2026-06-08 00:00:00"), nil, 400, "range"},
		{"offset of 11", id, good[id], query("offset", "11"), 400, "offset"},
		{"offset of 10", id, good[id], query("offset", "10"), 200, ""},
		{"limit of 101 outcomes", id, good[id], query("limit", "101"), 400, "limit"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, koresim.Config{Seed: 1})
			var q url.Values
			if tc.e == in {
				q = window(start, start.Add(48*time.Hour), 0, 10)
			}
			r := c.request(t, tc.e, q, tc.body)
			if tc.change != nil {
				tc.change(r)
			}
			status, _, body := c.send(r)
			require.Equal(t, tc.status, status, string(body))
			if tc.reason != "" {
				require.NotEmpty(t, message(t, body))
				require.Equal(t, map[string]int64{tc.reason: 1}, c.s.Stats().Refused)
			}
		})
	}
}

// The budget holds in every sliding minute: not one request more, and the next one at the very moment when it is due.
func TestBudget(t *testing.T) {
	for _, form := range []koresim.RetryAfter{koresim.RetryAfterSeconds, koresim.RetryAfterDate, koresim.RetryAfterAbsent} {
		t.Run(fmt.Sprint(form), func(t *testing.T) {
			c := newClient(t, koresim.Config{Seed: 1, RequestsPerMinute: 60, RetryAfter: form, Accounts: 2, Skew: time.Hour})
			// Tokens are good by the server's clock.
			c.now = start.Add(300 * time.Millisecond)
			token := func() string {
				c.tokens++
				return koresim.Token(c.account.ClientSecret, map[string]any{
					"appId": c.account.ClientID, "jti": fmt.Sprint(c.tokens), "exp": c.now.Add(time.Hour + time.Minute).Unix(),
				})
			}
			ask := func() (int, http.Header) {
				r := c.request(t, events.Interactions, window(start, start, 0, 1), nil)
				r.Header.Set("auth", token())
				status, header, _ := c.send(r)
				return status, header
			}
			for i := range 60 {
				status, _ := ask()
				require.Equal(t, 200, status, i)
				c.now = c.now.Add(time.Second / 2)
			}
			status, header := ask() // 30 s after the first
			require.Equal(t, http.StatusTooManyRequests, status)
			switch form {
			case koresim.RetryAfterSeconds:
				require.Equal(t, "30", header.Get("Retry-After"))
			case koresim.RetryAfterDate:
				due, err := http.ParseTime(header.Get("Retry-After"))
				require.NoError(t, err)
				date, err := http.ParseTime(header.Get("Date"))
				require.NoError(t, err)
				require.Equal(t, 31*time.Second, due.Sub(date), "whole seconds after the server's own clock")
			default:
				require.Empty(t, header.Get("Retry-After"))
			}
			c.now = c.now.Add(30*time.Second - time.Millisecond)
			status, _ = ask()
			require.Equal(t, http.StatusTooManyRequests, status)
			c.now = c.now.Add(time.Millisecond)
			status, _ = ask()
			require.Equal(t, 200, status)
			status, _ = ask()
			require.Equal(t, http.StatusTooManyRequests, status, "the second request is still in the minute")
			c.account = c.s.Accounts()[1]
			status, _ = ask()
			require.Equal(t, 200, status, "another account has its own budget")
			st := c.s.Stats()
			require.EqualValues(t, 3, st.Violations)
			require.Equal(t, 61, st.MaxPerMinute)
		})
	}
}

// All pages together are the whole list, whatever the page size and the meaning of offset.
func TestPaging(t *testing.T) {
	for _, p := range profiles() {
		t.Run(p.Name, func(t *testing.T) {
			c := newClient(t, koresim.Config{Seed: 5, Profile: p, SegmentsPerDay: 400, Bots: 1, End: start.Add(24 * time.Hour), EmailOpen: time.Hour})
			c.now = start.Add(48 * time.Hour)
			from, to := start.Add(-6*time.Hour), start.Add(40*time.Hour)
			starts := func(rows []map[string]any, key string) (list []string) {
				for _, r := range rows {
					list = append(list, r[key].(string))
				}
				return list
			}
			sorted := func(list []string, descending bool) {
				t.Helper()
				if descending {
					list = slices.Clone(list)
					slices.Reverse(list)
				}
				require.True(t, slices.IsSorted(list), list)
			}
			var segments []map[string]any
			for offset := 0; ; offset += 37 {
				page := c.interactions(0, from, to, offset, 37)
				require.Equal(t, len(page.Data), page.NumResults)
				segments = append(segments, page.Data...)
				if p.NoHasMore {
					require.Nil(t, page.HasMore)
				} else {
					require.Equal(t, len(page.Data) == 37, *page.HasMore || len(segments)%37 == 0)
				}
				if len(page.Data) < 37 {
					break
				}
			}
			require.Greater(t, len(segments), 300)
			sorted(starts(segments, "segmentStartTime"), p.Descending[events.Interactions])

			var records []map[string]any
			for n := 1; ; n++ {
				page := c.conversations(0, from, to, n, 20, nil)
				records = append(records, page.Results...)
				require.Equal(t, (n-1)*page.Limit, page.Skip)
				if !*page.HasMore {
					require.Equal(t, fmt.Sprint(len(records)), fmt.Sprint(page.TotalResults))
					require.Equal(t, fmt.Sprint(n), fmt.Sprint(page.TotalPages))
					break
				}
			}
			sorted(starts(records, "startTime"), p.Descending[events.Conversations])

			// Ten records or ten pages beyond the first page: the caps of the analytics endpoints.
			e := events.InteractionDetails
			lo, hi := start.Add(2*time.Hour), start.Add(4*time.Hour)
			whole := c.outcomes(e, 0, lo, hi, 0, 100).Data
			require.Less(t, len(whole), 100)
			require.Greater(t, len(whole), 20)
			bots := len(slices.DeleteFunc(slices.Clone(whole), func(r map[string]any) bool { return r["conversationId"] != nil }))
			require.True(t, slices.IsSorted(starts(whole[:bots], "sessionStartTime")), "bot-only sessions come first, ascending")
			sorted(starts(whole[bots:], "sessionStartTime"), p.Descending[e])
			second := c.outcomes(e, 0, lo, hi, 1, 5).Data
			skip := 5
			if p.OffsetInRecords {
				skip = 1
			}
			want := whole[skip : skip+5]
			if p.LimitPerList {
				want = slices.Concat(whole[min(skip, bots):min(skip+5, bots)], whole[bots+skip:bots+skip+5])
			}
			require.Equal(t, want, second)
		})
	}
}

// What cannot be read yet is as if it had not happened, whatever the clock says.
func TestReadable(t *testing.T) {
	held := start.Add(10 * time.Hour)
	read := func(now time.Time, cfg koresim.Config) []map[string]any {
		c := newClient(t, cfg)
		c.now = now
		return c.interactions(0, start, start.Add(24*time.Hour), 0, 100).Data
	}
	cfg := koresim.Config{Seed: 5, SegmentsPerDay: 100, Bots: 1}
	early, all := read(held, cfg), read(held.Add(30*time.Hour), cfg)
	cfg.Readable = func() time.Time { return held }
	require.NotEqual(t, early, all)
	require.Equal(t, early, read(held.Add(30*time.Hour), cfg))
	held = held.Add(30 * time.Hour)
	require.Equal(t, all, read(held, cfg))
}

// Offset paging over a list that grows at its head shows rows twice, and misses none of the old ones.
func TestPagesShift(t *testing.T) {
	p, _ := koresim.ProfileNamed("records")
	p.Descending = map[events.Endpoint]bool{events.Interactions: true}
	p.Latency, p.Jitter = nil, 0
	c := newClient(t, koresim.Config{Seed: 5, Profile: p, SegmentsPerDay: 3000, Bots: 1})
	c.now = start.Add(10 * time.Hour)
	from := start.Add(9 * time.Hour)
	first := c.interactions(0, from, c.now, 0, 20)
	to := c.now
	c.now = c.now.Add(20 * time.Second)
	require.Equal(t, first.Data[0]["segmentID"], c.interactions(0, from, to, 0, 20).Data[0]["segmentID"], "a closed window holds still")
	live := c.interactions(0, from, start.Add(12*time.Hour), 0, 20)
	c.now = c.now.Add(5 * time.Minute)
	next := c.interactions(0, from, start.Add(12*time.Hour), 20, 20)
	require.Contains(t, ids(live.Data), next.Data[0]["segmentID"], "new rows have pushed old ones to the second page")
}

func ids(rows []map[string]any) (list []any) {
	for _, r := range rows {
		list = append(list, r["segmentID"])
	}
	return list
}

func TestConversationIDs(t *testing.T) {
	for mode, want := range map[koresim.IDFilter]map[string]int{
		koresim.IDsAsArray:  {"array": 2, "string": 20},
		koresim.IDsAsString: {"array": -1, "string": 2},
		koresim.IDsIgnored:  {"array": 20, "string": 20},
	} {
		p := koresim.Profiles()[0]
		p.IDs = mode
		c := newClient(t, koresim.Config{Seed: 5, Profile: p, Bots: 1})
		c.now = start.Add(24 * time.Hour)
		rows := c.conversations(0, start, start, 1, 20, nil).Results
		a, b := rows[3]["convId"].(string), rows[7]["convId"].(string)
		for form, value := range map[string]any{"array": []string{a, b}, "string": a + "," + b} {
			r := c.request(t, events.Conversations, nil, map[string]any{"from": "2026-06-01", "to": "2026-06-01", "conversationIds": value})
			status, _, body := c.send(r)
			if want[form] < 0 {
				require.Equal(t, http.StatusBadRequest, status)
				continue
			}
			var got page
			require.NoError(t, json.Unmarshal(body, &got))
			require.Len(t, got.Results, want[form], "%d %s", mode, form)
		}
	}
}

// Rows of the analytics endpoints are local to the offset that is asked for, and so are the bounds.
func TestTimeZoneOffset(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 5, Bots: 1})
	c.now = start.Add(24 * time.Hour)
	ask := func(offset int, from, to time.Time) []map[string]any {
		return c.get(c.request(t, events.CallDetails, nil, map[string]any{
			"startDate": from.Format(time.DateTime), "endDate": to.Format(time.DateTime), "timeZoneOffset": offset,
		})).Data
	}
	utc := ask(0, start, start.Add(time.Hour))
	ist := ask(-330, start.Add(330*time.Minute), start.Add(390*time.Minute))
	require.NotEmpty(t, utc)
	require.Len(t, ist, len(utc))
	a, err := time.Parse(seconds, utc[0]["sessionStartTime"].(string))
	require.NoError(t, err)
	b, err := time.Parse(seconds, ist[0]["sessionStartTime"].(string))
	require.NoError(t, err)
	require.Equal(t, 330*time.Minute, b.Sub(a))
	seconds, err := strconv.ParseInt(utc[0]["sessionId"].(string)[:8], 16, 64)
	require.NoError(t, err)
	require.Equal(t, a.Unix(), seconds, "the session's id carries its start")
}

// A poller's day passes in no time: no clock but the one that is given plays a part.
func TestSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, koresim.Config{Seed: 5, Clock: time.Now, Start: time.Now().UTC(), RequestsPerMinute: 60})
		began := time.Now().UTC()
		rows := 0
		for range 24 {
			time.Sleep(time.Hour)
			now := time.Now().UTC()
			rows += len(c.interactions(0, now.Add(-time.Hour), now, 0, 100).Data)
		}
		require.Greater(t, rows, 300)
		require.Equal(t, 24*time.Hour, time.Now().UTC().Sub(began))
		require.Zero(t, c.s.Stats().Violations)
	})
}
