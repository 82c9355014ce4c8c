package poll

import (
	"context"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
)

// interactionsPass pages through one window of `interactions` by row offset.
//
// Offsets are positions in a list that may grow, shrink or be edited between two requests. Consecutive pages therefore
// overlap by one row, which costs one row in a hundred: the last row of a page must be the first of the next, else
// something moved and the pass begins again. A window that fits on one page cannot shift.
type interactionsPass struct {
	bot  string
	span Span

	offset   int
	last     string // id of the row at offset, where it is known
	readAt   time.Time
	restarts int
}

func newInteractionsPass(bot string, span Span) *interactionsPass {
	return &interactionsPass{bot: bot, span: span}
}

func (p *interactionsPass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Interactions, BotID: p.bot, From: p.span.From, To: p.span.To, Offset: p.offset, Limit: kore.MaxLimit,
	})
	if err != nil {
		return nil, nil, err
	}
	if p.last != "" && (len(pg.Rows) == 0 || pg.Rows[0].ID != p.last) {
		return pg, p.restart(pg), nil
	}
	if p.offset == 0 {
		p.readAt = pg.ReadAt
	}
	more := pg.records() >= kore.MaxLimit
	if pg.HasMore != nil {
		more = *pg.HasMore
	}
	if !more {
		return pg, &outcome{Read: []Span{p.span}, ReadAt: p.readAt}, nil
	}
	if pg.records() == 0 {
		return nil, nil, errStuck
	}
	p.last = ""
	p.offset += pg.records()
	// With an unreadable record on the page the place of its rows is not known: go on without overlap.
	if len(pg.Dead) == 0 && pg.records() > 1 {
		p.offset--
		p.last = pg.Rows[len(pg.Rows)-1].ID
	}
	return pg, nil, nil
}

// restart begins the pass again from the first row, or gives up.
func (p *interactionsPass) restart(pg *Page) *outcome {
	p.restarts++
	if p.restarts > maxRestarts {
		return &outcome{Unstable: true, ReadAt: pg.ReadAt}
	}
	p.offset, p.last = 0, ""
	return nil
}
