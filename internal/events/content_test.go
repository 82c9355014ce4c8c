package events_test

import (
	"encoding/hex"
	"flag"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentassist-poller/internal/events"

	"github.com/stretchr/testify/require"
)

func content(e events.Event) string { return string(e.AppendContent(nil, 1)) }

func TestContentSurvivesTheWire(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		e, again := randomEvent(r, typ), events.New(typ)
		require.NoError(t, events.DecodeAvro(typ, encode(t, e), again))
		require.Equal(t, content(e), content(again))
	})
}

// Everything the poller itself adds, and all display names, may change without making a version.
func TestContentLeavesOutTheSurroundings(t *testing.T) {
	forTypes(t, func(t *testing.T, r random, typ events.Type) {
		e := randomEvent(r, typ)
		before := content(e)
		h, other := e.Head(), randomEvent(r, typ).Head()
		h.EventID, h.EntityID, h.Revision = other.EventID, other.EntityID, other.Revision
		h.EventTime, h.EventTimeBasis = other.EventTime, other.EventTimeBasis
		h.ChangedAfter, h.ChangedBefore, h.ObservedTime = other.ChangedAfter, other.ChangedBefore, other.ObservedTime
		h.Late, h.Replay, h.Endpoint, h.Source = other.Late, other.Replay, other.Endpoint, other.Source
		h.AccountID, h.SegmentID, h.SupersededBy = other.AccountID, other.SegmentID, other.SupersededBy
		if h.Agent != nil {
			h.Agent.Name, h.Agent.Email = new("another name"), nil
		}
		if h.Queue != nil {
			h.Queue.QueueName = new("another name")
		}
		require.Equal(t, before, content(e))
	})
}

func TestContentOfHeader(t *testing.T) {
	for typ, counts := range map[events.Type]bool{
		events.TypeSegment: true, events.TypeAgentEngagement: true,
		events.TypeSearch: false, events.TypeSuggestionUsed: false, events.TypeFeedback: false, events.TypeCoachingTriggered: false,
		events.TypePlaybookStep: false, events.TypeAgenticRequest: false, events.TypeSuggestionShown: false,
		events.TypeSummary: false, events.TypeMessage: false, events.TypeConversation: false,
	} {
		a, b := events.New(typ), events.New(typ)
		b.Head().Agent = &events.Agent{AgentID: new("a-1")}
		b.Head().Queue = &events.Queue{QueueID: new("qu-1")}
		require.Equal(t, counts, content(a) != content(b), "%s", typ)
	}
}

