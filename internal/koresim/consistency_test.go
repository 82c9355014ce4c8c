package koresim_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// The ledger and the API are two accounts of one world. Everything is read through every endpoint at several times, and
// each thing of the ledger must be there as its version at that time says, and nothing else.
func TestLedgerAgreesWithWhatIsServed(t *testing.T) {
	for _, p := range profiles() {
		for _, pace := range []koresim.Pace{koresim.Lifelike, koresim.Burst} {
			if pace == koresim.Burst && !p.LimitPerList {
				continue // half of the profiles are enough
			}
			t.Run(fmt.Sprintf("%s/%d", p.Name, pace), func(t *testing.T) {
				cfg := koresim.Config{Seed: 7, Profile: p, SegmentsPerDay: 60, End: start.Add(24 * time.Hour), EmailOpen: 10 * time.Hour, Pace: pace}
				if pace == koresim.Burst {
					cfg.SegmentsPerDay, cfg.End = 2500, start.Add(30*time.Minute)
				}
				c := newClient(t, cfg)
				for _, at := range []time.Duration{25 * time.Minute, 11*time.Hour + 77*time.Millisecond, 20 * 24 * time.Hour} {
					c.now = start.Add(at)
					c.checkAgreement(c.readAll())
				}
			})
		}
	}
}

// readAll returns every row of every endpoint, by endpoint.
func (c *client) readAll() map[events.Endpoint][]map[string]any {
	all := map[events.Endpoint][]map[string]any{}
	for bot := range c.account.Bots {
		for day := -1; day < 3; day++ {
			from := start.Add(time.Duration(day) * 24 * time.Hour)
			for offset := 0; ; offset += 100 {
				p := c.interactions(bot, from, from.Add(24*time.Hour-time.Millisecond), offset, 100)
				all[events.Interactions] = append(all[events.Interactions], p.Data...)
				if len(p.Data) < 100 {
					break
				}
			}
			for n := 1; ; n++ {
				p := c.conversations(bot, from, from, n, 20, nil)
				all[events.Conversations] = append(all[events.Conversations], p.Results...)
				if len(p.Results) < p.Limit {
					break
				}
			}
		}
		for _, e := range []events.Endpoint{events.InteractionDetails, events.CallDetails} {
			seen := map[string]bool{}
			for minutes := 0; minutes < 2*24*60; {
				step := 240
				if minutes < 40 {
					step = 10
				}
				from := start.Add(time.Duration(minutes) * time.Minute)
				minutes += step
				p := c.outcomes(e, bot, from, from.Add(time.Duration(step)*time.Minute-time.Second), 0, 100)
				require.Less(c.t, len(p.Data), 100)
				for _, r := range p.Data {
					if key := fmt.Sprint(r["sessionId"], r["conversationId"]); !seen[key] && r["botId"] == c.account.Bots[bot].ID {
						seen[key] = true
						all[e] = append(all[e], r)
					}
				}
			}
		}
	}
	return all
}

// checkAgreement compares rows with the ledger at the client's now.
func (c *client) checkAgreement(all map[events.Endpoint][]map[string]any) {
	c.t.Helper()
	counted := map[events.Endpoint]map[events.Type]int{}
	for e, rows := range all {
		counted[e] = map[events.Type]int{}
		for _, r := range rows {
			recount(e, r, counted[e])
		}
		maps.DeleteFunc(counted[e], func(_ events.Type, n int) bool { return n == 0 })
	}
	expected := map[events.Endpoint]map[events.Type]int{}
	leaves := map[events.Endpoint]map[string]map[string]bool{}
	for e, rows := range all {
		leaves[e], expected[e] = map[string]map[string]bool{}, map[events.Type]int{}
		for _, r := range rows {
			leaves[e][rowID(e, r)] = leavesOf(r)
		}
	}
	for entry := range c.s.Ledger(c.now) {
		for _, v := range entry.Views {
			version := current(v, c.now)
			if version == nil {
				continue
			}
			if version.Fields["sentiment"] == "WITHDRAWN" { // which shows nothing
				continue
			}
			expected[v.Endpoint][entry.Type]++
			c.checkShown(entry, v, version, leaves[v.Endpoint][v.Row])
		}
	}
	require.Equal(c.t, expected, counted)
	require.NotEmpty(c.t, expected)
}

// current returns the version of a view that can be read at now.
func current(v koresim.View, now time.Time) *koresim.Version {
	if !v.Gone.IsZero() && !v.Gone.After(now) {
		return nil
	}
	var found *koresim.Version
	for i := range v.Versions {
		if !v.Versions[i].Visible.After(now) {
			found = &v.Versions[i]
		}
	}
	return found
}

// checkShown looks for the values of a version in the row that shows it.
func (c *client) checkShown(e *koresim.Entry, v koresim.View, version *koresim.Version, shown map[string]bool) {
	c.t.Helper()
	want := map[string]bool{}
	for k, value := range version.Fields {
		if !slices.Contains(derived, k) {
			collect(value, v.Endpoint, want)
		}
	}
	for leaf := range want {
		require.True(c.t, shown[leaf], "%s %s through %s: %q of %v is not shown", e.Type, e.Key, v.Endpoint, leaf, version.Fields)
	}
}

// derived are fields that are words of the schemas, not of the API.
var derived = []string{"usage", "count_total", "extra_json", "run_json", "adherence_basis", "via", "kind", "level", "given_by", "target_type", "sentiment", "bot_only", "responding", "action_type", "scale"}

