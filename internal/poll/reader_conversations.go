package poll

import (
	"context"
	"errors"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

const (
	conversationsLimit = kore.ConversationsMaxLimit
	// The endpoint filters by calendar day and does not say in which zone. These are the ends of the world.
	zoneWest, zoneEast = 12 * time.Hour, 14 * time.Hour
	// maxLookBack is how many pages a tail look goes back for a row that arrived in the middle of the list.
	maxLookBack = 5
	// dayGrace is how long after its end a calendar day is still counted for rows that arrive late. Later ones are left
	// to the sweeps.
	dayGrace = 3 * time.Hour
)

// listOrder is the order of a list by start time.
type listOrder uint8

const (
	orderUnknown listOrder = iota
	orderAscending
	orderDescending
)

// idsForm is how `conversationIds` must be sent to be honoured. The API's page calls it a string and shows an array.
type idsForm uint8

const (
	idsUnknown idsForm = iota
	idsArray
	idsString
	idsIgnored
)

// conversationFacts is what was learned about `conversations` of one bot. It outlives the pass and the process.
type conversationFacts struct {
	Order listOrder `json:"order,omitempty"`
	IDs   idsForm   `json:"ids,omitempty"`
	// IgnoredAt is when ids were found to be ignored.
	IgnoredAt time.Time `json:"ignored_at,omitzero"`
	// PageSize is the number of rows of a full page, where the server gives out fewer than the API documents.
	PageSize int `json:"page_size,omitempty"`
	// Counts holds the number of rows of each recent day that have been read.
	Counts map[string]int `json:"counts,omitempty"`
	// ZoneMin and ZoneMax bound the zone of the calendar days, as seen from the rows that came for them; ZoneMax is not
	// reached.
	ZoneMin time.Duration `json:"zone_min"`
	ZoneMax time.Duration `json:"zone_max"`

	// seen are the ids read of each recent day. Kept in memory only: where it is incomplete, counts decide alone.
	seen map[string]map[string]struct{}
}

func newConversationFacts() *conversationFacts {
	return &conversationFacts{Counts: map[string]int{}, ZoneMin: -zoneWest, ZoneMax: zoneEast + zoneGrain}
}

// zone returns the offset from UTC of the endpoint's calendar days: UTC as long as nothing speaks against it.
func (f *conversationFacts) zone() time.Duration {
	if f.ZoneMin <= 0 && f.ZoneMax > 0 {
		return 0
	}
	return ((f.ZoneMin + f.ZoneMax) / 2).Round(30 * time.Minute)
}

// pageSize returns the number of rows of a full page.
func (f *conversationFacts) pageSize() int {
	if f.PageSize > 0 {
		return f.PageSize
	}
	return conversationsLimit
}

// spanOf returns the time that a calendar day of the endpoint covers.
func (f *conversationFacts) spanOf(d time.Time) timeline.Span {
	return timeline.Span{From: d.Add(-f.zone()), To: d.Add(timeline.Day - f.zone())}
}

// zoneGrain is what the offsets of all zones are multiples of.
const zoneGrain = 15 * time.Minute

// days returns the calendar days that may hold rows starting from from to to, in whatever zone is still possible.
func (f *conversationFacts) days(from, to time.Time) []time.Time {
	var out []time.Time
	// Offsets are multiples of zoneGrain: the westernmost is not below ZoneMin, the easternmost below ZoneMax.
	west := f.ZoneMin.Truncate(zoneGrain)
	if west < f.ZoneMin {
		west += zoneGrain
	}
	east := (f.ZoneMax - 1).Truncate(zoneGrain)
	if east > f.ZoneMax-1 {
		east -= zoneGrain
	}
	for d := from.Add(west).Truncate(timeline.Day); !d.After(to.Add(east).Truncate(timeline.Day)); d = d.Add(timeline.Day) {
		out = append(out, d)
	}
	return out
}

// learn notes what a page of one calendar day shows of order and zone, and remembers its rows.
func (f *conversationFacts) learn(d time.Time, pg *Page) (fresh int) {
	if pg.records() > 0 && hasMore(pg) {
		f.PageSize = min(pg.records(), conversationsLimit)
	}
	seen := f.seenOf(d)
	for i, r := range pg.Rows {
		if _, ok := seen[r.ID]; !ok {
			seen[r.ID] = struct{}{}
			fresh++
		}
		if r.Start.IsZero() {
			continue
		}
		f.ZoneMin = max(f.ZoneMin, d.Sub(r.Start))
		f.ZoneMax = min(f.ZoneMax, d.Add(timeline.Day).Sub(r.Start))
		if f.Order == orderUnknown && i > 0 && !r.Start.Equal(pg.Rows[0].Start) {
			f.Order = orderAscending
			if r.Start.Before(pg.Rows[0].Start) {
				f.Order = orderDescending
			}
		}
	}
	for _, dead := range pg.Dead {
		if _, ok := seen[string(dead.Raw)]; !ok {
			seen[string(dead.Raw)] = struct{}{}
			fresh++
		}
	}
	return fresh
}

func (f *conversationFacts) seenOf(d time.Time) map[string]struct{} {
	if f.seen == nil {
		f.seen = map[string]map[string]struct{}{}
	}
	name := timeline.DayName(d)
	if f.seen[name] == nil {
		f.seen[name] = map[string]struct{}{}
	}
	return f.seen[name]
}

// forget drops what is remembered of days that can no longer grow.
func (f *conversationFacts) forget(now time.Time) {
	first := timeline.DayName(now.Add(-zoneWest - dayGrace - timeline.Day))
	for name := range f.Counts {
		if name < first {
			delete(f.Counts, name)
		}
	}
	for name := range f.seen {
		if name < first {
			delete(f.seen, name)
		}
	}
}

// dayPass reads all conversations of one calendar day. The server's total must equal the number of distinct rows seen:
// while it does not, something moved, and the pages are read again from the first until it does.
type dayPass struct {
	bot   string
	day   time.Time
	facts *conversationFacts

	page     int
	rows     map[string]struct{}
	readAt   time.Time
	restarts int
}

func newDayPass(bot string, d time.Time, facts *conversationFacts) *dayPass {
	return &dayPass{bot: bot, day: d, facts: facts, page: 1, rows: map[string]struct{}{}}
}

func (p *dayPass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Conversations, BotID: p.bot, From: p.day, To: p.day, Offset: p.page, Limit: conversationsLimit,
	})
	if err != nil {
		return nil, nil, err
	}
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	p.facts.learn(p.day, pg)
	for _, r := range pg.Rows {
		p.rows[r.ID] = struct{}{}
	}
	for _, dead := range pg.Dead[excess(pg, p.page, p.facts.pageSize()):] {
		p.rows[string(dead.Raw)] = struct{}{}
	}
	complete := pg.Total < 0 || int64(len(p.rows)) == pg.Total
	switch {
	case p.restarts > 0 && complete && pg.Total >= 0: // the missing rows were found
	case hasMore(pg):
		if pg.records() == 0 {
			return nil, nil, errStuck
		}
		p.page++
		return pg, nil, nil
	case !complete && p.restarts < maxRestarts:
		p.restarts++
		p.page = 1
		return pg, nil, nil
	case !complete:
		return pg, &outcome{Unstable: true, ReadAt: p.readAt}, nil
	}
	p.facts.Counts[timeline.DayName(p.day)] = len(p.rows)
	return pg, &outcome{Read: []timeline.Span{p.facts.spanOf(p.day)}, ReadAt: p.readAt}, nil
}

