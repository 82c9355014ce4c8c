package koresim_test

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/koresim"
)

// Every unknown of the API is played each way by some profile.
func TestProfilesCoverEveryAlternative(t *testing.T) {
	ps := koresim.Profiles()
	require.GreaterOrEqual(t, len(ps), 6)
	perEndpoint := []events.Endpoint{events.Interactions, events.InteractionDetails, events.CallDetails}
	values := map[string]map[any]bool{}
	note := func(name string, v any) {
		if values[name] == nil {
			values[name] = map[any]bool{}
		}
		values[name][v] = true
	}
	for _, p := range ps {
		v := reflect.ValueOf(p)
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch f.Type.Kind() {
			case reflect.Bool, reflect.Int:
				note(f.Name, v.Field(i).Interface())
			case reflect.Int64:
				note(f.Name, v.Field(i).Int() == 0)
			}
		}
		note("order of conversations", p.Descending[events.Conversations])
		for _, e := range perEndpoint {
			note("order of "+string(e), p.Descending[e])
			note("filter of "+string(e), p.FilterOnEnd[e])
			note("open on "+string(e), p.HideOpen[e])
		}
	}
	for name, seen := range values {
		want := 2
		if name == "IDs" {
			want = 3
		}
		require.Len(t, seen, want, name)
	}
	_, ok := koresim.ProfileNamed("nonsense")
	require.False(t, ok)
}

// A year of history costs what is read of it: here one day of each month.
func TestAYear(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 1, SegmentsPerDay: 1000, Quiet: true})
	c.now = start.AddDate(1, 0, 0)
	n := 0
	for day := start; day.Before(c.now); day = day.AddDate(0, 0, 28) {
		for bot := range c.account.Bots {
			for offset := 0; ; offset += 100 {
				_, _, b := c.send(c.requestTo(t, bot, window(day, day.Add(24*time.Hour-time.Millisecond), offset, 100)))
				n += bytes.Count(b, []byte(`"segmentID"`))
				if bytes.Contains(b, []byte(`"hasMore":false`)) {
					break
				}
			}
		}
	}
	require.InDelta(t, 14*1000, n, 1000)
}

// Idle bots see a trickle, and what is idle is nearly free.
func TestBusyAndIdleBots(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 1, SegmentsPerDay: 1000, Bots: 200, BusyBots: 5, IdlePerDay: 1})
	c.now = start.Add(24 * time.Hour)
	busy, idle := 0, 0
	for bot := range c.account.Bots {
		n := len(c.interactions(bot, start, c.now, 0, 100).Data)
		if bot < 5 {
			require.Equal(t, 100, n)
			busy++
		} else {
			idle += n
		}
	}
	require.Equal(t, 5, busy)
	require.InDelta(t, 195, idle, 90)
}

// A second can be so full that no window makes its rows fit.
func TestSpike(t *testing.T) {
	at := start.Add(5 * time.Hour)
	c := newClient(t, koresim.Config{Seed: 1, SegmentsPerDay: 10, Spikes: []koresim.Spike{{At: at, Bot: 1, Rows: 1500}}})
	c.now = start.Add(24 * time.Hour)
	require.Len(t, c.outcomes(events.CallDetails, 1, at, at, 10, 100).Data, 100, "beyond the last page that can be asked for")
	rows := 0
	for offset := 0; offset <= 2000; offset += 100 {
		rows += len(c.interactions(1, at, at.Add(20*time.Minute), offset, 100).Data)
	}
	require.Greater(t, rows, 1000)
}

// At the pace of the demo, and half its volume, twenty seconds show every type of event, early enough to be read.
func TestBurstShowsAllTypes(t *testing.T) {
	seeds := uint64(5)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		now := start
		s, err := koresim.New(koresim.Config{
			Seed: seed, Start: now.Add(-3 * time.Minute), Pace: koresim.Burst, SegmentsPerDay: 86_400, RequestsPerMinute: 1200,
			Clock: func() time.Time { return now },
		})
		require.NoError(t, err)
		seen := map[events.Type]int{}
		negative := 0
		for e := range s.Ledger(now.Add(15 * time.Second)) {
			if first := e.Views[0].Versions[0]; first.Visible.After(now) {
				seen[e.Type]++
				if first.Fields["sentiment"] == "NEGATIVE" {
					negative++
				}
			}
		}
		for _, kind := range events.Types() {
			require.NotZero(t, seen[kind], "%s with seed %d", kind, seed)
		}
		require.NotZero(t, negative)
	}
}

