// Package timeline describes spans of time: which of them were read, and when (Set), how many rows they have (Density), and how late rows
// appear in them (Lateness).
//
// Its values know no clock and do no I/O. Each has a binary form, in which a unit's progress stores it. The forms are drawn where they
// are written.
package timeline

import "time"

// Day is the length of a calendar day in UTC and in every fixed zone.
const Day = 24 * time.Hour

// Edge is how far behind the server's clock a read counts as complete. The clock is known to half a second, and filters work in whole
// seconds.
const Edge = 2 * time.Second

// DayGrace is how long after its end a calendar day of `conversations` is still counted for rows that arrive late. Later ones are left to
// the sweeps.
const DayGrace = 3 * time.Hour

// KeysetRows is how many rows a window should have where a page that is too full still counts up to its last row, so that little is lost.
const KeysetRows = 97

// Span is a range of time: From included, To excluded.
type Span struct {
	From, To time.Time
}

// DayName returns the date of t in UTC. It is the key of facts about a calendar day.
func DayName(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Earlier returns the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// CeilSecond returns the first whole second not before t.
func CeilSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}
