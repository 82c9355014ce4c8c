// Package plan decides what an account asks next. It knows no clock and does no I/O; only Budget is safe for concurrent use.
//
// One unit (an endpoint of one bot, or of the account) on its timeline, by the server's clock:
//
//	Start            now-7d               now-1d     now-CatchUp   frontier     now
//	  │                 │                    │            │            │          │
//	  ├─────────────────┴────────────────────┼────────────┴────────────┼──────────┤
//	  │ tier 3: every 12h                    │ tier 2: every 1h        │ tier 1   │
//	  │▒▒▒▒▒▒▒▒▒▒░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒░░░░▒▒▒▒│▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│··········│
//	       ▒ read     └ KindBackfill       └ KindGap              ○   ○  └ KindTail, KindProbe
//	       ░ gap: never read                                      └───┴ KindHot: the hot set
//	       · the tail: rows that are new
//
// A poll reads the tail, from the frontier to now. The frontier is the end of what was read without a gap since CatchUp ago, so that
// after an outage the newest rows come first and the time before CatchUp becomes a gap. Gaps up to RecentGap old are filled with the
// priority class of sweeps, older ones with that of backfills. Sweeps read the tiers again (KindSweep); the hot set is read again
// where polls do not reach it.
//
// Requests are scarce, so the configured periods are floors, and the plan says which periods the budget allows. It works in two steps,
// both pure functions of state, clock and budget.
//
// Derive (capacity.go) adds up what every unit demands, shares the account's budget among the classes of work, and lengthens the
// periods of each class until they fit. The caller derives a new plan every few seconds.
//
// Next picks the work for one request. An endpoint may have as many in flight as Policy.Concurrency says, each of another pass. Next tries the classes of work in this order, and skips
// those whose priority class the budget does not serve now:
//
//  1. Polls of busy units. A poll is due every poll interval; at once when another endpoint showed activity, when the unit was never
//     polled, and while the unit is behind. Where the page has room, the poll begins before the frontier, at the first time that would
//     be due for a re-read before the next poll: that costs no request, and is all that a quiet unit ever needs. On
//     `conversations` a poll counts the rows of the day first, unless the whole day fits on a page.
//  2. The hot set, by id if the server honours ids, otherwise by the windows in which the rows start. Where sweeps are short of requests,
//     rows that have ended are read the less often the longer ago they did.
//  3. Polls of idle units, evenly spread.
//  4. Sweeps. A deadline is the last read plus the period of the tier. A sweep begins as late as it can, and as early as it must for all
//     deadlines to be met. Of those that must begin, the one goes first that is the latest in parts of its period, so that no tier that
//     is behind holds up another; if none is late, the one with the earliest deadline.
//  5. Recent gaps.
//  6. Backfills: older gaps, and spans that somebody asked for.
//
// Work of the classes 2, 4, 5 and 6 begins no faster than the rate that Derive granted to the class. If no class has work due at its
// rate, the first one with work may go ahead: sweeps that could go on for ever, as those of a slow endpoint can, do not keep a
// gap from being filled.
//
// Running passes are part of the state: the next step of a pass competes with new work, so that a long pass never delays a poll. If two
// units are equally urgent, the first in the list goes first.
//
// A pass begins beside another of its class only while that one has a request in flight, and no two requests in flight read the same span:
// a poll excepted, which must not wait. On `conversations` a poll does wait for a request about a day that it counts, and the other way
// round, because what the one finds changes what the other concludes.
package plan

