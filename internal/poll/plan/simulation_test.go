package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/poll/timeline/timelinetest"
	"agentassist-poller/internal/testsize"
)

// A simulation plays one account against a model of the API in simulated time: only how many rows start when, how long
// requests take, and how many of them there may be. It drives Derive, Next and Budget as the loop does.
type simulation struct {
	t      *testing.T
	rnd    *rand.Rand
	policy plan.Policy
	budget *plan.Budget
	units  []*simUnit
	plan   *plan.Plan
	now    time.Time
	loops  map[events.Endpoint]*simLoop

	sent     []time.Time // arrivals at the server, ascending
	requests map[plan.Kind]map[events.Endpoint]int
	observe  func(*simUnit, plan.Work) // before a pass is begun
}

type simUnit struct {
	plan.Unit
	index int
	rows  []time.Time // when rows start, ascending
	talk  func(start time.Time) time.Duration
	edits []simEdit     // ordered by the start of their rows
	hot   []plan.HotRef // ordered by start
	late  time.Duration // the furthest that read_through fell behind
	pause time.Duration // the longest time between two polls
}

// simEdit is an edit of a row: when it was made, and when a read showed it, zero for not yet.
type simEdit struct{ start, made, seen time.Time }

// end returns when a row ends.
func (u *simUnit) end(start time.Time) time.Time { return start.Add(u.talk(start)) }

type simLoop struct {
	wake   time.Time // of what asks
	active []*simPass
	sent   []*simPass // those whose request is under way
	last   [plan.KindCount]time.Time
}

type simPass struct {
	work    plan.Work
	windows []timeline.Span // still to read, the next one last
	pages   int             // of the running window
	readAt  time.Time
	read    []timeline.Span
	back    time.Time // when the request under way comes back
	taken   plan.Permit
}

const simEdge = 2 * time.Second

func newSimulation(t *testing.T, seed uint64, now time.Time) *simulation {
	return &simulation{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), policy: plan.DefaultPolicy(), budget: plan.NewBudget(60), now: now,
		loops: map[events.Endpoint]*simLoop{}, requests: map[plan.Kind]map[events.Endpoint]int{},
	}
}

// add gives the account one more unit, with rows that go on until the end of the simulation.
func (s *simulation) add(e events.Endpoint, bot string, start, end time.Time, perDay float64) *simUnit {
	u := &simUnit{
		Unit: plan.Unit{
			Endpoint: e, Bot: bot, Start: start, Read: &timeline.Set{}, Density: &timeline.Density{},
			PollInterval: map[events.Endpoint]time.Duration{
				events.Interactions: 15 * time.Second, events.Conversations: time.Minute,
				events.InteractionDetails: 30 * time.Second, events.CallDetails: 30 * time.Second,
			}[e],
		},
		index: len(s.units), talk: func(time.Time) time.Duration { return 10 * time.Minute },
	}
	if perDay > 0 {
		u.rows = timelinetest.Arrivals(s.rnd, start, end.Sub(start), perDay, timelinetest.Flat)
	}
	s.units = append(s.units, u)
	if s.loops[e] == nil {
		s.loops[e] = &simLoop{wake: s.now}
	}
	return u
}

func (s *simulation) planUnits() []*plan.Unit {
	out := make([]*plan.Unit, len(s.units))
	for i, u := range s.units {
		u.hot = slices.DeleteFunc(u.hot, func(h plan.HotRef) bool {
			read := h.Read
			if u.Endpoint != events.Conversations {
				read, _ = u.Read.LastRead(h.Start)
			}
			settled := u.end(h.Start).Add(30 * time.Minute)
			return settled.Before(read) || settled.Add(30*time.Minute).Before(s.now)
		})
		for k := range u.hot {
			h := &u.hot[k]
			known := s.now // `interactions` shows the end of conversations
			if u.Endpoint != events.Conversations {
				known, _ = u.Read.LastRead(h.Start)
			}
			if end := u.end(h.Start); !end.After(known) {
				h.End = end
			}
		}
		u.Hot = append(u.Hot[:0], u.hot...)
		out[i] = &u.Unit
	}
	return out
}

