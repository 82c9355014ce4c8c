package app

import (
	"fmt"
	"net"
	"testing"
	"time"

	"agentassist-poller/internal/status"

	"github.com/stretchr/testify/require"
)

func TestDurationsForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1234 * time.Millisecond: "1.2 s", 45 * time.Second: "45 s", time.Minute: "1 min", 95 * time.Second: "95 s",
		150 * time.Second: "2 min 30 s", 47 * time.Minute: "47 min", time.Hour: "1 h", 100 * time.Minute: "1 h 40 min", 24 * time.Hour: "1 d",
		50 * time.Hour: "2 d 2 h", 35 * 24 * time.Hour: "35 d", -400 * time.Millisecond: "-0.4 s", -40 * time.Millisecond: "0 s",
	} {
		require.Equal(t, want, short(d), d.String())
	}
}

func TestCountsForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1000: "-1\u202f000"} {
		require.Equal(t, want, count(n))
	}
}

func TestPageAt(t *testing.T) {
	for listen, want := range map[string]string{"[::]:8080": "http://localhost:8080/", "0.0.0.0:80": "http://localhost:80/", "127.0.0.1:9": "http://127.0.0.1:9/"} {
		addr, err := net.ResolveTCPAddr("tcp", listen)
		require.NoError(t, err)
		require.Equal(t, want, pageAt(addr))
	}
}

// What is to be done is said once for each cause, however many endpoints it makes red, and first what makes all of them red.
func TestEachCauseIsSaidOnce(t *testing.T) {
	now := time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)
	fails := func(endpoint, bot, text, hint string, class status.Class, since time.Duration) status.Endpoint {
		return status.Endpoint{Endpoint: endpoint, BotID: bot, State: status.Failing, LastError: &status.Error{
			Text: text, Hint: hint, Class: class, Since: now.Add(-since), Count: int(since / time.Minute),
		}}
	}
	var accounts []status.Account
	for i := range 4 {
		a := status.Account{Name: fmt.Sprint("a", i)}
		for _, e := range []string{"interactions", "conversations"} {
			a.Endpoints = append(a.Endpoints, fails(e, "st-1", "fetch "+e+": dns: no such host", "", status.ClassRetry, time.Duration(i+1)*time.Minute))
		}
		accounts = append(accounts, a)
	}
	scope := "give the JWT app the scope SmartAssist Analytics"
	accounts[0].Endpoints = append(accounts[0].Endpoints,
		fails("interaction-details", "", "fetch interaction-details: scope; "+scope, scope, status.ClassPermanent, time.Hour),
		fails("call-details", "", "fetch call-details: scope; "+scope, scope, status.ClassPermanent, time.Hour),
		status.Endpoint{Endpoint: "conversations", State: status.OK})
	got := troubles(status.Status{Now: now, Accounts: accounts})
	require.Len(t, got, 2)
	require.Equal(t, []string{"a0, interactions of st-1", "a0, conversations of st-1", "a1, interactions of st-1"}, got[0].Where[:3])
	require.Len(t, got[0].Where, 6)
	require.Equal(t, 2, got[0].More)
	require.Equal(t, now.Add(-4*time.Minute), got[0].Since)
	require.Equal(t, 4, got[0].Count)
	require.Contains(t, got[0].Do, "it is tried again")
	require.Equal(t, []string{"a0, interaction-details", "a0, call-details"}, got[1].Where)
	require.Equal(t, scope, got[1].Do)

	away := &status.Error{Text: "no broker answers", Hint: "check kafka.brokers", Class: status.ClassRetry, Since: now}
	for i := range accounts {
		accounts[i].Owner = &status.Owner{State: status.Failing, LastError: away}
		accounts[i].Endpoints = []status.Endpoint{fails("interactions", "st-1", away.Text, away.Hint, away.Class, 0), fails("conversations", "st-1", away.Text, away.Hint, away.Class, 0)}
	}
	got = troubles(status.Status{Now: now, Accounts: accounts, Delivery: status.Delivery{State: status.Failing, LastError: away}})
	require.Len(t, got, 1)
	require.Equal(t, []string{"Kafka", "a0", "a1", "a2", "a3"}, got[0].Where)
	require.Equal(t, 8, got[0].Unread)

	// The group and a check may say it in other words; what is to be done is the same. Text and hint say nothing twice.
	check := status.Error{Text: "reach Kafka: no broker answers; check kafka.brokers", Hint: "check kafka.brokers", About: "Kafka", Class: status.ClassRetry, Since: now, Count: 9}
	got = troubles(status.Status{Now: now, Accounts: accounts, Problems: []status.Error{check}})
	require.Len(t, got, 1)
	require.Equal(t, []string{"Kafka", "a0", "a1", "a2", "a3"}, got[0].Where)
	require.Equal(t, 9, got[0].Count)
	require.Equal(t, "reach Kafka: no broker answers", got[0].Text)
	require.Equal(t, "check kafka.brokers", got[0].Do)

	// What is wrong with topics is said of each, unless it is the same.
	topic := func(name, text string) status.Error {
		return status.Error{Text: "topic " + name + " " + text + "; raise it", Hint: "raise it", About: "topic " + name, Class: status.ClassPermanent, Since: now}
	}
	got = troubles(status.Status{Now: now, Problems: []status.Error{topic("p.a", "keeps 1h"), topic("p.b", "takes 300 bytes"), topic("p.c", "keeps 1h")}})
	require.Len(t, got, 2)
	require.Equal(t, []string{"topic p.a", "topic p.c"}, got[0].Where)
	require.Equal(t, "topic p.b takes 300 bytes", got[1].Text)

	// It is said of what fails, not of what waits for it.
	registry := &status.Error{Text: "schema registry: connection refused", Hint: "check that it runs", About: "schema registry", Class: status.ClassRetry, Since: now}
	got = troubles(status.Status{Now: now, Delivery: status.Delivery{State: status.Failing, LastError: registry}})
	require.Len(t, got, 1)
	require.Equal(t, []string{"schema registry"}, got[0].Where)
	require.Empty(t, troubles(status.Status{Now: now, Delivery: status.Delivery{State: status.OK}}))
}