import (
	"cmp"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// Unit is what the plan knows of a unit. Times are by the server's clock.
type Unit struct {
	Endpoint     events.Endpoint
	Bot          string // empty if the endpoint is read once for the account
	Start        time.Time
	PollInterval time.Duration
	Read         *timeline.Set
	Density      *timeline.Density
	Edits        timeline.Edits  // when rows were edited; needed for Policy.Adapt only
	FirstRead    bool            // the first read is not over
	LastPoll     time.Time       // when the last poll was sent; zero for none
	WokenAt      time.Time       // when another endpoint last showed activity of this bot
	NotBefore    time.Time       // after a failure: no request before
	Hot          []HotRef        // the hot set
	IDsIgnored   bool            // conversations: the server does not honour conversationIds
	IDsUnknown   bool            // conversations: it is not known whether it does
	Held         []Held          // spans not to be asked for now
	Backfills    []timeline.Span // what is left to read of the spans that somebody asked for
	Zone         time.Duration   // conversations: offset from UTC of the server's calendar days
	ZoneWest     time.Duration   // conversations: the westernmost offset that they may have
	Counts       map[string]int  // conversations: how many rows recent days have, by timeline.DayName
	WindowPages  int             // analytics: pages that can be read of one window, once offset is known to count pages
	Keyset       bool            // analytics: a full page counts as read up to its last row, and reading continues there

	// After is before when no pass of a kind may begin, because the last ones concluded nothing. After[KindTail] is for all polls.
	After [KindCount]time.Time
}

// HotRef is a row of the hot set.
type HotRef struct {
	ID    string
	Start time.Time
	End   time.Time // zero while it is open
	Read  time.Time // when it was last read by id; unused if the hot set is read by time
}

// Held is a span that is not asked for before Until: a second with more rows than the server returns, or a span that could not be
// read. It stays a gap.
type Held struct {
	timeline.Span
	Until time.Time
}

// waits reports whether no pass of a kind may begin now.
func (u *Unit) waits(k Kind, now time.Time) bool {
	return u.NotBefore.After(now) || u.After[k].After(now)
}

// Kind is what a pass does. The table in capacity.go says which class of work it belongs to.
type Kind uint8

// The kinds of work.
const (
	KindTail     Kind = iota // poll: read the tail, and older time where the page has room
	KindProbe                // poll on conversations: count the rows of a day, then read the new ones
	KindHot                  // read Refs again, by id on conversations, otherwise by their window
	KindSweep                // read time again for late edits
	KindGap                  // fill a recent gap
	KindBackfill             // fill an older gap, or read a span that somebody asked for
	KindCount
)

func (k Kind) String() string {
	return [...]string{"tail", "probe", "hot", "sweep", "gap", "backfill"}[k]
}

// Work is one pass over one span of one unit. On conversations From and To lie in one calendar day of the server, and the pass reads
// all of that day, except for KindProbe.
type Work struct {
	Priority Priority
	Kind     Kind
	Unit     int // index into the units planned for
	From, To time.Time
	Refs     []HotRef // KindHot
	// Sample is the part of the span that Density may learn from. It excludes time that was chosen because of the rows in it.
	Sample   timeline.Span
	Requests float64 // expected
	// Asked is set for a span that somebody asked for. Then rows outside Within are ignored, and Replay says that the events are
	// published again on purpose.
	Asked, Replay bool
	Within        timeline.Span
	// Due is when the pass should begin. For a running pass it is the time of its last step.
	Due time.Time
}

// InFlight is the state of the requests of an endpoint.
type InFlight struct {
	// Active are the running passes that have no request in flight, Sent those that have one: together at most one poll of each unit.
	Active, Sent []Work
	// Wait is how long the budget makes each priority class wait; 0 for not at all.
	Wait [PriorityCount]time.Duration
	// Last is when the endpoint's last request of each kind was sent. It paces all kinds but polls.
	Last [KindCount]time.Time
}

// candidate is the most urgent work of one class, and when it is due.
type candidate struct {
	work Work
	due  time.Time
	ok   bool
}

// keep replaces the candidate if the work is due earlier.
func (c *candidate) keep(w Work, due time.Time) {
	if !c.ok || due.Before(c.due) {
		*c = candidate{w, due, true}
	}
}

// Next returns the most urgent work of one endpoint, or how long to wait until there may be some. The units must be those that the
// plan was derived for; their state may have changed since.
func (p *Plan) Next(units []*Unit, e events.Endpoint, now time.Time, inFlight InFlight) (w Work, wait time.Duration, ok bool) {
	wait = maxWait
	busy, idle := p.polls(units, e, now, inFlight)
	best := [classCount]func() candidate{
		classBusy:     func() candidate { return busy },
		classHot:      func() candidate { return p.hot(units, e, now, &inFlight) },
		classIdle:     func() candidate { return idle },
		classSweep:    func() candidate { return p.sweep(units, e, now, &inFlight) },
		classGap:      func() candidate { return p.unread(units, e, now, PrioritySweep, KindGap, &inFlight) },
		classBackfill: func() candidate { return p.backfill(units, e, now, &inFlight) },
	}
	for class := range classCount {
		paced, early := p.pace(class, e, inFlight)
		if blocked := max(inFlight.Wait[class.priority()], early.Sub(now)); blocked > 0 {
			wait = min(wait, blocked)
			continue
		}
		c, running := inFlight.running(class, units)
		if !running {
			c = best[class]()
		}
		switch {
		case !c.ok:
		case c.due.After(now):
			wait = min(wait, c.due.Sub(now))
		case !paced.After(now):
			return c.work, 0, true
		case !ok: // unless work of another class is due at its rate
			w, ok = c.work, true
		}
	}
	if ok {
		return w, 0, true
	}
	return Work{}, wait, false
}

// maxWait is the longest wait that Next returns.
const maxWait = time.Minute

// pace returns when the next request of a class is due at the rate that was granted to the class, and when it may be sent early, if no
// other class has work that is due. Gaps, sweeps and backfills may also use an even part of what nobody demands, as how much
// there is to read shows only as it is read. Polls are not paced.
func (p *Plan) pace(c class, e events.Endpoint, inFlight InFlight) (paced, early time.Time) {
	last := inFlight.Last[classes[c].kind]
	if c.polls() || last.IsZero() {
		return paced, early
	}
	rate := p.rate(c, e)
	at := func(rate float64) time.Time { return last.Add(perRequest(max(rate, slowest))) }
	if c == classHot {
		return at(rate), at(rate)
	}
	return at(rate), at(p.withSpare(rate))
}

// running returns the running pass of a class that has no request in flight, and whether there is one. The pass may have to wait for
// another that reads the same. Polls are handled in Plan.polls, because each unit may have one.
func (s *InFlight) running(c class, units []*Unit) (candidate, bool) {
	for _, w := range s.Active {
		if !c.polls() && w.Kind == classes[c].kind && w.Priority != PriorityTail {
			return candidate{w, w.Due, !s.reads(units, w)}, true
		}
	}
	return candidate{}, false
}

// reads reports whether a request in flight reads what w is to read.
func (s *InFlight) reads(units []*Unit, w Work) bool {
	u := units[w.Unit]
	days := pagingOf(u.Endpoint).days
	return slices.ContainsFunc(s.Sent, func(other Work) bool {
		switch {
		case other.Unit != w.Unit:
			return false
		case w.Asked || other.Asked: // what a job asks for must not count as shown by another pass
			return true
		case w.Priority == PriorityTail && other.Priority == PriorityTail:
			return true
		case days && (w.Kind == KindHot || other.Kind == KindHot): // by id
			return u.IDsUnknown && w.Kind == other.Kind
		case days && w.Priority == PriorityTail:
			return !u.DayOf(other.From).Before(u.firstCounted(w))
		case days && other.Priority == PriorityTail:
			return !u.DayOf(w.From).Before(u.firstCounted(other))
		case days:
			return u.DayOf(w.From).Equal(u.DayOf(other.From))
		}
		return w.Priority != PriorityTail && other.Priority != PriorityTail && w.From.Before(other.To) && other.From.Before(w.To)
	})
}

// firstCounted returns the beginning of the first calendar day that a poll of `conversations` counts, as u.DayOf has it.
func (u *Unit) firstCounted(poll Work) time.Time {
	first := timeline.Earlier(poll.From, poll.To.Add(-timeline.DayGrace))
	return first.Add(u.ZoneWest).Truncate(timeline.Day).Add(-u.Zone)
}

// sent returns what the requests in flight about a unit read, as far as that is known by its time.
func (s *InFlight) sent(i int, u *Unit) (out []timeline.Span) {
	days := pagingOf(u.Endpoint).days
	for _, w := range s.Sent {
		switch {
		case w.Unit != i || w.Priority == PriorityTail || days && w.Kind == KindHot:
		case days:
			out = append(out, timeline.Span{From: u.DayOf(w.From), To: u.DayOf(w.From).Add(timeline.Day)})
		default:
			out = append(out, timeline.Span{From: w.From, To: w.To})
		}
	}
	return out
}

// catchUpFrom returns the earliest time at which a poll may begin: CatchUp ago, or where reading ended if few rows are expected since
// then.
func (p *Plan) catchUpFrom(u *Unit, now time.Time) time.Time {
	from := timeline.Later(u.Start, now.Add(-p.policy.CatchUp))
	if _, ok := u.Read.LastRead(from); ok || !u.Start.Before(from) {
		return from
	}
	last := timeline.Later(u.Read.Bounds().To, timeline.Later(u.Start, now.Add(-u.paging().longest)))
	if last.Before(from) && u.Density.Rows(timeline.Span{From: last, To: now}) <= u.paging().poll {
		return last
	}
	return from
}

// frontier returns the end of what was read without a gap since catchUpFrom. Held spans count as read.
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

// polls returns the most urgent poll of the busy units, and of the idle ones.
func (p *Plan) polls(units []*Unit, e events.Endpoint, now time.Time, inFlight InFlight) (busy, idle candidate) {
	var lastIdle time.Time
	for i, u := range units {
		if u.Endpoint != e {
			continue
		}
		if k := slices.IndexFunc(inFlight.Active, func(w Work) bool { return w.Priority == PriorityTail && w.Unit == i }); k >= 0 {
			if !inFlight.reads(units, inFlight.Active[k]) {
				busy.keep(inFlight.Active[k], inFlight.Active[k].Due)
			}
			continue
		}
		f := p.frontier(u, now)
		if inFlight.reads(units, Work{Priority: PriorityTail, Unit: i, From: f, To: now}) {
			continue
		}
		c := &p.Units[i]
		due := u.LastPoll.Add(c.Poll)
		urgent := u.LastPoll.IsZero() || u.WokenAt.After(u.LastPoll) || u.LastPoll.Sub(f) > u.PollInterval+timeline.Edge
		if urgent {
			due = timeline.Earlier(u.LastPoll, due)
		} else if !c.Busy {
			lastIdle = timeline.Later(lastIdle, u.LastPoll)
		}
		due = timeline.Later(timeline.Later(due, u.After[KindTail]), timeline.Later(u.NotBefore, u.Start.Add(time.Second)))
		to := &busy
		if !urgent && !c.Busy {
			to = &idle
		}
		if !to.ok || due.Before(to.due) {
			to.keep(Work{Priority: PriorityTail, Unit: i, From: f, To: now, Due: due}, due)
		}
	}
	if rate := p.rate(classIdle, e); idle.ok && rate > 0 { // evenly spread
		idle.due = timeline.Later(idle.due, lastIdle.Add(perRequest(rate)))
	}
	for _, c := range []*candidate{&busy, &idle} {
		if c.ok && c.work.Requests == 0 && !c.due.After(now) {
			c.work = p.poll(units, c.work, now)
		}
	}
	return busy, idle
}

// poll returns a poll that is due with its span: from w.From to w.To, less if that is too much for one pass, more if its page has
// room.
func (p *Plan) poll(units []*Unit, w Work, now time.Time) Work {
	u, pg := units[w.Unit], units[w.Unit].paging()
	c := &p.Units[w.Unit]
	if pg.days {
		w.Kind = KindProbe
		dayStart := u.DayOf(w.From)
		w.To = timeline.Earlier(dayStart.Add(timeline.Day), now)
		rows := u.Density.Rows(timeline.Span{From: w.From, To: w.To})
		w.Requests = 1 + rows/float64(pg.rows)
		if u.dayRows(dayStart, now) <= pg.fill && p.dueBetween(u, c, timeline.Later(dayStart, u.Start), w.From, now) {
			w.Kind, w.From, w.Requests = KindTail, timeline.Later(dayStart, u.Start), 1
		}
		w.Sample = timeline.Span{From: w.From, To: w.To}
		return w
	}
	w.Kind = KindTail
	if u.Density.Rows(timeline.Span{From: w.From, To: w.To}) > pg.poll {
		w.To = u.Density.Ahead(w.From, w.To, pg.poll)
		w.Sample = timeline.Span{From: w.From, To: w.To}
	} else {
		back := p.reach(u, now)
		w.From = p.dueFrom(u, c, back, w.From, now)
		w.Sample = timeline.Span{From: w.From, To: w.To}
		w.From = timeline.Earlier(w.From, hotFrom(u, back, w.From))
	}
	w.Requests = pg.requests(u.Density.Rows(timeline.Span{From: w.From, To: w.To}))
	return w
}

// reach returns the earliest time at which a poll may begin so that its rows fit on one page. It does not cross a held span.
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

// hotFrom returns the start of the first hot row since back, or now if there is none. Every poll that can reach hot rows reads them
// again, as that costs no request.
func hotFrom(u *Unit, back, now time.Time) time.Time {
	for _, r := range u.Hot {
		if !r.Start.Before(back) {
			now = timeline.Earlier(now, r.Start)
		}
	}
	return now.Truncate(time.Second)
}

// dueFrom returns the earliest time in [back, to) that is due for a re-read before the next poll, or to if there is none.
func (p *Plan) dueFrom(u *Unit, c *Cadence, back, to, now time.Time) time.Time {
	next := now.Add(c.Poll)
	to = to.Truncate(time.Second)
	for _, z := range p.tierSpans(u, c, now) {
		span := timeline.Span{From: timeline.Later(z.From, back), To: timeline.Earlier(z.To, to)}
		if !span.From.Before(span.To) {
			continue
		}
		if read, ok := u.Read.OldestRead(span.From, span.To); !ok || read.Add(z.period).Before(next) {
			to = span.From
		}
	}
	return to
}

// dueBetween reports whether any time in [from, to) is due for a re-read before the next poll.
func (p *Plan) dueBetween(u *Unit, c *Cadence, from, to, now time.Time) bool {
	return p.dueFrom(u, c, from, to, now).Before(to.Truncate(time.Second))
}

// tierSpan is the time that one tier covers.
type tierSpan struct {
	timeline.Span
	tier   int
	period time.Duration
}

// tierSpans returns the tiers of a unit as spans, the youngest first. None begins before the unit's start.
func (p *Plan) tierSpans(u *Unit, c *Cadence, now time.Time) []tierSpan {
	out := make([]tierSpan, 0, len(c.Tiers))
	end := now
	for k, t := range c.Tiers {
		from := timeline.Later(now.Add(-t.Within), u.Start)
		if pagingOf(u.Endpoint).days {
			from = timeline.Later(u.DayOf(now.Add(-t.Within)), u.Start)
		}
		if from.Before(end) {
			out = append(out, tierSpan{timeline.Span{From: from, To: end}, k, c.Sweep[k]})
			end = from
		}
	}
	return out
}

// DayOf returns the beginning of the server's calendar day that t is in.
func (u *Unit) DayOf(t time.Time) time.Time {
	return t.Add(u.Zone).Truncate(timeline.Day).Add(-u.Zone)
}

// dayRows returns how many rows the calendar day that begins at start has: as counted, otherwise as estimated. A day is always read
// whole, even if the unit starts within it.
func (u *Unit) dayRows(start, now time.Time) float64 {
	if n, ok := u.Counts[timeline.DayName(start.Add(u.Zone))]; ok {
		return float64(n)
	}
	return u.Density.Rows(timeline.Span{From: start, To: timeline.Earlier(start.Add(timeline.Day), now)})
}

// task is work with a deadline. Tasks of one group recur with the same period.
type task struct {
	work     Work
	deadline time.Time
	group    int
	// fresh is the earliest time for the work, however late the group is by the rates of a plan that is not up to date yet.
	fresh time.Time
}

// late returns how late a task is, in parts of its period: 0 up to its deadline. Of work that must begin now the latest goes first by this
// measure, so that a group with a long period that is behind does not hold up those with short ones.
func (t *task) late(now time.Time) float64 {
	return max(0, float64(now.Sub(t.deadline))/float64(max(t.deadline.Sub(t.fresh), 1)))
}

// latest returns the latest task of those that must begin now, the one with the earliest deadline if none is late, or the first that must begin later. A group must
// begin when its tasks, one after the other at the rate of the group, would otherwise miss a deadline. As each group has its own
// rate, tasks with long periods need not count how often those with short periods recur first.
func latest(tasks []task, rates []float64, now time.Time) candidate {
	slices.SortFunc(tasks, func(a, b task) int {
		return cmp.Or(a.deadline.Compare(b.deadline), a.work.Unit-b.work.Unit, a.work.From.Compare(b.work.From))
	})
	begin := make([]time.Time, len(rates))
	requests := make([]float64, len(rates))
	for _, t := range tasks {
		// A sixth of the time is kept in reserve.
		slack := t.deadline.Sub(now) * 5 / 6
		if rate := rates[t.group]; rate > 0 { // otherwise nothing was planned, and each task has only its own deadline
			requests[t.group] += t.work.Requests
			slack -= time.Duration(requests[t.group] / rate * float64(time.Minute))
		}
		if at := timeline.Earlier(now.Add(slack), t.deadline); begin[t.group].IsZero() || at.Before(begin[t.group]) {
			begin[t.group] = at
		}
	}
	var best candidate
	var late float64 // how late best is
	for _, t := range tasks {
		due := timeline.Later(timeline.Later(begin[t.group], t.fresh), now)
		if l := t.late(now); !best.ok || due.Before(best.due) || due.Equal(best.due) && l > late {
			best, late = candidate{t.work, due, true}, l
		}
	}
	best.work.Due = best.due
	return best
}

// hot returns the most urgent re-read of the hot set.
func (p *Plan) hot(units []*Unit, e events.Endpoint, now time.Time, inFlight *InFlight) candidate {
	var tasks []task
	for i, u := range units {
		if u.Endpoint != e || len(u.Hot) == 0 || u.waits(KindHot, now) {
			continue
		}
		if pagingOf(e).days {
			tasks = p.hotByID(tasks, i, u, inFlight.hotRefs(i))
		} else {
			tasks = p.hotByTime(tasks, i, u, now)
		}
	}
	tasks = slices.DeleteFunc(tasks, func(t task) bool { return inFlight.reads(units, t.work) })
	return latest(tasks, []float64{p.rate(classHot, e)}, now)
}

// hotRefs returns the hot rows of a unit that a request in flight reads by id.
func (s *InFlight) hotRefs(i int) map[string]bool {
	var out map[string]bool
	for _, w := range s.Sent {
		if w.Unit != i || w.Kind != KindHot {
			continue
		}
		if out == nil {
			out = map[string]bool{}
		}
		for _, r := range w.Refs {
			out[r.ID] = true
		}
	}
	return out
}

// hotByID adds a request for as many hot rows of a unit as one can ask for by id, those first that are due first, without those in flight.
func (p *Plan) hotByID(tasks []task, i int, u *Unit, inFlight map[string]bool) []task {
	if u.IDsIgnored {
		return tasks
	}
	refs := u.byStart()
	if len(inFlight) > 0 {
		refs = slices.DeleteFunc(slices.Clone(refs), func(r HotRef) bool { return inFlight[r.ID] })
	}
	c := &p.Units[i]
	for _, batch := range hotBatches(u.Endpoint, refs, c) {
		w := Work{Priority: PriorityHot, Kind: KindHot, Unit: i, From: batch[0].Start, To: batch[0].Start, Refs: batch, Requests: 1}
		for _, r := range batch {
			w.From, w.To = timeline.Earlier(w.From, r.Start), timeline.Later(w.To, r.Start)
		}
		tasks = append(tasks, task{work: w, deadline: c.hotAgain(&batch[0], batch[0].Read)})
	}
	return tasks
}

// hotEnd returns the time from which the polls of a unit read the hot rows often enough. Only that of a busy unit depends on reach.
func (p *Plan) hotEnd(u *Unit, c *Cadence, reach, now time.Time) time.Time {
	if c.Busy {
		return timeline.Earlier(reach, p.frontier(u, now))
	}
	return p.frontier(u, now)
}

// hotByTime adds a window of a page for each group of hot rows of a unit, except for rows that polls read. It is due when the first of its
// rows is.
func (p *Plan) hotByTime(tasks []task, i int, u *Unit, now time.Time) []task {
	var reach time.Time
	c := &p.Units[i]
	if c.Busy {
		reach = p.reach(u, now)
	}
	end := p.hotEnd(u, c, reach, now)
	for _, refs := range hotWindows(u, end) {
		from := refs[0].Start.Truncate(time.Second)
		w := Work{
			Priority: PriorityHot, Kind: KindHot, Unit: i, Refs: refs, Requests: 1,
			From: from, To: timeline.Earlier(refs[len(refs)-1].Start.Truncate(time.Second).Add(time.Second), end),
		}
		if w.From.Before(w.To) && !u.holds(w.From, w.To, now) {
			tasks = append(tasks, task{work: w, deadline: c.firstAgain(u, refs, now)})
		}
	}
	return tasks
}

// firstAgain returns when the first of refs is to be read again: now if one was never read.
func (c *Cadence) firstAgain(u *Unit, refs []HotRef, now time.Time) time.Time {
	var first time.Time
	for k := range refs {
		again := now
		if read, ok := u.Read.LastRead(refs[k].Start); ok {
			again = c.hotAgain(&refs[k], read)
		}
		if k == 0 || again.Before(first) {
			first = again
		}
	}
	return first
}

// byStart returns the refs of a unit in the order in which their rows start.
func (u *Unit) byStart() []HotRef {
	order := func(a, b HotRef) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) }
	if slices.IsSortedFunc(u.Hot, order) {
		return u.Hot
	}
	return slices.SortedFunc(slices.Values(u.Hot), order)
}

