package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"agentassist-poller/internal/binform"
)

// Lateness remembers how long after their event time things first became readable, for the last seven days, and says how
// long to wait before a time is called complete.
//
// It is a histogram by day, in buckets that are 9 % wide: quantiles are rounded up by no more. The zero Lateness is empty and
// ready for use; it is not safe for concurrent use. Times have millisecond precision.
type Lateness struct {
	days []latenessDay // ascending
}

type latenessDay struct {
	day    int64 // since 1970
	max    time.Duration
	counts []uint64 // by bucket
}

const (
	// Allowed lateness, where it is derived, stays within these bounds. Much later things come too late in any case.
	minLateness, maxLateness = 5 * time.Minute, 24 * time.Hour

	latenessDays    = 7
	bucketsPerOct   = 8
	latenessBuckets = 1 + 22*bucketsPerOct // of seconds: 2^22 are 48 days; what is later is counted in the last
)

// bucketOf returns the bucket whose upper bound is the smallest that is not below d.
func bucketOf(d time.Duration) int {
	if d <= time.Second {
		return 0
	}
	b := int(math.Ceil(math.Log2(d.Seconds())*bucketsPerOct - 1e-9))
	return min(b, latenessBuckets-1)
}

func bucketBound(b int) time.Duration {
	return time.Duration(math.Exp2(float64(b)/bucketsPerOct) * float64(time.Second)).Round(time.Millisecond)
}

// Observe counts n things that were first seen, at now, that long after their event time.
func (l *Lateness) Observe(now time.Time, lateness time.Duration, n uint64) {
	if n == 0 {
		return
	}
	d := l.at(now.Unix() / 86400)
	lateness = (max(lateness, 0) + time.Millisecond - 1).Truncate(time.Millisecond)
	d.max = max(d.max, lateness)
	b := bucketOf(lateness)
	if b >= len(d.counts) {
		d.counts = append(d.counts, make([]uint64, b+1-len(d.counts))...)
	}
	d.counts[b] += n
	l.expire()
}

// at returns the histogram of a day, new if need be.
func (l *Lateness) at(day int64) *latenessDay {
	i, ok := slices.BinarySearchFunc(l.days, day, func(d latenessDay, day int64) int { return int(d.day - day) })
	if !ok {
		l.days = slices.Insert(l.days, i, latenessDay{day: day})
	}
	return &l.days[i]
}

// expire drops what is older than seven days before the newest day.
func (l *Lateness) expire() {
	newest := l.days[len(l.days)-1].day
	l.days = slices.DeleteFunc(l.days, func(d latenessDay) bool { return d.day <= newest-latenessDays })
}

// Merge adds what another has seen. Merging is commutative and associative.
func (l *Lateness) Merge(other *Lateness) {
	for _, o := range other.days {
		d := l.at(o.day)
		d.max = max(d.max, o.max)
		if n := len(o.counts) - len(d.counts); n > 0 {
			d.counts = append(d.counts, make([]uint64, n)...)
		}
		for b, n := range o.counts {
			d.counts[b] += n
		}
	}
	if len(l.days) > 0 {
		l.expire()
	}
}

// Quantile returns a lateness that the fraction q of all things did not exceed. Zero if nothing was seen.
func (l *Lateness) Quantile(q float64) time.Duration {
	sum := make([]uint64, latenessBuckets)
	var total uint64
	for _, d := range l.days {
		for b, n := range d.counts {
			sum[b] += n
			total += n
		}
	}
	if total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(total)))
	var passed uint64
	for b, n := range sum {
		if passed += n; passed >= max(rank, 1) {
			if b == latenessBuckets-1 { // it has no upper bound
				break
			}
			return min(bucketBound(b), l.Max())
		}
	}
	return l.Max()
}

// Max returns the largest lateness seen.
func (l *Lateness) Max() time.Duration {
	var m time.Duration
	for _, d := range l.days {
		m = max(m, d.max)
	}
	return m
}

// Allowed returns how long after its end a stretch of time may be called complete.
func (l *Lateness) Allowed() time.Duration {
	return min(max(l.Quantile(0.999), minLateness), maxLateness)
}

const latenessVersion = 1

var errLatenessFormat = errors.New("not a lateness histogram")

// AppendBinary appends the histogram in a compact form of its own to dst.
func (l *Lateness) AppendBinary(dst []byte) []byte {
	dst = append(dst, latenessVersion, byte(len(l.days)))
	for _, d := range l.days {
		dst = binary.AppendUvarint(dst, uint64(d.day))
		dst = binary.AppendUvarint(dst, uint64(d.max/time.Millisecond))
		dst = binary.AppendUvarint(dst, uint64(len(d.counts)))
		for _, n := range d.counts {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	return dst
}

// DecodeLateness reads what AppendBinary wrote.
func DecodeLateness(b []byte) (*Lateness, error) {
	r := binform.NewReader(b)
	if v := r.Byte(); v != latenessVersion {
		return nil, fmt.Errorf("read lateness: version %d: %w", v, errLatenessFormat)
	}
	l := &Lateness{}
	for range r.Byte() {
		h := latenessDay{day: int64(r.Uint(2 * maxMilli)), max: time.Duration(min(r.Uint(2*maxMilli), maxLatenessMilli)) * time.Millisecond}
		n := r.Count(1)
		if n > latenessBuckets || (len(l.days) > 0 && h.day <= l.days[len(l.days)-1].day) {
			return nil, fmt.Errorf("read lateness: day %d with %d buckets: %w", h.day, n, errLatenessFormat)
		}
		h.counts = make([]uint64, n)
		for i := range h.counts {
			h.counts[i] = r.Uint(2 * maxMilli)
		}
		if r.Err() != nil {
			break
		}
		l.days = append(l.days, h)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read lateness: %w", err)
	}
	if len(l.days) > 0 {
		l.expire()
	}
	return l, nil
}

// maxLatenessMilli keeps a duration from overflowing: a hundred years.
const maxLatenessMilli = 100 * 365 * 24 * 3600 * 1000
