package pass

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// Bounds are what is known of the zone in which `interactions` reads the bounds of a window. All bots share it.
type Bounds struct {
	Known bool          `json:"known"`
	Zone  time.Duration `json:"zone"`
	// AssumedAt is when the first search ended without a result; zero if none has. Since then the zone is assumed to be UTC. What is read
	// under the assumption must not be declared complete, and must be read again if the zone turns out to be another.
	AssumedAt time.Time `json:"assumed_at,omitzero"`
	// RetryAt is when to search again. Tries is how many searches of this process had no result.
	RetryAt time.Time `json:"-"`
	Tries   int       `json:"-"`

	why *Unsettled // of the last of them
}

// Assumed reports whether the zone is not known, and UTC is assumed.
func (b *Bounds) Assumed() bool { return !b.Known && !b.AssumedAt.IsZero() }

// Why returns why the zone is assumed.
func (b *Bounds) Why() *Unsettled {
	if b.why == nil {
		return ZoneUnknown
	}
	return b.why
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

	again  bool // the zone was assumed when the pass began
	row    *extract.Row
	try    int
	byEnd  bool
	readAt time.Time
	// What is asked for: all that fits on a page, or less where that is too large.
	offset, limit int
	stepped       stepped
}

// NewBounds returns the pass that finds out the zone of bounds by a row of a bot, and notes it in found. If the bot has no row, the
// pass reads span.
func NewBounds(bot string, span timeline.Span, found *Bounds) Pass {
	return &bounds{bot: bot, span: span, found: found, again: found.Assumed(), limit: interactionsTakes.Limit}
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
	q := kore.Query{Endpoint: events.Interactions, BotID: p.bot, Offset: p.offset, Limit: p.limit}
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
	case tooLarge(failed) != nil && p.limit > 1:
		p.limit = max(1, p.limit/4)
		return nil, nil, nil
	case tooLarge(failed) != nil: // any other row is as good
		dead, ok := p.stepped.over(p.Query(), pg, failed)
		if !ok {
			return nil, nil, failed
		}
		p.offset++
		return dead, nil, nil
	case failed != nil:
		return nil, nil, failed
	}
	p.offset, p.limit, p.stepped = 0, interactionsTakes.Limit, 0
	if p.row == nil {
		return pg, p.choose(pg), nil
	}
	return pg, p.compare(pg), nil
}

// choose picks the row to find the zone by.
func (p *bounds) choose(pg *Page) *Outcome {
	p.readAt = pg.ReadAt
	for i := range pg.Rows {
		r := pg.Rows[i] // the page's may be dropped from it
		if !r.Start.IsZero() && (p.row == nil || p.row.Open && !r.Open) {
			p.row = &r
		}
	}
	switch {
	case p.row != nil:
		return nil
	case pg.records() > 0: // rows, but none that tells anything
		return p.giveUp(ZoneUnreadable)
	}
	read := timeline.Span{From: timeline.Later(p.span.From, p.recent().From.Add(zoneEast)), To: p.span.To}
	return &Outcome{Read: []timeline.Span{read}, ReadAt: p.readAt}
}

// compare looks for the row on a page that shows it if the zone is the one that was tried, and else turns to the next zone.
func (p *bounds) compare(pg *Page) *Outcome {
	if p.found.Known || p.found.Assumed() && !p.again { // the search of another bot has ended
		return &Outcome{ReadAt: p.readAt}
	}
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
	if p.try++; p.try == len(zoneCandidates()) { // the row is gone, or the server selects rows by another time
		return p.giveUp(ZoneUnknown)
	}
	return nil
}

// giveUp ends the search without a result: the zone is assumed to be UTC until a later search finds it.
func (p *bounds) giveUp(why *Unsettled) *Outcome {
	if p.found.AssumedAt.IsZero() {
		p.found.AssumedAt = p.readAt
	}
	p.found.why = why
	p.found.Tries++
	return &Outcome{Unsettled: why, ReadAt: p.readAt}
}
