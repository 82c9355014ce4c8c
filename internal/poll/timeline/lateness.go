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

// Lateness counts, for the last seven days, how long after their event time entities were first observed, and says how long to wait before
// a time is declared complete.
//
// It is a histogram by day, with buckets that are 9 % wide, so that quantiles are rounded up by at most 9 %. The zero Lateness is empty and
// ready for use. A Lateness is not safe for concurrent use. Times have millisecond precision.
type Lateness struct {
	days []latenessDay // ascending
}

type latenessDay struct {
	day    int64 // days since 1970
	max    time.Duration
	counts []uint64 // by bucket
}

const (
	// Allowed returns a lateness within these bounds.
	minLateness, maxLateness = 5 * time.Minute, 24 * time.Hour

	latenessDays    = 7
	bucketsPerOct   = 8
	latenessBuckets = 1 + 22*bucketsPerOct // up to 2^22 seconds, 48 days; the last bucket counts everything later
)

// bucketOf returns the first bucket whose upper bound is not below d.
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

// Observe counts n entities that were first observed at now, that long after their event time.
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

// at returns the histogram of a day. It adds the day if it is new.
func (l *Lateness) at(day int64) *latenessDay {
	i, ok := slices.BinarySearchFunc(l.days, day, func(d latenessDay, day int64) int { return int(d.day - day) })
	if !ok {
		l.days = slices.Insert(l.days, i, latenessDay{day: day})
	}
	return &l.days[i]
}

// expire drops days that are seven days or more before the newest day.
func (l *Lateness) expire() {
	newest := l.days[len(l.days)-1].day
	l.days = slices.DeleteFunc(l.days, func(d latenessDay) bool { return d.day <= newest-latenessDays })
}

// Merge adds the counts of another Lateness. It is commutative and associative.
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

// Quantile returns a lateness that the fraction q of all entities did not exceed. It is 0 if nothing was counted.
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

// Max returns the largest lateness that was counted.
func (l *Lateness) Max() time.Duration {
	var m time.Duration
	for _, d := range l.days {
		m = max(m, d.max)
	}
	return m
}

// Allowed returns how long after its end a span may be declared complete.
func (l *Lateness) Allowed() time.Duration {
	return min(max(l.Quantile(0.999), minLateness), maxLateness)
}

// The form of a Lateness:
//
//	+---------+-------+-----+-----+---------+-------+----
//	| version | days  | day | max | buckets | count | ...      days times, in order
//	+---------+-------+-----+-----+---------+-------+----
//	   byte     byte  uvarint uvarint uvarint uvarint
//	                                        buckets times
//
//	version  1
//	day      days since 1970
//	max      the largest lateness of the day, in milliseconds
//	count    of a bucket: of the entities that were at most one second late in the first, and of those that were later than the bound of
//	         the bucket before and at most 2^(n/8) seconds late in bucket n
//
// A reader refuses another version.
const latenessVersion = 1

var errLatenessFormat = errors.New("not a lateness histogram")

// AppendBinary appends the form of the histogram to dst.
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

// DecodeLateness reads a form that AppendBinary has written.
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

// maxLatenessMilli is a hundred years, so that durations cannot overflow.
const maxLatenessMilli = 100 * 365 * 24 * 3600 * 1000
