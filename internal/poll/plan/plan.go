// Package plan decides what an account asks next. It knows no clock and does no I/O; only Budget is safe for concurrent use.
//
// Requests are scarce, so what is configured are floors and the plan says what can be had. It works in two steps, both pure
// functions of state, clock and budget.
//
// Derive (capacity.go) adds up what every unit wants (a unit is one endpoint of one bot), shares the account's budget among
// six classes of work, and stretches the period of each class until it fits. It is called again every few seconds.
//
// Next picks the work for the one request that an endpoint may have in flight, in this order, passing over lanes that the budget
// does not serve at the moment:
//
//  1. Looks for new rows, of busy units. Due every poll interval; at once when another endpoint saw activity, when nothing
//     was looked at yet, and while the unit is behind. A look reads from the end of what is read to now. Where the page has room,
//     it reaches back over older time that would soon have to be read again: that costs no request, and is
//     all that a quiet unit ever needs. On `conversations` a look is a count, unless the whole day fits on a page.
//  2. The hot set: rows that are open or ended a short while ago, by id where the server honours ids, else by the windows
//     they start in.
//  3. Looks for new rows, of idle units, evenly spread.
//  4. Sweeps: older time read again, the earliest deadline first. A deadline is the last read plus the period of
//     the tier that the time is in. Sweeping begins as late as it can, and as early as it must for all deadlines to be met.
//  5. Gaps: time never read, back to a day ago.
//  6. Backfill: older time never read, and ranges asked for.
//
// From the second on, each has its turn at the rate that it was granted, and only what none of them is due is lent to the first
// that wants it: sweeps that could go on for ever, as those of a slow endpoint can, do not keep a gap from being filled.
//
// A look never covers more than CatchUp: after an outage the newest rows come first and the time between becomes a gap.
// Passes in hand are part of the state: the next step of a pass competes with new work, so that a long pass never holds
// up a look. Ties go to the unit that comes first.
package plan

