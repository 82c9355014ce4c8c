package extract_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/testsize"
)

// TestLedger reads a simulated day through all four endpoints and compares what was seen with the simulator's own ledger, which
// knows nothing of this package: each thing is there once, with the last of its versions, and nothing else is.
func TestLedger(t *testing.T) {
	testsize.Slow(t)
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	now := start.AddDate(0, 0, 60)
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			sim, err := koresim.New(koresim.Config{
				Seed: seed, Start: start, End: start.AddDate(0, 0, 1), Clock: func() time.Time { return now },
				Bots: 1, SegmentsPerDay: 100, BotOnly: 0.5, RequestsPerMinute: -1, Profile: koresim.Profiles()[0], Drift: seed%2 == 1,
			})
			require.NoError(t, err)
			r := simReader{t: t, sim: sim, account: sim.Accounts()[0], seen: map[string]map[events.Endpoint]events.Observation{}}
			for day := range 45 { // an e-mail conversation may begin long after its session
				from := start.AddDate(0, 0, day)
				r.readDay(from, from.AddDate(0, 0, 1))
			}
			for path := range r.drift {
				// New lists of suggestions and new targets are read, and yet said.
				require.True(t, strings.Contains(path, ".suggestions.") || strings.HasSuffix(path, ".used[].target.videoClip") || seed%2 == 1, path)
			}
			report := koresim.Compare(sim.Ledger(now), r.observed(), koresim.Scope{From: start, To: now, Settled: now, Now: now})
			require.True(t, report.OK(), report.String())
			for _, kind := range events.Types() {
				require.NotZero(t, report.ByType[kind].Found, kind)
			}
			r.checkJoins()
			// A watermark waits for the topics that its endpoint feeds: those of all that it shows, and no others.
			for _, e := range events.Endpoints() {
				require.ElementsMatch(t, e.Spec().Feeds, r.shownBy(e), e)
			}
		})
	}
}

// simReader reads everything and keeps the newest observation of each thing through each endpoint.
type simReader struct {
	t       *testing.T
	sim     *koresim.Server
	account *koresim.Account
	tokens  int
	seen    map[string]map[events.Endpoint]events.Observation
	drift   map[string]int64
}

// checkJoins checks that what uses and lists refer to is there.
func (r *simReader) checkJoins() {
	types := map[string]events.Type{}
	for id, observations := range r.seen {
		for _, o := range observations {
			types[id] = o.Event.EventType()
		}
	}
	joined := map[string]int{}
	check := func(id *string, via string, want events.Type) {
		if id != nil {
			require.Equal(r.t, want, types[*id])
			joined[via+" "+string(want)]++
		}
	}
	for _, observations := range r.seen {
		for _, o := range observations {
			switch e := o.Event.(type) {
			case *events.SuggestionShown:
				check(e.SearchEntityID, "shown", events.TypeSearch)
			case *events.SuggestionUsed:
				at := events.TypeSuggestionShown
				if e.Via == "AGENTIC" {
					at = events.TypeAgenticRequest
				}
				check(e.ShownEntityID, e.Via, at)
				check(e.SearchEntityID, e.Via, events.TypeSearch)
			}
		}
	}
	require.Len(r.t, joined, 6, "%v", joined)
}

// shownBy returns the types of the things that were seen through an endpoint.
func (r *simReader) shownBy(e events.Endpoint) (types []events.Type) {
	for _, observations := range r.seen {
		if s, ok := observations[e]; ok && !slices.Contains(types, s.Event.EventType()) {
			types = append(types, s.Event.EventType())
		}
	}
	return types
}