// run plays until the end, calling every for each step of that much time.
func (s *simulation) run(end time.Time, step time.Duration, every func()) {
	units := s.planUnits()
	var derived, stepped time.Time
	for s.now.Before(end) {
		if s.now.Sub(derived) >= 10*time.Second {
			units, derived = s.planUnits(), s.now
			s.plan = plan.Derive(units, s.now, s.policy)
			for priority, v := range s.plan.Demand() {
				s.budget.SetDemand(plan.Priority(priority), v)
			}
		}
		if every != nil && s.now.Sub(stepped) >= step {
			every()
			stepped = s.now
		}
		for _, e := range events.Endpoints() {
			loop := s.loops[e]
			if loop == nil {
				continue
			}
			for _, p := range slices.Clone(loop.sent) {
				if !p.back.After(s.now) {
					p.taken.Done(s.now)
					loop.sent = slices.DeleteFunc(loop.sent, func(x *simPass) bool { return x == p })
					s.arrived(e, loop, p)
					loop.wake = s.now
				}
			}
			for len(loop.sent) < max(1, s.policy.Concurrency[e]) && !loop.wake.After(s.now) {
				s.next(units, e, loop)
			}
		}
		next := end
		for e, loop := range s.loops {
			if len(loop.sent) < max(1, s.policy.Concurrency[e]) {
				next = timeline.Earlier(next, loop.wake)
			}
			for _, p := range loop.sent {
				next = timeline.Earlier(next, p.back)
			}
		}
		s.now = next
	}
}

// next begins the next request of an endpoint, or sleeps.
func (s *simulation) next(units []*plan.Unit, e events.Endpoint, loop *simLoop) {
	state := plan.InFlight{Last: loop.last}
	for _, p := range loop.active {
		if slices.Contains(loop.sent, p) {
			state.Sent = append(state.Sent, p.work)
		} else {
			state.Active = append(state.Active, p.work)
		}
	}
	var p *simPass
	for {
		w, wait, ok := s.plan.Next(units, e, s.now, state)
		if !ok {
			require.Positive(s.t, wait)
			loop.wake = s.now.Add(wait)
			return
		}
		taken, wait, ok := s.budget.TryTake(s.now, w.Priority)
		if !ok {
			state.Wait[w.Priority] = max(wait, time.Millisecond)
			continue
		}
		p = s.resume(loop, w)
		p.taken = taken
		loop.last[w.Kind] = s.now
		break
	}
	latency := time.Duration(300+s.rnd.IntN(700)) * time.Millisecond
	if e == events.Conversations {
		latency = time.Duration(4000+s.rnd.IntN(2000)) * time.Millisecond
	}
	p.back = s.now.Add(latency)
	loop.sent = append(loop.sent, p)
	s.sent = append(s.sent, s.now.Add(time.Duration(s.rnd.Int64N(int64(latency)))))
	kind := p.work.Kind
	if s.requests[kind] == nil {
		s.requests[kind] = map[events.Endpoint]int{}
	}
	s.requests[kind][e]++
}

// resume returns the running pass for a piece of work, or begins it.
func (s *simulation) resume(loop *simLoop, w plan.Work) *simPass {
	for _, p := range loop.active {
		if !slices.Contains(loop.sent, p) && p.work.Kind == w.Kind && (w.Priority != plan.PriorityTail || p.work.Unit == w.Unit) {
			p.work.Due = s.now
			return p
		}
	}
	u := s.units[w.Unit]
	require.False(s.t, w.From.Before(u.Start) && w.Kind != plan.KindHot, "%v before the start %v", w, u.Start)
	require.False(s.t, w.To.After(s.now), "%v is in the future", w)
	if u.Endpoint != events.Conversations {
		require.Less(s.t, w.To.Sub(w.From), 7*timeline.Day)
		require.True(s.t, w.From.Before(w.To), "%v is empty", w)
	}
	if s.observe != nil {
		s.observe(u, w)
	}
	if w.Priority == plan.PriorityTail {
		if !u.LastPoll.IsZero() {
			u.pause = max(u.pause, s.now.Sub(u.LastPoll))
		}
		u.LastPoll = s.now
	}
	p := &simPass{work: w, windows: []timeline.Span{{From: w.From, To: w.To}}}
	p.work.Due = s.now
	loop.active = append(loop.active, p)
	return p
}

