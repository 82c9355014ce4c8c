package pass

import (
	"math"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
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

// filterBasis is what the two analytics endpoints compare with the bounds of a window.
type filterBasis uint8

const (
	filterUnknown filterBasis = iota
	filterStart
	filterEnd
)

// AnalyticsFacts are what was learned about one analytics endpoint.
type AnalyticsFacts struct {
	Offset offsetMeaning `json:"offset,omitempty"`
	// Inclusive is set once a row was seen that starts at the very end of its window: whether the filter compares the
	// start or the end of a session, such a row comes only where the bound is included.
	Inclusive bool `json:"inclusive,omitempty"`
	// PerList is set once a page held more rows than its limit: the limit applies to bot-only sessions and to
	// conversations separately.
	PerList bool `json:"per_list,omitempty"`
	// Filter is filterStart once a row was seen that had ended after its window, and filterEnd for good once one was seen that
	// had started before.
	Filter filterBasis `json:"filter,omitempty"`
	// Lists is what is known of the order of rows.
	Lists listFacts `json:"lists,omitzero"`
}

// Keyset reports whether a window can be read on from the last row of a full page: only where offset does not reach far, and
// where rows are selected and ordered by their start.
func (f *AnalyticsFacts) Keyset() bool {
	return f.Offset == offsetRecords && f.Filter == filterStart && f.Lists.known(f.PerList)
}

// WindowPages returns how many pages of one window can be read by offset; 0 while offset is not known to count pages.
func (f *AnalyticsFacts) WindowPages() int {
	if f.Offset != offsetPages {
		return 0
	}
	return analyticsTakes.MaxOffset + 1
}

// analytics reads one window of `interaction-details` or `call-details`.
//
// Neither endpoint says whether there is more, and both cap what a window can return. A page that is not full is whole.
// What a full one shows for certain counts as read, and the rest of the window is asked for again; where nothing is certain, the
// window is read on by offset as far as that goes, and if rows may still be hidden it is split, and each part is read by
// itself. A single second that is still full is reported as capped.
type analytics struct {
	endpoint events.Endpoint
	iid      string
	facts    *AnalyticsFacts
	density  *timeline.Density
	todo     []timeline.Span // windows still to read, the next one last
	readAt   time.Time
	read     []timeline.Span
	capped   []timeline.Span
	// What pages that fitted or were read on from held, and what was expected of them.
	rows, expected float64

	// The part of the next window that is asked for.
	span     timeline.Span
	to       time.Time // what is asked for as its end
	offset   int       // what is asked for next
	seen     map[string]struct{}
	shifted  bool
	probing  bool
	restarts int
	lists    [2]listSeen // conversations, bot-only sessions

	single  bool // rows are asked for one by one: a second whose page is too large
	hidden  bool // some were stepped over, and others may have come with them: two lists have a row at each place
	stepped stepped

	// The last full first page of a window, and its window.
	fullPage pageIDs
	fullSpan timeline.Span
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
func (l *listSeen) expect(span timeline.Span) float64 {
	seen := l.last.Sub(l.first).Seconds()
	if l.rows < 2 || seen < 1 {
		return float64(l.rows)
	}
	return float64(l.rows) * max(1, span.To.Sub(span.From).Seconds()/seen)
}

// NewAnalytics returns the pass over a window of an account-wide endpoint, in the name of the bot iid. The density says how much of
// the window should fit on a page; the pass only reads it.
func NewAnalytics(endpoint events.Endpoint, iid string, span timeline.Span, facts *AnalyticsFacts, density *timeline.Density) Pass {
	p := &analytics{endpoint: endpoint, iid: iid, facts: facts, density: density, todo: []timeline.Span{span}}
	p.next()
	return p
}

// next continues with the next window, or to as much of it as should fit on a page, from the end at which the list begins.
func (p *analytics) next() {
	p.seen, p.shifted, p.probing, p.restarts, p.lists = nil, false, false, 0, [2]listSeen{}
	p.single, p.hidden = false, false
	if len(p.todo) == 0 {
		return
	}
	p.span = p.todo[len(p.todo)-1]
	if p.facts.Keyset() {
		const sure = 20 // rows; of fewer it is rather chance
		more := (p.rows + sure) / (p.expected + sure)
		p.span = p.density.Cut(p.span, timeline.KeysetRows/more, p.facts.Lists.Order == orderDescending)
	}
	p.restart()
}

// restart begins the window again from its first page. All its pages must ask for the same list, whatever was learned in between.
func (p *analytics) restart() {
	p.offset, p.to = 0, p.span.To
	if p.facts.Inclusive {
		p.to = timeline.Later(p.span.To.Add(-time.Second), p.span.From)
	}
}

// Query implements Pass.
func (p *analytics) Query() kore.Query {
	q := kore.Query{
		Endpoint: p.endpoint, IID: p.iid, From: p.span.From, To: p.to, Offset: p.offset, Limit: analyticsTakes.Limit,
	}
	if p.single {
		q.Limit = 1
	}
	return q
}

// Read implements Pass.
func (p *analytics) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	switch {
	case tooLarge(failed) != nil && !p.single:
		p.readLess()
		return nil, nil, nil
	case tooLarge(failed) != nil:
		dead, ok := p.stepped.over(p.Query(), pg, failed)
		if !ok {
			return nil, nil, failed
		}
		pg, p.hidden = dead, true
	case failed != nil:
		return nil, nil, failed
	default:
		p.stepped = 0
	}
	if p.readAt.IsZero() {
		p.readAt = pg.ReadAt
	}
	if !p.single {
		p.learn(pg)
	}
	full := p.full(pg)
	if full && p.offset == 0 && !p.single && p.ignored(pg) {
		return pg, &Outcome{Unsettled: FilterIgnored, ReadAt: p.readAt}, nil
	}
	switch {
	case p.single:
		p.readOne(pg)
	case p.probing: // the window was whole already
		p.finish(p.span)
	case p.offset == 0 && !full && p.facts.Offset == offsetUnknown && len(pg.Rows) >= probeRows:
		// One request now tells what windows to ask for from here on.
		p.begin(pg)
		p.probing = true
	case p.offset == 0 && !full:
		p.whole(pg, p.span)
	case p.offset == 0:
		if part, ok := p.certain(pg); ok {
			p.whole(pg, part)
		} else {
			p.begin(pg)
		}
	case p.facts.Offset == offsetPages:
		p.nextPage(pg, full)
	default:
		p.tailRecords(pg)
	}
	if len(p.todo) == 0 {
		return pg, &Outcome{Read: joined(p.read), ReadAt: p.readAt, Capped: p.capped}, nil
	}
	return pg, nil, nil
}

// learn notes what a page shows about how the endpoint selects, limits and orders rows.
func (p *analytics) learn(pg *Page) {
	if len(pg.Rows) > analyticsTakes.Limit { // a record that cannot be read is of neither list, and proves nothing
		p.facts.PerList = true
	}
	for _, r := range pg.Rows {
		if r.Start.Equal(p.to) {
			p.facts.Inclusive = true
		}
		switch {
		case r.Start.IsZero():
		case r.Start.Before(p.span.From.Add(-timeline.Edge)):
			p.facts.Filter = filterEnd
		case p.facts.Filter == filterUnknown && !r.Open && r.End.After(p.span.To.Add(timeline.Edge)):
			p.facts.Filter = filterStart
		}
	}
	p.facts.Lists.learn(pg)
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
func (p *analytics) full(pg *Page) bool {
	if !p.facts.PerList {
		return pg.records() >= analyticsTakes.Limit
	}
	cut := cutEach(pg)
	return cut[conversations] || cut[botOnly]
}

// ignored reports whether a full first page shows that the server does not look at the window: the page of a window apart from this one
// had the same rows. Windows that touch may have those at the bound in common. Without this, the window would be split down to seconds.
func (p *analytics) ignored(pg *Page) bool {
	now := idsOn(pg)
	again := p.fullPage.again(pg, now)
	switch {
	case again && (p.span.From.After(p.fullSpan.To) || p.fullSpan.From.After(p.span.To)):
		return true
	case again && (p.span.From.Equal(p.fullSpan.To) || p.fullSpan.From.Equal(p.span.To)):
		return false
	}
	p.fullPage, p.fullSpan = now, p.span
	return false
}

// certain returns the part of the window of which a full page shows all rows. It is false if that is nothing, or too little to be
// worth a request.
func (p *analytics) certain(pg *Page) (timeline.Span, bool) {
	worth := analyticsTakes.Limit / 3
	if !p.facts.Keyset() {
		return timeline.Span{}, false
	}
	cut := p.facts.Lists.cut(pg)
	if p.facts.PerList {
		cut = cutEach(pg)
	}
	part := p.span
	for list, hides := range cut {
		if hides {
			part = shown(pg, list, part)
		}
	}
	return part, startsIn(pg, part) >= worth
}

// startsIn counts the rows of a page that start in span.
func startsIn(pg *Page, span timeline.Span) (n int) {
	for _, r := range pg.Rows {
		if !r.Start.Before(span.From) && r.Start.Before(span.To) {
			n++
		}
	}
	return n
}

// whole closes a part of the window of which one page has shown all rows.
func (p *analytics) whole(pg *Page, part timeline.Span) {
	p.rows += float64(startsIn(pg, part))
	p.expected += p.density.Rows(part)
	p.finish(part)
}

// begin starts reading on by offset in a window whose first page was full.
func (p *analytics) begin(pg *Page) {
	p.seen = make(map[string]struct{}, len(pg.Rows))
	p.shifted = false
	p.note(pg)
	p.offset = 1
	if p.facts.Offset == offsetRecords {
		p.offset = analyticsTakes.MaxOffset
	}
}

// note remembers the page's rows and reports how many were new.
func (p *analytics) note(pg *Page) (fresh int) {
	for _, r := range pg.Rows {
		if _, ok := p.seen[r.ID]; !ok {
			p.seen[r.ID] = struct{}{}
			fresh++
			p.lists[listOf(&r)].add(r.Start)
		}
	}
	return fresh
}

// nextPage handles page p.offset of a window where offset counts pages. Pages do not overlap, so a row that comes twice is
// the sign of a list that moved.
func (p *analytics) nextPage(pg *Page, full bool) {
	if p.note(pg) < len(pg.Rows) {
		p.shifted = true
	}
	switch {
	case full && p.offset < analyticsTakes.MaxOffset:
		p.offset++
	case full:
		p.split()
	case p.shifted && p.restarts < maxRestarts:
		p.restarts++
		p.restart()
	case p.shifted:
		p.split()
	default:
		p.finish(p.span)
	}
}

// tailRecords handles the last reachable page of a window where offset counts records: offset 10 shows rows 11 to 110.
func (p *analytics) tailRecords(pg *Page) {
	if p.offset < analyticsTakes.MaxOffset { // the page that told the meaning
		p.offset = analyticsTakes.MaxOffset
		return
	}
	fresh := p.note(pg)
	if p.full(pg) || fresh > analyticsTakes.MaxOffset || len(pg.Rows)-fresh != len(p.seen)-fresh-analyticsTakes.MaxOffset {
		p.split()
		return
	}
	p.finish(p.span)
}

// finish closes a part of the window as read and continues with what is left of it.
func (p *analytics) finish(part timeline.Span) {
	p.take(part)
	p.read = append(p.read, part)
	p.next()
}

// take takes a part out of the next window.
func (p *analytics) take(part timeline.Span) {
	window := p.todo[len(p.todo)-1]
	p.todo = p.todo[:len(p.todo)-1]
	for _, left := range []timeline.Span{{From: part.To, To: window.To}, {From: window.From, To: part.From}} {
		if left.From.Before(left.To) {
			p.todo = append(p.todo, left)
		}
	}
}

// split replaces what was asked for by equal parts, the earliest to be read first: as many as should each be small enough to
// be read whole. A second is not split further.
func (p *analytics) split() {
	span, parts := p.span, p.parts()
	p.take(span)
	seconds := p.seconds()
	if seconds <= 1 {
		p.todo = append(p.todo, span)
		p.cap()
		return
	}
	parts = min(parts, seconds)
	end := span.To
	for i := parts - 1; i >= 0; i-- {
		begin := span.From.Add(time.Duration(seconds*i/parts) * time.Second)
		p.todo = append(p.todo, timeline.Span{From: begin, To: end})
		end = begin
	}
	p.next()
}

// cap gives the present second up: it may hold more rows than can be asked for.
func (p *analytics) cap() {
	p.take(p.span)
	p.capped = append(p.capped, p.span)
	p.next()
}

// readLess goes on after a page that was too large: with parts of the window, or with the rows of a second one by one.
func (p *analytics) readLess() {
	if p.seconds() > 1 {
		p.split()
		return
	}
	p.singly()
}

// seconds returns how many whole seconds the present window has: those that it can be split into. The part of a second that a window may end
// with goes with its last one.
func (p *analytics) seconds() int { return int(p.span.To.Sub(p.span.From) / time.Second) }

// singly begins the present second again, to read its rows one by one.
func (p *analytics) singly() {
	p.restart()
	p.single, p.hidden, p.shifted, p.seen = true, false, false, map[string]struct{}{}
}

// readOne handles what is at one place of the lists of a second.
func (p *analytics) readOne(pg *Page) {
	if p.note(pg) < len(pg.Rows) {
		p.shifted = true
	}
	switch {
	case pg.records() > 0 && p.offset < analyticsTakes.MaxOffset:
		p.offset++
	case pg.records() > 0:
		p.cap()
	case p.shifted && p.restarts < maxRestarts:
		p.restarts++
		p.singly()
	case p.shifted, p.hidden:
		p.cap()
	default:
		p.finish(p.span)
	}
}

// parts is how many windows the present one should be split into. Every split too few costs as many requests as a window
// has pages, every one too many part of a page.
func (p *analytics) parts() int {
	const most = 64
	fits := 0.8 * float64(analyticsTakes.Limit)
	if p.facts.Offset == offsetPages {
		fits *= float64(analyticsTakes.MaxOffset)
	}
	rows := p.lists[0].expect(p.span) + p.lists[1].expect(p.span)
	return int(min(max(2, math.Ceil(rows/fits)), most))
}

// joined orders spans and makes one of those that touch.
func joined(spans []timeline.Span) []timeline.Span {
	slices.SortFunc(spans, func(a, b timeline.Span) int { return a.From.Compare(b.From) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].To.Equal(s.From) {
			out[n-1].To = s.To
			continue
		}
		out = append(out, s)
	}
	return out
}