import (
	"cmp"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// Unit is one endpoint of one bot, or of the whole account, as the plan sees it. Times are by the server's clock.
type Unit struct {
	Endpoint     events.Endpoint
	Bot          string // empty where the endpoint runs once for the account
	Start        time.Time
	PollInterval time.Duration
	Read         *timeline.Set
	Density      *timeline.Density
	LastLook     time.Time       // when the last look was sent; zero for none
	WokenAt      time.Time       // when another endpoint last saw activity of this bot
	NotBefore    time.Time       // nothing is asked before, after errors
	Hot          []HotRef        // rows to read again soon
	IDsIgnored   bool            // conversations: the server does not honour conversationIds
	Held         []Held          // time not to be asked for now
	Backfills    []timeline.Span // what is left to read of the ranges asked for
	Zone         time.Duration   // conversations: offset from UTC of the server's calendar days
	Counts       map[string]int  // conversations: how many rows recent days have, by dayName
	WindowPages  int             // analytics: pages that can be read of one window, once offset is known to count pages
	Keyset       bool            // analytics: what a full page shows of its window counts, and reading goes on from there
}

// HotRef is a row that is likely to change.
type HotRef struct {
	ID    string
	Start time.Time
	Read  time.Time // when it was last read by id; not used where hot rows are read by time
}

// Held is time that is not asked for until later: a second with more rows than the server gives out, or time that could not be
// read. It stays a gap.
type Held struct {
	timeline.Span
	Until time.Time
}

// Kind says what a Work does.
type Kind uint8

// The kinds of work.
const (
	KindTail     Kind = iota // read rows of new time, and of older time as far as the window reaches back
	KindProbe                // count the rows of a day, then read the new ones
	KindHot                  // read Refs again, by id on conversations, by the window elsewhere
	KindSweep                // read a window again
	KindGap                  // read a window never read, inside the time that should be complete
	KindBackfill             // read history
	KindCount
)

func (k Kind) String() string {
	return [...]string{"tail", "probe", "hot", "sweep", "gap", "backfill"}[k]
}

// Work is one pass over one window of one unit. On conversations From and To lie within one calendar day of the server, and
// the whole of that day is meant, except for KindProbe.
type Work struct {
	Priority Priority
	Kind     Kind
	Unit     int // index into the units planned for
	From, To time.Time
	Refs     []HotRef // KindHot
	// Sample is the part of the window that Density may learn from: what was not chosen for the rows that are in it.
	Sample   timeline.Span
	Requests float64 // how many it is expected to take
	// Asked is set for a range that somebody asked for: Within is all that is to be seen of it, and Replay says that what it shows
	// is published again on purpose.
	Asked, Replay bool
	Within        timeline.Span
	// Due is when it should begin. For a pass in hand it is the time of its last step.
	Due time.Time
}

// InFlight is the state of the one request that an endpoint may have in flight.
type InFlight struct {
	// Active are the passes begun and not finished, with Due set to the time of their last step: at most one look a unit, and one
	// of every other kind.
	Active []Work
	// Wait is how long the budget makes each lane wait. Zero: not at all.
	Wait [PriorityCount]time.Duration
	// Last is when the endpoint's last request of each kind was sent. All but looks are paced by it.
	Last [KindCount]time.Time
}

// candidate is the best that one class of work has to offer.
type candidate struct {
	work Work
	due  time.Time
	ok   bool
}

// offer keeps the earlier of two candidates, the first of equals.
func (c *candidate) offer(w Work, due time.Time) {
	if !c.ok || due.Before(c.due) {
		*c = candidate{w, due, true}
	}
}

// Next returns the most urgent work of one endpoint, or how long to wait for some. The units must be those the plan
// was derived for; their state may have moved on since.
func (p *Plan) Next(units []*Unit, e events.Endpoint, now time.Time, slot InFlight) (w Work, wait time.Duration, ok bool) {
	wait = maxWait
	busy, idle := p.looks(units, e, now, slot)
	for _, stage := range []struct {
		lane Priority
		kind Kind
		best func() candidate
	}{
		{PriorityTail, KindTail, func() candidate { return busy }},
		{PriorityHot, KindHot, func() candidate { return p.hot(units, e, now) }},
		{PriorityTail, KindTail, func() candidate { return idle }},
		{PrioritySweep, KindSweep, func() candidate { return p.sweep(units, e, now) }},
		{PrioritySweep, KindGap, func() candidate { return p.unread(units, e, now, PrioritySweep, KindGap) }},
		{PriorityBackfill, KindBackfill, func() candidate { return p.backfill(units, e, now) }},
	} {
		turn, lent := p.pace(stage.kind, e, slot)
		if blocked := max(slot.Wait[stage.lane], lent.Sub(now)); blocked > 0 {
			wait = min(wait, blocked)
			continue
		}
		c, active := slot.active(stage.kind)
		if !active {
			c = stage.best()
		}
		switch {
		case !c.ok:
		case c.due.After(now):
			wait = min(wait, c.due.Sub(now))
		case !turn.After(now):
			return c.work, 0, true
		case !ok: // unless something else has its turn
			w, ok = c.work, true
		}
	}
	if ok {
		return w, 0, true
	}
	return Work{}, wait, false
}

// maxWait bounds how long Next tells to wait when there is nothing to do.
const maxWait = time.Minute

// pace returns when work of a kind has its next turn so that it does not spend faster than it was granted, and when it may be
// done if nothing else has one: older time also takes an even part of what nobody wants, as how much of it there is to read shows
// only as it is read. Looks keep their own time.
func (p *Plan) pace(kind Kind, e events.Endpoint, slot InFlight) (turn, lent time.Time) {
	last := slot.Last[kind]
	if kind == KindTail || last.IsZero() {
		return turn, lent
	}
	rate := p.rate(kind.class(), e)
	at := func(rate float64) time.Time { return last.Add(perRequest(max(rate, slowest))) }
	if kind == KindHot {
		return at(rate), at(rate)
	}
	return at(rate), at(rate + max(0, p.spare)/float64(len(p.grants[0])))
}

// active returns the pass in hand of a kind. Looks, of which each unit may have one, are found by looks.
func (s *InFlight) active(kind Kind) (candidate, bool) {
	for _, w := range s.Active {
		if w.Kind == kind && w.Priority != PriorityTail {
			return candidate{w, w.Due, true}, true
		}
	}
	return candidate{}, false
}

// catchUpFrom is where a look begins at the earliest: CatchUp ago, or where reading ended before if the rows since then are
// few.
func (p *Plan) catchUpFrom(u *Unit, now time.Time) time.Time {
	from := timeline.Later(u.Start, now.Add(-p.policy.CatchUp))
	if _, ok := u.Read.LastRead(from); ok || !u.Start.Before(from) {
		return from
	}
	last := timeline.Later(u.Read.Bounds().To, timeline.Later(u.Start, now.Add(-u.paging().longest)))
	if last.Before(from) && u.Density.Rows(timeline.Span{From: last, To: now}) <= u.paging().look {
		return last
	}
	return from
}

// frontier is the end of what is read without a gap since catchUpFrom. Held time counts as read.
func (p *Plan) frontier(u *Unit, now time.Time) time.Time {
	f := u.Read.ReadThrough(p.catchUpFrom(u, now))
	for again := true; again; {
		again = false
		for _, h := range u.Held {
			if h.Until.After(now) && !h.From.After(f) && h.To.After(f) {
				f, again = u.Read.ReadThrough(h.To), true
			}
		}
	}
	return timeline.Earlier(f, now)
}

// looks returns the most urgent look of the busy units and of the idle ones.
func (p *Plan) looks(units []*Unit, e events.Endpoint, now time.Time, slot InFlight) (busy, idle candidate) {
	var lastIdle time.Time
	for i, u := range units {
		if u.Endpoint != e {
			continue
		}
		if k := slices.IndexFunc(slot.Active, func(w Work) bool { return w.Priority == PriorityTail && w.Unit == i }); k >= 0 {
			busy.offer(slot.Active[k], slot.Active[k].Due)
			continue
		}
		f := p.frontier(u, now)
		c := &p.Units[i]
		due := u.LastLook.Add(c.Poll)
		urgent := u.LastLook.IsZero() || u.WokenAt.After(u.LastLook) || u.LastLook.Sub(f) > u.PollInterval+timeline.Edge
		if urgent {
			due = timeline.Earlier(u.LastLook, due)
		} else if !c.Busy {
			lastIdle = timeline.Later(lastIdle, u.LastLook)
		}
		due = timeline.Later(due, timeline.Later(u.NotBefore, u.Start.Add(time.Second)))
		to := &busy
		if !urgent && !c.Busy {
			to = &idle
		}
		if !to.ok || due.Before(to.due) {
			to.offer(Work{Priority: PriorityTail, Unit: i, From: f, To: now, Due: due}, due)
		}
	}
	if rate := p.rate(classIdle, e); idle.ok && rate > 0 { // evenly spread, not in bursts
		idle.due = timeline.Later(idle.due, lastIdle.Add(perRequest(rate)))
	}
	for _, c := range []*candidate{&busy, &idle} {
		if c.ok && c.work.Requests == 0 && !c.due.After(now) {
			c.work = p.look(units, c.work, now)
		}
	}
	return busy, idle
}

// look gives a look that is due its window: from w.From to w.To, less where that is too much for one pass, more where
// its page has room.
func (p *Plan) look(units []*Unit, w Work, now time.Time) Work {
	u, pg := units[w.Unit], units[w.Unit].paging()
	c := &p.Units[w.Unit]
	if pg.days {
		w.Kind = KindProbe
		dayStart := u.DayOf(w.From)
		w.To = timeline.Earlier(dayStart.Add(timeline.Day), now)
		rows := u.Density.Rows(timeline.Span{From: w.From, To: w.To})
		w.Requests = 1 + rows/float64(pg.rows)
		if u.dayRows(dayStart, now) <= pg.fill && p.rides(u, c, timeline.Later(dayStart, u.Start), w.From, now) {
			w.Kind, w.From, w.Requests = KindTail, timeline.Later(dayStart, u.Start), 1
		}
		w.Sample = timeline.Span{From: w.From, To: w.To}
		return w
	}
	w.Kind = KindTail
	if u.Density.Rows(timeline.Span{From: w.From, To: w.To}) > pg.look {
		w.To = u.Density.Ahead(w.From, w.To, pg.look)
		w.Sample = timeline.Span{From: w.From, To: w.To}
	} else {
		back := p.reach(u, now)
		w.From = p.rideFrom(u, c, back, w.From, now)
		w.Sample = timeline.Span{From: w.From, To: w.To}
		w.From = timeline.Earlier(w.From, hotFrom(u, back, w.From))
	}
	w.Requests = pg.requests(u.Density.Rows(timeline.Span{From: w.From, To: w.To}))
	return w
}

// reach is how far back from now a look may begin so that all its rows fit on one page. It stops at held time.
func (p *Plan) reach(u *Unit, now time.Time) time.Time {
	pg := u.paging()
	limit := timeline.Later(u.Start, now.Add(-pg.maxRange))
	for _, h := range u.Held {
		if h.Until.After(now) {
			limit = timeline.Later(limit, h.To)
		}
	}
	return timeline.Earlier(u.Density.Back(now, limit, pg.fill), now)
}

// hotFrom returns the start of the first hot row since back, or now if there is none. Hot rows are read again with every look
// that can reach them, as it costs no request.
func hotFrom(u *Unit, back, now time.Time) time.Time {
	for _, r := range u.Hot {
		if !r.Start.Before(back) {
			now = timeline.Earlier(now, r.Start)
		}
	}
	return now.Truncate(time.Second)
}

// rideFrom returns the earliest moment from back on that would have to be read again before the next look, or to.
func (p *Plan) rideFrom(u *Unit, c *Cadence, back, to, now time.Time) time.Time {
	next := now.Add(c.Poll)
	to = to.Truncate(time.Second)
	for _, z := range p.zones(u, c, now) {
		zone := timeline.Span{From: timeline.Later(z.From, back), To: timeline.Earlier(z.To, to)}
		if !zone.From.Before(zone.To) {
			continue
		}
		if read, ok := u.Read.OldestRead(zone.From, zone.To); !ok || read.Add(z.period).Before(next) {
			to = zone.From
		}
	}
	return to
}

// rides reports whether any of [from, to) would have to be read again before the next look.
func (p *Plan) rides(u *Unit, c *Cadence, from, to, now time.Time) bool {
	return p.rideFrom(u, c, from, to, now).Before(to.Truncate(time.Second))
}

// zone is the part of the time that one tier of sweeps is responsible for.
type zone struct {
	timeline.Span
	tier   int
	period time.Duration
}

// zones returns the tiers of a unit as time, the youngest first. Nothing lies before the unit's start.
func (p *Plan) zones(u *Unit, c *Cadence, now time.Time) []zone {
	tiers := p.policy.TiersOf(u.Endpoint)
	out := make([]zone, 0, len(tiers))
	end := now
	for k, t := range tiers {
		from := timeline.Later(now.Add(-t.Within), u.Start)
		if pagingOf(u.Endpoint).days {
			from = timeline.Later(u.DayOf(now.Add(-t.Within)), u.Start)
		}
		if from.Before(end) {
			out = append(out, zone{timeline.Span{From: from, To: end}, k, c.Sweep[k]})
			end = from
		}
	}
	return out
}

// dayOf returns the beginning of the server's calendar day that t is in.
func (u *Unit) DayOf(t time.Time) time.Time {
	return t.Add(u.Zone).Truncate(timeline.Day).Add(-u.Zone)
}

// dayRows returns the number of rows to be expected of the calendar day that begins at start: those that were counted, where that
// was done. A day is read whole, whenever in it reading was to begin.
func (u *Unit) dayRows(start, now time.Time) float64 {
	if n, ok := u.Counts[timeline.DayName(start.Add(u.Zone))]; ok {
		return float64(n)
	}
	return u.Density.Rows(timeline.Span{From: start, To: timeline.Earlier(start.Add(timeline.Day), now)})
}

// task is work with a deadline. Tasks of one group come again with the same period.
type task struct {
	work     Work
	deadline time.Time
	group    int
	// fresh is until when it is not done again, however behind the group is by the rates of a plan that is not yet up to date.
	fresh time.Time
}

// latest picks from tasks the one with the earliest deadline among those that must begin, or says when one must: so late that
// the tasks of its group, one after the other at the group's own rate, still meet their deadlines. As every group has
// its rate to itself, the long periods do not have to count how often the short ones will come again before they are due.
func latest(tasks []task, rates []float64, now time.Time) candidate {
	slices.SortFunc(tasks, func(a, b task) int {
		return cmp.Or(a.deadline.Compare(b.deadline), a.work.Unit-b.work.Unit, a.work.From.Compare(b.work.From))
	})
	begin := make([]time.Time, len(rates))
	requests := make([]float64, len(rates))
	for _, t := range tasks {
		// A part of the time is kept in hand for what does not go as planned.
		slack := t.deadline.Sub(now) * 5 / 6
		if rate := rates[t.group]; rate > 0 { // else nothing was planned for, and each has but its own deadline
			requests[t.group] += t.work.Requests
			slack -= time.Duration(requests[t.group] / rate * float64(time.Minute))
		}
		if at := timeline.Earlier(now.Add(slack), t.deadline); begin[t.group].IsZero() || at.Before(begin[t.group]) {
			begin[t.group] = at
		}
	}
	var best candidate
	for _, t := range tasks {
		due := timeline.Later(timeline.Later(begin[t.group], t.fresh), now)
		if !best.ok || due.Before(best.due) {
			best = candidate{t.work, due, true}
		}
	}
	best.work.Due = best.due
	return best
}

// hot returns the most urgent re-read of hot rows.
func (p *Plan) hot(units []*Unit, e events.Endpoint, now time.Time) candidate {
	var tasks []task
	for i, u := range units {
		if u.Endpoint != e || len(u.Hot) == 0 || u.NotBefore.After(now) {
			continue
		}
		if pagingOf(e).days {
			tasks = p.hotByID(tasks, i, u)
		} else {
			tasks = p.hotByTime(tasks, i, u, now)
		}
	}
	return latest(tasks, []float64{p.rate(classHot, e)}, now)
}

// hotByID adds the batches of a unit.
func (p *Plan) hotByID(tasks []task, i int, u *Unit) []task {
	if u.IDsIgnored {
		return tasks
	}
	for _, batch := range hotBatches(u) {
		w := Work{Priority: PriorityHot, Kind: KindHot, Unit: i, From: batch[0].Start, To: batch[0].Start, Refs: batch, Requests: 1}
		for _, r := range batch {
			w.From, w.To = timeline.Earlier(w.From, r.Start), timeline.Later(w.To, r.Start)
		}
		tasks = append(tasks, task{work: w, deadline: batch[0].Read.Add(p.Units[i].Hot)})
	}
	return tasks
}

// hotEnd is where the hot rows begin that the looks of a unit read along often enough.
func (p *Plan) hotEnd(u *Unit, c *Cadence, now time.Time) time.Time {
	if c.Busy {
		return timeline.Earlier(p.reach(u, now), p.frontier(u, now))
	}
	return p.frontier(u, now)
}

// hotByTime puts the refs of a unit into windows of a page each. Rows that looks read anyway are left to them.
func (p *Plan) hotByTime(tasks []task, i int, u *Unit, now time.Time) []task {
	end := p.hotEnd(u, &p.Units[i], now)
	for _, refs := range hotWindows(u, end) {
		from := refs[0].Start.Truncate(time.Second)
		w := Work{
			Priority: PriorityHot, Kind: KindHot, Unit: i, Refs: refs, Requests: 1,
			From: from, To: timeline.Earlier(refs[len(refs)-1].Start.Truncate(time.Second).Add(time.Second), end),
		}
		deadline := now // a ref that was never read
		if read, ok := u.Read.OldestRead(w.From, w.To); ok {
			deadline = read.Add(p.Units[i].Hot)
		}
		if w.From.Before(w.To) {
			tasks = append(tasks, task{work: w, deadline: deadline})
		}
	}
	return tasks
}

// byStart returns the refs of a unit in the order in which their rows start.
func (u *Unit) byStart() []HotRef {
	order := func(a, b HotRef) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) }
	if slices.IsSortedFunc(u.Hot, order) {
		return u.Hot
	}
	return slices.SortedFunc(slices.Values(u.Hot), order)
}

