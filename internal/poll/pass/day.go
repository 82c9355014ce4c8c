package pass

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// day reads all conversations of one calendar day. The server's total must equal the number of distinct rows seen:
// while it does not, something moved, and the pages are read again from the first until it does.
type day struct {
	bot   string
	day   time.Time
	facts *ConversationFacts

	page     int
	part     *dayPart // of the page, where it is too large; nil: all of it
	rows     map[string]struct{}
	before   pageIDs // the page before
	readAt   time.Time
	restarts int
	stepped  stepped
}

// A dayPart is a part of a page of a day that is too large to be read whole. The place of a row in the list is a multiple of the limit
// that it is asked for with: that is how pages are counted.
type dayPart struct {
	at, end int // rows of the list: from the one that is asked for next to before the first of the next page
	limit   int
	suspect suspect
}

// smaller returns the largest limit below limit that divides it; limit is above 1.
func smaller(limit int) int {
	for n := limit / 2; n > 1; n-- {
		if limit%n == 0 {
			return n
		}
	}
	return 1
}

// fit chooses the limit for the next rows: of those that divide a page of size rows, the largest that has a page beginning there and is
// not known to be too large.
func (d *dayPart) fit(size int) {
	most := d.suspect.limit(d.at, size-1)
	for d.limit = smaller(size); d.limit > 1 && (d.limit > most || d.at%d.limit != 0); {
		d.limit = smaller(d.limit)
	}
}

// NewDay returns the pass over the calendar day of `conversations` that holds a time.
func NewDay(bot string, holds time.Time, facts *ConversationFacts) Pass {
	return newDay(bot, facts.dayOf(holds), facts)
}

func newDay(bot string, d time.Time, facts *ConversationFacts) *day {
	return &day{bot: bot, day: d, facts: facts, page: 1, rows: map[string]struct{}{}}
}

// Query implements Pass.
func (p *day) Query() kore.Query {
	q := pageOf(p.bot, p.day, p.page)
	if p.part != nil {
		q.Offset, q.Limit = p.part.at/p.part.limit+1, p.part.limit
	}
	return q
}

// pageOf asks for a page of a calendar day.
func pageOf(bot string, d time.Time, page int) kore.Query {
	return kore.Query{Endpoint: events.Conversations, BotID: bot, From: d, To: d, Offset: page, Limit: conversationsTakes.Limit}
}

// Read implements Pass.
func (p *day) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	asked := p.Query()
	switch {
	case tooLarge(failed) != nil:
		return p.readLess(asked, pg, failed)
	case failed != nil:
		return nil, nil, failed
	}
	p.stepped = 0
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	size := asked.Limit
	if p.part == nil {
		p.facts.learn(p.day, pg)
		size = p.facts.pageSize()
	} else {
		p.facts.learnRows(p.day, pg)
	}
	for _, r := range pg.Rows {
		p.rows[r.ID] = struct{}{}
	}
	for _, dead := range pg.Dead[excess(pg, asked.Offset, size):] {
		p.rows[deadID(&dead)] = struct{}{}
	}
	repeats := p.before.turn(pg) && p.part == nil && hasMore(pg)
	complete := !repeats && (pg.Total < 0 || int64(len(p.rows)) == pg.Total)
	switch {
	case p.restarts > 0 && complete && pg.Total >= 0: // the missing rows were found
	case !repeats && moreThan(pg, asked.Limit):
		if pg.records() == 0 {
			return nil, nil, ErrStuck
		}
		p.advance(asked.Limit)
		return pg, nil, nil
	case !complete && p.restarts < maxRestarts:
		p.restarts++
		p.page, p.part, p.before = 1, nil, nil
		return pg, nil, nil
	case repeats:
		return pg, &Outcome{Unsettled: PagesRepeat, ReadAt: p.readAt}, nil
	case !complete:
		return pg, &Outcome{Unsettled: TotalsDiffer, ReadAt: p.readAt}, nil
	}
	p.facts.Counts[timeline.DayName(p.day)] = len(p.rows)
	return pg, &Outcome{Read: []timeline.Span{p.facts.spanOf(p.day)}, ReadAt: p.readAt}, nil
}

// readLess goes on after an answer that was too large: with a part of the page, or with the row behind one that is too large by itself.
func (p *day) readLess(asked kore.Query, pg *Page, failed error) (*Page, *Outcome, error) {
	size := p.facts.pageSize()
	switch {
	case p.part == nil && size > 1:
		at := (p.page - 1) * size
		p.part = &dayPart{at: at, end: at + size, suspect: p.stepped.found(at, size)}
		p.part.fit(size)
		return nil, nil, nil
	case asked.Limit > 1 && p.part != nil:
		p.part.suspect = p.stepped.found(p.part.at, asked.Limit)
		p.part.fit(size)
		return nil, nil, nil
	}
	dead, ok := p.stepped.over(asked, pg, failed)
	if !ok {
		return nil, nil, failed
	}
	if p.readAt.IsZero() {
		p.readAt = dead.ReadAt
	}
	p.facts.learnRows(p.day, dead)
	for i := range dead.Dead {
		p.rows[deadID(&dead.Dead[i])] = struct{}{}
	}
	if p.part != nil {
		p.part.suspect = suspect{}
	}
	p.advance(1)
	return dead, nil, nil
}

// advance turns to what follows what was asked for with a limit.
func (p *day) advance(limit int) {
	if p.part == nil {
		p.page++
		return
	}
	if p.part.at += limit; p.part.at >= p.part.end {
		p.page++
		p.part = nil
		return
	}
	p.part.fit(p.facts.pageSize())
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
func hasMore(pg *Page) bool { return moreThan(pg, conversationsTakes.Limit) }

// moreThan reports the same of a page that was asked for with a limit.
func moreThan(pg *Page, limit int) bool {
	if pg.HasMore != nil {
		return *pg.HasMore
	}
	return pg.records() >= limit
}
