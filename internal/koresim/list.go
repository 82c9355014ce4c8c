package koresim

import (
	"cmp"
	"slices"

	"agentassist-poller/internal/events"
)

// row is a row of an endpoint as it is read now: what to render, and the moment of the world that the reader sees.
type row struct {
	ref   contactRef
	n     int8 // segment
	key   uint64
	start moment
	end   moment
	seen  moment // now less the row's ingestion lag
}

// appears returns the first moment of the world at which a row that began and will end then is shown at all.
func (p Profile) appears(e events.Endpoint, began, end moment) moment {
	// A segment without an end cannot be selected by it.
	if p.HideOpen[e] || e == events.Interactions && p.FilterOnEnd[e] {
		return end
	}
	return began
}

// segments returns the rows of interactions that a request for [from, to] finds at now.
func (w *World) segments(account, bot int, from, to, now moment) (rows []row) {
	const e = events.Interactions
	p := &w.cfg.Profile
	w.slots(account, bot, from, to, func(ix *index, key indexKey) {
		for _, s := range ix.segments {
			seen := now - p.lag(e, lagKey(s.key, int(s.n)))
			start := s.startAt(seen)
			at := start
			if p.FilterOnEnd[e] {
				at = s.end
			}
			if at < from || at > to {
				continue
			}
			ref := contactRef{key, s.contact}
			if p.appears(e, s.began, s.end) <= seen {
				rows = append(rows, row{ref, s.n, s.key, start, s.end, seen})
			}
		}
	})
	return p.ordered(e, rows)
}

// conversations returns the records of conversations that began in [from, to].
func (w *World) conversations(account, bot int, from, to, now moment) (rows []row) {
	const e = events.Conversations
	p := &w.cfg.Profile
	w.slots(account, bot, from, to, func(ix *index, key indexKey) {
		for i := range ix.outlines {
			o := &ix.outlines[i]
			if !o.assisted() || o.transfer < from || o.transfer > to {
				continue
			}
			ref := contactRef{key, int32(i)}
			if seen := now - p.lag(e, lagKey(o.key, -1)); o.transfer <= seen {
				rows = append(rows, row{ref: ref, key: o.key, start: o.transfer, end: o.end, seen: seen})
			}
		}
	})
	return p.ordered(e, rows)
}

// sessions returns the two lists of an analytics endpoint: sessions that only a bot has handled so far, and conversations.
// bots are the indexes of the bots whose rows are in scope.
func (w *World) sessions(e events.Endpoint, account int, bots []int, from, to, now moment) (botOnly, assisted []row) {
	p := &w.cfg.Profile
	for _, bot := range bots {
		w.slots(account, bot, from, to, func(ix *index, key indexKey) {
			for i := range ix.outlines {
				o := &ix.outlines[i]
				ref := contactRef{key, int32(i)}
				seen := now - p.lag(e, lagKey(o.key, -1))
				if p.appears(e, o.session, o.end) > seen {
					continue
				}
				at := o.session.second()
				if p.FilterOnEnd[e] {
					at = o.shownEnd(seen)
				}
				if at < from || at > to {
					continue
				}
				r := row{ref: ref, key: o.key, start: o.session, end: o.end, seen: seen}
				if o.transfer.happened(seen) {
					assisted = append(assisted, r)
				} else {
					botOnly = append(botOnly, r)
				}
			}
		})
	}
	slices.SortFunc(botOnly, byStart)
	return botOnly, p.ordered(e, assisted)
}

func (p Profile) ordered(e events.Endpoint, rows []row) []row {
	slices.SortFunc(rows, byStart)
	if p.Descending[e] {
		slices.Reverse(rows)
	}
	return rows
}

func byStart(a, b row) int {
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key), cmp.Compare(a.n, b.n))
}

// cut returns the rows of one page.
func cut(rows []row, skip, limit int) []row {
	skip = min(skip, len(rows))
	return rows[skip:min(skip+limit, len(rows))]
}