func collect(value any, e events.Endpoint, into map[string]bool) {
	switch v := value.(type) {
	case string:
		into[v] = true
	case int64, float64:
		into[fmt.Sprint(v)] = true
	case time.Time:
		into[v.UTC().Format("2006-01-02T15:04:05.000Z")] = true
	case []any:
		for _, x := range v {
			collect(x, e, into)
		}
	case koresim.Fields:
		for _, x := range v {
			collect(x, e, into)
		}
	}
}

// leavesOf returns every scalar in a row as text; times without zone and in milliseconds also as the time that they mean.
func leavesOf(row map[string]any) map[string]bool {
	out := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		case float64:
			out[fmt.Sprint(int64(v))], out[fmt.Sprint(v)] = true, true
			out[time.UnixMilli(int64(v)).UTC().Format("2006-01-02T15:04:05.000Z")] = true
		case string:
			out[v] = true
			if t, err := time.Parse(seconds, v); err == nil {
				out[t.Format("2006-01-02T15:04:05.000Z")] = true
			}
		}
	}
	walk(row)
	return out
}

func rowID(e events.Endpoint, r map[string]any) string {
	switch e {
	case events.Interactions:
		return fmt.Sprint(r["segmentID"])
	case events.Conversations:
		return fmt.Sprint(r["_id"])
	}
	return fmt.Sprint(r["sessionId"])
}

func items(v any, key string) (out []map[string]any) {
	m, _ := v.(map[string]any)
	list, _ := m[key].([]any)
	for _, x := range list {
		out = append(out, x.(map[string]any))
	}
	return out
}

// blank reports whether feedback is shown that says nothing.
func blank(f map[string]any) bool { return f["response"] == "" || f["feedback"] == "" }

// recount counts the things in a row: a second, simpler idea of what becomes an event.
func recount(e events.Endpoint, r map[string]any, n map[events.Type]int) {
	feedback := func(holders ...any) {
		for _, h := range holders {
			if m, ok := h.(map[string]any); ok {
				for _, key := range []string{"feedback", "feedbackInfo"} {
					if f, ok := m[key].(map[string]any); ok && !blank(f) {
						n[events.TypeFeedback]++
					}
				}
			}
		}
	}
	switch e {
	case events.Interactions:
		n[events.TypeSegment]++
		used := func(holder any) {
			for _, u := range items(holder, "used") {
				n[events.TypeSuggestionUsed]++
				feedback(u, u["target"])
				for _, inner := range u["target"].(map[string]any) {
					feedback(inner)
				}
			}
		}
		for _, a := range items(r, "agentActions") {
			if a["action"] != nil {
				n[events.TypeSearch]++
				n[events.TypeSuggestionShown] += shown(a["action"].(map[string]any))
			}
			used(a)
		}
		for _, p := range items(r, "proActiveSuggestions") {
			n[events.TypeSuggestionShown] += shown(p)
			used(p)
		}
		n[events.TypeCoachingTriggered] += len(items(r, "coachingRuntimeData"))
		for _, p := range items(r, "playbookRuntimeData") {
			n[events.TypePlaybookStep]++
			for _, st := range items(p, "stages") {
				n[events.TypePlaybookStep] += 1 + len(items(st, "steps"))
			}
		}
		for _, a := range items(r, "agenticActivities") {
			n[events.TypeAgenticRequest]++
			if strings.HasPrefix(a["requestId"].(string), "ua-") {
				n[events.TypeSearch]++
			}
			if _, ok := a["usageDetails"].(map[string]any); ok {
				n[events.TypeSuggestionUsed]++
			}
			feedback(a)
		}
		if r["summary"] != nil {
			n[events.TypeSummary]++
			feedback(r["summary"])
		}
	case events.Conversations:
		for _, m := range append(items(r, "messages"), items(r, "searchHistory")...) {
			if m["type"] != "AGENTIC" {
				n[events.TypeMessage]++
				continue
			}
			n[events.TypeAgenticRequest]++
			if m["isSent"] == true || m["isCopied"] == true || m["isOverride"] == true {
				n[events.TypeSuggestionUsed]++
			}
			feedback(m)
		}
		n[events.TypeSearch] += len(items(r, "searchHistory"))
		for _, m := range items(r, "summaries") {
			n[events.TypeSummary]++
			feedback(m)
		}
		for _, f := range items(r, "widgetFeedbacks") {
			if !blank(f) {
				n[events.TypeFeedback]++
			}
		}
	default:
		n[events.TypeConversation]++
		for _, d := range items(r, "destinations") {
			if d["respondingAgent"] != nil || d["agentId"] != nil {
				n[events.TypeAgentEngagement]++
			}
			n[events.TypeAgentEngagement] += len(items(d, "nonRespondingAgents"))
		}
		for _, name := range []string{"csatScore", "npsScore", "likeDislikeScore"} {
			if score := r[name]; score != nil && (score != 0.0 || name == "npsScore") {
				n[events.TypeFeedback]++
			}
		}
	}
}

// shown returns 1 if anything was displayed, else 0.
func shown(holder map[string]any) int {
	counts, _ := holder["countDisplayedAnswers"].(map[string]any)
	for _, n := range counts {
		if s := fmt.Sprint(n); s != "0" {
			return 1
		}
	}
	lists, _ := holder["suggestions"].(map[string]any)
	for name := range lists {
		if len(items(lists, name)) > 0 {
			return 1
		}
	}
	return 0
}

func TestSameSeedSameWorld(t *testing.T) {
	read := func(seed uint64) string {
		c := newClient(t, koresim.Config{Seed: seed, SegmentsPerDay: 40, End: start.Add(24 * time.Hour)})
		c.now = start.Add(48 * time.Hour)
		b, err := json.Marshal(c.readAll())
		require.NoError(t, err)
		return string(b)
	}
	one := read(1)
	require.Equal(t, one, read(1))
	require.NotEqual(t, one, read(2))
}