// arrived is one page that came back.
func (s *simulation) arrived(e events.Endpoint, loop *simLoop, p *simPass) {
	u := s.units[p.work.Unit]
	sent := p.work.Due
	if p.readAt.IsZero() {
		p.readAt = sent
	}
	if u.Endpoint == events.Conversations {
		if !s.conversationsPage(u, p) {
			return
		}
	} else if !s.windowPage(u, p) {
		return
	}
	loop.active = slices.DeleteFunc(loop.active, func(x *simPass) bool { return x == p })
	if p.work.Priority == plan.PriorityTail {
		u.late = max(u.late, s.now.Sub(s.readThrough(u)))
	}
	for _, span := range p.read {
		span.To = timeline.Earlier(span.To, p.readAt.Add(-simEdge))
		if !span.From.Before(span.To) {
			continue
		}
		u.Read.Mark(span.From, span.To, p.readAt)
		rows := timelinetest.Within(u.rows, span)
		sample := timeline.Span{From: timeline.Later(span.From, p.work.Sample.From), To: timeline.Earlier(span.To, p.work.Sample.To)}
		u.Density.Observe(sample, rows)
		s.noteHot(u, rows)
		u.see(span, p.readAt)
	}
	u.Read.Coalesce(128, s.now)
	if e == events.InteractionDetails {
		s.wake(p)
	}
}

// windowPage handles a page of the endpoints that read by the second. It reports whether the pass has ended.
func (s *simulation) windowPage(u *simUnit, p *simPass) bool {
	span := p.windows[len(p.windows)-1]
	if u.Keyset {
		s.keysetPage(u, p, span)
		return len(p.windows) == 0
	}
	n := len(timelinetest.Within(u.rows, timeline.Span{From: span.From, To: timeline.Earlier(span.To, p.readAt)}))
	p.pages++
	switch {
	case u.Endpoint == events.Interactions && p.pages < 1+n/99:
		return false
	case u.WindowPages > 0 && p.pages < 1+n/100 && n < 1100: // read on by offset
		return false
	case u.WindowPages > 0 && n < 1100:
	case u.Endpoint != events.Interactions && n >= 100 && n < 110 && p.pages == 1: // ten more rows can be had by offset
		return false
	case u.Endpoint != events.Interactions && n >= 110: // too full: split
		mid := span.From.Add((span.To.Sub(span.From) / 2).Truncate(time.Second))
		p.windows = append(p.windows[:len(p.windows)-1], timeline.Span{From: mid, To: span.To}, timeline.Span{From: span.From, To: mid})
		p.pages = 0
		return false
	}
	p.read = append(p.read, span)
	p.windows, p.pages = p.windows[:len(p.windows)-1], 0
	return len(p.windows) == 0
}

// keysetPage handles a page of a window that is read on from where a page ends. A third of the rows are bot-only sessions, which
// come first.
func (s *simulation) keysetPage(u *simUnit, p *simPass, window timeline.Span) {
	part := u.Density.Cut(window, 97, false)
	rows := timelinetest.Within(u.rows, timeline.Span{From: part.From, To: timeline.Earlier(part.To, p.readAt)})
	var bots, shown int
	for _, start := range rows {
		if start.UnixNano()%3 == 0 {
			bots++
		}
	}
	for _, start := range rows {
		if start.UnixNano()%3 != 0 {
			if shown++; shown+bots == 100 {
				part.To = start.Truncate(time.Second)
				break
			}
		}
	}
	require.True(s.t, part.From.Before(part.To))
	p.read = append(p.read, part)
	p.windows[len(p.windows)-1].From = part.To
	if !part.To.Before(window.To) {
		p.windows = p.windows[:len(p.windows)-1]
	}
}

// conversationsPage does the same for conversations.
func (s *simulation) conversationsPage(u *simUnit, p *simPass) bool {
	p.pages++
	dayStart := p.work.From.Truncate(timeline.Day)
	whole := timeline.Span{From: dayStart, To: timeline.Earlier(dayStart.Add(timeline.Day), p.readAt)}
	switch p.work.Kind {
	case plan.KindHot:
		for i, h := range u.hot {
			if slices.ContainsFunc(p.work.Refs, func(r plan.HotRef) bool { return r.ID == h.ID }) {
				h.Read = p.readAt
				u.hot[i] = h
				u.see(timeline.Span{From: h.Start, To: h.Start.Add(1)}, p.readAt)
			}
		}
		return true
	case plan.KindProbe:
		fresh := len(timelinetest.Within(u.rows, timeline.Span{From: p.work.From, To: timeline.Earlier(p.work.To, p.readAt)}))
		if p.pages < 1+(fresh+19)/20 {
			return false
		}
		p.read = []timeline.Span{{From: p.work.From, To: p.work.To}}
	default:
		if p.pages < 1+len(timelinetest.Within(u.rows, whole))/20 {
			return false
		}
		p.read = []timeline.Span{{From: p.work.From, To: whole.To}}
	}
	return true
}

