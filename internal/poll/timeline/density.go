package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"agentassist-poller/internal/binform"
)

// Density estimates how many rows of one endpoint and bot start in a stretch of time. It sizes windows and predicts what
// they cost; nothing else depends on it, so a wrong estimate costs requests, never rows.
//
// Rows are counted by the hour for the last eight days read. An hour not read yet is expected to be like the same hour of the
// days before, scaled by how the last rows compared with what was expected of them; where no such hour was
// read, like the rows last read.
//
// The zero Density knows nothing and expects a page's worth of rows in an hour. It is not safe for concurrent use.
type Density struct {
	hours []hourCount // by hour modulo densityHours; nil until a row was seen
	base  count       // all time read, older time fading
	trail count       // the rows last read for the first time
	// level compares the rows last read for the first time with what the days before let expect.
	level struct{ seen, expected float64 }
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
	// Older time fades from base after baseSecs, rows from trail and level after fadeRows. Below sureRows a comparison says
	// little.
	baseSecs, fadeRows, sureRows = 14 * 24 * hourSecs, 300, 60
	// An hour read in part is completed by partSecs of what was expected of it.
	partSecs = 600
	// What is expected before anything was read.
	priorRows, priorSecs = 1, 42
)

// Observe records that a complete read of span showed rows that start at these times. Those outside of span are ignored. A
// span that was chosen for the rows in it, as those of hot rows are, says nothing of how dense rows are: see Work.Sample.
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

// learn compares what was read for the first time with what was expected of it.
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
		d.level.seen = d.level.seen*fade + rows*based/secs
		d.level.expected = d.level.expected*fade + expected
	}
}

// add counts rows, and lets the older ones fade once more than memory seconds are counted.
func (c *count) add(rows, secs, memory float64) {
	c.rows, c.secs = c.rows+rows, c.secs+secs
	if over := c.secs / memory; over > 1 {
		c.rows, c.secs = c.rows/over, c.secs/over
	}
}

// eachHour calls f for every hour that span touches, with the seconds of it that lie in span. Of a span longer than what
// is remembered only the end is looked at.
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

// overall is the rate of all time read, in rows a second.
func (d *Density) overall() float64 {
	return (d.base.rows + priorRows) / (d.base.secs + priorSecs)
}

// daysBefore adds up the same hour of the seven days before, as far as it was read.
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

// rate is the rate of an hour in rows a second: what was counted in it, completed by what was to be expected.
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
		level := (d.level.seen + sureRows) / (d.level.expected + sureRows)
		expect = (c.rows + d.overall()*partSecs) / (c.secs + partSecs) * min(max(level, 0.1), 10)
	}
	return (have.rows + expect*partSecs) / (have.secs + partSecs)
}

// Rate returns the rows a second to be expected around t. Within an hour not read yet it moves from that of the hour before to
// that of the hour after.
func (d *Density) Rate(t time.Time) float64 {
	if d.hours == nil || t.Unix() < 0 {
		return d.overall()
	}
	hour, into := t.Unix()/hourSecs, float64(t.Unix()%hourSecs)/hourSecs
	rate := d.rate(hour)
	if c := d.hour(hour); c != nil && c.secs >= hourSecs {
		return rate
	}
	if into < 0.5 {
		return rate*(0.5+into) + d.rate(hour-1)*(0.5-into)
	}
	return rate*(1.5-into) + d.rate(hour+1)*(into-0.5)
}

// Rows returns the number of rows to be expected in span.
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

// Ahead returns the time at which that many rows are to be expected since from, at most limit. It is a whole second and later
// than from unless limit is not.
func (d *Density) Ahead(from, limit time.Time, rows float64) time.Time {
	return d.walk(from, limit, rows, 1)
}

// Back returns the time since which that many rows are to be expected until to, at least limit. It is a whole second.
func (d *Density) Back(to, limit time.Time, rows float64) time.Time {
	return d.walk(to, limit, rows, -1)
}

// Cut returns the first part of span, or the last, if it is to be read in equal parts of about so many rows.
func (d *Density) Cut(span Span, rows float64, last bool) Span {
	all := d.Rows(span)
	parts := math.Ceil(all/rows - 0.15) // a part is rather a little too large than another one needed
	switch {
	case parts <= 1:
	case last:
		span.From = d.Back(span.To, span.From, all/parts)
	default:
		span.To = d.Ahead(span.From, span.To, all/parts)
	}
	return span
}

// walk goes from t towards limit, ten minutes at a time, until that many rows were passed.
func (d *Density) walk(t, limit time.Time, rows float64, dir int64) time.Time {
	const step = 600
	for {
		remain := limit.Sub(t).Seconds() * float64(dir)
		if remain <= 0 {
			return limit
		}
		secs := remain
		if d.hours != nil {
			into := t.Unix() % step
			if dir < 0 {
				into = (step - into) % step
			}
			secs = min(secs, float64(step-into))
		}
		rate := d.Rate(t.Add(time.Duration(dir) * time.Duration(secs/2*float64(time.Second))))
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

// readFloat takes what appendFloat appends: a number of rows or of seconds.
func readFloat(r *binform.Reader) float64 {
	v := float64(math.Float32frombits(r.Uint32()))
	if math.IsNaN(v) || v < 0 || v > math.MaxInt32*1e6 {
		r.Failf("%g is no number of rows or seconds", v)
		return 0
	}
	return v
}

const densityVersion = 1

var errDensityFormat = errors.New("not a density")

// AppendBinary appends the estimate in a compact form of its own to dst.
func (d *Density) AppendBinary(dst []byte) []byte {
	dst = append(dst, densityVersion)
	for _, v := range []float64{d.base.rows, d.base.secs, d.trail.rows, d.trail.secs, d.level.seen, d.level.expected} {
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

// DecodeDensity reads what AppendBinary wrote.
func DecodeDensity(b []byte) (*Density, error) {
	r := binform.NewReader(b)
	if v := r.Byte(); v != densityVersion {
		return nil, fmt.Errorf("read density: version %d: %w", v, errDensityFormat)
	}
	d := &Density{base: readCount(&r), trail: readCount(&r)}
	d.level.seen, d.level.expected = readFloat(&r), readFloat(&r)
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