// startBefore returns how many of refs, which are ordered by it, start before t.
func startBefore(refs []HotRef, t time.Time) int {
	n, _ := slices.BinarySearchFunc(refs, t, func(r HotRef, t time.Time) int { return r.Start.Compare(t) })
	return n
}

// hotBatches divides the hot rows of a unit into batches that one query can ask for by id: rows that started not too far from each
// other, those read longest ago first.
func hotBatches(u *Unit) (out [][]HotRef) {
	pg := pagingOf(u.Endpoint)
	for refs := u.byStart(); len(refs) > 0; {
		n := startBefore(refs, refs[0].Start.Add(pg.idRange))
		group := slices.SortedFunc(slices.Values(refs[:n]), func(a, b HotRef) int {
			return cmp.Or(a.Read.Compare(b.Read), cmp.Compare(a.ID, b.ID))
		})
		out = slices.AppendSeq(out, slices.Chunk(group, pg.rows))
		refs = refs[n:]
	}
	return out
}

// hotWindows groups the hot rows of a unit that start before end by windows whose rows fit on a page, and which one query can ask
// for: a row that has been open for weeks has a window to itself.
func hotWindows(u *Unit, end time.Time) (out [][]HotRef) {
	pg := pagingOf(u.Endpoint)
	refs := u.byStart()
	first := startBefore(refs, u.Start)
	for refs = refs[first:max(first, startBefore(refs, end))]; len(refs) > 0; {
		limit := timeline.Earlier(refs[len(refs)-1].Start.Add(time.Second), refs[0].Start.Add(pg.maxRange))
		n := max(1, startBefore(refs, u.Density.Ahead(refs[0].Start, limit, pg.fill)))
		out = append(out, refs[:n])
		refs = refs[n:]
	}
	return out
}
