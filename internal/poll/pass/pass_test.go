package pass

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// A listServer is the least that the endpoints have in common: a list that is filtered by time, ordered, paged, and that
// changes between two requests. It is a model for property tests; koresim is the real thing.
type listServer struct {
	seed      uint64
	rnd       *rand.Rand
	now       time.Time
	rows      []listRow
	churn     float64 // chance that something happens before a request
	descends  bool
	offsets   offsetMeaning
	perList   bool
	inclusive bool
	hideMore  bool          // no hasMore
	onEnd     bool          // analytics: rows are selected by their end
	botsLast  bool          // and of the two lists bot-only sessions come last
	shuffled  bool          // and in no order
	excess    float64       // chance that a page holds one record more than it should, which nobody can read
	zone      time.Duration // of calendar days
	ids       idsForm
	most      int // bytes of an answer; 0: any number

	requests int
}

type listRow struct {
	id      string
	start   time.Time
	end     time.Time
	visible time.Time
	bot     bool
	size    int
}

var epoch = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func (s *listServer) add(start time.Time, bot bool) {
	end := start.Add(time.Duration(s.rnd.IntN(1200)) * time.Second)
	s.rows = append(s.rows, listRow{id: fmt.Sprint("r", len(s.rows)), start: start, end: end, visible: s.now, bot: bot})
}

// basis is the time of a row that is compared with the bounds of a query.
func (s *listServer) basis(r listRow) time.Time {
	if s.onEnd {
		return r.end
	}
	return r.start
}

// filter returns what a query over [from, to] shows, in the list's order.
func (s *listServer) filter(from, to time.Time) []listRow {
	var out []listRow
	for _, r := range s.rows {
		if at := s.basis(r); !at.Before(from) && (at.Before(to) || s.inclusive && at.Equal(to)) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b listRow) int {
		if s.descends {
			return b.start.Compare(a.start)
		}
		return a.start.Compare(b.start)
	})
	return out
}

func (s *listServer) page(rows []listRow, more *bool, total int64) (*Page, error) {
	size := 0
	for _, r := range rows {
		size += r.size
	}
	if s.most > 0 && size > s.most {
		return &Page{ReadAt: s.now}, &kore.Error{Reason: kore.ReasonTooLarge, Beginning: fmt.Appendf(nil, `{"data":[{"conversationID":"%s"`, rows[0].id)}
	}
	p := &extract.Page{NumResults: int64(len(rows)), HasMore: more, Total: total, TotalPages: -1}
	for _, r := range rows {
		p.Rows = append(p.Rows, extract.Row{ID: r.id, ConversationID: r.id, Start: r.start, End: r.end, BotOnly: r.bot})
	}
	if s.excess > 0 && s.rnd.Float64() < s.excess {
		p.Dead = append(p.Dead, extract.Dead{Raw: fmt.Appendf(nil, "lost in migration %d", s.requests)})
	}
	return &Page{Page: p, ReadAt: s.now}, nil
}

func window(rows []listRow, from, n int) []listRow {
	from = min(from, len(rows))
	return rows[from:min(from+n, len(rows))]
}

func (s *listServer) turn() {
	s.requests++
	s.now = s.now.Add(time.Second)
	if s.rnd.Float64() < s.churn {
		// Mostly new rows at the live end, now and then one that comes late into the middle.
		back := time.Duration(0)
		if s.rnd.IntN(3) == 0 {
			back = time.Duration(s.rnd.IntN(3600)) * time.Second
		}
		s.add(s.now.Add(-back).Truncate(time.Second), s.rnd.IntN(3) == 0)
	}
}

func (s *listServer) interactions(q kore.Query) (*Page, error) {
	s.turn()
	all := s.filter(q.From, q.To)
	more := q.Offset+q.Limit < len(all)
	if s.hideMore {
		return s.page(window(all, q.Offset, q.Limit), nil, -1)
	}
	return s.page(window(all, q.Offset, q.Limit), &more, -1)
}

func (s *listServer) analytics(q kore.Query) (*Page, error) {
	s.turn()
	var bots, convs []listRow
	for _, r := range s.filter(q.From, q.To) {
		if r.bot {
			bots = append(bots, r)
		} else {
			convs = append(convs, r)
		}
	}
	slices.Reverse(convs)
	first, second := bots, convs
	if s.botsLast {
		first, second = second, first
	}
	if s.shuffled {
		rnd := rand.New(rand.NewPCG(s.seed, 2))
		for _, list := range [][]listRow{first, second} {
			rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		}
	}
	skip := q.Offset
	if s.offsets == offsetPages {
		skip *= q.Limit
	}
	if s.perList {
		return s.page(append(slices.Clone(window(first, skip, q.Limit)), window(second, skip, q.Limit)...), nil, -1)
	}
	return s.page(window(append(first, second...), skip, q.Limit), nil, -1)
}

