package pass

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// Bounds are what is known of the zone in which `interactions` reads the bounds of a window. It is one for the whole server.
type Bounds struct {
	Known bool          `json:"known"`
	Zone  time.Duration `json:"zone"`
}

// bounds finds out in which zone the bounds of a window are read. The API does not say; if it is not UTC, windows
// would show other time than was asked for, or for ever nothing.
//
// It asks for a range that holds recent time in any zone. If nothing is there, that time is read. Else the window of one of
// its rows is asked for, as it would have to be written in one zone after the other, until the row comes. This is
// done once for a server.
type bounds struct {
	bot   string
	span  timeline.Span
	found *Bounds

	row    *extract.Row
	try    int
	byEnd  bool
	readAt time.Time
}

// NewBounds returns the pass that finds out the zone of bounds by a row of a bot, and notes it in found. If the bot has no row, the
// pass reads span.
func NewBounds(bot string, span timeline.Span, found *Bounds) Pass {
	return &bounds{bot: bot, span: span, found: found}
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

// Query implements Pass.
func (p *bounds) Query() kore.Query {
	q := kore.Query{Endpoint: events.Interactions, BotID: p.bot, Limit: interactionsTakes.Limit}
	if p.row == nil {
		recent := p.recent()
		q.From, q.To = recent.From, recent.To
		return q
	}
	at := p.row.Start
	if p.byEnd {
		at = p.row.End
	}
	q.From = at.Add(zoneCandidates()[p.try])
	q.To = q.From.Add(time.Second)
	return q
}

// recent is a range that holds recent time in any zone.
func (p *bounds) recent() timeline.Span {
	from := timeline.Earlier(p.span.From, p.span.To.Add(-zoneReach)).Add(-zoneWest)
	return timeline.Span{From: timeline.Later(from, p.span.To.Add(zoneEast-6*timeline.Day)), To: p.span.To.Add(zoneEast)}
}

// Read implements Pass.
func (p *bounds) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	switch {
	case failed != nil:
		return nil, nil, failed
	case p.row == nil:
		return pg, p.choose(pg), nil
	}
	return pg, p.compare(pg), nil
}

// choose picks the row to find the zone by.
func (p *bounds) choose(pg *Page) *Outcome {
	p.readAt = pg.ReadAt
	for i := range pg.Rows {
		r := &pg.Rows[i]
		if !r.Start.IsZero() && (p.row == nil || p.row.Open && !r.Open) {
			p.row = r
		}
	}
	switch {
	case p.row != nil:
		return nil
	case pg.records() > 0: // rows, but none that tells anything
		return &Outcome{Unstable: true, ReadAt: p.readAt}
	}
	read := timeline.Span{From: timeline.Later(p.span.From, p.recent().From.Add(zoneEast)), To: p.span.To}
	return &Outcome{Read: []timeline.Span{read}, ReadAt: p.readAt}
}

// compare looks for the row on a page that shows it if the zone is the one that was tried, and else turns to the next zone.
func (p *bounds) compare(pg *Page) *Outcome {
	for _, r := range pg.Rows {
		if r.ID == p.row.ID {
			*p.found = Bounds{Known: true, Zone: zoneCandidates()[p.try]}
			return &Outcome{ReadAt: p.readAt}
		}
	}
	// A server that selects rows by their end shows the row at its end.
	if !p.byEnd && !p.row.End.IsZero() {
		p.byEnd = true
		return nil
	}
	p.byEnd = false
	if p.try++; p.try == len(zoneCandidates()) { // the row is gone, or was edited meanwhile: begin again with another
		return &Outcome{Unstable: true, ReadAt: p.readAt}
	}
	return nil
}
