package pass

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

const (
	// maxBack is how many pages the tail goes back for a row that arrived in the middle of the list.
	maxBack = 5
	// baselineAge is how old the wanted start may be for a day's existing rows to be counted instead of read.
	baselineAge = 2 * time.Minute
)

// tail reads new rows in the days that can still grow. It counts a day with one cheap request, and only reads the pages with the new rows
// if the total has grown. A day that was never read is read whole.
type tail struct {
	bot   string
	facts *ConversationFacts
	from  time.Time // rows that start earlier are not wanted: a day is not read whole for their sake

	days    []time.Time
	readAt  time.Time
	counted bool // all days together were counted, and there is something new
	whole   *day // reading a day whole

	// Reading the new pages of days[0].
	want  int // rows that should be new
	total int
	page  int // 0: not yet counted
	back  int // pages gone back for rows that are missing
	// The page before.
	before pageIDs
}

// NewTail returns the pass that reads the new rows of `conversations` of a bot: those that start at from or later, of the days since
// then that can still grow by now.
func NewTail(bot string, facts *ConversationFacts, from, since, now time.Time) Pass {
	return &tail{bot: bot, facts: facts, from: from, days: facts.days(timeline.Earlier(since, now.Add(-timeline.DayGrace)), now)}
}

// Query implements Pass.
func (p *tail) Query() kore.Query {
	switch first := p.days[0]; {
	case p.whole != nil:
		return p.whole.Query()
	case p.page > 0:
		return pageOf(p.bot, first, p.page)
	case p.countsAll():
		return p.totalOf(first, p.days[len(p.days)-1])
	default:
		return p.totalOf(first, first)
	}
}

// totalOf asks how many rows there are from one day to another, both included.
func (p *tail) totalOf(from, to time.Time) kore.Query {
	return kore.Query{Endpoint: events.Conversations, BotID: p.bot, From: from, To: to, Offset: 1, Limit: 1, Bare: true}
}

// Read implements Pass.
func (p *tail) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	switch {
	case p.whole != nil:
		return p.readWhole(pg, failed)
	case tooLarge(failed) != nil && pg != nil:
		if p.readAt.IsZero() {
			p.readAt = pg.ReadAt
		}
		if !p.countsAll() { // a day can be read in parts
			p.whole, p.page = newDay(p.bot, p.days[0], p.facts), 0
		}
		p.counted = true
		return nil, nil, nil
	case failed != nil:
		return nil, nil, failed
	case p.page > 0:
		return pg, p.readNew(pg), nil
	case p.countsAll():
		return nil, p.countAll(pg), nil
	default:
		return nil, p.count(pg), nil
	}
}

// readWhole reads a page of a day that is read whole.
func (p *tail) readWhole(pg *Page, failed error) (*Page, *Outcome, error) {
	pg, end, err := p.whole.Read(pg, failed)
	if err != nil || end == nil {
		return pg, nil, err
	}
	p.whole = nil
	if end.Unsettled != nil {
		return pg, &Outcome{Unsettled: end.Unsettled, ReadAt: p.readAt}, nil
	}
	return pg, p.nextDay(), nil
}

// countsAll reports whether all days together are counted next: mostly they have as many rows as before.
func (p *tail) countsAll() bool {
	_, all := p.known()
	return all && len(p.days) > 1 && !p.counted && conversationsTakes.CheckRange(p.days[0], p.days[len(p.days)-1]) == nil
}

// known returns how many rows of all days were read, and whether all days were.
func (p *tail) known() (rows int, all bool) {
	for _, d := range p.days {
		n, ok := p.facts.Counts[timeline.DayName(d)]
		if !ok {
			return 0, false
		}
		rows += n
	}
	return rows, true
}

// countAll takes in how many rows the days have together.
func (p *tail) countAll(pg *Page) *Outcome {
	p.readAt, p.counted = pg.ReadAt, true
	if known, _ := p.known(); int(pg.Total) != known {
		return nil
	}
	p.days = p.days[len(p.days)-1:]
	return p.nextDay()
}

// count takes in how many rows the day has.
func (p *tail) count(pg *Page) *Outcome {
	d := p.days[0]
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	known, counted := p.facts.Counts[timeline.DayName(d)]
	p.total = int(pg.Total)
	p.want = p.total - known
	switch {
	case pg.Total < 0, p.want < 0: // no totals to go by, or rows were deleted
		p.whole = newDay(p.bot, d, p.facts)
		return nil
	case !counted && pg.ReadAt.Sub(p.from) < baselineAge && d.Before(p.from):
		// Reading begins now: the rows that are there already are not wanted.
		p.facts.Counts[timeline.DayName(d)] = p.total
		return p.nextDay()
	case !counted && p.total > 0:
		p.whole = newDay(p.bot, d, p.facts)
		return nil
	case p.want == 0:
		p.facts.Counts[timeline.DayName(d)] = p.total
		return p.nextDay()
	}
	p.back, p.page, p.before = 0, 1, nil
	if p.facts.Order == orderAscending {
		p.page = known/p.facts.pageSize() + 1
	}
	return nil
}

// readNew reads one page on which new rows must be, by the list's order.
func (p *tail) readNew(pg *Page) *Outcome {
	d := p.days[0]
	known := p.facts.Counts[timeline.DayName(d)]
	exact := len(p.facts.seenOf(d)) >= known // every row counted so far was seen by this process
	fresh := p.facts.learn(d, pg) - excess(pg, p.page, p.facts.pageSize())
	p.want -= fresh
	repeats := p.before.turn(pg) && hasMore(pg)
	ascending := p.facts.Order == orderAscending
	last := known/p.facts.pageSize() + 1 // where the new rows begin, ascending
	switch {
	case repeats: // the server does not page as it should
		p.whole, p.page = newDay(p.bot, d, p.facts), 0
		return nil
	case ascending && p.page < last && p.back == 0: // the first page only told the order
		p.page = last
		return nil
	case ascending && p.back == 0 && hasMore(pg):
		p.page++
		return nil
	case !ascending && p.back == 0 && p.page*p.facts.pageSize() < p.total-known:
		p.page++
		return nil
	case exact && p.want > 0 && p.back < maxBack && p.goBack(ascending, last, pg):
		return nil
	case exact && p.want > 0:
		p.whole, p.page = newDay(p.bot, d, p.facts), 0
		return nil
	}
	p.facts.Counts[timeline.DayName(d)] = p.total
	p.page = 0
	return p.nextDay()
}

// goBack continues with the next page away from the new end of the list, where a late row may be.
func (p *tail) goBack(ascending bool, last int, pg *Page) bool {
	p.back++
	if ascending {
		p.page = last - p.back
		return p.page >= 1
	}
	p.page++
	return hasMore(pg)
}

// nextDay goes on to the next day, or ends the pass: everything that started before it began has then been seen.
func (p *tail) nextDay() *Outcome {
	p.days = p.days[1:]
	if len(p.days) > 0 {
		return nil
	}
	p.facts.forget(p.readAt)
	return &Outcome{Read: []timeline.Span{{To: p.readAt}}, ReadAt: p.readAt}
}