func (s *listServer) conversations(q kore.Query) (*Page, error) {
	s.turn()
	var all []listRow
	for _, r := range s.filter(q.From.Add(-s.zone), q.To.Add(timeline.Day-s.zone)) {
		if honoured := s.ids == idsArray && !q.IDsAsString || s.ids == idsString && q.IDsAsString; honoured &&
			len(q.ConversationIDs) > 0 && !slices.Contains(q.ConversationIDs, r.id) {
			continue
		}
		if !r.start.Equal(q.To.Add(timeline.Day - s.zone)) {
			all = append(all, r)
		}
	}
	more := q.Offset*q.Limit < len(all)
	return s.page(window(all, (q.Offset-1)*q.Limit, q.Limit), &more, int64(len(all)))
}

// runPass steps a pass to its end and returns the ids of all rows it showed, or that it made dead records of.
func runPass(t *testing.T, p Pass, ask func(kore.Query) (*Page, error)) (map[string]int, *Outcome) {
	t.Helper()
	ids := map[string]int{}
	for i := range 100_000 {
		q := p.Query()
		if lost := errors.New("lost"); i%5 == 0 { // a request that fails is sent again
			_, _, err := p.Read(nil, lost)
			require.ErrorIs(t, err, lost)
			require.Equal(t, q, p.Query())
		}
		pg, end, err := p.Read(ask(q))
		require.NoError(t, err)
		if pg != nil {
			for _, r := range pg.Rows {
				ids[r.ID]++
			}
			for _, d := range pg.Dead {
				ids[d.ConversationID]++
			}
		}
		if end != nil {
			return ids, end
		}
	}
	t.Fatal("the pass does not end")
	return nil, nil
}

// requireSeen checks the promise of an outcome: every row that starts in a span that it calls read, and that was readable
// when the pass began, was on one of its pages.
func (s *listServer) requireSeen(t *testing.T, ids map[string]int, end *Outcome) {
	t.Helper()
	for _, r := range s.rows {
		for _, span := range end.Read {
			if at := s.basis(r); !at.Before(span.From) && at.Before(span.To) && !r.visible.After(end.ReadAt) && ids[r.id] == 0 {
				t.Fatalf("seed %d: row %s of %v was readable since %v; the pass read %v as of %v and never showed it",
					s.seed, r.id, r.start, r.visible, span, end.ReadAt)
			}
		}
	}
}

func (s *listServer) starts() (out []time.Time) {
	for _, r := range s.rows {
		out = append(out, r.start)
	}
	return out
}

func newListServer(seed uint64, rows int, over time.Duration) *listServer {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := &listServer{
		seed: seed, rnd: rnd, now: epoch, descends: rnd.IntN(2) == 0, inclusive: rnd.IntN(2) == 0, perList: rnd.IntN(2) == 0,
		hideMore: rnd.IntN(4) == 0, offsets: offsetPages + offsetMeaning(rnd.IntN(2)), ids: idsArray + idsForm(rnd.IntN(3)),
	}
	for range rows {
		s.add(epoch.Add(time.Duration(rnd.Int64N(int64(over)))).Truncate(time.Second), rnd.IntN(3) == 0)
	}
	s.now = epoch.Add(over)
	return s
}

// enlarge gives rows sizes, and answers a limit: some rows are too large by themselves, and some pages with many of the others.
func (s *listServer) enlarge() {
	s.most = 50 + s.rnd.IntN(500)
	tooLarge := [...]float64{0, 0.01, 0.1}[s.rnd.IntN(3)]
	for i := range s.rows {
		if s.rows[i].size = s.rnd.IntN(20); s.rnd.Float64() < tooLarge {
			s.rows[i].size = s.most + 1
		}
	}
}

const seeds = 10_000

func eachSeed(t *testing.T, check func(t *testing.T, seed uint64)) {
	n := uint64(seeds)
	if testing.Short() {
		n = 1000
	}
	for seed := range n {
		check(t, seed)
	}
}

