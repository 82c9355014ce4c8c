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

// Edits counts how old the rows of one unit were when something about them changed. It says where re-reading pays.
//
// It is a histogram by age, from a minute to 35 days. Counts are weighted, and halve every seven days, so that it follows what
// people do. It is of fixed size. The zero Edits is empty and ready for use. An Edits is not safe for concurrent use.
type Edits struct {
	counts [editAges]float64
	as     time.Time // as of when; older counts have faded by then
}

const (
	editAges     = 18
	editHalfLife = 7 * Day
	// maxEdits bounds a count, far above what an account can show in a week.
	maxEdits = 1e12
)

// ages are the upper bounds of the buckets.
var ages = [editAges]time.Duration{
	time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, Day, 2 * Day, 4 * Day, 7 * Day, 14 * Day, 21 * Day, 35 * Day,
}

// EditAges returns the ages at which one bucket of an Edits ends and the next begins, ascending. The last one ends the last bucket.
func EditAges() []time.Duration { return slices.Clone(ages[:]) }

// Observe counts an edit of a row that starts at start. It was not there yet when the row was read at before, and it was at readAt. When
// in between it was made is not known. Things are edited the less the older they are: its weight is divided evenly by the logarithm of
// the age.
func (e *Edits) Observe(start, before, readAt time.Time, weight float64) {
	from, to := max(0, before.Sub(start)), readAt.Sub(start)
	if weight <= 0 || from >= to || from >= ages[editAges-1] {
		return
	}
	by := e.fading(readAt)
	for i := range e.counts {
		e.counts[i] *= by
	}
	e.as = Later(e.as, readAt)
	from, to = max(from, ages[0]/2), min(max(to, ages[0]), ages[editAges-1])
	length := math.Log(float64(to) / float64(from))
	begin := from
	for i, end := range ages {
		if end = min(end, to); begin < end {
			e.counts[i] = min(e.counts[i]+weight*math.Log(float64(end)/float64(begin))/length, maxEdits)
			begin = end
		}
	}
}

// fading returns what is left by now of counts as of e.as.
func (e *Edits) fading(now time.Time) float64 {
	if gone := now.Sub(e.as); gone > 0 && !e.as.IsZero() {
		return math.Exp2(-float64(gone) / float64(editHalfLife))
	}
	return 1
}

// Count returns the weight of the edits of rows that were older than from and at most to old, as it has faded by now. Both ages must be
// among EditAges, or from may be 0.
func (e *Edits) Count(now time.Time, from, to time.Duration) float64 {
	var sum float64
	for i, end := range ages {
		if end > from && end <= to {
			sum += e.counts[i]
		}
	}
	return sum * e.fading(now)
}

// The form of an Edits:
//
//	+---------+------+-------+--------+----
//	| version |  as  | count | weight | ...      count ages, the youngest first
//	+---------+------+-------+--------+----
//	   byte    varint  byte    float
//
//	version  1
//	as       when the last edit was counted, in milliseconds since 1970
//	weight   of the edits of an age, not negative: IEEE 754, 4 bytes, big-endian
//
// A reader refuses another version, and another count.
const editsVersion = 1

var errEditsFormat = errors.New("not a histogram of edits")

// Empty reports whether no edit was counted.
func (e *Edits) Empty() bool { return e.as.IsZero() }

// AppendBinary appends the form of the histogram to dst.
func (e *Edits) AppendBinary(dst []byte) []byte {
	dst = append(dst, editsVersion)
	dst = binary.AppendVarint(dst, e.as.UnixMilli())
	dst = append(dst, editAges)
	for _, v := range e.counts {
		dst = appendFloat(dst, v)
	}
	return dst
}

// DecodeEdits reads a form that AppendBinary has written. Weights have the precision of a float with 24 bits.
func DecodeEdits(b []byte) (*Edits, error) {
	r := binform.NewReader(b)
	if v := r.Byte(); v != editsVersion {
		return nil, fmt.Errorf("read edits: version %d: %w", v, errEditsFormat)
	}
	e := &Edits{as: time.UnixMilli(r.Int(-maxMilli, maxMilli)).UTC()}
	if n := r.Byte(); n != editAges {
		return nil, fmt.Errorf("read edits: %d ages: %w", n, errEditsFormat)
	}
	for i := range e.counts {
		e.counts[i] = min(readFloat(&r), maxEdits)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read edits: %w", err)
	}
	return e, nil
}
