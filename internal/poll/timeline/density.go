package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"agentassist-poller/internal/binform"
)

// Density estimates how many rows of one unit start in a span. It sizes windows and predicts what they cost. Nothing else depends on it,
// so that a wrong estimate costs requests, never rows.
//
// Density counts rows by the hour, for the last eight days read. For an hour that was not read it expects as many rows as in the same
// hour of the days before, scaled by how the last rows read compare with what was expected of them. If none of these hours was read,
// it expects the rate of the last rows read.
//
// The zero Density has no counts and expects a page of rows in an hour. A Density is not safe for concurrent use.
type Density struct {
	hours []hourCount // by hour modulo densityHours; nil until a row was counted
	base  count       // all time read; older time fades
	trail count       // the rows last read for the first time
	// level compares the rows last read for the first time with the rows expected from the days before.
	level struct{ counted, expected float64 }
}

// count is a number of rows over a number of seconds.
type count struct {
	rows, secs float64
}

type hourCount struct {
	count
	hour int64 // since 1970
}

const (
	densityHours = 8 * 24
	hourSecs     = 3600
	// Older time fades from base after baseSecs, rows fade from trail and level after fadeRows. A comparison of fewer than sureRows
	// rows says little.
	baseSecs, fadeRows, sureRows = 14 * 24 * hourSecs, 300, 60
	// An hour that was read partly counts with partSecs of what was expected of it.
	partSecs = 600
	// The rate that is expected before anything was read.
	priorRows, priorSecs = 1, 42
)

// Observe records that a complete read of span showed rows that start at these times. It ignores times outside of span. A span that was
// chosen because of its rows, as those of hot rows are, says nothing about density and must not be observed (see the field Sample of plan.Work).
func (d *Density) Observe(span Span, starts []time.Time) {
	secs := span.To.Sub(span.From).Seconds()
	if secs <= 0 {
		return
	}
	var rows float64
	for _, t := range starts {
		if !t.Before(span.From) && t.Before(span.To) {
			rows++
		}
	}
	if d.hours == nil && rows > 0 {
		d.hours = make([]hourCount, densityHours)
	}
	d.learn(span, rows, secs)
	d.base.add(rows, secs, baseSecs)
	if d.hours == nil {
		return
	}
	d.eachHour(span, func(hour int64, part float64) {
		c := &d.hours[hour%densityHours]
		if c.hour != hour {
			*c = hourCount{hour: hour}
		}
		c.secs += part
	})
	for _, t := range starts {
		if c := d.hour(t.Unix() / hourSecs); c != nil && !t.Before(span.From) && t.Before(span.To) {
			c.rows++
		}
	}
	d.eachHour(span, func(hour int64, _ float64) {
		d.hour(hour).add(0, 0, 2*hourSecs)
	})
}

// learn compares the rows of a span that was read for the first time with the rows that were expected in it.
func (d *Density) learn(span Span, rows, secs float64) {
	var known, expected, based float64
	d.eachHour(span, func(hour int64, part float64) {
		if c := d.hour(hour); c != nil && c.secs >= hourSecs {
			known += part
		}
		if c := d.daysBefore(hour); c.secs > 0 {
			expected += part * c.rows / c.secs
			based += part
		}
	})
	if known > secs/2 {
		return
	}
	fade := math.Exp(-rows / fadeRows)
	d.trail = count{d.trail.rows*fade + rows, d.trail.secs*fade + secs}
	if based > 0 {
		d.level.counted = d.level.counted*fade + rows*based/secs
		d.level.expected = d.level.expected*fade + expected
	}
}

// add counts rows, and fades older ones once more than limit seconds are counted.
func (c *count) add(rows, secs, limit float64) {
	c.rows, c.secs = c.rows+rows, c.secs+secs
	if over := c.secs / limit; over > 1 {
		c.rows, c.secs = c.rows/over, c.secs/over
	}
}

// eachHour calls f for every hour that span touches, with the seconds of the hour that are in span. If span is longer than densityHours,
// only its end counts.
func (d *Density) eachHour(span Span, f func(hour int64, secs float64)) {
	from := span.From
	first := span.To.Add(-densityHours * time.Hour)
	if whole := first.Truncate(time.Hour); whole.Before(first) { // of one hour more, the last would take the place of the first
		first = whole.Add(time.Hour)
	}
	if from.Before(first) {
		from = first
	}
	for from.Before(span.To) && from.Unix() >= 0 {
		hour := from.Unix() / hourSecs
		end := time.Unix((hour+1)*hourSecs, 0)
		if end.After(span.To) {
			end = span.To
		}
		f(hour, end.Sub(from).Seconds())
		from = end
	}
}

