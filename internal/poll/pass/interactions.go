package pass

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// interactions pages through one window of `interactions` by row offset.
//
// Offsets are positions in a list that may grow, shrink or be edited between two requests. Consecutive pages therefore
// overlap by one row, which costs one row in a hundred: the last row of a page must be the first of the next, else
// something moved and the pass begins again. A window that fits on one page cannot shift.
type interactions struct {
	bot  string
	span timeline.Span
	zone time.Duration // of the bounds

	offset   int
	last     string  // id of the row at offset, where it is known
	page     pageIDs // the page before
	readAt   time.Time
	restarts int
	suspect  suspect // of the rows from offset on
	stepped  stepped
}

// NewInteractions returns the pass over a span of `interactions` of one bot. The server reads the bounds of a window in a zone
// that is so far ahead of UTC.
func NewInteractions(bot string, span timeline.Span, zone time.Duration) Pass {
	return &interactions{bot: bot, span: span, zone: zone}
}

// Query implements Pass.
func (p *interactions) Query() kore.Query {
	return kore.Query{
		Endpoint: events.Interactions, BotID: p.bot, From: p.span.From.Add(p.zone), To: p.span.To.Add(p.zone),
		Offset: p.offset, Limit: p.suspect.limit(p.offset, interactionsTakes.Limit),
	}
}

// Read implements Pass.
func (p *interactions) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	asked := p.Query()
	switch {
	case tooLarge(failed) != nil && asked.Limit > 1:
		p.suspect = p.stepped.found(p.offset, asked.Limit)
		return nil, nil, nil
	case tooLarge(failed) != nil:
		return p.stepOver(asked, pg, failed)
	case failed != nil:
		return nil, nil, failed
	}
	p.stepped = 0
	if p.last != "" && (len(pg.Rows) == 0 || pg.Rows[0].ID != p.last) {
		return pg, p.restart(pg, ListMoved), nil
	}
	if p.offset == 0 {
		p.readAt = pg.ReadAt
	}
	more := pg.records() >= asked.Limit
	if pg.HasMore != nil {
		more = *pg.HasMore
	}
	if !more {
		return pg, &Outcome{Read: []timeline.Span{p.span}, ReadAt: p.readAt}, nil
	}
	if pg.records() == 0 {
		return nil, nil, ErrStuck
	}
	again := p.page.turn(pg)
	if again && p.last == "" && asked.Limit == interactionsTakes.Limit { // pages that overlap would show it by that
		return pg, p.restart(pg, PagesRepeat), nil
	}
	p.last = ""
	p.offset += min(pg.records(), asked.Limit) // an extra record is not part of the list
	// With an unreadable record on the page the place of its rows is not known: go on without overlap.
	if len(pg.Dead) == 0 && pg.records() > 1 {
		p.offset--
		p.last = pg.Rows[len(pg.Rows)-1].ID
	}
	return pg, nil, nil
}

// stepOver goes on with the row behind one that is too large.
func (p *interactions) stepOver(asked kore.Query, pg *Page, failed error) (*Page, *Outcome, error) {
	dead, ok := p.stepped.over(asked, pg, failed)
	if !ok {
		return nil, nil, failed
	}
	if p.offset == 0 {
		p.readAt = dead.ReadAt
	}
	p.offset++
	p.last, p.suspect = "", suspect{}
	return dead, nil, nil
}

// restart begins the pass again from the first row, or gives up for a reason.
func (p *interactions) restart(pg *Page, why *Unsettled) *Outcome {
	p.restarts++
	if p.restarts > maxRestarts {
		return &Outcome{Unsettled: why, ReadAt: pg.ReadAt}
	}
	p.offset, p.last, p.page, p.suspect = 0, "", nil, suspect{}
	return nil
}
