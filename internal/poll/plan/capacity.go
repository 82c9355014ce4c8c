package plan

import (
	"math"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// class is a class of work, with a period or rate of its own, in the order in which Next tries the classes. Priority classes are what
// the budget knows: that of the tail serves the polls of busy and of idle units, that of sweeps serves sweeps and recent gaps.
type class int

const (
	classBusy class = iota
	classHot
	classIdle
	classSweep
	classGap
	classBackfill
	classCount
)

// classes is the table of the classes of work.
var classes = [classCount]struct {
	priority Priority
	kind     Kind    // of its passes; polls of conversations are KindProbe or KindTail
	part     float64 // of the guaranteed share of the priority class
	// headroom is the factor by which the class plans more requests than it demands, so that deadlines hold although requests queue,
	// windows turn out too full and pages shift. Work without deadlines needs none.
	headroom float64
}{
	classBusy:     {PriorityTail, KindTail, 0.9, 1.1},
	classHot:      {PriorityHot, KindHot, 1, 1.3},
	classIdle:     {PriorityTail, KindTail, 0.1, 1.2},
	classSweep:    {PrioritySweep, KindSweep, 0.5, 1.3},
	classGap:      {PrioritySweep, KindGap, 0.5, 1},
	classBackfill: {PriorityBackfill, KindBackfill, 1, 1},
}

func (c class) priority() Priority { return classes[c].priority }

// polls reports whether the work of the class is polls.
func (c class) polls() bool { return c.priority() == PriorityTail }

// shares are the guaranteed shares of the budget. What a class does not demand is divided among the others in proportion to their shares.
var shares = func() (out [classCount]float64) {
	for c := range out {
		out[c] = classes[c].priority.Share() * classes[c].part
	}
	return out
}()

// slowest is the lowest rate, in requests a minute, that is planned for a class that has any work: a request that is due once a day
// should not take a day.
const slowest = 0.5

const (
	// planned is the part of the budget that is planned, plannedInFlight the part of an endpoint's time.
	planned, plannedInFlight = 0.92, 0.85
)

// mostBackOff is the most that a back-off is of the time between the end of a row and its last read. With all of that time, edits within a
// quarter of an hour after the end were seen two and a half times as late in simulations, with a half of it one and a half times. A half
// left sweeps a fifth more requests, a quarter hardly any.
const mostBackOff = 0.5

// Cadence is how often one unit is read, as the budget allows.
type Cadence struct {
	Busy  bool
	Poll  time.Duration   // between two polls
	Hot   time.Duration   // between two reads of a hot row that is open, or ended a moment ago
	Tiers []Tier          // by which the unit is swept, the youngest first, with the periods that are aimed at
	Sweep []time.Duration // between two reads of the time in each tier
	group int             // of the sweeps of the youngest tier; those of older tiers follow
	// BackOff says that a row that has ended is read again only once this part of the time between its end and the last read has passed, if
	// that is longer than Hot. It is lengthened as Hot is where hot rows are short of requests themselves.
	BackOff float64

	// What keeps the periods from being shorter.
	PollBound, HotBound, SweepBound Bound

	// What the status may state, with waiting and the length of passes included:
	LongestPollInterval time.Duration   // no two polls are further apart
	SeenWithin          []time.Duration // by tier: an edit to anything as young, younger tiers included, is seen within this
}

// Bound is what keeps a period from being shorter.
type Bound uint8

// The bounds.
const (
	BoundConfigured Bound = iota // the configured period: the budget would allow for more
	BoundInFlight                // requests take so long that no more fit into those in flight
	BoundBudget                  // the request budget
)

func (b Bound) String() string {
	return [...]string{"configured", "in-flight", "budget"}[b]
}

// Plan is how an account's budget is shared among its units. It holds for the units and the time for which it was derived, and does not
// change.
type Plan struct {
	Units  []Cadence // by unit
	policy Policy
	// Requests a minute by class and endpoint: as demanded at the configured periods, headroom included, and as granted.
	demands, grants [classCount]rates
	fits            [classCount]rates       // what requests in flight could carry
	room            rates                   // what requests in flight could carry beside what is granted
	spare           float64                 // requests a minute that nobody demands
	busy            events.PerEndpoint[int] // busy units
	// groups are what sweeps demand, by group: the units that are swept by the configured tiers have one for each tier, any other unit has
	// groups of its own.
	groups events.PerEndpoint[[]float64]
}

// rates are requests a minute by endpoint.
type rates = events.PerEndpoint[float64]

// Derive shares the budget among the units.
func Derive(units []*Unit, now time.Time, policy Policy) *Plan {
	p := &Plan{Units: make([]Cadence, len(units)), policy: policy}
	measures := make([]measure, len(units))
	for i, u := range units {
		// The configured periods first: the demand follows from them.
		p.Units[i] = Cadence{
			Busy: busy(u, now, &policy), Poll: u.PollInterval, Hot: max(policy.HotEvery, u.PollInterval),
			Tiers: policy.TiersOf(u.Endpoint),
		}
		c := &p.Units[i]
		measures[i] = p.measure(u, c.Tiers, now)
		p.group(u.Endpoint, c, policy.Adapt && p.followEdits(u, c, &measures[i], now))
		c.Sweep = make([]time.Duration, len(c.Tiers))
		p.demand(u, c, &measures[i], now)
		if c.Busy {
			p.busy[u.Endpoint.Index()]++
		}
	}
	for c := range classCount {
		p.addHeadroom(c)
	}
	p.demandHot(units, measures, now)
	p.grant()
	if policy.BackOff {
		p.backOff(units, measures, now)
	}
	for i, u := range units {
		p.lengthen(u, &p.Units[i], &measures[i])
	}
	return p
}

// addHeadroom turns what a class demands into what is planned for it.
func (p *Plan) addHeadroom(c class) {
	for i, v := range p.demands[c] {
		if v > 0 {
			p.demands[c][i] = max(v*classes[c].headroom, slowest)
		}
	}
}

// backOff has the hot rows that have ended leave requests to sweeps, as far as these are short of them, and shares the budget again. Where
// sweeps would have f times their periods, the back-off is the part 1-1/f of mostBackOff: nothing where they have all they want.
func (p *Plan) backOff(units []*Unit, measures []measure, now time.Time) {
	for i, u := range units {
		p.Units[i].BackOff = mostBackOff * (1 - 1/p.factor(classSweep, u.Endpoint))
	}
	p.demandHot(units, measures, now)
	p.grant()
}

// measure is what Derive asks the density of a unit for, once: each answer goes through days hour by hour.
type measure struct {
	reach time.Time // the end of what polls do not read anyway; not set where only whole days can be read
	// By tier: the requests of one sweep, without the time that polls read anyway, and of one of its passes at most.
	sweep, pass []float64
	hot         [][]HotRef // that polls do not read often enough: groups that one query can ask for
}

func (p *Plan) measure(u *Unit, tiers []Tier, now time.Time) measure {
	m := measure{sweep: make([]float64, len(tiers)), pass: make([]float64, len(tiers))}
	if u.paging().days {
		p.measureDays(u, tiers, &m, now)
		return m
	}
	m.reach = p.reach(u, now)
	pg, to := u.paging(), now
	for k, t := range tiers {
		from := now.Add(-t.Within)
		span := timeline.Span{From: timeline.Later(from, u.Start), To: timeline.Earlier(to, m.reach)}
		if span.From.Before(span.To) {
			m.sweep[k] = max(1, u.Density.Rows(span)/pg.perRequest)
		}
		m.pass[k] = max(3, min(m.sweep[k], pg.requests(pg.chunk))) // a window that turns out too full takes three
		to = from
	}
	return m
}

// measureDays fills in what one sweep of each tier takes where only whole days can be read.
func (p *Plan) measureDays(u *Unit, tiers []Tier, m *measure, now time.Time) {
	pg, today, to := u.paging(), u.DayOf(now), now
	var most float64 // requests of a day of this tier or a younger one
	for k, t := range tiers {
		from := u.DayOf(now.Add(-t.Within))
		for d := from; d.Before(to); d = d.Add(timeline.Day) {
			rows := u.dayRows(d, now)
			most = max(most, pg.requests(rows))
			if d.Add(timeline.Day).After(u.Start) && (d.Before(today) || rows > pg.fill) {
				m.sweep[k] += pg.requests(rows)
			}
		}
		m.pass[k] = min(m.sweep[k], most)
		to = from
	}
}

// busy reports whether a unit is polled every poll interval: because of the rows of the last two hours, or because of the rows that are
// expected soon by the days before. An account-wide unit always is, as it shows which bots are busy.
func busy(u *Unit, now time.Time, policy *Policy) bool {
	const recent = 2 * time.Hour
	return u.Endpoint.PerAccount() || u.LastPoll.IsZero() ||
		u.Density.Rows(timeline.Span{From: now.Add(-recent), To: now}) >= policy.BusyRate*recent.Seconds() ||
		u.Density.Rate(now.Add(time.Hour)) >= policy.BusyRate
}

// group says to which groups of sweeps the tiers of a unit belong.
func (p *Plan) group(e events.Endpoint, c *Cadence, own bool) {
	groups := &p.groups[e.Index()]
	if *groups == nil {
		*groups = make([]float64, len(p.policy.TiersOf(e)))
	}
	if own {
		c.group = len(*groups)
		*groups = append(*groups, make([]float64, len(c.Tiers))...)
	}
}

// demand adds what a unit demands at its configured periods.
func (p *Plan) demand(u *Unit, c *Cadence, m *measure, now time.Time) {
	e, pg := u.Endpoint, u.paging()
	add := func(k class, requests float64, period time.Duration) {
		if requests > 0 {
			p.demands[k][e.Index()] += requests / period.Minutes()
		}
	}
	rows := u.Density.Rate(now) * c.Poll.Seconds()
	if c.Busy {
		requests := max(1, rows/pg.perRequest)
		if pg.days { // a count, and the pages with the new rows
			requests = 1 + max(1-math.Exp(-rows), rows/float64(pg.rows))
		}
		add(classBusy, requests, c.Poll)
	} else {
		add(classIdle, 1, c.Poll)
	}
	switch {
	case pg.days && !u.IDsIgnored:
		m.hot = hotGroups(e, u.byStart())
	case !pg.days:
		m.hot = hotWindows(u, p.hotEnd(u, c, m.reach, now))
	}
	for k, t := range c.Tiers {
		add(classSweep, m.sweep[k], t.Every)
		p.groups[e.Index()][c.group+k] += m.sweep[k] / t.Every.Minutes()
	}
	add(classGap, p.unreadRequests(u, now, PrioritySweep), time.Minute)
	add(classBackfill, p.unreadRequests(u, now, PriorityBackfill), time.Minute)
}

// demandHot sets what the hot rows of all units demand: as many requests as their reads fill, and in each group as many as the row that is
// read most often takes.
func (p *Plan) demandHot(units []*Unit, measures []measure, now time.Time) {
	p.demands[classHot] = rates{}
	for i, u := range units {
		pg := u.paging()
		for _, refs := range measures[i].hot {
			var most, sum float64
			for _, r := range refs {
				reads := p.Units[i].hotReads(&r, now)
				most, sum = max(most, reads), sum+reads
			}
			if pg.days { // those that are due, whenever they began
				most = max(most, sum/float64(pg.rows))
			}
			p.demands[classHot][u.Endpoint.Index()] += most
		}
	}
	p.addHeadroom(classHot)
}

// hotReads returns how many times a minute a hot row is read.
func (c *Cadence) hotReads(r *HotRef, now time.Time) float64 {
	most := 1 / c.Hot.Minutes()
	if r.End.IsZero() || !r.End.Before(now) || c.BackOff <= 0 {
		return most
	}
	// Each time so much longer after the end than the time before.
	return min(most, 1/(now.Sub(r.End).Minutes()*math.Log(1+c.BackOff)))
}

// HotAgain returns how long after its last read a hot row is read again that had ended so long ago when it was read.
func (c *Cadence) HotAgain(ended time.Duration) time.Duration {
	return max(c.Hot, times(ended, c.BackOff))
}

// hotAgain returns when a hot row is to be read again that was last read at read.
func (c *Cadence) hotAgain(r *HotRef, read time.Time) time.Time {
	if r.End.IsZero() {
		return read.Add(c.Hot)
	}
	return read.Add(c.HotAgain(read.Sub(r.End)))
}

// unreadRequests returns how many requests it takes to fill the gaps of a priority class, with the spans that somebody asked for.
func (p *Plan) unreadRequests(u *Unit, now time.Time, priority Priority) float64 {
	pg := u.paging()
	spans := p.Gaps(u, now, priority)
	if priority == PriorityBackfill {
		spans = append(spans, u.unheld(u.Backfills, now)...)
	}
	var sum float64
	for _, g := range spans {
		passes := math.Ceil(g.To.Sub(g.From).Hours() / pg.maxRange.Hours())
		sum += max(passes, u.Density.Rows(g)/pg.perRequest)
	}
	return sum
}

// grant shares the budget: no endpoint gets more than its requests in flight can carry, the classes share what there is, and each
// class divides its part so that the periods of all its endpoints are lengthened by the same factor.
func (p *Plan) grant() {
	fits := &p.fits
	var total [classCount]float64
	for i, e := range events.Endpoints() {
		var demand [classCount]float64
		for c := range classCount {
			demand[c] = p.demands[c][i]
		}
		most := math.Inf(1)
		if l := p.policy.Latency[e]; l > 0 {
			most = plannedInFlight * float64(p.policy.concurrency(e)) * float64(time.Minute) / float64(l)
		}
		p.room[i] = most
		for c, fit := range fairShare(demand, shares, most) {
			fits[c][i] = fit
			total[c] += fit
		}
	}
	for c, have := range fairShare(total, shares, planned*p.policy.PerMinute) {
		s := commonFactor(p.demands[c], fits[c], have)
		for i, fit := range fits[c] {
			p.grants[c][i] = min(fit, p.demands[c][i]/s)
			p.room[i] -= p.grants[c][i]
		}
	}
	p.spare = planned * p.policy.PerMinute
	for _, granted := range p.Demand() {
		p.spare -= granted
	}
}

// fairShare divides have by weight. No part is more than is demanded, and nothing is left while any demand is not met.
func fairShare(demand, weight [classCount]float64, have float64) [classCount]float64 {
	var got [classCount]float64
	for range classCount {
		var open float64
		for i := range demand {
			if got[i] < demand[i] {
				open += weight[i]
			}
		}
		if open == 0 || have <= 0 {
			break
		}
		// First meet the demands that are less than their part; if there are none, divide the rest.
		part, satisfied := have/open, false
		for i := range demand {
			if got[i] < demand[i] && demand[i] <= part*weight[i] {
				got[i], satisfied = demand[i], true
				have -= demand[i]
			}
		}
		if !satisfied {
			for i := range demand {
				if got[i] < demand[i] {
					got[i] = part * weight[i]
				}
			}
			break
		}
	}
	return got
}

// commonFactor returns the smallest factor, 1 or more, by which all demands must be divided so that the grants, none more than fits,
// add up to at most have.
func commonFactor(demands, fits rates, have float64) float64 {
	over := func(s float64) bool {
		var sum float64
		for i := range demands {
			sum += min(fits[i], demands[i]/s)
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

// factor returns the factor by which the periods of a class are lengthened on an endpoint, 1 or more.
func (p *Plan) factor(c class, e events.Endpoint) float64 {
	demand, got := p.demands[c][e.Index()], p.grants[c][e.Index()]
	if demand <= 0 {
		return 1
	}
	if got <= 0 {
		return math.Inf(1)
	}
	return max(1, demand/got)
}

// bound returns what keeps a class on an endpoint from its configured periods.
func (p *Plan) bound(c class, e events.Endpoint) Bound {
	const rounding = 1 + 1e-6
	i := e.Index()
	switch {
	case p.demands[c][i] <= p.grants[c][i]*rounding:
		return BoundConfigured
	case p.fits[c][i] <= p.grants[c][i]*rounding:
		return BoundInFlight
	}
	return BoundBudget
}

// rate returns what a class may spend on an endpoint, in requests a minute.
func (p *Plan) rate(c class, e events.Endpoint) float64 {
	return p.grants[c][e.Index()]
}

// withSpare adds to a rate an endpoint's even part of what nobody demands.
func (p *Plan) withSpare(rate float64) float64 {
	return rate + max(0, p.spare)/float64(len(p.grants[0]))
}

// groupRates divides the rate of sweeps among their groups.
func (p *Plan) groupRates(e events.Endpoint) []float64 {
	demands := p.groups[e.Index()]
	var sum float64
	for _, v := range demands {
		sum += v
	}
	rates := make([]float64, len(demands))
	for k, v := range demands {
		rates[k] = p.rate(classSweep, e) * v / max(sum, 1e-9)
	}
	return rates
}

func perRequest(rate float64) time.Duration {
	return times(time.Minute, 1/rate)
}

// times multiplies a period, to at most a year.
func times(d time.Duration, by float64) time.Duration {
	const year = 365 * timeline.Day
	return time.Duration(min(float64(d)*by, float64(year)))
}

// lengthen turns the configured periods of a unit into those that the budget allows.
func (p *Plan) lengthen(u *Unit, c *Cadence, m *measure) {
	polls := classIdle
	if c.Busy {
		polls = classBusy
	}
	c.Poll = times(c.Poll, p.factor(polls, u.Endpoint))
	hot := p.factor(classHot, u.Endpoint)
	c.Hot, c.BackOff = times(c.Hot, hot), c.BackOff*hot
	c.PollBound, c.HotBound, c.SweepBound = p.bound(polls, u.Endpoint), p.bound(classHot, u.Endpoint), p.bound(classSweep, u.Endpoint)
	by := p.factor(classSweep, u.Endpoint)
	for k, t := range c.Tiers {
		c.Sweep[k] = times(t.Every, by)
		// Time that polls read is read only as often as there are polls.
		c.Sweep[k] = max(c.Sweep[k], c.Poll*3/2)
	}
	p.promise(u, c, m)
}

// strain returns which part of what the sweeps of an endpoint may spend they demand, with an even part of what nobody demands. It is 1 or
// more where the budget or the requests in flight bind them.
func (p *Plan) strain(e events.Endpoint) float64 {
	i := e.Index()
	granted := p.grants[classSweep][i]
	have := min(p.withSpare(granted), granted+max(0, p.room[i]))
	return p.demands[classSweep][i] / max(have, 1e-9)
}

// promise derives from the periods what the status may state. A period says when work begins at the latest. Before it is done, it waits
// for the requests in flight, for polls that go first and for the budget, and then takes its time. A tenth is added for errors,
// retries and wrong estimates. To a sweep more is added the less there is to catch up with, up to a third where nothing is left: its
// square has simulations confirm what is stated, and states no more than a tenth where half is left.
func (p *Plan) promise(u *Unit, c *Cadence, m *measure) {
	request := p.policy.Latency[u.Endpoint] + times(time.Minute, 1/p.policy.PerMinute)
	wait := time.Duration(p.busy[u.Endpoint.Index()]+2) * request
	c.LongestPollInterval = c.Poll + c.Poll/10 + wait
	c.SeenWithin = make([]time.Duration, len(c.Sweep))
	strain := p.strain(u.Endpoint)
	margin := func(period time.Duration) time.Duration {
		return min(period/3, max(period/10, times(period/3, strain*strain)))
	}
	var seen time.Duration
	for k, period := range c.Sweep {
		pass := wait
		if rate := p.rate(classSweep, u.Endpoint); rate > 0 {
			rate = p.withSpare(rate) // what is due need not wait for the rate of its class while nobody demands the rest
			// The running passes, and its own. A pass has one request in flight, so that several share the rate: up to twice as many as requests are
			// in flight in the mean.
			passes := min(2*rate*p.policy.Latency[u.Endpoint].Minutes(), float64(p.policy.concurrency(u.Endpoint)))
			pass += times(time.Minute, 2*max(1, passes)*m.pass[k]/rate)
		}
		seen = max(seen, period+margin(period)+pass, c.LongestPollInterval)
		c.SeenWithin[k] = seen
	}
}

// Demand returns what each priority class should spend, in requests a minute.
func (p *Plan) Demand() [PriorityCount]float64 {
	var out [PriorityCount]float64
	for c := range classCount {
		for _, v := range p.grants[c] {
			out[c.priority()] += v
		}
	}
	return out
}