// With Track the server knows when each change was first given out.
// What is rated is quoted with the rating, so that nothing may be rated before it is shown.
func TestAnswersAreRatedOnceTheyAreThere(t *testing.T) {
	rated := 0
	for seed := range uint64(20) {
		c := newClient(t, koresim.Config{Seed: 50 + seed, SegmentsPerDay: 100_000, End: start.Add(3 * time.Minute), Pace: koresim.Burst})
		c.now = start.Add(24 * time.Hour)
		answered := map[string]time.Time{}
		for e := range c.s.Ledger(c.now) {
			for _, v := range e.Views {
				if at, ok := v.Versions[len(v.Versions)-1].Fields["responded_at"].(time.Time); ok {
					answered[e.ConversationID+fmt.Sprint(v.Versions[0].Fields["request_id"])] = at
				}
			}
		}
		for e := range c.s.Ledger(c.now) {
			for _, v := range e.Views {
				shown := v.Versions[0]
				if request := shown.Fields["request_id"]; e.Type == events.TypeFeedback && request != nil {
					rated++
					at, ok := answered[e.ConversationID+fmt.Sprint(request)]
					require.True(t, ok, "seed %d: %s", 50+seed, e.Key)
					require.False(t, at.After(shown.Visible), "seed %d: %s is rated at %v and answered at %v", 50+seed, e.Key, shown.Visible, at)
				}
			}
		}
	}
	require.Greater(t, rated, 100)
}

func TestFirstServed(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 1, SegmentsPerDay: 100, Track: true, Bots: 1})
	var reads []time.Time
	for range 20 {
		c.now = c.now.Add(10 * time.Minute)
		reads = append(reads, c.now)
		c.interactions(0, start, c.now, 0, 100)
	}
	n := 0
	for e := range c.s.Ledger(c.now) {
		for _, v := range e.Views {
			for i, version := range v.Versions {
				if v.Endpoint != events.Interactions || version.Visible.After(c.now) {
					continue
				}
				at, ok := c.s.FirstServed(v, i)
				require.True(t, ok, "%s %s", e.Type, e.Key)
				require.False(t, at.Before(version.Visible))
				require.Less(t, at.Sub(version.Visible), 10*time.Minute)
				n++
			}
		}
	}
	require.Greater(t, n, 100)
	require.Len(t, reads, 20)
}

// Every shape that upstream has had occurs, and unknown fields come when asked for.
func TestShapes(t *testing.T) {
	c := newClient(t, koresim.Config{Seed: 2, SegmentsPerDay: 3000, Drift: true, Profile: koresim.Profile{Name: "plain"}})
	c.now = start.Add(24 * time.Hour)
	var text strings.Builder
	read := func(r *http.Request) {
		_, _, b := c.send(r)
		text.Write(b)
	}
	for offset := 0; offset < 1000; offset += 100 {
		read(c.request(t, events.Interactions, window(start, c.now, offset, 100), nil))
	}
	read(c.request(t, events.Conversations, nil, map[string]any{"from": "2026-06-01", "to": "2026-06-01", "includeHistory": true, "includeAgenticHistory": true}))
	for _, e := range []events.Endpoint{events.CallDetails, events.InteractionDetails} {
		for hour := range 24 {
			at := start.Add(time.Duration(hour) * time.Hour)
			read(c.request(t, e, nil, map[string]any{"startDate": at.Format(time.DateTime), "endDate": at.Add(time.Hour).Format(time.DateTime), "timeZoneOffset": 0}))
		}
	}
	for _, want := range []string{
		`"response":"Up"`, `"response":"up"`, `"status":"send"`, `"status":"Sent"`, `"answer":{`, `"general-data-source":{`,
		`"feedback":[]`, `"feedback":null`, `"usageDetails":[]`, `"countScrollUp":"0"`, `"countScrollUp":0`, `"summary":null`,
		`"showmoreClicked"`, `"showMoreClicked"`, `"usedTime":""`, `"usedTime":null`, `"stages":[]`, `"stages":[{`, `"adherence":[]`,
		`"targetType":"Snippet"`, `"videoClip":{"`, `"targetType":"Agentic"`, `"actionType":"LibrarySelection"`, `"isError":true`, `"startTime":[]`,
		`"components":{`, `"components":[`, `"triggeringMessageId":null`, `"reason":"transfer","Reason":"AGENT_TRANSFER"`,
		`"metaInfo":[]`, `"csatScore":"`, `"csatScore":null`, `"csatScore":0`, `.5,"csatFeedback"`, `"npsScore":`, `"likeDislikeScore":"dislike"`,
		`"channelSpecificUserId":null`, `"nonRespondingAgents"`,
		`"destinationType":"AgentSegment"`, `"qualityHints"`, `"tenantRegion"`, `"aiTopics"`, `"isOverride":true`,
	} {
		require.True(t, strings.Contains(text.String(), want), want)
	}
}

func TestImpossibleWorlds(t *testing.T) {
	for want, cfg := range map[string]koresim.Config{
		"is before start":      {Start: start, End: start.Add(-time.Hour)},
		"must not be negative": {Start: start, Bots: -1},
		"outside the world":    {Start: start, Spikes: []koresim.Spike{{At: start, Bot: 7}}},
		"no fault \"fire\"":    {Start: start, Faults: koresim.Faults{Kinds: []koresim.Fault{"fire"}}},
		"a share from 0 to 1":  {Start: start, Faults: koresim.Faults{Rate: 7}},
		"what is too large":    {Start: start, TooLarge: 7},
		"what is odd":          {Start: start, Odd: 7},
	} {
		_, err := koresim.New(cfg)
		require.ErrorContains(t, err, want)
	}
}
