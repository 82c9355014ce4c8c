package poll_test

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// Whatever comes in place of a page, from the client or from the decoder, ends in a class and in a hint that says what to do, and
// counts as nothing that was read. What is only an empty page is none of that.
func TestAccountSaysWhatIsWrongWithAnswers(t *testing.T) {
	t.Parallel()
	half := `{"numResults":1,"hasMore":false,"data":[{"segmentID":"ac-1"`
	const endpoint = events.Interactions
	for name, c := range map[string]struct {
		code        int
		contentType string
		body        string
		class       status.Class // empty: a page
		hint        string
	}{
		"HTML from a proxy":        {200, "text/html", "<html><head><title>Welcome</title></head></html>", status.ClassShape, "check base_url, and any proxy"},
		"HTML that calls it JSON":  {200, "application/json", "<!DOCTYPE html><html></html>", status.ClassShape, "check base_url, and any proxy"},
		"an encrypted payload":     {200, "application/json", `{"encryptedKey":"bm90","encryptedData":"bm90IGRhdGE=","iv":"MDAw"}`, status.ClassShape, "Enforce Request and Response Payload Encryption"},
		"an encrypted word":        {200, "text/plain", strings.Repeat("bm90IGRhdGE", 20), status.ClassShape, "Enforce Request and Response Payload Encryption"},
		"JSON cut short":           {200, "application/json", half, status.ClassRetry, "cuts answers short"},
		"JSON cut at a brace":      {200, "application/json", half + "}", status.ClassRetry, "cuts answers short"},
		"JSON of another shape":    {200, "application/json", `{"rows":[],"total":0}`, status.ClassShape, "base_url is the address of the API"},
		"a list":                   {200, "application/json", `[{"segmentID":"ac-1"}]`, status.ClassShape, "base_url is the address of the API"},
		"data that is no list":     {200, "application/json", `{"numResults":1,"data":"none"}`, status.ClassShape, "base_url is the address of the API"},
		"null for announced rows":  {200, "application/json", `{"numResults":3,"data":null}`, status.ClassShape, "base_url is the address of the API"},
		"broken JSON":              {200, "application/json", `{"numResults":0,"data":[],,}`, status.ClassShape, "not JSON"},
		"text":                     {200, "text/plain", "upstream connect error", status.ClassShape, "not JSON"},
		"nothing":                  {200, "application/json", "", status.ClassRetry, "cuts answers short"},
		"no content":               {204, "", "", "", ""},
		"a refusal":                {200, "application/json", `{"errors":[{"msg":"no","code":403}]}`, status.ClassPermanent, "AgentAssist Analytics"},
		"a refusal beside data":    {200, "application/json", `{"data":[],"errors":[{"msg":"no","code":403}]}`, status.ClassPermanent, "AgentAssist Analytics"},
		"a rate limit beside data": {200, "application/json", `{"data":null,"errors":[{"msg":"slow down","code":429}]}`, status.ClassWait, ""},
		"an empty page":            {200, "application/json", `{"numResults":0,"hasMore":false,"data":[]}`, "", ""},
		"a count without a list":   {200, "application/json", `{"numResults":0,"hasMore":false}`, "", ""},
		"a page with a comment":    {200, "application/json", `{"numResults":0,"hasMore":false,"data":[]}` + "\n<!-- edge-7 -->\n", "", ""},
		"a page with a remark":     {200, "application/json", `{"numResults":0,"hasMore":false,"data":[]} bye`, status.ClassShape, "not JSON"},
		"null for the list":        {200, "application/json", `{"numResults":0,"hasMore":false,"data":null}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, koresim.Config{Seed: 1, Start: now.Add(-time.Hour)}, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{endpoint: {PollInterval: 15 * time.Second}}
					o.Bots = o.Bots[:1]
				})
				r.transport = answers(func(*http.Request) (int, http.Header, string) {
					return c.code, http.Header{"Content-Type": {c.contentType}}, c.body
				})
				r.start()
				var last status.Endpoint
				r.runFor(2*time.Minute, time.Second, func(s status.Account) { last = s.Endpoints[0] })
				if c.class == "" {
					require.Nil(t, last.LastError)
					require.NotNil(t, last.ReadThrough)
					return
				}
				require.NotNil(t, last.LastError)
				require.Equal(t, c.class, last.LastError.Class, last.LastError.Text)
				require.Contains(t, last.LastError.Hint, c.hint, last.LastError.Text)
				require.Equal(t, c.hint == "", last.LastError.Hint == "")
				require.Nil(t, last.ReadThrough)
				require.Equal(t, c.class != status.ClassWait, last.State.Red())
				require.Zero(t, r.topics.published())
			})
		})
	}
}

// An API that asks for a wait of years is asked again within the hour, and the status has both.
func TestAccountHonoursAWaitForAnHour(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		r := newRig(t, koresim.Config{Seed: 1, Start: now.Add(-time.Hour)}, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{
				events.Interactions: {PollInterval: 15 * time.Second}, events.CallDetails: {PollInterval: 15 * time.Second},
			}
			o.Bots = o.Bots[:1]
		})
		r.transport = answers(func(*http.Request) (int, http.Header, string) {
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"999999999"}}, ""
		})
		var log bytes.Buffer
		r.options.Log = slog.New(slog.NewTextHandler(&log, nil))
		r.start()
		var last status.Budget
		r.runFor(2*time.Minute, time.Second, func(s status.Account) { last = s.Budget })
		require.NotNil(t, last.BlockedUntil)
		require.WithinDuration(t, time.Now().Add(time.Hour), *last.BlockedUntil, 3*time.Minute)
		require.NotNil(t, last.AskedUntil)
		require.Greater(t, time.Until(*last.AskedUntil), 30*365*24*time.Hour)
		for _, e := range statusOf(r).Endpoints { // also the one that was not answered so
			require.Equal(t, status.Waiting, e.State)
			require.Equal(t, status.WaitRetryAfter, e.Waiting.Reason)
			require.WithinDuration(t, *last.BlockedUntil, *e.Waiting.Until, time.Second)
		}
		r.runFor(3*time.Hour, time.Minute, func(s status.Account) {
			for _, e := range s.Endpoints {
				require.Equal(t, status.Waiting, e.State)
			}
		})
		require.Greater(t, time.Since(statusOf(r).Endpoints[0].Waiting.Since), 3*time.Hour)
		r.stop()
		require.Contains(t, log.String(), `level=WARN msg="the API asked for a longer wait than is honoured; the account is asked for again before"`)
		require.Contains(t, log.String(), "honoured=1h0m0s")
	})
}

// A page of a cache shows what was when the cache got it: what came since has not been read.
func TestAccountReadsPagesOfACache(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	const kept = 5 * time.Minute
	inBubble(t, func(t *testing.T) {
		r := newRig(t, koresim.Config{Seed: 1, Start: now.Add(-time.Hour)}, func(o *poll.Options) {
			o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
			o.Bots = o.Bots[:1]
		})
		next := r.sim.Transport()
		requests := 0
		r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if requests++; err == nil && requests > 10 {
				resp.Header.Set("Age", "300")
			}
			return resp, err
		})
		r.start()
		r.runFor(20*time.Minute, time.Minute, nil)
		require.GreaterOrEqual(t, time.Duration(*statusOf(r).Endpoints[0].Lag), kept)
		require.Less(t, time.Duration(*statusOf(r).Endpoints[0].Lag), kept+2*time.Minute)
	})
}

// Where nothing tells the API's clock, an account says what came and what to change.
func TestAccountWithoutTheServersClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header     http.Header
		text, hint string
	}{
		"a proxy removes the header Date": {http.Header{"Date": {""}}, "the API's answers carry no usable Date header", "check that no proxy on the way removes the header Date"},
		"all answers come from a cache":   {http.Header{"Age": {"37"}}, "the API's answers come from a cache, which had kept the last one for 37s", "hand requests on to the API"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, koresim.Config{Seed: 1, Start: now.Add(-time.Hour)}, func(o *poll.Options) {
					o.Endpoints = map[events.Endpoint]poll.EndpointOptions{events.Interactions: {PollInterval: 15 * time.Second}}
					o.Bots = o.Bots[:1]
				})
				next := r.sim.Transport()
				r.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
					resp, err := next.RoundTrip(req)
					if err == nil {
						maps.Copy(resp.Header, c.header)
					}
					return resp, err
				})
				r.start()
				var last status.Endpoint
				r.runFor(10*time.Minute, time.Second, func(s status.Account) { last = s.Endpoints[0] })
				require.Equal(t, status.Failing, last.State)
				require.Contains(t, last.LastError.Text, c.text)
				require.Contains(t, last.LastError.Hint, c.hint)
				require.Equal(t, status.ClassShape, last.LastError.Class)
			})
		})
	}
}
