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
	rows     map[string]struct{}
	readAt   time.Time
	restarts int
}

// NewDay returns the pass over the calendar day of `conversations` that holds a time.
func NewDay(bot string, holds time.Time, facts *ConversationFacts) Pass {
	return newDay(bot, facts.dayOf(holds), facts)
}

func newDay(bot string, d time.Time, facts *ConversationFacts) *day {
	return &day{bot: bot, day: d, facts: facts, page: 1, rows: map[string]struct{}{}}
}

// Query implements Pass.
func (p *day) Query() kore.Query { return pageOf(p.bot, p.day, p.page) }

// pageOf asks for a page of a calendar day.
func pageOf(bot string, d time.Time, page int) kore.Query {
	return kore.Query{Endpoint: events.Conversations, BotID: bot, From: d, To: d, Offset: page, Limit: conversationsTakes.Limit}
}

// Read implements Pass.
func (p *day) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	if failed != nil {
		return nil, nil, failed
	}
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	p.facts.learn(p.day, pg)
	for _, r := range pg.Rows {
		p.rows[r.ID] = struct{}{}
	}
	for _, dead := range pg.Dead[excess(pg, p.page, p.facts.pageSize()):] {
		p.rows[deadID(&dead)] = struct{}{}
	}
	complete := pg.Total < 0 || int64(len(p.rows)) == pg.Total
	switch {
	case p.restarts > 0 && complete && pg.Total >= 0: // the missing rows were found
	case hasMore(pg):
		if pg.records() == 0 {
			return nil, nil, ErrStuck
		}
		p.page++
		return pg, nil, nil
	case !complete && p.restarts < maxRestarts:
		p.restarts++
		p.page = 1
		return pg, nil, nil
	case !complete:
		return pg, &Outcome{Unstable: true, ReadAt: p.readAt}, nil
	}
	p.facts.Counts[timeline.DayName(p.day)] = len(p.rows)
	return pg, &Outcome{Read: []timeline.Span{p.facts.spanOf(p.day)}, ReadAt: p.readAt}, nil
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
	return pg.records() >= conversationsTakes.Limit
}