func TestInteractionsPassLosesNothingWhilePagesShift(t *testing.T) {
	var stable int
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newListServer(seed, int(seed%320), time.Hour)
		s.churn, s.excess = float64(seed%4)/8, float64(seed/4%2)/8
		if seed/8%9 == 1 {
			s.enlarge()
		}
		ids, end := runPass(t, NewInteractions("st-1", timeline.Span{From: epoch, To: epoch.Add(2 * time.Hour)}, 0), s.interactions)
		if end.Unsettled == nil {
			stable++
		}
		require.False(t, end.Unsettled != nil && s.churn == 0 && s.excess == 0, "seed %d", seed)
		s.requireSeen(t, ids, end)
	})
	require.Greater(t, stable, 500, "a pass that never concludes anything proves nothing")
}

func TestAnalyticsPassLosesNothingBehindTheCap(t *testing.T) {
	var capped, keyset int
	eachSeed(t, func(t *testing.T, seed uint64) {
		over := time.Hour
		if seed%10 == 0 {
			over = 2 * time.Second // bursts: seconds that hold more than any page can show
		}
		s := newListServer(seed, int(seed%400), over)
		s.churn, s.excess = float64(seed%3)/20, float64(seed/3%2)/8
		s.onEnd, s.botsLast, s.shuffled = seed%4 == 1, seed%5 == 1, seed%7 == 1
		if seed/8%9 == 1 {
			s.enlarge()
		}
		facts, density := &AnalyticsFacts{}, &timeline.Density{}
		for range 3 { // the later ones with what the first have learned
			span := timeline.Span{From: epoch, To: epoch.Add(2 * over)}
			ids, end := runPass(t, NewAnalytics("interaction-details", "st-1", span, facts, density), s.analytics)
			s.requireSeen(t, ids, end)
			covered := time.Duration(0)
			for _, r := range slices.Concat(end.Read, end.Capped) {
				covered += r.To.Sub(r.From)
				density.Observe(r, s.starts())
			}
			require.Equal(t, span.To.Sub(span.From), covered, "every second is either read or said to be capped")
			capped += len(end.Capped)
			if facts.Offset != offsetUnknown {
				require.Equal(t, s.offsets, facts.Offset)
			}
		}
		if facts.Keyset() {
			keyset++
			require.False(t, s.onEnd || s.shuffled, "seed %d", seed)
		}
	})
	t.Logf("%d capped seconds; %d read on by time", capped, keyset)
	require.Greater(t, keyset, 100)
}

func TestDayPassCountsEveryRow(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newListServer(seed, int(seed%100), 20*time.Hour)
		s.churn, s.excess = float64(seed%4)/10, float64(seed/4%2)/8
		if seed/8%9 == 1 {
			s.enlarge()
		}
		ids, end := runPass(t, NewDay("st-1", epoch, NewConversationFacts()), s.conversations)
		if end.Unsettled != nil {
			require.False(t, s.churn == 0 && s.excess == 0, "seed %d", seed)
			return
		}
		s.requireSeen(t, ids, end)
	})
}

func TestConversationsTailFindsNewRowsInAnyZone(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newListServer(seed, int(seed%80), 10*time.Hour)
		s.zone = time.Duration(s.rnd.IntN(27)-12) * time.Hour
		s.excess = float64(seed%2) / 8
		if seed/2%9 == 1 {
			s.enlarge()
		}
		facts := NewConversationFacts()
		seen := map[string]int{}
		for poll := range 5 {
			ids, end := runPass(t, NewTail("st-1", facts, epoch, s.now, s.now), s.conversations)
			for id, n := range ids {
				seen[id] += n
			}
			if end.Unsettled != nil {
				continue
			}
			end.Read[0].From = epoch
			s.requireSeen(t, seen, end)
			s.now = s.now.Add(time.Duration(s.rnd.IntN(120)) * time.Minute)
			for range s.rnd.IntN(45) {
				back := time.Duration(s.rnd.IntN(60)) * time.Second
				if poll > 0 && s.rnd.IntN(20) == 0 {
					back = time.Duration(s.rnd.IntN(7200)) * time.Second
				}
				s.add(s.now.Add(-back).Truncate(time.Second), false)
			}
		}
	})
}

func TestConversationsTailIsCheap(t *testing.T) {
	s := newListServer(1, 0, 0)
	s.descends, s.zone, s.now = false, 0, epoch.Add(15*time.Hour)
	for i := range 1000 {
		s.add(epoch.Add(time.Duration(i)*50*time.Second), false)
	}
	facts := NewConversationFacts()
	poll := func() int {
		before := s.requests
		_, end := runPass(t, NewTail("st-1", facts, epoch, s.now, s.now), s.conversations)
		require.Nil(t, end.Unsettled)
		return s.requests - before
	}
	require.LessOrEqual(t, poll(), 50+3, "the first poll reads every page once and counts three days")
	require.LessOrEqual(t, poll(), 3, "nothing new: one count a day that can still grow")
	for i := range 5 {
		s.add(s.now.Add(time.Duration(i-5)*time.Second), false)
	}
	require.LessOrEqual(t, poll(), 4, "five new rows: one page more")
}

