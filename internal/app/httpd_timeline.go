package app

import (
	"slices"
	"time"

	"agentassist-poller/internal/status"
)

// A timeline is the window of time that the strips of an account's endpoints show.
type timeline struct{ From, To time.Time }

// A part is a piece of a strip: what is the case with a span of time. X and W are in thousandths of the strip's width.
type part struct {
	Class string
	X, W  float64
	Title string
}

// newTimeline returns the window of the strips of some endpoints: up to now, and back over all that is not complete, or over a day if that is
// more, where so much is read.
func newTimeline(now time.Time, endpoints []status.Endpoint) timeline {
	reach := time.Duration(0)
	look := func(t time.Time) { reach = max(reach, now.Sub(t)) }
	for _, e := range endpoints {
		if e.CompleteFrom != nil {
			reach = max(reach, min(now.Sub(*e.CompleteFrom), 24*time.Hour))
		}
		if e.CompleteUpTo != nil {
			look(*e.CompleteUpTo)
		}
		if e.FirstRead != nil {
			look(e.FirstRead.From)
		}
		for _, g := range slices.Concat(e.Gaps, e.Unsettled) {
			look(g.From)
		}
	}
	for _, step := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 35 * 24 * time.Hour} {
		if reach <= step {
			return timeline{now.Add(-step), now}
		}
	}
	return timeline{now.Add(-reach), now}
}

// Strip returns the parts of an endpoint's strip. Later ones lie on earlier ones.
func (l timeline) Strip(e status.Endpoint) (parts []part) {
	const least = 3 // so that it can be seen
	add := func(class string, from, to time.Time, what string) {
		if from.Before(l.From) {
			from = l.From
		}
		if to.After(l.To) {
			to = l.To
		}
		if !from.Before(to) {
			return
		}
		whole := l.To.Sub(l.From).Seconds()
		x, w := 1000*from.Sub(l.From).Seconds()/whole, max(1000*to.Sub(from).Seconds()/whole, least)
		parts = append(parts, part{class, min(x, 1000-w), w, what + ", " + clock(from) + " to " + clock(to)})
	}
	if e.CompleteFrom != nil && e.ReadThrough != nil {
		add("read", *e.CompleteFrom, *e.ReadThrough, "read")
	}
	if e.CompleteFrom != nil && e.CompleteUpTo != nil {
		add("complete", *e.CompleteFrom, *e.CompleteUpTo, "complete")
	}
	if e.FirstRead != nil {
		add("first", e.FirstRead.From, e.FirstRead.To, "to be read for the first time")
	}
	for _, g := range e.Gaps {
		add("gap", g.From, g.To, "gap: "+g.Reason)
	}
	for _, u := range e.Unsettled {
		add("unsettled", u.From, u.To, "unsettled: "+u.Reason)
	}
	for _, w := range e.InWork {
		add("work", w.From, w.To, "in work ("+w.PriorityClass+")")
	}
	return parts
}
