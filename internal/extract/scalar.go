package extract

import (
	"math"
	"strconv"
	"strings"
	"time"
)

func parseInteger(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func parseNumber(s string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func parseBoolean(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "yes", "y", "1":
		return true, true
	case "false", "no", "n", "0":
		return false, true
	}
	return false, false
}

// parseTime reads the forms in which upstream writes times: RFC 3339 with or without fraction and zone, with a space for
// the T, with an hour of one digit, a date alone, and the epoch in milliseconds or seconds. What has no zone is UTC, which
// is what the requests ask for. Times are cut to milliseconds.
func parseTime(s string) (time.Time, bool) {
	if len(s) < 5 || s[4] != '-' {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return time.Time{}, false
		}
		return fromEpoch(n)
	}
	p := timeParser{rest: s}
	year := p.digits(4, 4)
	p.expect("-")
	month := p.digits(1, 2)
	p.expect("-")
	day := p.digits(1, 2)
	var hour, minute, second, milli int
	if p.rest != "" {
		p.expect("Tt ")
		hour = p.digits(1, 2)
		p.expect(":")
		minute = p.digits(2, 2)
		if p.accept(":") {
			second = p.digits(2, 2)
		}
		if p.accept(".,") {
			milli = p.fraction()
		}
	}
	zone := p.zone()
	if p.failed || p.rest != "" || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, milli*int(time.Millisecond), time.UTC)
	if day > 28 && t.Day() != day && second < 60 { // 31 February
		return time.Time{}, false
	}
	return t.Add(-zone), plausible(t)
}

// Epochs below this are seconds: as milliseconds they would lie in 1973, as seconds they reach to the year 5138.
const firstMillisecond = 1e11

func fromEpoch(n float64) (time.Time, bool) {
	if n < firstMillisecond {
		n *= 1000
	}
	if !(n > 0 && n < 1e14) {
		return time.Time{}, false
	}
	t := time.UnixMilli(int64(n)).UTC()
	return t, plausible(t)
}

// plausible refuses the zero times of various systems, and years that no consumer can represent: all but 1971 to 2999.
func plausible(t time.Time) bool {
	const first, end = 365 * 24 * 3600, 32503680000
	return t.Unix() >= first && t.Unix() < end
}

type timeParser struct {
	rest   string
	failed bool
}

func (p *timeParser) accept(any string) bool {
	if p.rest == "" || strings.IndexByte(any, p.rest[0]) < 0 {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *timeParser) expect(any string) { p.failed = !p.accept(any) || p.failed }

func (p *timeParser) digits(atLeast, atMost int) int {
	n, i := 0, 0
	for i < atMost && i < len(p.rest) && p.rest[i]-'0' <= 9 {
		n = n*10 + int(p.rest[i]-'0')
		i++
	}
	p.failed = p.failed || i < atLeast
	p.rest = p.rest[i:]
	return n
}

// fraction returns the milliseconds of a fraction of any length.
func (p *timeParser) fraction() int {
	milli, i := 0, 0
	for scale := 100; i < len(p.rest) && p.rest[i]-'0' <= 9; i++ {
		milli += int(p.rest[i]-'0') * scale
		scale /= 10
	}
	p.failed = p.failed || i == 0
	p.rest = p.rest[i:]
	return milli
}

func (p *timeParser) zone() time.Duration {
	if p.accept("Zz") || p.rest == "" {
		return 0
	}
	p.accept(" ")
	west := p.accept("-")
	if !west {
		p.expect("+")
	}
	hours := p.digits(2, 2)
	p.accept(":")
	minutes := p.digits(2, 2)
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if west {
		return -offset
	}
	return offset
}
