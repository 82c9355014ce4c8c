package poll

import (
	"context"
	"math"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
)

const (
	analyticsLimit     = kore.MaxLimit
	analyticsMaxOffset = kore.MaxAnalyticsOffset
)

// probeRows is how many rows a page must have to tell the meaning of the offset by.
const probeRows = 10

// offsetMeaning is what `offset` counts on the two analytics endpoints. The pages of the API disagree, so it is found
// out from the first full window.
type offsetMeaning uint8

const (
	offsetUnknown offsetMeaning = iota
	offsetPages
	offsetRecords
)

func (m offsetMeaning) String() string {
	return [...]string{"unknown", "pages", "records"}[m]
}

// analyticsFacts is what was learned about one analytics endpoint. It outlives the pass.
type analyticsFacts struct {
	Offset offsetMeaning `json:"offset,omitempty"`
	// Inclusive is set once a row was seen that starts at the very end of its window: whether the filter looks at the
	// start or the end of a session, such a row comes only where the bound is included.
	Inclusive bool `json:"inclusive,omitempty"`
	// PerList is set once a page held more rows than its limit: the limit applies to bot-only sessions and to
	// conversations separately.
	PerList bool `json:"per_list,omitempty"`
}

// analyticsPass reads one window of `interaction-details` or `call-details`.
//
// Neither endpoint says whether there is more, and both cap what a window can return. A page that is not full is whole.
// A full one is read on by offset as far as that goes; where rows may still be hidden, the window is split, and each
// part is read by itself. A single second that is still full is reported as capped.
type analyticsPass struct {
	endpoint events.Endpoint
	iid      string
	facts    *analyticsFacts

	todo   []Span // windows still to read, the next one last
	readAt time.Time
	read   []Span
	capped []Span

	// The window in hand.
	to       time.Time // what is asked for as its end
	offset   int       // what is asked for next
	seen     map[string]struct{}
	shifted  bool
	probing  bool
	restarts int
	lists    [2]listSeen // conversations, bot-only sessions
}

// listSeen is what was seen in one window of one of the two lists that a page joins.
type listSeen struct {
	rows        int
	first, last time.Time
}

func (l *listSeen) add(start time.Time) {
	if l.rows == 0 || start.Before(l.first) {
		l.first = start
	}
	if l.rows == 0 || start.After(l.last) {
		l.last = start
	}
	l.rows++
}

// expect returns how many rows the list should have in all of span, judging by the part of it that was seen.
func (l *listSeen) expect(span Span) float64 {
	seen := l.last.Sub(l.first).Seconds()
	if l.rows < 2 || seen < 1 {
		return float64(l.rows)
	}
	return float64(l.rows) * max(1, span.To.Sub(span.From).Seconds()/seen)
}

func newAnalyticsPass(endpoint events.Endpoint, iid string, span Span, facts *analyticsFacts) *analyticsPass {
	return &analyticsPass{endpoint: endpoint, iid: iid, facts: facts, todo: []Span{span}}
}

func (p *analyticsPass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	span := p.todo[len(p.todo)-1]
	if p.offset == 0 { // all pages of a window must ask for the same list, whatever is learned in between
		p.to = span.To
		if p.facts.Inclusive {
			p.to = span.To.Add(-time.Second)
		}
	}
	pg, err := fetch(ctx, kore.Query{
		Endpoint: p.endpoint, IID: p.iid, From: span.From, To: p.to, Offset: p.offset, Limit: analyticsLimit,
	})
	if err != nil {
		return nil, nil, err
	}
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	p.learn(pg)
	switch full := p.full(pg); {
	case p.probing: // the window was whole already
		p.finish(span)
	case p.offset == 0 && !full && p.facts.Offset == offsetUnknown && len(pg.Rows) >= probeRows:
		// One request now tells what windows to ask for from here on.
		p.begin(pg)
		p.probing = true
	case p.offset == 0 && !full:
		p.finish(span)
	case p.offset == 0:
		p.begin(pg)
	case p.facts.Offset == offsetPages:
		p.nextPage(span, pg, full)
	default:
		p.tailRecords(span, pg)
	}
	if len(p.todo) == 0 {
		return pg, &outcome{Read: p.read, ReadAt: p.readAt, Capped: p.capped}, nil
	}
	return pg, nil, nil
}

// learn notes what a page shows of the endpoint's ways.
func (p *analyticsPass) learn(pg *Page) {
	if pg.records() > analyticsLimit {
		p.facts.PerList = true
	}
	for _, r := range pg.Rows {
		if r.Start.Equal(p.to) {
			p.facts.Inclusive = true
		}
	}
	if p.offset == 1 && p.facts.Offset == offsetUnknown {
		again := 0
		for _, r := range pg.Rows {
			if _, ok := p.seen[r.ID]; ok {
				again++
			}
		}
		// By records all but one row come again; by pages none, but for what has moved in between.
		p.facts.Offset = offsetPages
		if again > len(p.seen)/2 {
			p.facts.Offset = offsetRecords
		}
	}
}

// full reports whether a page may be hiding rows behind its limit.
func (p *analyticsPass) full(pg *Page) bool {
	if !p.facts.PerList {
		return pg.records() >= analyticsLimit
	}
	bots := 0
	for _, r := range pg.Rows {
		if r.BotOnly {
			bots++
		}
	}
	// A record that could not be read may belong to either list.
	dead := pg.records() - len(pg.Rows)
	return bots+dead >= analyticsLimit || len(pg.Rows)-bots+dead >= analyticsLimit
}