// excess is how many of the records of a page that cannot be read are more than its place in the list has room for: they are not
// of those that the total counts.
func excess(pg *Page, page, size int) int {
	room := size
	if pg.Total >= 0 {
		room = min(size, max(0, int(pg.Total)-(page-1)*size))
	}
	return min(len(pg.Dead), max(0, pg.records()-room))
}

// hasMore reports whether another page of `conversations` follows.
func hasMore(pg *Page) bool {
	if pg.HasMore != nil {
		return *pg.HasMore
	}
	return pg.records() >= conversationsLimit
}

// conversationsTail looks for new rows in the days that can still grow. A day is counted with one cheap request; only
// when its total has grown are the pages that hold the new rows read. A day never read before is read whole.
type conversationsTail struct {
	bot   string
	facts *conversationFacts
	from  time.Time // rows that start earlier are not wanted: a day is not read whole for their sake

	days    []time.Time
	readAt  time.Time
	counted bool     // all days together were counted, and there is something new
	whole   *dayPass // reading a day whole

	// Reading the new pages of days[0].
	want  int // rows that should be new
	total int
	page  int // 0: not yet counted
	back  int // pages gone back for rows that are missing
}

func newConversationsTail(bot string, facts *conversationFacts, from, since, now time.Time) *conversationsTail {
	return &conversationsTail{bot: bot, facts: facts, from: from, days: facts.days(since, now)}
}