// see notes the edits that a read of a span shows.
func (u *simUnit) see(span timeline.Span, readAt time.Time) {
	i, _ := slices.BinarySearchFunc(u.edits, span.From, func(e simEdit, t time.Time) int { return e.start.Compare(t) })
	for ; i < len(u.edits) && u.edits[i].start.Before(span.To); i++ {
		if e := &u.edits[i]; e.seen.IsZero() && !e.made.After(readAt) {
			e.seen = readAt
		}
	}
}

func (s *simulation) noteHot(u *simUnit, rows []time.Time) {
	for _, start := range rows {
		if u.end(start).Add(30 * time.Minute).Before(s.now) {
			continue
		}
		i, ok := slices.BinarySearchFunc(u.hot, start, func(h plan.HotRef, t time.Time) int { return h.Start.Compare(t) })
		if !ok {
			u.hot = slices.Insert(u.hot, i, plan.HotRef{ID: start.Format(time.RFC3339Nano), Start: start})
		}
	}
}

// wake tells the units of a bot that the account-wide endpoint saw a row of it.
func (s *simulation) wake(p *simPass) {
	if p.work.Kind != plan.KindTail {
		return
	}
	for _, u := range s.units {
		if u.Bot == "" {
			continue
		}
		for _, span := range p.read {
			if rows := timelinetest.Within(u.rows, timeline.Span{From: span.From, To: timeline.Earlier(span.To, p.readAt)}); len(rows) > 0 && rows[len(rows)-1].After(u.LastPoll) {
				u.WokenAt = s.now
				s.loops[u.Endpoint].wake = timeline.Earlier(s.loops[u.Endpoint].wake, s.now)
			}
		}
	}
}

// readThrough is how far the unit is read from an hour ago on.
func (s *simulation) readThrough(u *simUnit) time.Time {
	return u.Read.ReadThrough(timeline.Later(u.Start, s.now.Add(-time.Hour)))
}

// checkBudget fails if more than the limit arrived in any sliding minute.
func (s *simulation) checkBudget() {
	slices.SortFunc(s.sent, time.Time.Compare)
	for i := 60; i < len(s.sent); i++ {
		if gap := s.sent[i].Sub(s.sent[i-60]); gap < time.Minute {
			s.t.Fatalf("61 requests within %v", gap)
		}
	}
}

func (s *simulation) logRequests(since time.Duration) {
	for _, k := range []plan.Kind{plan.KindTail, plan.KindProbe, plan.KindHot, plan.KindSweep, plan.KindGap, plan.KindBackfill} {
		for _, e := range events.Endpoints() {
			if n := s.requests[k][e]; n > 0 {
				s.t.Logf("%-9s %-20s %6d requests, %5.2f a minute", k, e, n, float64(n)/since.Minutes())
			}
		}
	}
}

// What the plan states is true, and not much too careful: one bot with the same rows on each of the four endpoints, 60 requests a minute, a
// week of history that was read in one go a moment ago, so that all of it wants to be swept at the same time. An age is measured as the
// oldest read of anything that is as young as its tier, every minute. It is never more than stated. Where the tier goes around several times,
// what is stated is at most twice the longest, or twice the period: with budget that nobody demands, sweeps go around sooner than the period
// says. Tiers that take days to go around (all of 50,000 a day but the youngest, the older days of conversations at 10,000) are only held
// against the bound.
//
// Where sweeps follow edits, these were seen at the ages given for each bot: bots that were edited at different ages do not hold up each other.
func TestSimulationConfirmsStatedAges(t *testing.T) {
	testsize.Slow(t)
	for name, tt := range map[string]struct {
		perDay float64 // of each bot
		length time.Duration
		edited [][]time.Duration // by bot
	}{
		"1,000 a day":            {1000, testsize.Pick(3*time.Hour, 80*time.Hour), nil},
		"10,000 a day":           {10_000, testsize.Pick(45*time.Minute, 32*time.Hour), nil},
		"10,000 a day, edited":   {10_000, testsize.Pick(45*time.Minute, 14*time.Hour), [][]time.Duration{{time.Hour, 3 * timeline.Day}}},
		"three bots, two edited": {1000, testsize.Pick(time.Hour, 20*time.Hour), [][]time.Duration{nil, {time.Hour}, {3 * timeline.Day}}},
		"50,000 a day":           {50_000, testsize.Pick(15*time.Minute, 9*time.Hour), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range testsize.Pick[uint64](1, 4) {
				confirmAges(t, 1+seed, tt.perDay, tt.length, tt.edited)
			}
		})
	}
}