// The strips of an account show all that is not complete, in one window, and nothing beyond it.
func TestStrips(t *testing.T) {
	now := time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)
	before := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	hours := func(from, to int, why string) []status.Gap {
		return []status.Gap{{From: *before(time.Duration(from) * time.Hour), To: *before(time.Duration(to) * time.Hour), Reason: why}}
	}
	e := status.Endpoint{CompleteFrom: before(240 * time.Hour), ReadThrough: before(0), CompleteUpTo: before(12 * time.Hour)}
	require.Equal(t, timeline{*before(24 * time.Hour), now}, newTimeline(now, []status.Endpoint{e, {}}))
	require.Equal(t, timeline{*before(time.Hour), now}, newTimeline(now, []status.Endpoint{{CompleteFrom: before(11 * time.Minute)}}))
	require.Equal(t, timeline{*before(time.Minute), now}, newTimeline(now, nil))
	e.Gaps = hours(12, 6, "capped")
	e.Unsettled = hours(6, 3, "totals differ")
	e.InWork = []status.Pass{{From: *before(time.Second), To: now.Add(time.Minute), PriorityClass: "tail"}}
	l := newTimeline(now, []status.Endpoint{e})
	require.Equal(t, []part{
		{"read", 0, 1000, "read, 2026-11-20 14:30:00 to 2026-11-21 14:30:00"},
		{"complete", 0, 500, "complete, 2026-11-20 14:30:00 to 2026-11-21 02:30:00"},
		{"gap", 500, 250, "gap: capped, 2026-11-21 02:30:00 to 2026-11-21 08:30:00"},
		{"unsettled", 750, 125, "unsettled: totals differ, 2026-11-21 08:30:00 to 2026-11-21 11:30:00"},
		{"work", 997, 3, "in work (tail), 2026-11-21 14:29:59 to 2026-11-21 14:30:00"},
	}, l.Strip(e))
	e.Gaps, e.FirstRead = nil, &status.FirstRead{From: *before(100 * time.Hour), To: *before(30 * time.Hour)}
	require.Equal(t, timeline{*before(7 * 24 * time.Hour), now}, newTimeline(now, []status.Endpoint{e}))
	e.FirstRead.From = *before(2000 * time.Hour)
	require.Equal(t, timeline{*before(2000 * time.Hour), now}, newTimeline(now, []status.Endpoint{e}))
	require.Empty(t, l.Strip(status.Endpoint{}))
}
