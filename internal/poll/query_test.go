package poll

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/testsize"
)

// Whatever the state of an account, every query that comes of its plan is one that the client sends, from the first page of a pass
// to the last, whatever is on the pages: a query that the client refuses is a span that is not read for as long as the state stays.
func TestPlanMakesOnlyQueriesThatAreSent(t *testing.T) {
	asked := map[events.Endpoint]map[plan.Kind]int{}
	for seed := range testsize.Pick[uint64](1_000, 10_000) {
		s := &anyState{t: t, rnd: rand.New(rand.NewPCG(seed, 11)), seed: seed}
		s.make()
		policy := plan.DefaultPolicy()
		policy.PerMinute = float64(6 + s.rnd.IntN(100))
		if s.rnd.IntN(4) == 0 {
			policy.Tiers = append(policy.Tiers, plan.Tier{Within: 30 * timeline.Day, Every: timeline.Day})
		}
		var units []*plan.Unit
		for _, u := range s.units {
			u.apply()
			units = append(units, &u.Unit)
		}
		p := plan.Derive(units, s.now, policy)
		for _, e := range events.Endpoints() {
			if asked[e] == nil {
				asked[e] = map[plan.Kind]int{}
			}
			// Each class of work in turn has the best of what it has to offer read.
			for only := range plan.PriorityCount {
				var inFlight plan.InFlight
				for priority := range inFlight.Wait {
					if plan.Priority(priority) != only {
						inFlight.Wait[priority] = time.Second
					}
				}
				if w, _, ok := p.Next(units, e, s.now, inFlight); ok {
					asked[e][w.Kind]++
					s.play(s.units[w.Unit], w)
				}
			}
		}
	}
	for _, e := range events.Endpoints() {
		for kind := range plan.KindCount {
			if kind == plan.KindProbe == e.Spec().Takes.Days {
				require.Positive(t, asked[e][kind], "%s of %s is never played: the test is about less than it says", kind, e)
			}
		}
	}
}

// anyState is an account in a state that is made by chance.
type anyState struct {
	t     *testing.T
	rnd   *rand.Rand
	seed  uint64
	now   time.Time
	units []*unit
}

// ago returns a moment at most limit before now. It is mostly a whole second.
func (s *anyState) ago(limit time.Duration) time.Time {
	at := s.now.Add(-time.Duration(s.rnd.Int64N(int64(limit))))
	if s.rnd.IntN(4) > 0 {
		at = at.Truncate(time.Second)
	}
	return at
}

func (s *anyState) span(limit time.Duration) timeline.Span {
	from := s.ago(limit)
	return timeline.Span{From: from, To: timeline.Earlier(s.now, from.Add(time.Duration(1+s.rnd.Int64N(int64(limit)))))}
}

func (s *anyState) make() {
	s.now = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).Add(time.Duration(s.rnd.Int64N(int64(30 * timeline.Day))))
	if s.rnd.IntN(2) == 0 {
		s.now = s.now.Truncate(time.Second)
	}
	for range 1 + s.rnd.IntN(6) {
		e := events.Endpoints()[s.rnd.IntN(events.EndpointCount)]
		bot := "st-1"
		if e.PerAccount() && s.rnd.IntN(3) > 0 {
			bot = ""
		}
		p := &progress{Start: s.ago(40 * timeline.Day).Truncate(time.Second), Scoped: pass.Scope(s.rnd.IntN(3))}
		s.facts(p)
		u, err := newUnit(e, bot, time.Duration(1+s.rnd.IntN(100))*time.Second, p)
		require.NoError(s.t, err)
		u.bots = []string{"st-1", "st-2"}
		u.zone = &pass.Bounds{Known: s.rnd.IntN(8) > 0, Zone: time.Duration(s.rnd.IntN(53)-24) * 30 * time.Minute}
		s.history(u)
		s.units = append(s.units, u)
	}
}