// startBefore returns how many of refs start before t. They are ordered by start.
func startBefore(refs []HotRef, t time.Time) int {
	n, _ := slices.BinarySearchFunc(refs, t, func(r HotRef, t time.Time) int { return r.Start.Compare(t) })
	return n
}

// hotGroups divides hot rows, in the order in which they start, into those that one query can ask for by id: rows that started not too far
// from each other.
func hotGroups(e events.Endpoint, refs []HotRef) (out [][]HotRef) {
	pg := pagingOf(e)
	for len(refs) > 0 {
		n := startBefore(refs, refs[0].Start.Add(pg.idRange))
		out, refs = append(out, refs[:n]), refs[n:]
	}
	return out
}

// hotBatches divides hot rows of a unit, in the order in which they start, into what one request asks for by id, those first that are due
// first.
func hotBatches(e events.Endpoint, refs []HotRef, c *Cadence) (out [][]HotRef) {
	for _, group := range hotGroups(e, refs) {
		group = slices.SortedFunc(slices.Values(group), func(a, b HotRef) int {
			return cmp.Or(c.hotAgain(&a, a.Read).Compare(c.hotAgain(&b, b.Read)), cmp.Compare(a.ID, b.ID))
		})
		out = slices.AppendSeq(out, slices.Chunk(group, pagingOf(e).rows))
	}
	return out
}

// hotWindows groups the hot rows of a unit that start before end, by windows whose rows fit on a page and that one query can ask for:
// a row that has been open for weeks gets a window of its own.
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
