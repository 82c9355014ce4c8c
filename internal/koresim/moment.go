package koresim

import "time"

// moment is a point in time in Unix milliseconds, the resolution of the API. Zero means never.
type moment int64

const (
	second moment = 1000
	minute        = 60 * second
	hour          = 60 * minute
	day           = 24 * hour
)

func momentOf(t time.Time) moment { return moment(t.UnixMilli()) }

func (m moment) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// happened reports whether m is known and not after t.
func (m moment) happened(t moment) bool { return m != 0 && m <= t }

// second cuts m to the whole second, the resolution of the analytics endpoints.
func (m moment) second() moment { return m - m%second }

const (
	isoMillis = "2006-01-02T15:04:05.000Z"
	zoneless  = "2006-01-02T15:04:05"
)

// timeline is a value that changes: every step holds from its moment until the next.
type timeline[T any] []step[T]

type step[T any] struct {
	at    moment
	value T
}

func always[T any](v T, from moment) timeline[T] { return timeline[T]{{from, v}} }

// then adds a change. Changes must be added in order; one that comes too early is put right after the one before.
func (l timeline[T]) then(at moment, v T) timeline[T] {
	if n := len(l); n > 0 && at <= l[n-1].at {
		at = l[n-1].at + 1
	}
	return append(l, step[T]{at, v})
}

// at returns what holds at t, and false before the first step.
func (l timeline[T]) at(t moment) (v T, ok bool) {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].at <= t {
			return l[i].value, true
		}
	}
	return v, false
}

func (l timeline[T]) moments(dst []moment) []moment {
	for _, s := range l {
		dst = append(dst, s.at)
	}
	return dst
}