// facts fills in what may have been learned of the server.
func (s *anyState) facts(p *progress) {
	yes := func() bool { return s.rnd.IntN(2) == 0 }
	counts := map[string]int{}
	all := yes()
	for back := range 12 {
		if all || yes() {
			counts[timeline.DayName(s.now.AddDate(0, 0, 1-back))] = s.rnd.IntN(60)
		}
	}
	zone := time.Duration(s.rnd.IntN(104)-48) * 15 * time.Minute
	p.Conversations = pass.NewConversationFacts()
	if yes() {
		p.Conversations.ZoneMin, p.Conversations.ZoneMax = zone-time.Duration(s.rnd.IntN(60))*time.Minute, zone+time.Minute
	}
	text := fmt.Sprintf(`{
		"Conversations": {"order": %d, "ids": %d, "page_size": %d, "counts": %s},
		"Analytics": {"offset": %d, "inclusive": %t, "per_list": %t, "filter": %d,
			"lists": {"order": %d, "unsorted": %t, "bots_first": %t, "bots_last": %t}}
	}`, s.rnd.IntN(3), s.rnd.IntN(4), s.rnd.IntN(21), must(json.Marshal(counts)),
		s.rnd.IntN(3), yes(), yes(), s.rnd.IntN(3), s.rnd.IntN(3), s.rnd.IntN(4) == 0, yes(), yes())
	require.NoError(s.t, json.Unmarshal([]byte(text), p))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// history fills in what was read, what is hot, held and asked for. Whatever the clock says now, it may have said something else.
func (s *anyState) history(u *unit) {
	perDay := float64(s.rnd.IntN(3) * s.rnd.IntN(400))
	if s.rnd.IntN(3) > 0 {
		through := s.ago(time.Minute)
		if s.rnd.IntN(3) == 0 {
			through = s.ago(9 * timeline.Day)
		}
		if s.rnd.IntN(20) == 0 { // the clock was set back since
			through = s.now.Add(time.Duration(s.rnd.IntN(10_000)) * time.Millisecond)
		}
		u.LastPoll = timeline.Earlier(through, s.now)
		if u.Start.Before(through) {
			u.Read.Mark(u.Start, through, through)
			s.observe(u, timeline.Span{From: timeline.Later(u.Start, through.Add(-9*timeline.Day)), To: through}, perDay)
		}
	}
	for range s.rnd.IntN(6) {
		span := s.span(20 * timeline.Day)
		u.Read.Mark(span.From, span.To, span.To.Add(time.Duration(s.rnd.Int64N(int64(s.now.Sub(span.To)+1)))))
	}
	for range s.rnd.IntN(3) {
		u.Held = append(u.Held, plan.Held{Span: s.span(5 * timeline.Day), Until: s.now.Add(time.Duration(s.rnd.IntN(120)-60) * time.Minute)})
	}
	oldest := []time.Duration{time.Hour, 3 * timeline.Day, 30 * timeline.Day}[s.rnd.IntN(3)]
	for i := range s.rnd.IntN(60) {
		u.Hot = append(u.Hot, plan.HotRef{ID: fmt.Sprint("c-", i), Start: s.ago(oldest), Read: s.ago(time.Hour)})
	}
	slices.SortFunc(u.Hot, func(a, b plan.HotRef) int { return a.Start.Compare(b.Start) })
	if s.rnd.IntN(4) == 0 {
		u.Backfills = []timeline.Span{s.span(60 * timeline.Day)}
	}
	if s.rnd.IntN(8) == 0 {
		u.WokenAt = s.ago(time.Minute)
	}
}

func (s *anyState) observe(u *unit, span timeline.Span, perDay float64) {
	var starts []time.Time
	if perDay > 0 {
		for t := span.From; t.Before(span.To); t = t.Add(time.Duration(float64(timeline.Day) / perDay)) {
			starts = append(starts, t)
		}
	}
	u.Density.Observe(span, starts)
}

// play reads the span of a piece of work, or as much of it as takes a few pages.
func (s *anyState) play(u *unit, w plan.Work) {
	said := fmt.Sprintf("seed %d: %s of %s from %v to %v at %v", s.seed, w.Kind, u.Endpoint, w.From, w.To, s.now)
	p := u.begin(w, s.now)
	for range 12 {
		q := p.Query()
		require.NoError(s.t, q.Check(), said)
		require.Equal(s.t, u.Endpoint, q.Endpoint, said)
		pg := s.page(u, q.From, q.To, q.Limit)
		if _, end, err := p.Read(pg, nil); end != nil || err != nil {
			return
		}
	}
}

// page is an answer to a query. Sometimes it shows what nobody asked for, or more than there is room for.
func (s *anyState) page(u *unit, from, to time.Time, limit int) *pass.Page {
	pg := &extract.Page{NumResults: -1, Total: -1, TotalPages: -1}
	rows := []int{0, s.rnd.IntN(limit + 1), limit, limit, 2 * limit}[s.rnd.IntN(5)]
	for range rows {
		start := from.Add(time.Duration(s.rnd.Int64N(int64(to.Sub(from) + 24*time.Hour))))
		if s.rnd.IntN(3) > 0 {
			start = timeline.Earlier(start, to).Truncate(time.Second)
		}
		end := start.Add(time.Duration(s.rnd.IntN(4000)) * time.Second)
		bot := []string{"", "st-1", "st-2"}[s.rnd.IntN(3)]
		pg.Rows = append(pg.Rows, extract.Row{
			ID: fmt.Sprint(s.rnd.IntN(100)), ConversationID: fmt.Sprint("c-", s.rnd.IntN(60)), BotID: bot,
			Start: start, End: end, Open: s.rnd.IntN(4) == 0, BotOnly: s.rnd.IntN(3) == 0,
		})
	}
	order := s.rnd.IntN(3)
	slices.SortStableFunc(pg.Rows, func(a, b extract.Row) int { return (order - 1) * a.Start.Compare(b.Start) })
	for range s.rnd.IntN(8) / 7 {
		pg.Dead = append(pg.Dead, extract.Dead{Raw: []byte("?")})
	}
	if s.rnd.IntN(2) == 0 {
		pg.Total = int64(s.rnd.IntN(70))
	}
	if s.rnd.IntN(2) == 0 {
		more := s.rnd.IntN(2) == 0
		pg.HasMore = &more
	}
	return &pass.Page{Page: pg, ReadAt: s.now, ShownAt: s.now.Add(time.Second)}
}
