package app

import (
	"testing"
	"time"

	"agentassist-poller/internal/status"

	"github.com/stretchr/testify/require"
)

// What is at the top of the page answers for all accounts: the oldest statement, what is furthest behind, and the budget that is spent most.
// What is not stated has a reason.
func TestFigures(t *testing.T) {
	now := time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	shown := func(accounts ...status.Account) (out []string) {
		for _, f := range figures(status.Status{Now: now, Accounts: accounts}) {
			out = append(out, f.Value+" | "+f.Why)
		}
		return out
	}
	require.Empty(t, shown(status.Account{Name: "a"}), "another instance reads it")
	a := status.Account{Name: "a", Budget: status.Budget{Limit: 60, Used: 30, PriorityClasses: []status.PriorityClass{{Name: "tail", Used: 28}, {Name: "hot", Used: 2}, {Name: "sweep"}}}, Endpoints: []status.Endpoint{
		{Endpoint: "interactions", BotID: "st-1", BotName: "care", CompleteUpTo: before(6 * time.Minute), Lag: status.Of(9 * time.Second), InWork: []status.Pass{{PriorityClass: "tail"}, {PriorityClass: "hot"}, {PriorityClass: "tail"}}},
		{Endpoint: "call-details", CompleteUpTo: before(20 * time.Hour), Lag: status.Of(40 * time.Second)},
	}}
	require.Equal(t, []string{
		"2026-11-20 18:30:00 | 20 h ago; the oldest is that of a, call-details", "40 s | a, call-details", "3 passes | hot 1, tail 2", "30 of 60 | tail 28, hot 2",
	}, shown(a))
	b := status.Account{Name: "b", Budget: status.Budget{Limit: 10, Used: 10}, Jobs: []status.Job{{State: "running"}, {State: "done"}}, Endpoints: []status.Endpoint{
		{Endpoint: "interactions", State: status.Failing, Lag: status.Of(time.Hour), Gaps: []status.Gap{{}, {}}, FirstRead: &status.FirstRead{Remaining: status.Seconds(3 * time.Hour)}},
	}}
	require.Equal(t, []string{
		"not stated yet | by 1 of 3 endpoints: b, interactions, it fails; by the others 2026-11-20 18:30:00", "1 h | b, interactions fails",
		"3 passes | hot 1, tail 2; to come: 3 h of history, 2 gaps, 1 backfill", "10 of 10 | b, the most of all accounts, all of the budget",
	}, shown(a, b))
	for want, e := range map[string]status.Endpoint{
		"it fails": {State: status.Failing}, "it waits": {Waiting: &status.Wait{}}, "its first read has not ended": {FirstRead: &status.FirstRead{}},
		"nothing has been read": {}, "what was read may still gain rows": {ReadThrough: before(0)},
	} {
		require.Equal(t, want, unstated(e))
	}
}

// What is not red and needs a person all the same is shown once for each kind, with what to do; what passes by itself is not shown.
func TestWarnings(t *testing.T) {
	now := time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	late := status.Endpoint{Endpoint: "interactions", BotID: "st-1", Lag: status.Of(11 * time.Minute)}
	sweep := status.Sweep{Within: status.Seconds(time.Hour), Actual: status.Seconds(5 * time.Minute), Age: status.Of(11 * time.Minute)}
	waits := func(reason status.WaitReason, d time.Duration) *status.Wait {
		return &status.Wait{Reason: reason, Text: "nothing came", Since: now.Add(-d)}
	}
	got := warnings(status.Status{Now: now, Accounts: []status.Account{
		{Name: "a", ClockSkew: status.Of(-time.Minute), UnreadableEntities: 2, Budget: status.Budget{BlockedUntil: before(-time.Minute)}, Endpoints: []status.Endpoint{
			late, late,
			{Endpoint: "conversations", Sweeps: []status.Sweep{sweep}, Gaps: []status.Gap{{From: *before(2 * time.Hour), To: *before(time.Hour), Reason: "capped"}}},
			{Endpoint: "conversations", LastFailing: before(40 * time.Second), Gaps: []status.Gap{{Reason: status.NotReadYet}}},
			{Endpoint: "call-details", State: status.Waiting, Waiting: waits(status.WaitFirstRead, 2*time.Hour)},
			{Endpoint: "call-details", State: status.Waiting, Waiting: waits(status.WaitNoRows, 2*time.Hour)},
			{Endpoint: "call-details", State: status.Failing, Lag: status.Of(time.Hour), Sweeps: []status.Sweep{sweep}},
		}},
		{Name: "b", ClockSkew: status.Of(time.Second), Paused: &status.Pause{Since: *before(time.Hour)}, Endpoints: []status.Endpoint{late}},
	}})
	var shown [][]string
	for _, w := range got {
		require.NotEmpty(t, w.Do)
		require.False(t, w.State.Red())
		shown = append(shown, append([]string{w.Text}, w.Where...))
	}
	require.Equal(t, [][]string{
		{"The API asked to wait: nothing of it is read.", "a, until 14:31:00"},
		{"This machine's clock and the API's differ.", "a, by -1 min"},
		{"Stored entities could not be read, and are published again as revision 1.", "a, 2"},
		{"New rows are published late.", "a, interactions of st-1, by 11 min", "a, interactions of st-1, by 11 min"},
		{"Time could not be read: capped. Complete up to waits for it.", "a, conversations, 12:30:00 to 13:30:00"},
		{"Older time is read again late, and so are edits published.", "a, conversations, up to 1 h back 11 min ago, planned every 5 min"},
		{"It failed, and is read again.", "a, conversations, 40 s ago"},
		{"It waits: nothing came.", "a, call-details, for 2 h"},
		{"Somebody paused it: nothing of it is read.", "b, since 13:30:00"},
	}, shown)
}