func TestIDsPassFindsOutWhatIsHonoured(t *testing.T) {
	for form, name := range map[idsForm]string{idsArray: "array", idsString: "string", idsIgnored: "ignored"} {
		t.Run(name, func(t *testing.T) {
			s := newListServer(1, 50, 20*time.Hour)
			s.ids, s.zone = form, 0
			facts := NewConversationFacts()
			runPass(t, NewDay("st-1", epoch, facts), s.conversations)
			ids := []string{s.rows[3].id, s.rows[7].id}
			starts := []time.Time{s.rows[3].start, s.rows[7].start}
			for range 3 {
				_, end := runPass(t, NewByID("st-1", ids, starts, facts, s.now), s.conversations)
				if facts.IDs == idsIgnored {
					require.Empty(t, end.IDs)
					break
				}
				ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(end.IDs, id) })
				starts = starts[:len(ids)]
				if len(ids) == 0 {
					break
				}
			}
			require.Equal(t, form, facts.IDs)
		})
	}
}

// What was found to be ignored is tried again once a day: here the API was mended since.
func TestIDsAreTriedAgain(t *testing.T) {
	s := newListServer(1, 50, 20*time.Hour)
	s.ids, s.zone = idsIgnored, 0
	facts := NewConversationFacts()
	runPass(t, NewDay("st-1", epoch, facts), s.conversations)
	try := func() {
		runPass(t, NewByID("st-1", []string{s.rows[3].id}, []time.Time{s.rows[3].start}, facts, s.now), s.conversations)
	}
	try()
	require.Equal(t, idsIgnored, facts.IDs)
	s.ids, s.now = idsString, s.now.Add(23*time.Hour)
	facts.RetryIDs(s.now)
	require.True(t, facts.IDsIgnored())
	s.now = s.now.Add(2 * time.Hour)
	facts.RetryIDs(s.now)
	require.False(t, facts.IDsIgnored())
	try()
	require.Equal(t, idsString, facts.IDs)
}

// A row that is too large by itself is found in few requests, and costs itself only.
func TestOneRowThatIsTooLarge(t *testing.T) {
	span := timeline.Span{From: epoch, To: epoch.Add(time.Hour)}
	facts := NewConversationFacts()
	for name, c := range map[string]struct {
		pass func(s *listServer) Pass
		ask  func(s *listServer) func(kore.Query) (*Page, error)
		rows int
		most int // requests
	}{
		"interactions": {
			func(*listServer) Pass { return NewInteractions("st-1", span, 0) }, func(s *listServer) func(kore.Query) (*Page, error) { return s.interactions }, 90, 16,
		},
		"conversations": {
			func(*listServer) Pass { return NewDay("st-1", epoch, NewConversationFacts()) },
			func(s *listServer) func(kore.Query) (*Page, error) { return s.conversations }, 90, 5 + 10,
		},
		"conversations by id": {
			func(s *listServer) Pass {
				facts.IDs = idsArray
				return NewByID("st-1", []string{s.rows[0].id}, []time.Time{s.rows[0].start}, facts, s.now)
			},
			func(s *listServer) func(kore.Query) (*Page, error) { return s.conversations }, 1, 1,
		},
		"analytics": {
			func(*listServer) Pass {
				return NewAnalytics("call-details", "", span, &AnalyticsFacts{}, &timeline.Density{})
			},
			func(s *listServer) func(kore.Query) (*Page, error) { return s.analytics }, 90, 40,
		},
		"the zone of bounds": {
			func(*listServer) Pass { return NewBounds("st-1", span, &Bounds{}) },
			func(s *listServer) func(kore.Query) (*Page, error) { return s.interactions }, 5, 12,
		},
	} {
		for at := range c.rows {
			s := newListServer(uint64(at), c.rows, time.Hour)
			s.ids, s.most, s.rows[at].size = idsArray, 1, 2
			ids, end := runPass(t, c.pass(s), c.ask(s))
			require.False(t, end.Unsettled != nil, name)
			require.LessOrEqual(t, s.requests, c.most, name)
			switch name {
			case "the zone of bounds":
			case "analytics": // a row of the other list may have come with it
				require.NotEmpty(t, end.Capped)
				require.LessOrEqual(t, len(end.Capped), 2, "its second, and the one before where that shows it too")
				require.GreaterOrEqual(t, len(ids), c.rows-1)
			default:
				require.Len(t, ids, c.rows, name)
			}
		}
	}
}