func (p *conversationsTail) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	if p.whole != nil {
		pg, end, err := p.whole.step(ctx, fetch)
		if err != nil || end == nil {
			return pg, nil, err
		}
		p.whole = nil
		if end.Unstable {
			return pg, &outcome{Unstable: true, ReadAt: p.readAt}, nil
		}
		return pg, p.nextDay(), nil
	}
	if p.page == 0 {
		return p.count(ctx, fetch)
	}
	return p.readNew(ctx, fetch)
}

// countAll asks how many rows the days have together: mostly as many as before.
func (p *conversationsTail) countAll(ctx context.Context, fetch fetchFunc, known int) (*Page, *outcome, error) {
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Conversations, BotID: p.bot, From: p.days[0], To: p.days[len(p.days)-1], Offset: 1, Limit: 1, Bare: true,
	})
	if err != nil {
		return nil, nil, err
	}
	p.readAt, p.counted = pg.ReadAt, true
	if int(pg.Total) != known {
		return nil, nil, nil
	}
	p.days = p.days[len(p.days)-1:]
	return nil, p.nextDay(), nil
}

// known returns how many rows of all days were read, and whether all days were.
func (p *conversationsTail) known() (rows int, all bool) {
	for _, d := range p.days {
		n, ok := p.facts.Counts[timeline.DayName(d)]
		if !ok {
			return 0, false
		}
		rows += n
	}
	return rows, true
}

// count asks how many rows the day has.
func (p *conversationsTail) count(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	if rows, all := p.known(); all && len(p.days) > 1 && !p.counted {
		return p.countAll(ctx, fetch, rows)
	}
	d := p.days[0]
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Conversations, BotID: p.bot, From: d, To: d, Offset: 1, Limit: 1, Bare: true,
	})
	if err != nil {
		return nil, nil, err
	}
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	known, counted := p.facts.Counts[timeline.DayName(d)]
	p.total = int(pg.Total)
	p.want = p.total - known
	switch {
	case pg.Total < 0, p.want < 0: // no totals to go by, or rows were deleted
		p.whole = newDayPass(p.bot, d, p.facts)
		return nil, nil, nil
	case !counted && pg.ReadAt.Sub(p.from) < baselineAge && d.Before(p.from):
		// Reading begins now: the rows that are there already are not wanted.
		p.facts.Counts[timeline.DayName(d)] = p.total
		return nil, p.nextDay(), nil
	case !counted && p.total > 0:
		p.whole = newDayPass(p.bot, d, p.facts)
		return nil, nil, nil
	case p.want == 0:
		p.facts.Counts[timeline.DayName(d)] = p.total
		return nil, p.nextDay(), nil
	}
	p.back = 0
	p.page = 1
	if p.facts.Order == orderAscending {
		p.page = known/p.facts.pageSize() + 1
	}
	return nil, nil, nil
}

// baselineAge is how old the wanted start may be for a day's existing rows to be counted instead of read.
const baselineAge = 2 * time.Minute

// readNew reads one page on which new rows must be, by the list's order.
func (p *conversationsTail) readNew(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	d := p.days[0]
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Conversations, BotID: p.bot, From: d, To: d, Offset: p.page, Limit: conversationsLimit,
	})
	if err != nil {
		return nil, nil, err
	}
	known := p.facts.Counts[timeline.DayName(d)]
	exact := len(p.facts.seenOf(d)) >= known // every row counted so far was seen by this process
	fresh := p.facts.learn(d, pg) - excess(pg, p.page, p.facts.pageSize())
	p.want -= fresh
	ascending := p.facts.Order == orderAscending
	last := known/p.facts.pageSize() + 1 // where the new rows begin, ascending
	switch {
	case ascending && p.page < last && p.back == 0: // the first page only told the order
		p.page = last
		return pg, nil, nil
	case ascending && p.back == 0 && hasMore(pg):
		p.page++
		return pg, nil, nil
	case !ascending && p.back == 0 && p.page*p.facts.pageSize() < p.total-known:
		p.page++
		return pg, nil, nil
	case exact && p.want > 0 && p.back < maxLookBack && p.lookBack(ascending, last, pg):
		return pg, nil, nil
	case exact && p.want > 0:
		p.whole, p.page = newDayPass(p.bot, d, p.facts), 0
		return pg, nil, nil
	}
	p.facts.Counts[timeline.DayName(d)] = p.total
	p.page = 0
	return pg, p.nextDay(), nil
}