// begin starts reading on in a window whose first page was full.
func (p *analyticsPass) begin(pg *Page) {
	p.seen = make(map[string]struct{}, len(pg.Rows))
	p.shifted = false
	p.note(pg)
	p.offset = 1
	if p.facts.Offset == offsetRecords {
		p.offset = analyticsMaxOffset
	}
}

// note remembers the page's rows and reports how many were new.
func (p *analyticsPass) note(pg *Page) (fresh int) {
	for _, r := range pg.Rows {
		if _, ok := p.seen[r.ID]; !ok {
			p.seen[r.ID] = struct{}{}
			fresh++
			list := 0
			if r.BotOnly {
				list = 1
			}
			p.lists[list].add(r.Start)
		}
	}
	return fresh
}

// nextPage handles page p.offset of a window where offset counts pages. Pages do not overlap, so a row that comes twice is
// the sign of a list that moved.
func (p *analyticsPass) nextPage(span Span, pg *Page, full bool) {
	if p.note(pg) < len(pg.Rows) {
		p.shifted = true
	}
	switch {
	case full && p.offset < analyticsMaxOffset:
		p.offset++
	case full:
		p.split(span)
	case p.shifted && p.restarts < maxRestarts:
		p.restarts++
		p.offset = 0
	case p.shifted:
		p.split(span)
	default:
		p.finish(span)
	}
}

// tailRecords handles the last reachable page of a window where offset counts records: offset 10 shows rows 11 to 110.
func (p *analyticsPass) tailRecords(span Span, pg *Page) {
	if p.offset < analyticsMaxOffset { // the page that told the meaning
		p.offset = analyticsMaxOffset
		return
	}
	fresh := p.note(pg)
	if p.full(pg) || fresh > analyticsMaxOffset || len(pg.Rows)-fresh != len(p.seen)-fresh-analyticsMaxOffset {
		p.split(span)
		return
	}
	p.finish(span)
}

// finish closes the window in hand as wholly read.
func (p *analyticsPass) finish(span Span) {
	p.todo = p.todo[:len(p.todo)-1]
	if n := len(p.read); n > 0 && p.read[n-1].To.Equal(span.From) {
		p.read[n-1].To = span.To
	} else {
		p.read = append(p.read, span)
	}
	p.reset()
}

// split replaces the window in hand by equal parts, the earliest to be read first: as many as should each be small enough to
// be read whole. A second is not split further.
func (p *analyticsPass) split(span Span) {
	parts := p.parts(span)
	p.todo = p.todo[:len(p.todo)-1]
	p.reset()
	seconds := int(span.To.Sub(span.From) / time.Second)
	if seconds <= 1 {
		p.capped = append(p.capped, span)
		return
	}
	parts = min(parts, seconds)
	end := span.To
	for i := parts - 1; i >= 0; i-- {
		begin := span.From.Add(time.Duration(seconds*i/parts) * time.Second)
		p.todo = append(p.todo, Span{begin, end})
		end = begin
	}
}

// parts is how many windows the window in hand should be split into. Every split too few costs as many requests as a window
// has pages, every one too many part of a page.
func (p *analyticsPass) parts(span Span) int {
	const most = 64
	fits := 0.8 * analyticsLimit
	if p.facts.Offset == offsetPages {
		fits *= analyticsMaxOffset
	}
	rows := p.lists[0].expect(span) + p.lists[1].expect(span)
	return int(min(max(2, math.Ceil(rows/fits)), most))
}

func (p *analyticsPass) reset() {
	p.offset, p.seen, p.shifted, p.probing, p.restarts, p.lists = 0, nil, false, false, 0, [2]listSeen{}
}

// scopePass finds out whether the server shows, of an account-wide endpoint, only the rows of the bot that is named in the
// header iId. Rows of another bot prove that it does not. Where all rows are the named bot's, the same window is asked for
// in the name of another: that shows either the same rows, or that each bot must be asked for by itself.
//
// Until some bot has rows nothing is known, and nothing counts as read.
type scopePass struct {
	endpoint events.Endpoint
	bots     []string
	scoped   *scoping
	try      *int // which bot to ask in the name of
	span     Span
	second   bool
}

func newScopePass(e events.Endpoint, bots []string, scoped *scoping, try *int, now time.Time) *scopePass {
	return &scopePass{endpoint: e, bots: bots, scoped: scoped, try: try, span: Span{now.Add(-6 * day), now}}
}

func (p *scopePass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	iid := p.bots[*p.try%len(p.bots)]
	pg, err := fetch(ctx, kore.Query{
		Endpoint: p.endpoint, IID: iid, From: p.span.From, To: p.span.To, Limit: analyticsLimit,
	})
	if err != nil {
		*p.try++ // a bot that is refused must not keep the others from being asked for
		return nil, nil, err
	}
	named, foreign := false, false
	for _, r := range pg.Rows {
		named = named || r.BotID == iid
		foreign = foreign || r.BotID != "" && r.BotID != iid
	}
	done := &outcome{ReadAt: pg.ReadAt}
	switch {
	case foreign:
		*p.scoped = scopeAccount
	case p.second:
		*p.scoped = scopeBot
	case named:
		*p.try++
		p.second = true
		return pg, nil, nil
	default:
		*p.try++
	}
	return pg, done, nil
}
