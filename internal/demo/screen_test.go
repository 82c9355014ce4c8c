package demo

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/app"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/status"
)

// newTestScreen returns a screen of a demo that is open and does not run.
func newTestScreen(t *testing.T, out *bytes.Buffer) *screen {
	t.Helper()
	log, _ := app.NewLog(app.Log{Level: "error"}, out)
	d := &demo{o: Options{Seed: 1, Listen: "127.0.0.1:0"}, out: app.Output{Out: out, Err: out, Log: log}}
	require.NoError(t, d.open(t.TempDir()))
	t.Cleanup(func() {
		d.sim.listener.Close()
		d.broker.Close()
		d.schema.Close()
		require.NoError(t, d.app.Close())
	})
	return d.screen
}

// The screen counts what consumers see, and computes the figures that a stream processor would.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	sc := newTestScreen(t, &out)
	names, now := sc.d.names, time.Now()
	for _, r := range []struct {
		topic  string
		fields map[string]any
	}{
		{names.Event(events.TypeSuggestionShown), map[string]any{"entity_id": "shown-1"}},
		{names.Event(events.TypeSuggestionShown), map[string]any{"entity_id": "shown-2"}},
		{names.Event(events.TypeSuggestionUsed), map[string]any{"entity_id": "used-1", "usage": events.UsageSent, "shown_entity_id": "shown-1"}},
		{names.Event(events.TypeCoachingTriggered), map[string]any{"entity_id": "nudge-1", "is_adhered": true}},
		{names.Event(events.TypeAgentEngagement), map[string]any{"entity_id": "served-1", "interaction_duration": int64(90)}},
		{names.Negative(), map[string]any{"given_by": "CUSTOMER", "sentiment": events.SentimentNegative, "scale": "CSAT"}},
	} {
		sc.record(r.topic, r.fields, now)
	}
	sc.line(&status.Status{State: status.OK})
	require.Regexp(t, `^ +0s +5 records .* suggestions used 50%  coaching followed 100%  avg handle time 90 s  negative 1  ok\n$`, out.String())
	require.Contains(t, last(sc.feedback, 1, 80)[0], "NEGATIVE by CUSTOMER CSAT")
}

// The picture fits every terminal, and shows the latest event on all of them.
func TestPictureFits(t *testing.T) {
	sc := newTestScreen(t, &bytes.Buffer{})
	for i := range 300 {
		sc.record(sc.d.names.Event(events.TypeSearch), map[string]any{"search_phrase": fmt.Sprintf("phrase %d %s", i, strings.Repeat("x", 300))}, time.Now())
	}
	s := &status.Status{State: status.OK, Accounts: []status.Account{{Endpoints: make([]status.Endpoint, 6)}}}
	for _, size := range []struct{ width, height int }{{80, 24}, {80, 50}, {140, 45}, {200, 100}, {40, 20}, {60, 12}} {
		rows := sc.picture(s, size.width, size.height)
		require.LessOrEqual(t, len(rows), size.height)
		shown := ""
		for _, row := range rows {
			shown += strings.TrimSpace(fit(row, size.width, false)) + " "
		}
		require.Contains(t, shown, "phrase 299", "%v", size)
		if size.height >= 18 {
			require.Contains(t, strings.ReplaceAll(shown, " \\ ", " "), sc.d.tailCommand(), "%v", size)
		}
		require.Contains(t, shown, "avg handle time -", "%v", size)
		for _, row := range rows {
			require.LessOrEqual(t, utf8.RuneCountInString(fit(row, size.width, false)), size.width)
		}
	}
}

func TestWrap(t *testing.T) {
	const text = "one two  three  four five six"
	require.Equal(t, []string{text}, wrap(text, 80))
	require.Equal(t, []string{"one two  three", "four five six"}, wrap(text, 16))
	require.Equal(t, []string{"one two", "three", "four five", "six"}, wrap(text, 9))
	require.Equal(t, []string{"a-word-that-is-too-long", "b"}, wrap("a-word-that-is-too-long b", 4))
	require.Equal(t, []string{"one"}, wrap("one  ", 4))
	require.Equal(t, []string{""}, wrap("", 4))
}

func TestFit(t *testing.T) {
	const row = " " + bold + "añb" + plain + "cd"
	require.Equal(t, " "+bold+"añ"+plain, fit(row, 3, true))
	require.Equal(t, " añb", fit(row, 4, false))
	require.Equal(t, " añbcd", fit(row, 80, false))
}