// The scope of an endpoint is found out by any row that can be read.
func TestScopeBehindRowsThatAreTooLarge(t *testing.T) {
	var found Scope
	p := NewScope("call-details", []string{"st-1", "st-2"}, &found, new(int), epoch)
	dead := 0
	for n := 0; ; n++ {
		require.Less(t, n, 10)
		q := p.Query()
		require.NoError(t, q.Check())
		var failed error
		page := &Page{Page: &extract.Page{Rows: []extract.Row{{BotID: "st-2"}}}, ReadAt: epoch}
		if q.Limit > 1 || q.Offset < 3 {
			page, failed = &Page{ReadAt: epoch}, &kore.Error{Reason: kore.ReasonTooLarge}
		}
		pg, end, err := p.Read(page, failed)
		require.NoError(t, err)
		if pg != nil {
			dead += len(pg.Dead)
		}
		if end != nil {
			break
		}
	}
	require.Equal(t, ScopeAccount, found)
	require.Equal(t, 3, dead)
}

// A server that ignores the limit is not asked for row after row.
func TestServerThatAlwaysAnswersTooMuch(t *testing.T) {
	for _, p := range []Pass{
		NewInteractions("st-1", timeline.Span{From: epoch, To: epoch.Add(time.Hour)}, 0),
		NewDay("st-1", epoch, NewConversationFacts()),
		NewTail("st-1", NewConversationFacts(), epoch, epoch, epoch.Add(time.Hour)),
		NewAnalytics("call-details", "", timeline.Span{From: epoch, To: epoch.Add(time.Hour)}, &AnalyticsFacts{}, &timeline.Density{}),
		NewAnalytics("call-details", "", timeline.Span{From: epoch, To: epoch.Add(time.Hour + 1500*time.Millisecond)}, &AnalyticsFacts{}, &timeline.Density{}),
		NewBounds("st-1", timeline.Span{From: epoch, To: epoch.Add(time.Hour)}, &Bounds{}),
		NewScope("call-details", []string{"st-1", "st-2"}, new(Scope), new(int), epoch),
	} {
		failed := &kore.Error{Reason: kore.ReasonTooLarge}
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			require.NoError(t, p.Query().Check(), "%T", p)
			_, _, err = p.Read(&Page{ReadAt: epoch}, failed)
		}
		require.ErrorIs(t, err, failed, "%T", p)
		require.Less(t, n, 3*maxStepped, "%T", p)
	}
}

// A window that is too large and too short to be split is read row by row, and given up in the end, also if it is a little longer than a
// second: windows end now.
func TestShortWindowThatIsTooLarge(t *testing.T) {
	for _, length := range []time.Duration{time.Millisecond, time.Second, 1110 * time.Millisecond, 2*time.Second - 1} {
		span := timeline.Span{From: epoch, To: epoch.Add(length)}
		p := NewAnalytics("call-details", "", span, &AnalyticsFacts{}, &timeline.Density{})
		var end *Outcome
		for n := 0; end == nil; n++ {
			require.Less(t, n, maxStepped, "%v", length)
			var err error
			_, end, err = p.Read(&Page{ReadAt: epoch}, &kore.Error{Reason: kore.ReasonTooLarge})
			require.NoError(t, err, "%v", length)
		}
		require.Equal(t, []timeline.Span{span}, end.Capped, "%v", length)
	}
}

func TestServerThatClaimsMoreButReturnsNothing(t *testing.T) {
	yes := true
	empty := &Page{Page: &extract.Page{HasMore: &yes, Total: 40}, ReadAt: epoch}
	for _, p := range []Pass{NewInteractions("st-1", timeline.Span{From: epoch, To: epoch.Add(time.Hour)}, 0), NewDay("st-1", epoch, NewConversationFacts())} {
		_, _, err := p.Read(empty, nil)
		require.ErrorIs(t, err, ErrStuck, fmt.Sprintf("%T", p))
	}
}

