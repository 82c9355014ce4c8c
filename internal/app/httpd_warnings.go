package app

import (
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/status"
)

// What the alerts of the chart call somebody for although nothing is red.
const (
	lateAfter    = 10 * time.Minute // new rows
	skewedFrom   = 30 * time.Second
	lateSweep    = 2 // times as long ago as planned
	waitsFor     = time.Hour
	waitsForRows = 24 * time.Hour
)

// warnings returns what an operator should look at although it is not red, each kind once.
func warnings(s status.Status) []*trouble {
	var out []*trouble
	add := func(where, text, do string) {
		i := slices.IndexFunc(out, func(t *trouble) bool { return t.Text == text })
		if i < 0 {
			i, out = len(out), append(out, &trouble{State: status.Waiting, Text: text, Do: do})
		}
		out[i].at(where)
	}
	for _, a := range s.Accounts {
		if p := a.Paused; p != nil {
			add(a.Name+", since "+at(s.Now, p.Since), "Somebody paused it: nothing of it is read.", "once nobody needs the pause: poller admin resume "+a.Name)
		}
		if until := a.Budget.BlockedUntil; until != nil {
			add(a.Name+", until "+at(s.Now, until), "The API asked to wait: nothing of it is read.",
				"nothing, unless it comes again and again: then another program uses the account's budget, or requests_per_minute is more than the account has")
		}
		if skew := a.ClockSkew; skew != nil && time.Duration(*skew).Abs() > skewedFrom {
			add(a.Name+", by "+short(time.Duration(*skew)), "This machine's clock and the API's differ.", "set this machine's clock (NTP); if it is right, tell Kore.ai")
		}
		if n := a.UnreadableEntities; n > 0 {
			add(a.Name+", "+count(n), "Stored entities could not be read, and are published again as revision 1.",
				"look at the disk of the checkpoint file, and at who else writes to it")
		}
		for _, e := range a.Endpoints {
			where := place(a, e)
			for _, g := range e.Gaps {
				if g.Reason != status.NotReadYet {
					add(where+", "+at(s.Now, g.From)+" to "+at(s.Now, g.To), "Time could not be read: "+g.Reason+". Complete up to waits for it.",
						"it is tried again, ever more seldom. Once the reason is gone, poller backfill over the span reads it at once")
				}
			}
			if a.Paused != nil || e.State.Red() {
				continue // that says why
			}
			if w := e.Waiting; w != nil {
				if waits := s.Now.Sub(w.Since); waits > waitsFor && (w.Reason != status.WaitNoRows || waits > waitsForRows) {
					add(where+", for "+short(waits), "It waits: "+w.Text+".", "if it should not: poller plan says what the budget attains, poller check whether the API answers")
				}
				continue
			}
			if !e.Up(s.Now) {
				add(where+", "+ago(s.Now, e.LastFailing), "It failed, and is read again.", "nothing, unless it comes again and again: poller_api_requests_total says how requests fail")
			}
			if e.Lag != nil && time.Duration(*e.Lag) > lateAfter {
				add(where+", by "+short(time.Duration(*e.Lag)), "New rows are published late.",
					"nothing after an outage, if it becomes less. Else the budget is short, or requests are slow: poller plan says what would help")
			}
			for _, sweep := range e.Sweeps {
				if sweep.Age != nil && sweep.Actual > 0 && *sweep.Age > lateSweep*sweep.Actual {
					add(fmt.Sprintf("%s, up to %s back %s ago, planned every %s", where, short(time.Duration(sweep.Within)),
						short(time.Duration(*sweep.Age)), short(time.Duration(sweep.Actual))),
						"Older time is read again late, and so are edits published.", "nothing after an outage. Else the budget is short: poller plan says what would help")
					break
				}
			}
		}
	}
	return out
}
