package poll

import (
	"time"

	"agentassist-poller/internal/poll/pass"
	"agentassist-poller/internal/poll/timeline"
)

// Two requests of an endpoint that are in flight at the same time may show the same row, and nobody knows which of them shows the newer
// state: the answer that comes first may be the newer one. Revisions of an entity must be published in their order. So of the two answers
// only the one that is published first counts for the row. The pass of the other one goes on as if it had been read when the first was
// asked for: what it was to see that is newer is seen when the span is read again, which the ages in the status allow for.

// shownRow is a row of a unit.
type shownRow struct {
	unit *unit
	id   string
}

// shownAt is when a row was published that came while other requests were in flight, and as of when it is, by the server's clock.
type shownAt struct {
	published time.Time
	asOf      time.Time
}

// dropOutdated takes the observations out of a page that may be older than what was published of the same rows.
func (l *loop) dropOutdated(r *activePass, pg *pass.Page) {
	now, others := time.Now(), false
	for _, other := range l.active {
		others = others || other != r && !other.step.IsZero()
	}
	for i := range pg.Rows {
		row := &pg.Rows[i]
		at, ok := l.shown[shownRow{r.unit, row.ID}]
		switch {
		case ok && !at.published.Before(r.step):
			row.Observations, row.Unsaid = nil, nil
			if r.asOf.IsZero() {
				r.asOf = at.asOf
			}
			r.asOf = timeline.Earlier(r.asOf, at.asOf)
		case others && (row.Observations != nil || row.Unsaid != nil):
			l.shown[shownRow{r.unit, row.ID}] = shownAt{now, pg.ReadAt}
		}
	}
}
