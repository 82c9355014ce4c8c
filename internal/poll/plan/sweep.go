package plan

import (
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// sweep returns the sweep with the earliest deadline.
func (p *Plan) sweep(units []*Unit, e events.Endpoint, now time.Time, inFlight *InFlight) candidate {
	var tasks []task
	for i, u := range units {
		if u.Endpoint != e || u.waits(KindSweep, now) {
			continue
		}
		if pagingOf(e).days {
			tasks = p.sweepDays(tasks, i, u, now)
		} else {
			tasks = p.sweepSpans(tasks, i, u, now)
		}
	}
	tasks = slices.DeleteFunc(tasks, func(t task) bool { return inFlight.reads(units, t.work) })
	c := latest(tasks, p.groupRates(e), now)
	if c.ok && !pagingOf(e).days && !c.due.After(now) {
		c.work = p.widen(units, c.work, tasks, now)
		for _, s := range inFlight.sent(c.work.Unit, units[c.work.Unit]) {
			if s.From.After(c.work.From) && s.From.Before(c.work.To) {
				c.work.To, c.work.Sample.To = s.From, s.From
			}
		}
	}
	return c
}

// sweepSpans adds what was read of one unit, by tier and last read, except for time that polls read.
func (p *Plan) sweepSpans(tasks []task, i int, u *Unit, now time.Time) []task {
	end := timeline.Earlier(p.frontier(u, now), p.reach(u, now))
	pg := u.paging()
	for _, z := range p.tierSpans(u, &p.Units[i], now) {
		for _, s := range u.Read.ReadSpans(z.From, timeline.Earlier(z.To, end)) {
			if u.holds(s.From, s.To, now) {
				continue
			}
			for _, part := range p.Units[i].sinceRead(s, &z) {
				w := Work{Priority: PrioritySweep, Kind: KindSweep, Unit: i, From: part.From, To: part.To}
				w.Requests = u.Density.Rows(part.Span) / pg.perRequest
				tasks = append(tasks, task{w, s.ReadAt.Add(part.period), p.Units[i].group + part.tier, s.ReadAt.Add(part.period / 8)})
			}
		}
	}
	return tasks
}

// sinceRead divides a span that is in a tier now by the tiers in which it was when it was last read, and gives each part the shortest period
// of those in between: an edit that was made in the younger tier is to be seen as soon as the plan states of that one.
func (c *Cadence) sinceRead(s timeline.ReadSpan, now *tierSpan) (out []tierSpan) {
	since := *now
	for k := now.tier - 1; k >= 0; k-- {
		was := s.ReadAt.Add(-c.Tiers[k].Within) // the beginning of tier k when s was read
		if s.From.Before(was) {
			since.Span = timeline.Span{From: s.From, To: timeline.Earlier(was, s.To)}
			out = append(out, since)
			if s.From = since.To; !s.From.Before(s.To) {
				return out
			}
		}
		since = c.soonest(since, k)
	}
	since.Span = s.Span
	return append(out, since)
}

// soonest returns t with the tier k in its place if that is swept with a shorter period.
func (c *Cadence) soonest(t tierSpan, k int) tierSpan {
	if c.Sweep[k] < t.period {
		t.tier, t.period = k, c.Sweep[k]
	}
	return t
}

// widen extends one span to a chunk that is worth its requests. It always fills a page with the spans that follow, which costs nothing and
// keeps them from being fragmented. It adds more of them as long as they will be due soon.
func (p *Plan) widen(units []*Unit, w Work, tasks []task, now time.Time) Work {
	u := units[w.Unit]
	pg := u.paging()
	w.From = w.From.Truncate(time.Second)
	end := u.Read.ReadThrough(w.From)
	page := u.Density.Ahead(w.From, timeline.Earlier(end, w.From.Add(pg.maxRange)), pg.perRequest)
	limit := u.Density.Ahead(w.From, timeline.Earlier(end, w.From.Add(pg.maxRange)), pg.chunk)
	for w.To.Before(limit) {
		k := slices.IndexFunc(tasks, func(t task) bool { return t.work.Unit == w.Unit && t.work.From.Equal(w.To) })
		if k < 0 || tasks[k].deadline.Sub(now) > p.periodAt(u, w.Unit, w.To, now)/4 {
			break
		}
		w.To = tasks[k].work.To
	}
	w.To = timeline.Later(timeline.Earlier(w.To, limit), page)
	w.Sample = timeline.Span{From: w.From, To: w.To}
	w.Requests = pg.requests(u.Density.Rows(timeline.Span{From: w.From, To: w.To}))
	return w
}

// periodAt returns the period of the tier that t is in.
func (p *Plan) periodAt(u *Unit, i int, t, now time.Time) time.Duration {
	var period time.Duration
	for _, z := range p.tierSpans(u, &p.Units[i], now) {
		period = z.period
		if !t.Before(z.From) {
			break
		}
	}
	return period
}

// sweepDays adds the calendar days of one unit.
func (p *Plan) sweepDays(tasks []task, i int, u *Unit, now time.Time) []task {
	end, pg := p.frontier(u, now), u.paging()
	for _, z := range p.tierSpans(u, &p.Units[i], now) {
		for d := u.DayOf(z.From); d.Before(z.To); d = d.Add(timeline.Day) {
			span := timeline.Span{From: timeline.Later(d, u.Start), To: timeline.Earlier(d.Add(timeline.Day), end)}
			rows := u.dayRows(d, now)
			if span.To.Equal(end) && rows <= pg.fill {
				continue // polls read all of today
			}
			parts := u.Read.ReadSpans(span.From, span.To)
			if len(parts) == 0 || u.holds(span.From, span.To, now) {
				continue
			}
			oldest := parts[0].ReadAt
			for _, s := range parts {
				oldest = timeline.Earlier(oldest, s.ReadAt)
			}
			w := Work{Priority: PrioritySweep, Kind: KindSweep, Unit: i, From: span.From, To: span.To, Sample: span}
			w.Requests = pg.requests(rows)
			since := z
			for k := z.tier - 1; k >= 0 && !d.Before(u.DayOf(oldest.Add(-p.Units[i].Tiers[k].Within))); k-- {
				since = p.Units[i].soonest(since, k)
			}
			tasks = append(tasks, task{w, oldest.Add(since.period), p.Units[i].group + since.tier, oldest.Add(since.period / 8)})
		}
	}
	return tasks
}

// backfill returns the next window of the older gaps, or if there are none, of the spans that somebody asked for.
func (p *Plan) backfill(units []*Unit, e events.Endpoint, now time.Time, inFlight *InFlight) candidate {
	if c := p.unread(units, e, now, PriorityBackfill, KindBackfill, inFlight); c.ok {
		return c
	}
	for i, u := range units {
		if u.Endpoint != e || u.waits(KindBackfill, now) {
			continue
		}
		if asked := without(u.unheld(u.Backfills, now), inFlight.sent(i, u)); len(asked) > 0 {
			w := p.window(units, i, asked[0], PriorityBackfill, KindBackfill, now)
			w.Asked = true
			if !inFlight.reads(units, w) {
				return candidate{w, now, true}
			}
		}
	}
	return candidate{}
}

// unread returns the first window of the oldest gap that a priority class fills.
func (p *Plan) unread(units []*Unit, e events.Endpoint, now time.Time, priority Priority, kind Kind, inFlight *InFlight) candidate {
	best, unit := timeline.Span{}, -1
	for i, u := range units {
		if u.Endpoint != e || u.waits(kind, now) {
			continue
		}
		if gaps := without(p.Gaps(u, now, priority), inFlight.sent(i, u)); len(gaps) > 0 && (unit < 0 || gaps[0].From.Before(best.From)) {
			best, unit = gaps[0], i
		}
	}
	if unit < 0 {
		return candidate{}
	}
	w := p.window(units, unit, best, priority, kind, now)
	return candidate{w, now, !inFlight.reads(units, w)}
}

// without takes taken out of spans.
func without(spans, taken []timeline.Span) []timeline.Span {
	for _, t := range taken {
		var left []timeline.Span
		for _, s := range spans {
			for _, part := range []timeline.Span{{From: s.From, To: timeline.Earlier(s.To, t.From)}, {From: timeline.Later(s.From, t.To), To: s.To}} {
				if part.From.Before(part.To) {
					left = append(left, part)
				}
			}
		}
		spans = left
	}
	return spans
}

// Gaps returns the gaps of a unit that a priority class fills. Time that polls still reach is not a gap, nor is a held span.
func (p *Plan) Gaps(u *Unit, now time.Time, priority Priority) []timeline.Span {
	from, to := u.Start, p.catchUpFrom(u, now)
	recent := now.Add(-p.policy.RecentGap)
	if u.paging().days { // a day is read whole, by one priority class
		recent = u.DayOf(recent)
	}
	recent = timeline.Earlier(timeline.Later(recent, from), to)
	if priority == PrioritySweep {
		from = recent
	} else {
		to = recent
	}
	if !from.Before(to) {
		return nil
	}
	return u.unheld(u.Read.Gaps(from, to), now)
}

// holds reports whether any of [from, to) is held. Single seconds do not count: they are held because the server does not return all of
// their rows, and what it does return is read with the time around them.
func (u *Unit) holds(from, to, now time.Time) bool {
	return slices.ContainsFunc(u.Held, func(h Held) bool {
		return h.Until.After(now) && h.From.Before(to) && h.To.After(from) && h.To.Sub(h.From) > time.Second
	})
}

// unheld takes held spans out of spans.
func (u *Unit) unheld(spans []timeline.Span, now time.Time) (out []timeline.Span) {
	for _, g := range spans {
		for _, h := range u.Held {
			if h.Until.After(now) && h.From.Before(g.To) && h.To.After(g.From) {
				if g.From.Before(h.From) {
					out = append(out, timeline.Span{From: g.From, To: h.From})
				}
				g.From = h.To
			}
		}
		if g.From.Before(g.To) {
			out = append(out, g)
		}
	}
	return out
}

// window returns the first pass over a span.
func (p *Plan) window(units []*Unit, i int, span timeline.Span, priority Priority, kind Kind, now time.Time) Work {
	u := units[i]
	pg := u.paging()
	w := Work{Priority: priority, Kind: kind, Unit: i, From: span.From, Due: now}
	if pg.days {
		d := u.DayOf(span.From)
		w.To = timeline.Earlier(d.Add(timeline.Day), span.To)
		w.Sample = timeline.Span{From: w.From, To: w.To}
		w.Requests = pg.requests(u.dayRows(d, now))
		return w
	}
	w.To = u.Density.Ahead(span.From, timeline.Earlier(span.To, span.From.Add(pg.maxRange)), pg.window)
	w.Sample = timeline.Span{From: w.From, To: w.To}
	w.Requests = pg.requests(u.Density.Rows(timeline.Span{From: w.From, To: w.To}))
	return w
}
