package pass

import (
	"slices"
	"time"

	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/poll/timeline"
)

// A page of the analytics endpoints joins two lists, conversations and bot-only sessions, of which one comes first.
const (
	conversations = iota
	botOnly
)

func listOf(r *extract.Row) int {
	if r.BotOnly {
		return botOnly
	}
	return conversations
}

// listFacts is what was learned about the order of rows on an analytics endpoint. Nothing is assumed: what a
// page contradicts is no longer relied on, for good.
type listFacts struct {
	// Order is that of conversations by start.
	Order listOrder `json:"order,omitempty"`
	// Unsorted is set once rows came in no order that could be made use of.
	Unsorted bool `json:"unsorted,omitempty"`
	// BotsFirst and BotsLast tell which list comes first; neither while no page has shown both.
	BotsFirst bool `json:"bots_first,omitempty"`
	BotsLast  bool `json:"bots_last,omitempty"`
}

func (f *listFacts) learn(pg *Page) {
	changes := 0
	for i := range pg.Rows[min(1, len(pg.Rows)):] {
		if a, b := listOf(&pg.Rows[i]), listOf(&pg.Rows[i+1]); a != b {
			changes++
			f.BotsFirst = f.BotsFirst || a == botOnly
			f.BotsLast = f.BotsLast || a == conversations
		}
	}
	order, sorted := orderOf(pg, conversations)
	_, botsSorted := orderOf(pg, botOnly)
	if changes > 1 || f.BotsFirst && f.BotsLast || !sorted || !botsSorted || order != orderUnknown && f.Order != orderUnknown && order != f.Order {
		f.Unsorted = true
	}
	if order != orderUnknown {
		f.Order = order
	}
}

// known reports whether the lists are in an order that tells what a page that was cut short shows for certain.
func (f *listFacts) known(limitedEach bool) bool {
	return f.Order != orderUnknown && !f.Unsorted && (limitedEach || f.BotsFirst || f.BotsLast)
}

// cut tells of each list whether a full page may hide rows of it.
func (f *listFacts) cut(pg *Page) (cut [2]bool) {
	first, last := botOnly, conversations
	if f.BotsLast {
		first, last = last, first
	}
	cut[last] = true
	// Of the list that comes first all is shown if there is anything after it.
	cut[first] = !slices.ContainsFunc(pg.Rows, func(r extract.Row) bool { return listOf(&r) == last })
	return cut
}

// cutEach does the same where the limit applies to each list by itself. A record that could not be read may belong to either.
func cutEach(pg *Page) (cut [2]bool) {
	dead := pg.records() - len(pg.Rows)
	rows := [2]int{dead, dead}
	for i := range pg.Rows {
		rows[listOf(&pg.Rows[i])]++
	}
	return [2]bool{rows[0] >= analyticsTakes.Limit, rows[1] >= analyticsTakes.Limit}
}

// shown returns the part of span whose rows of one list are certainly all on the page, even if the page was truncated.
func shown(pg *Page, list int, span timeline.Span) timeline.Span {
	order, _ := orderOf(pg, list)
	var last time.Time
	for i := range pg.Rows {
		if r := &pg.Rows[i]; listOf(r) == list {
			last = r.Start.Truncate(time.Second) // others of that second may be hidden
		}
	}
	switch order {
	case orderAscending:
		span.To = timeline.Earlier(span.To, last)
	case orderDescending:
		span.From = timeline.Later(span.From, last.Add(time.Second))
	default:
		span.To = span.From
	}
	return span
}

// orderOf returns the order by start of one list on a page. It is false if there is none.
func orderOf(pg *Page, list int) (listOrder, bool) {
	var last time.Time
	var up, down bool
	for i := range pg.Rows {
		r := &pg.Rows[i]
		if listOf(r) != list {
			continue
		}
		if r.Start.IsZero() {
			return orderUnknown, false
		}
		if !last.IsZero() {
			up, down = up || r.Start.After(last), down || r.Start.Before(last)
		}
		last = r.Start
	}
	switch {
	case up && down:
		return orderUnknown, false
	case up:
		return orderAscending, true
	case down:
		return orderDescending, true
	}
	return orderUnknown, true
}
