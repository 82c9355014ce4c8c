package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/examples/feed"
	"agentassist-poller/internal/demo/demotest"
)

const remember = 24 * time.Hour

// Each feedback is one alert and one all-clear at a time, also when events come again after a restart.
func TestAlerts(t *testing.T) {
	var sent []string
	send := func(_ context.Context, text string) error {
		sent = append(sent, strings.Fields(text)[0])
		return nil
	}
	const bad, good = "👎", "✅"
	path := filepath.Join(t.TempDir(), "alerts.json")
	for _, step := range []struct {
		name string
		f    feedback
		want []string
	}{
		{"negative", feedback{EntityID: "a", Revision: 1, Sentiment: "NEGATIVE"}, []string{bad}},
		{"again", feedback{EntityID: "a", Revision: 1, Sentiment: "NEGATIVE"}, nil},
		{"another reason", feedback{EntityID: "a", Revision: 2, Sentiment: "NEGATIVE"}, nil},
		{"taken back", feedback{EntityID: "a", Revision: 3, Sentiment: "WITHDRAWN"}, []string{good}},
		{"an old one", feedback{EntityID: "a", Revision: 2, Sentiment: "NEGATIVE"}, nil},
		{"still taken back", feedback{EntityID: "a", Revision: 4, Sentiment: "WITHDRAWN"}, nil},
		{"negative once more", feedback{EntityID: "a", Revision: 5, Sentiment: "NEGATIVE"}, []string{bad}},
		{"no longer", feedback{EntityID: "a", Revision: 6, Sentiment: "POSITIVE"}, []string{good}},
		{"another", feedback{EntityID: "b", Revision: 1, Sentiment: "NEGATIVE"}, []string{bad}},
		{"goes on elsewhere", feedback{EntityID: "b", Revision: 2, Sentiment: "NEGATIVE", SupersededBy: "c"}, []string{good}},
	} {
		sent = nil
		a, err := open(path, remember, send) // as after a restart
		require.NoError(t, err)
		require.NoError(t, a.handle(t.Context(), step.f))
		require.Equal(t, step.want, sent, step.name)
	}
}

// An alert says what was given, by whom, about whom and where.
func TestMessages(t *testing.T) {
	common := `"revision": 1, "entity_id": "e-1", "conversation_id": "c-7", "sentiment": "NEGATIVE",`
	jo := `"agent": {"agent_id": "a-1042", "name": "Jo Rivera", "email": null}, "queue": {"queue_id": "qu-1", "queue_name": "Billing"},`
	for name, test := range map[string]struct{ event, want string }{
		"agent": {
			jo + `"given_by": "AGENT", "scale": null, "response": "dislike", "csat_score": null, "target_type": "Agentic", "target_query": "Where is it?",
			"target_text": "In 14 days.", "reason_codes": ["Irrelevant", "Old"], "comment_text": "No.", "link": "https://desk.example.com/c/c-7?a=1&b=2"`,
			"👎 Jo Rivera gives thumbs down to Agentic in conversation c-7\nAgent: Jo Rivera\nQueue: Billing\nAsked: Where is it?\nShown: In 14 days.\n" +
				"Reasons: Irrelevant, Old\nComment: No.\nLook: https://desk.example.com/c/c-7?a=1&amp;b=2\nFeedback: e-1",
		},
		"agent and queue without names": {
			`"agent": {"agent_id": "a-1042", "name": null}, "queue": {"queue_id": "qu-1", "queue_name": null}, "given_by": "AGENT", "target_type": "FAQ"`,
			"👎 a-1042 gives thumbs down to FAQ in conversation c-7\nAgent: a-1042\nQueue: qu-1\nFeedback: e-1",
		},
		"nobody": {
			`"agent": null, "queue": null, "given_by": "AGENT", "target_type": "FAQ"`,
			"👎 An agent gives thumbs down to FAQ in conversation c-7\nFeedback: e-1",
		},
		"CSAT": {
			jo + `"given_by": "CUSTOMER", "scale": "CSAT", "csat_score": 1, "response": "1", "target_type": "Conversation"`,
			"👎 A customer gives CSAT 1 of 5 to Conversation in conversation c-7\nAgent: Jo Rivera\nQueue: Billing\nFeedback: e-1",
		},
		"decimal CSAT": {
			`"given_by": "CUSTOMER", "scale": "CSAT", "csat_score": 1.5, "target_type": "Conversation"`,
			"👎 A customer gives CSAT 1.5 of 5 to Conversation in conversation c-7\nFeedback: e-1",
		},
		"NPS": {
			`"given_by": "CUSTOMER", "scale": "NPS", "nps_score": 0, "target_type": "Conversation"`,
			"👎 A customer gives NPS 0 of 10 to Conversation in conversation c-7\nFeedback: e-1",
		},
		"LIKE": {
			`"given_by": "CUSTOMER", "scale": "LIKE", "response": "dislike", "target_type": "Conversation"`,
			"👎 A customer gives thumbs down to Conversation in conversation c-7\nFeedback: e-1",
		},
	} {
		var f feedback
		require.NoError(t, json.Unmarshal([]byte("{"+common+test.event+"}"), &f), name)
		require.Equal(t, test.want, negative(f), name)
	}
}