func confirmAges(t *testing.T, seed uint64, perDay float64, length time.Duration, edited [][]time.Duration) {
	now := base.Add(7*timeline.Day + 9*time.Hour)
	end := now.Add(length)
	s := newSimulation(t, seed, now)
	s.policy.Concurrency = map[events.Endpoint]int{events.Conversations: 2}
	if s.policy.Adapt = edited != nil; !s.policy.Adapt {
		edited = make([][]time.Duration, 1)
	}
	for _, e := range events.Endpoints() {
		for bot, ages := range edited {
			name := fmt.Sprint("st-", bot)
			if e.PerAccount() {
				name = "" // nothing wakes it
			}
			u := s.add(e, name, base, end, perDay)
			u.Read.Mark(base, now, now)
			for i := range 300 {
				for _, from := range ages {
					age := from + time.Duration(i)*time.Minute
					u.Edits.Observe(now.Add(-age-2*time.Minute), now.Add(-2*time.Minute), now, 1)
				}
			}
			for d := base; d.Before(now); d = d.Add(time.Hour) {
				span := timeline.Span{From: d, To: timeline.Earlier(d.Add(time.Hour), now)}
				u.Density.Observe(span, timelinetest.Within(u.rows, span))
			}
			s.noteHot(u, timelinetest.Within(u.rows, timeline.Span{From: base, To: now}))
			u.LastPoll = now
		}
	}
	type age struct{ longest, ofStated float64 }
	worst := make([][]age, len(s.units))
	s.run(end, time.Minute, func() {
		for i, u := range s.units {
			tiers := s.plan.Units[i].Tiers
			if worst[i] == nil {
				worst[i] = make([]age, len(tiers))
			}
			for k, tier := range tiers {
				read, ok := u.Read.OldestRead(timeline.Later(u.Start, s.now.Add(-tier.Within)), s.readThrough(u))
				require.True(t, ok)
				is, stated := s.now.Sub(read).Seconds(), s.plan.Units[i].SeenWithin[k].Seconds()
				worst[i][k] = age{max(worst[i][k].longest, is), max(worst[i][k].ofStated, is/stated)}
			}
		}
	})
	s.checkBudget()
	t.Logf("seed %d", seed)
	s.logRequests(length)
	for i, u := range s.units {
		c := s.plan.Units[i]
		t.Logf("%-20s poll %v, behind %v, polls apart %v (stated %v), hot %v (%d)", u.Endpoint, c.Poll, u.late, u.pause, c.LongestPollInterval, c.Hot, len(u.Hot))
		require.LessOrEqual(t, u.pause, c.LongestPollInterval)
		if u.Endpoint == events.Interactions {
			require.LessOrEqual(t, u.late, 2*u.PollInterval)
		}
		for k, w := range worst[i] {
			rounds := length.Seconds() / c.Sweep[k].Seconds()
			longest := time.Duration(w.longest * float64(time.Second))
			t.Logf("   tier %d: every %v, stated %v, longest %v (%.2f), %.1f rounds", k, c.Sweep[k], c.SeenWithin[k], longest, w.ofStated, rounds)
			assert.LessOrEqual(t, w.ofStated, 1.0, "%s tier %d: an edit was seen later than stated", u.Endpoint, k)
			if rounds >= 2 {
				assert.LessOrEqual(t, c.SeenWithin[k], 2*max(longest, c.Sweep[k]), "%s tier %d: edits are seen much earlier than stated", u.Endpoint, k)
			}
		}
	}
}