func (r *simReader) readDay(from, to time.Time) {
	for offset := 0; ; offset += 100 {
		q := url.Values{"includeAgenticData": {"true"}, "limit": {"100"}, "offset": {fmt.Sprint(offset)},
			"from": {from.Format("2006-01-02T15:04:05")}, "to": {to.Add(-time.Second).Format("2006-01-02T15:04:05")}}
		if page := r.read(events.Interactions, q, nil); !*page.HasMore {
			break
		}
	}
	for number := 1; ; number++ {
		day := from.Format(time.DateOnly)
		page := r.read(events.Conversations, nil, map[string]any{
			"from": day, "to": day, "page": number, "limit": 20,
			"includeHistory": true, "includeAgenticHistory": true, "includeFeedback": true, "includeSummary": true,
		})
		if !*page.HasMore {
			break
		}
	}
	for at := from; at.Before(to); at = at.Add(2 * time.Hour) {
		for _, e := range []events.Endpoint{events.InteractionDetails, events.CallDetails} {
			page := r.read(e, url.Values{"offset": {"0"}, "limit": {"100"}}, map[string]any{
				"startDate": at.Format(time.DateTime), "endDate": at.Add(2*time.Hour - time.Second).Format(time.DateTime), "timeZoneOffset": 0,
				"selectedFields": []string{"skills", "customerinfo", "userleveltags", "sessionleveltags"},
			})
			require.Less(r.t, len(page.Rows), 100)
		}
	}
}

func (r *simReader) read(e events.Endpoint, query url.Values, body any) *extract.Page {
	r.t.Helper()
	method, content := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		content, _ = json.Marshal(body)
	}
	bot := r.account.Bots[0].ID
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://kore.invalid"+r.account.Path(e, bot)+"?"+query.Encode(), bytes.NewReader(content))
	require.NoError(r.t, err)
	r.tokens++
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("auth", koresim.Token(r.account.ClientSecret, map[string]any{
		"appId": r.account.ClientID, "jti": fmt.Sprint("t", r.tokens), "exp": r.sim.Now().Add(time.Minute).Unix(),
	}))
	req.Header.Set("accountId", r.account.ID)
	req.Header.Set("iId", bot)
	resp, err := r.sim.Transport().RoundTrip(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	require.Equal(r.t, http.StatusOK, resp.StatusCode, string(answer))

	s := extract.Scope{Source: "sim", AccountID: r.account.ID, Endpoint: e}
	if !e.PerAccount() {
		s.BotID = bot
	}
	page, err := extract.Decode(s, answer)
	require.NoError(r.t, err)
	require.Empty(r.t, page.Dead)
	for path, n := range page.Drift {
		if r.drift == nil {
			r.drift = map[string]int64{}
		}
		r.drift[path] += n
	}
	for _, row := range page.Rows {
		for _, observation := range row.Observations {
			r.see(e, observation)
		}
	}
	return page
}

func (r *simReader) see(e events.Endpoint, s events.Observation) {
	id := cmp.Or(s.Named, s.Event.Head().EntityID) // each agent has a feedback of his own
	s.Event.Head().EntityID = id
	if r.seen[id] == nil {
		r.seen[id] = map[events.Endpoint]events.Observation{}
	}
	if before, again := r.seen[id][e]; !again || s.Rank >= before.Rank {
		r.seen[id][e] = s
	}
}

// observed returns what a consumer would read if each thing were published once.
func (r *simReader) observed() []koresim.Observed {
	var list []koresim.Observed
	add := func(topic string, e events.Event) {
		b, err := events.AppendAvro(nil, e)
		require.NoError(r.t, err)
		var fields map[string]any
		_, err = schemaOf(r.t, e.EventType()).Decode(b, &fields)
		require.NoError(r.t, err)
		list = append(list, koresim.Observed{Topic: "agentassist." + topic, Key: events.Key(e.Head()), Offset: int64(len(list)), Fields: fields})
	}
	for _, observations := range r.seen {
		var e events.Event
		var from events.Endpoint
		for _, endpoint := range events.Endpoints() {
			if s, ok := observations[endpoint]; ok && e == nil {
				e, from = s.Event, endpoint
			} else if ok {
				require.True(r.t, s.Merged, "%s through %s and %s", e.EventType(), from, endpoint)
				e = events.Merge(e, from, s.Event, endpoint)
			}
		}
		h := e.Head()
		h.Revision, h.EventID, h.ObservedTime = 1, h.EntityID, r.sim.Now()
		add(string(e.EventType()), e)
		if events.Negative(e) {
			add("feedback-negative", e)
		}
	}
	return list
}

var schemas = map[events.Type]*avro.Schema{}

func schemaOf(t *testing.T, kind events.Type) *avro.Schema {
	t.Helper()
	if schemas[kind] == nil {
		schema, err := avro.Parse(events.Schema(kind))
		require.NoError(t, err)
		schemas[kind] = schema
	}
	return schemas[kind]
}
