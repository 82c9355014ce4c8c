package main

import (
	"context"
	"encoding/json"
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

// Each feedback is one alert and one all-clear at a time, also when events come again after a restart.
func TestAlerts(t *testing.T) {
	var sent []string
	send := func(_ context.Context, text string) error {
		sent = append(sent, strings.Fields(text)[0])
		return nil
	}
	const bad, good = ":thumbsdown:", ":white_check_mark:"
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
		a, err := open(path, send) // as after a restart
		require.NoError(t, err)
		require.NoError(t, a.handle(t.Context(), step.f))
		require.Equal(t, step.want, sent, step.name)
	}
}

// What people wrote is text in Slack, and never mentions a channel.
func TestMessageIsEscaped(t *testing.T) {
	require.Contains(t, negative(feedback{CommentText: "<!channel> & so on"}), "Comment: &lt;!channel&gt; &amp; so on")
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
	a, err := open(filepath.Join(t.TempDir(), "alerts.json"), hook.send)
	require.NoError(t, err)
	require.NoError(t, a.handle(ctx, feedback{EntityID: "a", Revision: 1, Sentiment: "NEGATIVE"}))
	again, err := open(a.path, nil)
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
		bad := strings.HasPrefix(text, ":thumbsdown: ")
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
			ended <- run(ctx, cfg, path, hook.send)
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
