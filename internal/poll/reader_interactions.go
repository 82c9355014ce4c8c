package poll

import (
	"context"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// interactionsPass pages through one window of `interactions` by row offset.
//
// Offsets are positions in a list that may grow, shrink or be edited between two requests. Consecutive pages therefore
// overlap by one row, which costs one row in a hundred: the last row of a page must be the first of the next, else
// something moved and the pass begins again. A window that fits on one page cannot shift.
type interactionsPass struct {
	bot  string
	span timeline.Span
	zone time.Duration // of the bounds

	offset   int
	last     string // id of the row at offset, where it is known
	readAt   time.Time
	restarts int
}

func newInteractionsPass(bot string, span timeline.Span, zone time.Duration) *interactionsPass {
	return &interactionsPass{bot: bot, span: span, zone: zone}
}

func (p *interactionsPass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Interactions, BotID: p.bot, From: p.span.From.Add(p.zone), To: p.span.To.Add(p.zone), Offset: p.offset, Limit: kore.MaxLimit,
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
		return pg, &outcome{Read: []timeline.Span{p.span}, ReadAt: p.readAt}, nil
	}
	if pg.records() == 0 {
		return nil, nil, errStuck
	}
	p.last = ""
	p.offset += min(pg.records(), kore.MaxLimit) // a record too many is none of the list
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

// boundsZone is what is known of the zone in which `interactions` reads the bounds of a window. It is one for the whole
// server.
type boundsZone struct {
	Known bool          `json:"known"`
	Zone  time.Duration `json:"zone"`
}

// zonePass finds out in which zone the bounds of a window are read. The API does not say; if it is not UTC, windows
// would show other time than was asked for, or for ever nothing.
//
// It asks for a range that holds recent time in any zone. If nothing is there, that time is read. Else the window of one of
// its rows is asked for, as it would have to be written in one zone after the other, until the row comes. This is
// done once for a server.
type zonePass struct {
	bot   string
	span  timeline.Span
	found *boundsZone

	row    *extract.Row
	try    int
	byEnd  bool
	readAt time.Time
}

func newZonePass(bot string, span timeline.Span, found *boundsZone) *zonePass {
	return &zonePass{bot: bot, span: span, found: found}
}

const (
	zoneStep = 30 * time.Minute
	// zoneReach is how old rows may be to learn the zone from.
	zoneReach = 3 * timeline.Day
)

// zoneCandidates are the zones of the world, those nearest to UTC first.
func zoneCandidates() []time.Duration {
	all := []time.Duration{0}
	for z := zoneStep; z <= zoneEast; z += zoneStep {
		if all = append(all, z); z <= zoneWest {
			all = append(all, -z)
		}
	}
	return all
}

func (p *zonePass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	if p.row == nil {
		return p.look(ctx, fetch)
	}
	z := zoneCandidates()[p.try]
	at := p.row.Start
	if p.byEnd {
		at = p.row.End
	}
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Interactions, BotID: p.bot, From: at.Add(z), To: at.Add(z + time.Second), Limit: kore.MaxLimit,
	})
	if err != nil {
		return nil, nil, err
	}
	for _, r := range pg.Rows {
		if r.ID == p.row.ID {
			*p.found = boundsZone{Known: true, Zone: z}
			return pg, &outcome{ReadAt: p.readAt}, nil
		}
	}
	// A server that selects rows by their end shows the row at its end.
	if !p.byEnd && !p.row.End.IsZero() {
		p.byEnd = true
		return pg, nil, nil
	}
	p.byEnd = false
	if p.try++; p.try == len(zoneCandidates()) { // the row is gone, or was edited meanwhile: begin again with another
		return pg, &outcome{Unstable: true, ReadAt: p.readAt}, nil
	}
	return pg, nil, nil
}

// look asks for recent time, wide enough for any zone.
func (p *zonePass) look(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	from := timeline.Earlier(p.span.From, p.span.To.Add(-zoneReach)).Add(-zoneWest)
	from = timeline.Later(from, p.span.To.Add(zoneEast-6*timeline.Day))
	pg, err := fetch(ctx, kore.Query{
		Endpoint: events.Interactions, BotID: p.bot, From: from, To: p.span.To.Add(zoneEast), Limit: kore.MaxLimit,
	})
	if err != nil {
		return nil, nil, err
	}
	p.readAt = pg.ReadAt
	for i := range pg.Rows {
		r := &pg.Rows[i]
		if !r.Start.IsZero() && (p.row == nil || p.row.Open && !r.Open) {
			p.row = r
		}
	}
	switch {
	case p.row != nil:
		return pg, nil, nil
	case pg.records() > 0: // rows, but none that tells anything
		return pg, &outcome{Unstable: true, ReadAt: p.readAt}, nil
	}
	return pg, &outcome{Read: []timeline.Span{{From: timeline.Later(p.span.From, from.Add(zoneEast)), To: p.span.To}}, ReadAt: p.readAt}, nil
}