func TestContentTellsVersionsApart(t *testing.T) {
	at := time.UnixMilli(1_772_012_010_500).UTC()
	tests := map[string]struct {
		a, b events.Event
		same bool
	}{
		"text":               {&events.Feedback{Response: new("up")}, &events.Feedback{Response: new("down")}, false},
		"null and blank":     {&events.Feedback{}, &events.Feedback{CommentText: new("")}, true},
		"neighbouring texts": {&events.Feedback{Response: new("a"), CommentText: new("bc")}, &events.Feedback{Response: new("ab"), CommentText: new("c")}, false},
		"derived":            {&events.Feedback{Sentiment: "POSITIVE"}, &events.Feedback{Sentiment: "NEGATIVE"}, true},
		"false and null":     {&events.Summary{IsEdited: new(false)}, &events.Summary{}, false},
		"false and true":     {&events.Summary{IsEdited: new(false)}, &events.Summary{IsEdited: new(true)}, false},
		"zero and null":      {&events.Segment{CountScrollUp: new(int64(0))}, &events.Segment{}, false},
		"zone":               {&events.Segment{SegmentEndTime: &at}, &events.Segment{SegmentEndTime: new(at.In(time.FixedZone("", 3600)))}, true},
		"fraction":           {&events.PlaybookStep{AdherenceRate: new(99.5)}, &events.PlaybookStep{AdherenceRate: new(99.0)}, false},
		"map":                {&events.PlaybookStep{TotalStages: map[string]int64{"a": 1, "b": 2}}, &events.PlaybookStep{TotalStages: map[string]int64{"a": 2, "b": 1}}, false},
		"order of reasons":   {&events.Feedback{ReasonCodes: []string{"a", "b"}}, &events.Feedback{ReasonCodes: []string{"b", "a"}}, false},
		"cut of reasons":     {&events.Feedback{ReasonCodes: []string{"ab"}}, &events.Feedback{ReasonCodes: []string{"a", "b"}}, false},
		"order of tags": {
			&events.Segment{Tags: []events.SegmentTag{{Name: new("a")}, {Name: new("b")}}},
			&events.Segment{Tags: []events.SegmentTag{{Name: new("b")}, {Name: new("a")}}}, true},
		"value of a tag": {
			&events.Segment{Tags: []events.SegmentTag{{Name: new("a"), Value: new("1")}}},
			&events.Segment{Tags: []events.SegmentTag{{Name: new("a"), Value: new("2")}}}, false},
		"name of a queue in the path": {
			&events.Conversation{Destinations: []events.ConversationDestination{{QueueID: new("q"), QueueName: new("old")}}},
			&events.Conversation{Destinations: []events.ConversationDestination{{QueueID: new("q"), QueueName: new("new")}}}, true},
		"counts that are derived": {&events.Segment{PhrasesEntered: new(int64(1))}, &events.Segment{PhrasesEntered: new(int64(2))}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.same, content(tt.a) == content(tt.b))
			require.Equal(t, tt.same, events.ContentHash(tt.a, 1) == events.ContentHash(tt.b, 1))
		})
	}
}

func TestRecipeEntersTheHash(t *testing.T) {
	e := &events.Feedback{Response: new("up")}
	require.NotEqual(t, events.ContentHash(e, 1), events.ContentHash(e, 2))
}

// Hashes are kept for as long as entities are remembered: what they are taken over must never change under a recipe.
func TestContentHashIsPinned(t *testing.T) {
	e := &events.PlaybookStep{
		Level: "STEP", RunID: new("r"), OpenedAt: new(time.UnixMilli(1_772_012_010_500)), AdherenceRate: new(12.5),
		StageOrdinal: new(int64(2)), IsAdhered: new(true), TotalStages: map[string]int64{"s": 3},
	}
	hash := events.ContentHash(e, 1)
	require.Equal(t, "dbc811f2bab0070a", hex.EncodeToString(hash[:]))
	seg := &events.Segment{Tags: []events.SegmentTag{{Name: new("b")}, {Name: new("a"), Value: new("1")}}}
	seg.Agent = &events.Agent{AgentID: new("a-1")}
	hash = events.ContentHash(seg, 1)
	require.Equal(t, "cc17e6e16a136ec3", hex.EncodeToString(hash[:]))
}

// A field that begins to count makes a new recipe.
func TestRecipeIsThatOfTheSchemas(t *testing.T) {
	newest := 0
	for _, typ := range events.Types() {
		for _, m := range regexp.MustCompile(`"since": (\d+)`).FindAllStringSubmatch(events.Schema(typ), -1) {
			since, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			newest = max(newest, since)
		}
	}
	require.Equal(t, newest, events.Recipe())
}

var wantRecipe = flag.Int("want-recipe", 2, "the recipe this test binary was linked with")

func TestLinkedRecipe(t *testing.T) { require.Equal(t, *wantRecipe, events.Recipe()) }

func TestRecipeCanBeLinkedIn(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	program := filepath.Join(t.TempDir(), "test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, "-ldflags", "-X agentassist-poller/internal/events.recipe=7", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	out, err := exec.CommandContext(t.Context(), program, "-test.run", "^TestLinkedRecipe$", "-test.v", "-want-recipe", "7").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, strings.HasPrefix(string(out), "=== RUN   TestLinkedRecipe"), "%s", out)
}