// lookBack turns to the next page away from the new end of the list, where a row that arrived late may stand.
func (p *conversationsTail) lookBack(ascending bool, last int, pg *Page) bool {
	p.back++
	if ascending {
		p.page = last - p.back
		return p.page >= 1
	}
	p.page++
	return hasMore(pg)
}

// nextDay goes on to the next day, or ends the pass: everything that started before it began has then been seen.
func (p *conversationsTail) nextDay() *outcome {
	p.days = p.days[1:]
	if len(p.days) > 0 {
		return nil
	}
	p.facts.forget(p.readAt)
	return &outcome{Read: []timeline.Span{{To: p.readAt}}, ReadAt: p.readAt}
}

// idsPass re-reads conversations by id. The first one finds out whether, and in which form, the server honours ids.
type idsPass struct {
	bot      string
	ids      []string
	from, to time.Time // calendar days
	facts    *conversationFacts
	others   int // rows that the same days hold without the filter, at least
	form     idsForm
	now      time.Time
}

func newIDsPass(bot string, ids []string, starts []time.Time, facts *conversationFacts, now time.Time) *idsPass {
	p := &idsPass{bot: bot, facts: facts, form: facts.IDs, now: now}
	for i, t := range starts {
		days := facts.days(t, t)
		first, last := days[0], days[len(days)-1]
		if i > 0 {
			first, last = timeline.Earlier(first, p.from), timeline.Later(last, p.to)
			if last.Sub(first) > 5*timeline.Day {
				continue
			}
		}
		if len(p.ids) == conversationsLimit {
			break
		}
		p.from, p.to, p.ids = first, last, append(p.ids, ids[i])
	}
	if p.form == idsUnknown {
		p.ids, p.form = p.ids[:1], idsArray
	}
	for d := p.from; !d.After(p.to); d = d.Add(timeline.Day) {
		p.others += facts.Counts[timeline.DayName(d)]
	}
	return p
}

func (p *idsPass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Conversations, BotID: p.bot, From: p.from, To: p.to, Offset: 1, Limit: conversationsLimit,
		ConversationIDs: p.ids, IDsAsString: p.form == idsString,
	})
	if ke, ok := errors.AsType[*kore.Error](err); ok && ke.Reason == kore.ReasonRejected && p.facts.IDs == idsUnknown {
		return nil, p.nextForm(), nil // another form may be taken
	}
	if err != nil {
		return nil, nil, err
	}
	only := true
	for _, r := range pg.Rows {
		only = only && slices.Contains(p.ids, r.ConversationID)
	}
	if p.facts.IDs == idsUnknown {
		switch {
		case len(pg.Rows) > 0 && only && p.others > 1:
			p.facts.IDs = p.form
		case only: // nothing else is there to tell the filter by, but what was asked for was read
			return pg, &outcome{IDs: p.ids, ReadAt: pg.ReadAt}, nil
		default:
			return pg, p.nextForm(), nil
		}
	}
	if !only { // it was honoured once and is no more
		p.facts.IDs = idsUnknown
		return pg, &outcome{ReadAt: pg.ReadAt}, nil
	}
	return pg, &outcome{IDs: p.ids, ReadAt: pg.ReadAt}, nil
}

// nextForm goes on to the next form of ids to try, or ends the pass if none is honoured.
func (p *idsPass) nextForm() *outcome {
	if p.form == idsArray {
		p.form = idsString
		return nil
	}
	p.facts.IDs, p.facts.IgnoredAt = idsIgnored, p.now
	return &outcome{}
}

// retryIDs has ids tried again once a day where they were ignored: a look that came at a bad moment, or an API that was mended
// since, must not cost requests for ever.
func (f *conversationFacts) retryIDs(now time.Time) {
	if f.IDs == idsIgnored && now.Sub(f.IgnoredAt) >= timeline.Day {
		f.IDs = idsUnknown
	}
}