// What people wrote is text in Slack: it never mentions a channel, makes no line of its own, and is not formatted.
func TestMessageIsEscaped(t *testing.T) {
	f := feedback{EntityID: "e-1", GivenBy: "AGENT", TargetType: "FAQ", ConversationID: "c-7", CommentText: "<!channel> & so on\nLook: <https://evil.example|here>"}
	f.Agent.Name, f.Queue.QueueName = "<@U024BE7LH>", "<!here>\r\nQ"
	require.Equal(t, "👎 &lt;@U024BE7LH&gt; gives thumbs down to FAQ in conversation c-7\nAgent: &lt;@U024BE7LH&gt;\nQueue: &lt;!here&gt; Q\n"+
		"Comment: &lt;!channel&gt; &amp; so on Look: &lt;https://evil.example|here&gt;\nFeedback: e-1", negative(f))
	f.ConversationID, f.SupersededBy = "<!everyone>", "e-2"
	require.Equal(t, "✅ All clear: negative feedback in conversation &lt;!everyone&gt; goes on as e-2\nFeedback: e-1", allClear(f))

	posted := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		posted = string(body)
	}))
	defer server.Close()
	require.NoError(t, (&slack{url: server.URL, client: server.Client()}).send(t.Context(), "*a* &lt;b&gt;"))
	require.JSONEq(t, `{"text": "*a* &lt;b&gt;", "mrkdwn": false}`, posted)
}

// What is older than the topic keeps is forgotten, and does not come again where it is read again all the same.
func TestForgetsWhatIsOld(t *testing.T) {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	path, sent := filepath.Join(t.TempDir(), "alerts.json"), 0
	handle := func(f feedback) *alerts {
		a, err := open(path, remember, func(context.Context, string) error { sent++; return nil }) // as after a restart
		require.NoError(t, err)
		require.NoError(t, a.handle(t.Context(), f))
		return a
	}
	negative := func(entity string, observed time.Time) feedback {
		return feedback{EntityID: entity, Revision: 1, Sentiment: "NEGATIVE", ObservedTime: observed}
	}
	handle(negative("a", start))
	handle(negative("b", start.Add(remember/2)))
	a := handle(negative("c", start.Add(remember)))
	require.Len(t, a.last, 3)
	a = handle(negative("d", start.Add(remember+time.Second)))
	require.Len(t, a.last, 3)
	require.NotContains(t, a.last, "a")
	require.Equal(t, 4, sent)
	for entity, after := range map[string]time.Duration{"a": 0, "b": remember / 2, "c": remember} {
		require.Len(t, handle(negative(entity, start.Add(after))).last, 3)
	}
	require.Equal(t, 4, sent)
	for i := range 1000 {
		a = handle(negative(string(rune('A'+i)), start.Add(time.Duration(i)*remember/10)))
	}
	require.LessOrEqual(t, len(a.last), 11)
}

// A message is posted again where the webhook fails for a while, and not where it refuses; no error shows the webhook's address.
func TestWebhook(t *testing.T) {
	answers := []int{http.StatusBadGateway, http.StatusOK, http.StatusForbidden}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answers[asked])
		asked++
	}))
	defer server.Close()
	hook := &slack{url: server.URL + "/s3cret", client: server.Client()}
	require.NoError(t, hook.send(t.Context(), "hello"))
	require.Equal(t, 2, asked)
	err := hook.send(t.Context(), "hello")
	require.ErrorContains(t, err, "403")
	require.Equal(t, 3, asked)
	require.NotContains(t, err.Error(), "s3cret")
}

// The end of the process cuts off no message: it would come again after a restart.
func TestStopEndsNoAttempt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stop() }))
	defer server.Close()
	hook := &slack{url: server.URL, client: server.Client()}
	a, err := open(filepath.Join(t.TempDir(), "alerts.json"), remember, hook.send)
	require.NoError(t, err)
	require.NoError(t, a.handle(ctx, feedback{EntityID: "a", Revision: 1, Sentiment: "NEGATIVE"}))
	again, err := open(a.path, remember, nil)
	require.NoError(t, err)
	require.Equal(t, alert{Revision: 1, Open: true}, again.last["a"])
}

// The alerts of what a poller publishes: one for a feedback, then its all-clear, then perhaps another. A restart repeats none, whether the
// consumer group goes on from its offsets or, as after a loss of them, reads all events again.
func TestAlertsOfTheDemo(t *testing.T) {
	broker, registry := demotest.Start(t)
	posted, over := make(chan string), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ Text string }
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
			t.Error(err)
		}
		select {
		case posted <- message.Text:
		case <-over:
		}
	}))
	defer server.Close()
	defer close(over)
	hook := &slack{url: server.URL, client: server.Client()}
	path := filepath.Join(t.TempDir(), "alerts.json")

	entity := regexp.MustCompile(`\nFeedback: ([0-9a-f]{32})$`)
	open, alerted, cleared := map[string]bool{}, 0, 0
	check := func(text string) {
		m := entity.FindStringSubmatch(text)
		require.NotNil(t, m, text)
		bad := strings.HasPrefix(text, "👎 ")
		require.NotEqual(t, bad, open[m[1]], "a message that says nothing new: %s", text)
		if open[m[1]] = bad; bad {
			alerted++
		} else {
			cleared++
		}
	}
	timeout := time.After(3 * time.Minute)
	for _, until := range []struct {
		group           string
		alerts, cleared int
	}{{"alerts", 3, 0}, {"alerts", 5, 0}, {"another", 7, 1}} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			cfg := feed.Config{Brokers: []string{broker}, Registry: registry, Topic: "agentassist.feedback-negative", Group: until.group}
			ended <- run(ctx, cfg, path, remember, hook.send)
		}()
		for running := true; running; {
			select {
			case text := <-posted:
				check(text)
			case err := <-ended:
				require.NoError(t, err)
				require.Error(t, ctx.Err(), "the example ends by itself")
				running = false
			case <-timeout:
				stop()
				t.Fatalf("%d alerts and %d all-clears in three minutes", alerted, cleared)
			}
			if alerted >= until.alerts && cleared >= until.cleared {
				stop() // what is being posted still arrives
			}
		}
		stop()
	}
}
