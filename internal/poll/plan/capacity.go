package plan

import (
	"math"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// class is a kind of work with a share of its own. Lanes are what the budget knows; the tail lane serves busy and idle units, the
// sweep lane sweeps and gaps.
type class int

const (
	classBusy class = iota
	classIdle
	classHot
	classSweep
	classGap
	classBackfill
	classCount
)

func (c class) lane() Priority {
	return [...]Priority{PriorityTail, PriorityTail, PriorityHot, PrioritySweep, PrioritySweep, PriorityBackfill}[c]
}

// class is that of work which is not a look.
func (k Kind) class() class {
	return [...]class{KindHot: classHot, KindSweep: classSweep, KindGap: classGap, KindBackfill: classBackfill}[k]
}

// shares are the guaranteed shares of the budget: 50, 25, 15 and 10 % by lane. What a class does not want is lent to the others in
// proportion to their shares.
var shares = [classCount]float64{45, 5, 25, 7.5, 7.5, 10}

// headroom is by how much more than it wants each class plans, so that deadlines hold although requests queue, windows
// turn out too full and pages shift. Work without deadlines needs none.
var headroom = [classCount]float64{1.1, 1.2, 1.3, 1.3, 1, 1}

// slowest is the least, in requests a minute, that is planned for work that there is: what comes once a day should not
// take a day.
const slowest = 0.5

const (
	// planned is the part of the budget, and of the time of the one request in flight, that is given out at all.
	planned, plannedSlot = 0.92, 0.85
)

// Cadence is what one unit gets.
type Cadence struct {
	Busy  bool
	Poll  time.Duration   // between two looks for new rows
	Hot   time.Duration   // between two reads of a hot row
	Sweep []time.Duration // between two reads of the time in each tier

	// What may be stated, waiting and the length of passes included:
	LongestLook time.Duration   // no two looks are further apart
	SeenWithin  []time.Duration // by tier: an edit to anything as young, younger tiers included, is seen within this
}

// Plan is what every unit gets of the budget. It holds for the units and the time for which it was derived, and is not
// changed afterwards.
type Plan struct {
	Units  []Cadence // by unit
	policy Policy
	// Requests a minute by class and endpoint: as wanted at the configured periods, headroom included, and as granted.
	wants, grants [classCount]rates
	spare         float64                       // requests a minute that nobody wants
	busy          events.PerEndpoint[int]       // busy units
	tiers         events.PerEndpoint[[]float64] // what the sweeps of each tier want
}

// rates are requests a minute by endpoint.
type rates = events.PerEndpoint[float64]

// Derive shares the budget among the units.
func Derive(units []*Unit, now time.Time, policy Policy) *Plan {
	p := &Plan{Units: make([]Cadence, len(units)), policy: policy}
	for i, u := range units {
		// The floors first: what is wanted follows from them.
		p.Units[i] = Cadence{
			Busy: busy(u, now, &policy), Poll: u.PollInterval, Hot: max(policy.HotEvery, u.PollInterval),
			Sweep: make([]time.Duration, len(policy.TiersOf(u.Endpoint))),
		}
		p.want(u, &p.Units[i], now)
		if p.Units[i].Busy {
			p.busy[u.Endpoint.Index()]++
		}
	}
	for c := range classCount {
		for i, v := range p.wants[c] {
			if v > 0 {
				p.wants[c][i] = max(v*headroom[c], slowest)
			}
		}
	}
	p.grant()
	for i, u := range units {
		p.stretch(u, &p.Units[i], now)
	}
	return p
}

// busy reports whether a unit is looked at every poll interval: because of the last two hours' rows, or because of those
// that the days before let expect soon. An account-wide unit always is, as it tells which bots are.
func busy(u *Unit, now time.Time, policy *Policy) bool {
	const recent = 2 * time.Hour
	return u.Endpoint.PerAccount() || u.LastLook.IsZero() ||
		u.Density.Rows(timeline.Span{From: now.Add(-recent), To: now}) >= policy.BusyRate*recent.Seconds() ||
		u.Density.Rate(now.Add(time.Hour)) >= policy.BusyRate
}

// want adds what a unit wants at its floors.
func (p *Plan) want(u *Unit, c *Cadence, now time.Time) {
	e, pg := u.Endpoint, u.paging()
	add := func(k class, requests float64, period time.Duration) {
		if requests > 0 {
			p.wants[k][e.Index()] += requests / period.Minutes()
		}
	}
	rows := u.Density.Rate(now) * c.Poll.Seconds()
	if c.Busy {
		look := max(1, rows/pg.perRequest)
		if pg.days { // a count, and the pages with the new rows
			look = 1 + max(1-math.Exp(-rows), rows/float64(pg.rows))
		}
		add(classBusy, look, c.Poll)
	} else {
		add(classIdle, 1, c.Poll)
	}
	switch {
	case pg.days && !u.IDsIgnored:
		add(classHot, float64(len(hotBatches(u))), c.Hot)
	case !pg.days:
		add(classHot, float64(len(hotWindows(u, p.hotEnd(u, c, now)))), c.Hot)
	}
	tiers := &p.tiers[e.Index()]
	if *tiers == nil {
		*tiers = make([]float64, len(c.Sweep))
	}
	for k, t := range p.policy.TiersOf(e) {
		requests := p.sweepRequests(u, k, now)
		add(classSweep, requests, t.Every)
		(*tiers)[k] += requests / t.Every.Minutes()
	}
	add(classGap, p.unreadRequests(u, now, PrioritySweep), time.Minute)
	add(classBackfill, p.unreadRequests(u, now, PriorityBackfill), time.Minute)
}

// sweepRequests is how many requests one sweep of a tier takes, less what looks read anyway.
func (p *Plan) sweepRequests(u *Unit, k int, now time.Time) float64 {
	pg, tiers := u.paging(), p.policy.TiersOf(u.Endpoint)
	var within time.Duration
	if k > 0 {
		within = tiers[k-1].Within
	}
	to, from := now.Add(-within), now.Add(-tiers[k].Within)
	if pg.days {
		var sum float64
		if k > 0 {
			to = u.DayOf(to)
		}
		for d := u.DayOf(from); d.Before(to); d = d.Add(timeline.Day) {
			rows := u.dayRows(d, now)
			if d.Add(timeline.Day).After(u.Start) && (d.Before(u.DayOf(now)) || rows > pg.fill) {
				sum += pg.requests(rows)
			}
		}
		return sum
	}
	span := timeline.Span{From: timeline.Later(from, u.Start), To: timeline.Earlier(to, p.reach(u, now))}
	if !span.From.Before(span.To) {
		return 0
	}
	return max(1, u.Density.Rows(span)/pg.perRequest)
}

// unreadRequests is how many requests it takes to fill the gaps that a lane is responsible for, ranges asked for included.
func (p *Plan) unreadRequests(u *Unit, now time.Time, lane Priority) float64 {
	pg := u.paging()
	spans := p.Gaps(u, now, lane)
	if lane == PriorityBackfill {
		spans = append(spans, u.unheld(u.Backfills, now)...)
	}
	var sum float64
	for _, g := range spans {
		passes := math.Ceil(g.To.Sub(g.From).Hours() / pg.maxRange.Hours())
		sum += max(passes, u.Density.Rows(g)/pg.perRequest)
	}
	return sum
}

// grant shares out the budget: first no endpoint gets more than its one request in flight can carry, then the classes share
// what there is, then each class divides its part so that all its endpoints are stretched alike.
func (p *Plan) grant() {
	var fits [classCount]rates
	var total [classCount]float64
	for i, e := range events.Endpoints() {
		var want [classCount]float64
		for c := range classCount {
			want[c] = p.wants[c][i]
		}
		slot := math.Inf(1)
		if l := p.policy.Latency[e]; l > 0 {
			slot = plannedSlot * float64(time.Minute) / float64(l)
		}
		for c, fit := range fairShare(want, shares, slot) {
			fits[c][i] = fit
			total[c] += fit
		}
	}
	for c, have := range fairShare(total, shares, planned*p.policy.PerMinute) {
		s := commonStretch(p.wants[c], fits[c], have)
		for i, fit := range fits[c] {
			p.grants[c][i] = min(fit, p.wants[c][i]/s)
		}
	}
	p.spare = planned * p.policy.PerMinute
	for _, granted := range p.Demand() {
		p.spare -= granted
	}
}

// fairShare divides have by weight among those who want, none getting more than it wants and nothing left that anyone wants.
func fairShare(want, weight [classCount]float64, have float64) [classCount]float64 {
	var got [classCount]float64
	for range classCount {
		var open float64
		for i := range want {
			if got[i] < want[i] {
				open += weight[i]
			}
		}
		if open == 0 || have <= 0 {
			break
		}
		// Serve in full whoever wants less than its part; when none does, the rest is divided.
		part, satisfied := have/open, false
		for i := range want {
			if got[i] < want[i] && want[i] <= part*weight[i] {
				got[i], satisfied = want[i], true
				have -= want[i]
			}
		}
		if !satisfied {
			for i := range want {
				if got[i] < want[i] {
					got[i] = part * weight[i]
				}
			}
			break
		}
	}
	return got
}

// commonStretch returns the smallest factor, 1 or more, by which all wants must be divided so that what they get, none more
// than fits, adds up to at most have.
func commonStretch(wants, fits rates, have float64) float64 {
	over := func(s float64) bool {
		var sum float64
		for i := range wants {
			sum += min(fits[i], wants[i]/s)
		}
		return sum > have*(1+1e-9)
	}
	lo, hi := 1.0, 1.0
	for over(hi) && hi < 1e9 {
		hi *= 2
	}
	for range 50 {
		if mid := (lo + hi) / 2; over(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// factor is by how much the periods of a class are stretched on an endpoint.
func (p *Plan) factor(c class, e events.Endpoint) float64 {
	want, got := p.wants[c][e.Index()], p.grants[c][e.Index()]
	if want <= 0 {
		return 1
	}
	if got <= 0 {
		return math.Inf(1)
	}
	return max(1, want/got)
}

// rate is what a class may spend on an endpoint, in requests a minute.
func (p *Plan) rate(c class, e events.Endpoint) float64 {
	return p.grants[c][e.Index()]
}

// tierRates divides the rate of sweeps among the tiers.
func (p *Plan) tierRates(e events.Endpoint) []float64 {
	wants := p.tiers[e.Index()]
	var sum float64
	for _, v := range wants {
		sum += v
	}
	rates := make([]float64, len(p.policy.TiersOf(e)))
	for k, v := range wants {
		rates[k] = p.rate(classSweep, e) * v / max(sum, 1e-9)
	}
	return rates
}

func perRequest(rate float64) time.Duration {
	return stretched(time.Minute, 1/rate)
}

// stretched multiplies a period, at most to a year.
func stretched(d time.Duration, by float64) time.Duration {
	const year = 365 * timeline.Day
	return time.Duration(min(float64(d)*by, float64(year)))
}

// stretch turns the floors of a unit into the periods that it gets.
func (p *Plan) stretch(u *Unit, c *Cadence, now time.Time) {
	looks := classIdle
	if c.Busy {
		looks = classBusy
	}
	c.Poll = stretched(c.Poll, p.factor(looks, u.Endpoint))
	c.Hot = stretched(c.Hot, p.factor(classHot, u.Endpoint))
	by := p.factor(classSweep, u.Endpoint)
	for k, t := range p.policy.TiersOf(u.Endpoint) {
		c.Sweep[k] = stretched(t.Every, by)
		// What looks read along is read only as often as there are looks.
		c.Sweep[k] = max(c.Sweep[k], c.Poll*3/2)
	}
	p.state(u, c, now)
}

// state derives what may be promised from the periods. A period says when work is begun at the latest; until it is done
// it waits for the request under way, for looks that go first and for the budget, and then takes its time. A tenth is
// added for errors, retries and wrong estimates.
func (p *Plan) state(u *Unit, c *Cadence, now time.Time) {
	turn := p.policy.Latency[u.Endpoint] + stretched(time.Minute, 1/p.policy.PerMinute)
	wait := time.Duration(p.busy[u.Endpoint.Index()]+2) * turn
	c.LongestLook = c.Poll + c.Poll/10 + wait
	c.SeenWithin = make([]time.Duration, len(c.Sweep))
	var seen time.Duration
	for k, period := range c.Sweep {
		pass := wait
		if rate := p.rate(classSweep, u.Endpoint); rate > 0 {
			pass += stretched(time.Minute, 2*p.passRequests(u, k, now)/rate) // the pass under way, and its own
		}
		seen = max(seen, period+period/10+pass, c.LongestLook)
		c.SeenWithin[k] = seen
	}
}

// passRequests is how many requests one pass of a sweep takes at most: a window that turns out too full takes three.
func (p *Plan) passRequests(u *Unit, k int, now time.Time) float64 {
	pg := u.paging()
	all := p.sweepRequests(u, k, now)
	if !pg.days {
		return max(3, min(all, pg.requests(pg.chunk)))
	}
	var most float64
	for d := u.DayOf(now.Add(-p.policy.TiersOf(u.Endpoint)[k].Within)); d.Before(now); d = d.Add(timeline.Day) {
		most = max(most, pg.requests(u.dayRows(d, now)))
	}
	return min(all, most)
}

// Demand returns what each lane is planned to spend, in requests a minute.
func (p *Plan) Demand() [PriorityCount]float64 {
	var out [PriorityCount]float64
	for c := range classCount {
		for _, v := range p.grants[c] {
			out[c.lane()] += v
		}
	}
	return out
}
