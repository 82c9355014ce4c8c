package poll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Density estimates how many rows of one endpoint and bot start in a stretch of time. It sizes windows and predicts what
// they cost; nothing else depends on it, so a wrong estimate costs requests, never rows.
//
// Rows are counted by the hour for the last eight days read. An hour not read yet is expected to be like the same hour of the
// days before, the same weekday first, scaled by how the last hours compared with what was expected of them.
//
// The zero Density knows nothing and expects a row now and then. It is not safe for concurrent use.
type Density struct {
	hours []hourCount // by hour modulo densityHours; nil until a row was seen
	base  count       // all hours, older ones fading
	// seen and expected rows of the hours most recently read for the first time.
	seen, expected float64
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
	// An hour read for less than this is still estimated in part from its neighbours.
	knownSecs = 600
	// baseSecs is the memory of the overall rate, levelRows that of the comparison with what was expected.
	baseSecs, levelRows = 14 * 24 * hourSecs, 300
	// Before anything was read a page's worth of rows is expected in an hour.
	priorRows, priorSecs = 1, 42
)

// Observe records that a complete read of span showed that many rows.
func (d *Density) Observe(span Span, rows int) {
	secs := span.To.Sub(span.From).Seconds()
	if secs <= 0 {
		return
	}
	if d.hours == nil && rows > 0 {
		d.hours = make([]hourCount, densityHours)
		// What was read until now was empty: that stays in base only.
	}
	var known, expected float64
	rate := float64(rows) / secs
	d.eachHour(span, func(hour int64, part float64) {
		if c := d.hour(hour); c != nil && c.secs >= knownSecs {
			known += part
		}
		expected += part * d.profile(hour)
	})
	if known < secs/2 {
		d.seen, d.expected = d.seen+float64(rows), d.expected+expected
		if over := d.seen / levelRows; over > 1 {
			d.seen, d.expected = d.seen/over, d.expected/over
		}
	}
	d.base.add(float64(rows), secs, baseSecs)
	if d.hours == nil {
		return
	}
	d.eachHour(span, func(hour int64, part float64) {
		c := &d.hours[hour%densityHours]
		if c.hour != hour {
			*c = hourCount{hour: hour}
		}
		c.add(rate*part, part, 2*hourSecs)
	})
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
	if first := span.To.Add(-densityHours * time.Hour); from.Before(first) {
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

// profile is the rate to expect of an hour by the same hour of other days.
func (d *Density) profile(hour int64) float64 {
	sum := count{d.overall() * hourSecs / 2, hourSecs / 2}
	for back := int64(1); back <= 7; back++ {
		weight := 1.0
		if back == 7 {
			weight = 3
		}
		if c := d.hour(hour - 24*back); c != nil {
			sum.rows, sum.secs = sum.rows+weight*c.rows, sum.secs+weight*c.secs
		}
	}
	return sum.rows / sum.secs
}

// rate is the rate of an hour in rows a second: what was counted in it, completed by what was to be expected.
func (d *Density) rate(hour int64) float64 {
	c := d.hour(hour)
	if c == nil {
		c = &hourCount{}
	}
	if c.secs >= 2*knownSecs {
		return c.rows / c.secs
	}
	const sureRows = 20 // below this many rows compared, the comparison says little
	level := (d.seen + sureRows) / (d.expected + sureRows)
	level = min(max(level, 0.2), 5)
	return (c.rows + d.profile(hour)*level*knownSecs) / (c.secs + knownSecs)
}

// Rate returns the rows a second to be expected around t.
func (d *Density) Rate(t time.Time) float64 {
	return d.rate(max(0, t.Unix()) / hourSecs)
}

// Rows returns the number of rows to be expected in span.
func (d *Density) Rows(span Span) float64 {
	if d.hours == nil {
		return d.overall() * max(0, span.To.Sub(span.From).Seconds())
	}
	var sum, secs float64
	d.eachHour(span, func(hour int64, part float64) {
		sum, secs = sum+part*d.rate(hour), secs+part
	})
	return sum + d.overall()*max(0, span.To.Sub(span.From).Seconds()-secs)
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

// walk goes from t towards limit until that many rows were passed.
func (d *Density) walk(t, limit time.Time, rows float64, dir int64) time.Time {
	for left := rows; ; {
		remain := limit.Sub(t).Seconds() * float64(dir)
		if remain <= 0 {
			return limit
		}
		hour, into := t.Unix()/hourSecs, float64(t.Unix()%hourSecs)
		secs := hourSecs - into
		if dir < 0 {
			if secs = into; secs == 0 {
				hour, secs = hour-1, hourSecs
			}
		}
		rate := d.overall()
		if d.hours != nil {
			rate = d.rate(hour)
		} else {
			secs = remain
		}
		if secs = min(secs, remain); rate*secs < left {
			left -= rate * secs
			t = t.Add(time.Duration(float64(dir) * secs * float64(time.Second)))
			continue
		}
		secs = max(math.Floor(left/rate), 1)
		t = t.Truncate(time.Second).Add(time.Duration(dir) * time.Duration(secs) * time.Second)
		if t.Sub(limit)*time.Duration(dir) > 0 {
			return limit
		}
		return t
	}
}

const densityVersion = 1

var errDensityFormat = errors.New("not a density")

// AppendBinary appends the estimate in a compact form of its own to dst.
func (d *Density) AppendBinary(dst []byte) []byte {
	dst = append(dst, densityVersion)
	for _, v := range []float64{d.base.rows, d.base.secs, d.seen, d.expected} {
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
	dec := decoder{b: b}
	if v := dec.byte(); v != densityVersion {
		return nil, fmt.Errorf("read density: version %d: %w", v, errDensityFormat)
	}
	d := &Density{base: count{dec.float(), dec.float()}, seen: dec.float(), expected: dec.float()}
	n, newest := dec.count(9), dec.size()
	if n > densityHours {
		return nil, fmt.Errorf("read density: %d hours: %w", n, errDensityFormat)
	}
	if n > 0 {
		d.hours = make([]hourCount, densityHours)
	}
	for range n {
		hour := newest - dec.size()
		c := hourCount{count{dec.float(), dec.float()}, hour}
		if hour < 0 {
			return nil, fmt.Errorf("read density: hour %d: %w", hour, errDensityFormat)
		}
		d.hours[hour%densityHours] = c
	}
	if err := dec.done(); err != nil {
		return nil, fmt.Errorf("read density: %w", err)
	}
	return d, nil
}