// 200 bots in one account, five of them busy: the busy ones stay within two poll intervals, the idle ones are polled with
// what is left over and never further apart than stated, and one that wakes up is found through the account-wide endpoint.
func TestSimulationTwoHundredBots(t *testing.T) {
	testsize.Slow(t)
	now := base.Add(9 * time.Hour)
	length := testsize.Pick(80*time.Minute, 5*time.Hour)
	end := now.Add(length)
	s := newSimulation(t, 2, now)
	s.add(events.InteractionDetails, "", now, end, 0)
	account := s.units[0]
	for i := range 200 {
		perDay := 1.0
		if i < 5 {
			perDay = 2000
		}
		bot := "st-" + time.Duration(i).String()
		u := s.add(events.Interactions, bot, now, end, perDay)
		s.add(events.Conversations, bot, now, end, 0).rows = u.rows
		account.rows = append(account.rows, u.rows...)
	}
	sleeper := s.units[len(s.units)-2]
	woke := now.Add(length * 3 / 5)
	for i := range 40 {
		sleeper.rows = append(sleeper.rows, woke.Add(time.Duration(i)*time.Minute))
	}
	slices.SortFunc(sleeper.rows, time.Time.Compare)
	account.rows = append(account.rows, sleeper.rows...)
	slices.SortFunc(account.rows, time.Time.Compare)

	var found time.Time
	settled := now.Add(40 * time.Minute)
	stated := make([]time.Duration, len(s.units))
	state := func() {
		for i, c := range s.plan.Units {
			stated[i] = max(stated[i], c.LongestPollInterval)
		}
	}
	s.run(settled, 10*time.Second, state)
	for _, u := range s.units {
		u.late, u.pause = 0, 0
	}
	s.run(end, 10*time.Second, func() {
		state()
		if found.IsZero() && sleeper.Read.ReadThrough(sleeper.Start).After(woke) {
			found = s.now
		}
	})
	s.checkBudget()
	s.logRequests(length)
	var idle, worstIdle, busy time.Duration
	for i, u := range s.units {
		require.LessOrEqual(t, u.pause, stated[i], "%s of %s", u.Endpoint, u.Bot)
		switch {
		case u.Endpoint != events.Interactions:
		case len(u.rows) > 60:
			busy = max(busy, u.late)
			require.LessOrEqual(t, u.late, 2*u.PollInterval, "busy bot %s", u.Bot)
		default:
			idle, worstIdle = max(idle, u.pause), max(worstIdle, stated[i])
		}
	}
	t.Logf("busy: read_through at most %v behind; idle: looks %v apart, stated %v; woken bot found after %v", busy, idle, worstIdle, found.Sub(woke))
	require.Less(t, found.Sub(woke), 2*time.Minute)
	require.Greater(t, worstIdle, 3*time.Minute, "the test is about idle bots that have to wait")
}

// The first read of 100,000 rows of history costs at most 1.05 times the fewest possible requests on interactions, and 1.3 on the
// analytics endpoints, whatever offset counts. Until that is known a window must fit on one page, and chance alone costs 1.25.
func TestSimulationFirstRead(t *testing.T) {
	testsize.Slow(t)
	now := base.Add(70 * timeline.Day)
	for name, tt := range map[string]struct {
		endpoint events.Endpoint
		change   func(*simUnit)
		most     float64
		seeds    int
	}{
		"interactions":      {events.Interactions, func(*simUnit) {}, 1.05, 20},
		"offset in pages":   {events.InteractionDetails, func(u *simUnit) { u.WindowPages = 11 }, 1.3, 200},
		"offset in records": {events.InteractionDetails, func(u *simUnit) { u.Keyset = true }, 1.3, 200},
		"offset unknown":    {events.InteractionDetails, func(*simUnit) {}, 1.4, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var worst, sum float64
			seeds := testsize.Pick(5, tt.seeds)
			for seed := range uint64(seeds) {
				s := newSimulation(t, seed, now)
				s.policy.Tiers = nil // sweeps are counted elsewhere
				u := s.add(tt.endpoint, "", base, now.Add(3*time.Hour), 100_000.0/70)
				tt.change(u)
				s.run(now.Add(3*time.Hour), time.Minute, nil)
				require.True(t, u.Read.Covered(base, now))
				s.checkBudget()
				requests := s.requests[plan.KindBackfill][tt.endpoint] + s.requests[plan.KindGap][tt.endpoint]
				ratio := float64(requests) / (float64(len(timelinetest.Within(u.rows, timeline.Span{From: base, To: now}))) / 100)
				require.LessOrEqual(t, ratio, tt.most, "seed %d", seed)
				worst, sum = max(worst, ratio), sum+ratio
			}
			t.Logf("%d seeds: at most %.3f times the fewest requests, %.3f on average", seeds, worst, sum/float64(seeds))
		})
	}
}