func (d *Density) hour(hour int64) *hourCount {
	if d.hours == nil || hour < 0 {
		return nil
	}
	if c := &d.hours[hour%densityHours]; c.hour == hour {
		return c
	}
	return nil
}

// overall returns the rate of all time read, in rows a second.
func (d *Density) overall() float64 {
	return (d.base.rows + priorRows) / (d.base.secs + priorSecs)
}

// daysBefore adds up the same hour of the seven days before, of those that were read.
func (d *Density) daysBefore(hour int64) (sum count) {
	for back := int64(1); back <= 7; back++ {
		weight := 1.0
		if back == 7 { // the same day of the week
			weight = 3
		}
		if c := d.hour(hour - 24*back); c != nil && c.secs > hourSecs-1 {
			sum.rows, sum.secs = sum.rows+weight*c.rows, sum.secs+weight*c.secs
		}
	}
	return sum
}

// rate returns the rate of an hour in rows a second: what was counted, completed by what is expected.
func (d *Density) rate(hour int64) float64 {
	var have count
	if c := d.hour(hour); c != nil {
		have = c.count
	}
	if have.secs >= hourSecs {
		return have.rows / have.secs
	}
	expect := (d.trail.rows + priorRows) / (d.trail.secs + priorSecs)
	if c := d.daysBefore(hour); c.secs > 0 {
		level := (d.level.counted + sureRows) / (d.level.expected + sureRows)
		expect = (c.rows + d.overall()*partSecs) / (c.secs + partSecs) * min(max(level, 0.1), 10)
	}
	return (have.rows + expect*partSecs) / (have.secs + partSecs)
}

// Rate returns the expected rows a second around t. Within an hour that was not read, it changes gradually from the rate of the hour
// before to the rate of the hour after.
func (d *Density) Rate(t time.Time) float64 { return d.rateAt(t, d.rate) }

// rateAt is Rate with the rates of the hours around t.
func (d *Density) rateAt(t time.Time, rateOf func(hour int64) float64) float64 {
	if d.hours == nil || t.Unix() < 0 {
		return d.overall()
	}
	hour, into := t.Unix()/hourSecs, float64(t.Unix()%hourSecs)/hourSecs
	rate := rateOf(hour)
	if c := d.hour(hour); c != nil && c.secs >= hourSecs {
		return rate
	}
	if into < 0.5 {
		return rate*(0.5+into) + rateOf(hour-1)*(0.5-into)
	}
	return rate*(1.5-into) + rateOf(hour+1)*(into-0.5)
}

// Rows returns the expected number of rows in span.
func (d *Density) Rows(span Span) float64 {
	length := max(0, span.To.Sub(span.From).Seconds())
	if d.hours == nil {
		return d.overall() * length
	}
	var sum, secs float64
	d.eachHour(span, func(hour int64, part float64) {
		sum, secs = sum+part*d.rate(hour), secs+part
	})
	return sum + d.overall()*(length-secs)
}

// Ahead returns the time by which that many rows are expected from from on, at most limit. It is a whole second, and later than from
// unless limit is not.
func (d *Density) Ahead(from, limit time.Time, rows float64) time.Time {
	return d.walk(from, limit, rows, 1)
}

// Back returns the time from which that many rows are expected until to, at least limit. It is a whole second.
func (d *Density) Back(to, limit time.Time, rows float64) time.Time {
	return d.walk(to, limit, rows, -1)
}

// Cut divides span into equal parts of about so many rows and returns the first part, or the last.
func (d *Density) Cut(span Span, rows float64, last bool) Span {
	all := d.Rows(span)
	parts := math.Ceil(all/rows - 0.15) // slightly larger parts are better than one more part
	switch {
	case parts <= 1:
	case last:
		span.From = d.Back(span.To, span.From, all/parts)
	default:
		span.To = d.Ahead(span.From, span.To, all/parts)
	}
	return span
}