// A server that shows rows of other days than it was asked for tells nothing of its zone by them, and no zone is ever impossible:
// without one no day could be asked for.
func TestRowsOfOtherDaysTellNothingOfTheZone(t *testing.T) {
	facts := NewConversationFacts()
	show := func(starts ...time.Duration) {
		pg := &extract.Page{NumResults: -1, Total: -1, TotalPages: -1}
		for i, after := range starts {
			pg.Rows = append(pg.Rows, extract.Row{ID: fmt.Sprint(i), Start: epoch.Add(after)})
		}
		_, _, err := NewDay("st-1", epoch.Add(12*time.Hour), facts).Read(&Page{Page: pg, ReadAt: epoch}, nil)
		require.NoError(t, err)
	}
	show(-2*timeline.Day, 3*timeline.Day)
	require.Zero(t, facts.Zone())
	show(-5*time.Hour-30*time.Minute, 18*time.Hour) // of a day east of Greenwich
	zone := facts.Zone()
	require.Positive(t, zone)
	show(-2*timeline.Day, 5*time.Hour, 3*timeline.Day)
	require.Equal(t, zone, facts.Zone())
	require.NoError(t, NewByID("st-1", []string{"c"}, []time.Time{epoch}, facts, epoch).Query().Check())

	facts.ZoneMin, facts.ZoneMax = 48*time.Hour, -24*time.Hour // as a record may have it
	facts.Restore()
	require.Zero(t, facts.Zone())
	require.NoError(t, NewTail("st-1", facts, epoch, epoch, epoch).Query().Check())
}

func TestAnalyticsEndpointsTakeTheSame(t *testing.T) {
	for _, e := range events.Endpoints() {
		if e.PerAccount() {
			require.Equal(t, *analyticsTakes, e.Spec().Takes, e)
		}
	}
}

// A server that does not page, or does not look at the window, ends every pass after a bounded number of requests, unsettled, whatever else
// is on the page.
func TestPassesEndWhereTheServerIgnoresWhatIsAsked(t *testing.T) {
	more := true
	rows := func(n int, dead bool) *Page {
		p := &extract.Page{NumResults: int64(n), HasMore: &more, Total: 1000, TotalPages: -1}
		for i := range n {
			at := epoch.Add(time.Duration(i) * time.Minute)
			p.Rows = append(p.Rows, extract.Row{ID: fmt.Sprint("r", i), ConversationID: fmt.Sprint("r", i), Start: at, End: at.Add(time.Second)})
		}
		if dead {
			p.Dead = append(p.Dead, extract.Dead{Raw: []byte("lost")})
		}
		return &Page{Page: p, ReadAt: epoch.Add(timeline.Day)}
	}
	hour := timeline.Span{From: epoch, To: epoch.Add(time.Hour)}
	for name, c := range map[string]struct {
		pass Pass
		page *Page
		most int
		why  *Unsettled
	}{
		"interactions":              {NewInteractions("st-1", hour, 0), rows(100, false), 8, ListMoved},
		"interactions, a dead row":  {NewInteractions("st-1", hour, 0), rows(99, true), 8, PagesRepeat},
		"interactions, one row":     {NewInteractions("st-1", hour, 0), rows(1, false), 8, PagesRepeat},
		"interactions, one is dead": {NewInteractions("st-1", hour, 0), rows(0, true), 8, PagesRepeat},
		"conversations, a day":      {NewDay("st-1", epoch, NewConversationFacts()), rows(20, false), 8, PagesRepeat},
		"conversations, new rows":   {NewTail("st-1", NewConversationFacts(), epoch, epoch, epoch.Add(time.Hour)), rows(20, false), 20, PagesRepeat},
		"analytics":                 {NewAnalytics(events.CallDetails, "st-1", hour, &AnalyticsFacts{}, &timeline.Density{}), rows(100, false), 200, FilterIgnored},
		"analytics, offset in pages": {
			NewAnalytics(events.CallDetails, "st-1", hour, &AnalyticsFacts{Offset: offsetPages}, &timeline.Density{}), rows(100, false), 200, FilterIgnored,
		},
		"analytics, by time": {
			NewAnalytics(events.CallDetails, "st-1", hour, &AnalyticsFacts{
				Offset: offsetRecords, Filter: filterStart, Lists: listFacts{Order: orderAscending},
			}, &timeline.Density{}), rows(100, false), 200, FilterIgnored,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				_, end, err := c.pass.Read(c.page, nil)
				require.NoError(t, err)
				if end != nil {
					t.Logf("%d requests", n)
					require.Equal(t, c.why, end.Unsettled)
					require.Empty(t, end.Read)
					return
				}
				require.Less(t, n, c.most)
			}
		})
	}
}