// walk goes from t towards limit until it has passed that many rows: ten minutes at a time, or an hour where the whole hour was read, in
// which the rate is the same throughout.
func (d *Density) walk(t, limit time.Time, rows float64, dir int64) time.Time {
	var known [4]struct { // the rates of the last hours, which several steps need
		hour int64
		rate float64
		ok   bool
	}
	rateOf := func(hour int64) float64 {
		k := &known[hour&3]
		if !k.ok || k.hour != hour {
			k.hour, k.rate, k.ok = hour, d.rate(hour), true
		}
		return k.rate
	}
	for {
		remain := limit.Sub(t).Seconds() * float64(dir)
		if remain <= 0 {
			return limit
		}
		secs := remain
		if d.hours != nil {
			step, next := int64(600), t.Unix()
			if dir < 0 {
				next--
			}
			if c := d.hour(next / hourSecs); c != nil && c.secs > hourSecs-1 {
				step = hourSecs
			}
			into := t.Unix() % step
			if dir < 0 {
				into = (step - into) % step
			}
			secs = min(secs, float64(step-into))
		}
		rate := d.rateAt(t.Add(time.Duration(dir)*time.Duration(secs/2*float64(time.Second))), rateOf)
		if rate*secs < rows {
			rows -= rate * secs
			t = t.Add(time.Duration(dir) * time.Duration(secs*float64(time.Second)))
			continue
		}
		secs = max(math.Floor(rows/rate), 1)
		t = t.Truncate(time.Second).Add(time.Duration(dir) * time.Duration(secs) * time.Second)
		if t.Sub(limit)*time.Duration(dir) > 0 {
			return limit
		}
		return t
	}
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(v)))
}

func readCount(r *binform.Reader) count { return count{readFloat(r), readFloat(r)} }

// readFloat takes a number of rows or of seconds, as appendFloat appends it.
func readFloat(r *binform.Reader) float64 {
	v := float64(math.Float32frombits(r.Uint32()))
	if math.IsNaN(v) || v < 0 || v > math.MaxInt32*1e6 {
		r.Failf("%g is not a number of rows or of seconds", v)
		return 0
	}
	return v
}

// The form of a Density:
//
//	+---------+-----------+------------+-----------------+-------+--------+-------+------+------+----
//	| version | base      | trail      | level           | count | newest | back  | rows | secs | ...      count hours
//	|         | rows secs | rows secs  | counted expected|       |        |       |      |      |
//	+---------+-----------+------------+-----------------+-------+--------+-------+------+------+----
//	   byte     2 floats     2 floats      2 floats       uvarint uvarint  uvarint float  float
//
//	version  1
//	float    a number of rows or of seconds, not negative: IEEE 754, 4 bytes, big-endian
//	newest   the newest hour that was counted, in hours since 1970; 0 if count is 0
//	back     how many hours before newest the hour was
//
// Hours are in the order of their places in the ring. A reader refuses another version.
const densityVersion = 1

var errDensityFormat = errors.New("not a density")

// AppendBinary appends the form of the estimate to dst.
func (d *Density) AppendBinary(dst []byte) []byte {
	dst = append(dst, densityVersion)
	for _, v := range []float64{d.base.rows, d.base.secs, d.trail.rows, d.trail.secs, d.level.counted, d.level.expected} {
		dst = appendFloat(dst, v)
	}
	var n int
	var newest int64
	for _, c := range d.hours {
		if c.secs > 0 {
			n++
			newest = max(newest, c.hour)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendUvarint(dst, uint64(newest))
	for _, c := range d.hours {
		if c.secs > 0 {
			dst = binary.AppendUvarint(dst, uint64(newest-c.hour))
			dst = appendFloat(dst, c.rows)
			dst = appendFloat(dst, c.secs)
		}
	}
	return dst
}

// DecodeDensity reads a form that AppendBinary has written. Numbers have the precision of a float with 24 bits.
func DecodeDensity(b []byte) (*Density, error) {
	r := binform.NewReader(b)
	if v := r.Byte(); v != densityVersion {
		return nil, fmt.Errorf("read density: version %d: %w", v, errDensityFormat)
	}
	d := &Density{base: readCount(&r), trail: readCount(&r)}
	d.level.counted, d.level.expected = readFloat(&r), readFloat(&r)
	n, newest := r.Count(9), int64(r.Uint(2*maxMilli))
	if n > densityHours {
		return nil, fmt.Errorf("read density: %d hours: %w", n, errDensityFormat)
	}
	if n > 0 {
		d.hours = make([]hourCount, densityHours)
	}
	for range n {
		hour := newest - int64(r.Uint(2*maxMilli))
		c := hourCount{readCount(&r), hour}
		if hour < 0 {
			return nil, fmt.Errorf("read density: hour %d: %w", hour, errDensityFormat)
		}
		d.hours[hour%densityHours] = c
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read density: %w", err)
	}
	return d, nil
}
