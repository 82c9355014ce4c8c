package app

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/status"
)

//go:embed httpd_page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago":      ago,
	"since":    func(now, t time.Time) string { return short(now.Sub(t)) },
	"duration": func(s any) string { return short(asDuration(s)) },
	"optional": optional,
	"clock":    clock,
	"count":    func(n any) string { return group(fmt.Sprint(n)) },
	"bytes":    bytesOf,
	"events":   eventCounts,
	"timeline": newTimeline,
	"percent":  func(share float64) string { return strconv.Itoa(int(share*100+0.5)) + "%" },
	"share":    share,
}).Parse(pageSource))

// page is what the template is given: the status, and what a person wants to know first.
type page struct {
	status.Status
	Headline string
	Trouble  []*trouble
}

// writePage renders completely before it writes, so that a failure does not leave half a page.
func writePage(w io.Writer, s status.Status) error {
	p := page{Status: s, Trouble: troubles(s)}
	total, waiting := 0, 0
	for _, a := range s.Accounts {
		total += len(a.Endpoints)
		for _, e := range a.Endpoints {
			if e.State == status.Waiting {
				waiting++
			}
		}
	}
	switch {
	case len(p.Trouble) == 1:
		p.Headline = "One problem"
	case len(p.Trouble) > 1:
		p.Headline = fmt.Sprintf("%d problems", len(p.Trouble))
	case s.State == status.Waiting:
		p.Headline = fmt.Sprintf("Waiting: %d of %s", waiting, plural(total, "endpoint"))
	default:
		p.Headline = fmt.Sprintf("All well: %s", plural(total, "endpoint"))
	}
	var buf bytes.Buffer
	if err := pageTemplate.Execute(&buf, p); err != nil {
		return err
	}
	_, err := buf.WriteTo(w)
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(int64(n)) + " " + what + "s"
}

func ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return short(now.Sub(*t)) + " ago"
}

// clock takes a time or a pointer to one, which may be nil.
func clock(t any) string {
	switch t := t.(type) {
	case time.Time:
		return t.UTC().Format("2006-01-02 15:04:05")
	case *time.Time:
		if t != nil {
			return clock(*t)
		}
	}
	return "–"
}

func optional(s *status.Seconds) string {
	if s == nil {
		return "–"
	}
	return short(time.Duration(*s))
}

// asDuration takes seconds or a pointer to them that is not nil.
func asDuration(s any) time.Duration {
	if p, ok := s.(*status.Seconds); ok {
		return time.Duration(*p)
	}
	return time.Duration(s.(status.Seconds))
}

// short writes a duration with its two largest units, as precise as a person wants it.
func short(d time.Duration) string {
	if d < 0 {
		return "-" + short(-d)
	}
	day := 24 * time.Hour
	switch {
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	case d < 2*time.Minute && d%time.Minute != 0:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	case d < time.Hour:
		return twoUnits(d.Round(time.Second), time.Minute, "min", time.Second, "s", 10*time.Minute)
	case d < 2*day && d%day != 0:
		return twoUnits(d.Round(time.Minute), time.Hour, "h", time.Minute, "min", 12*time.Hour)
	}
	return twoUnits(d.Round(time.Hour), day, "d", time.Hour, "h", 10*day)
}

// twoUnits leaves the small unit out where it is nothing, or where d is so long that it does not matter.
func twoUnits(d, large time.Duration, largeName string, small time.Duration, smallName string, enough time.Duration) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 && d < enough {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

func bytesOf(n int64) string {
	const kib = 1 << 10
	switch {
	case n < kib:
		return fmt.Sprintf("%d B", n)
	case n < kib*kib:
		return fmt.Sprintf("%.1f KiB", float64(n)/kib)
	case n < kib*kib*kib:
		return fmt.Sprintf("%.1f MiB", float64(n)/(kib*kib))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(kib*kib*kib))
}

func count(n int64) string { return group(strconv.FormatInt(n, 10)) }

// group sets the digits of a number apart by threes.
func group(digits string) string {
	var b strings.Builder
	for i, c := range digits {
		if rest := len(digits) - i; i > 0 && rest%3 == 0 && digits[i-1] != '-' {
			b.WriteString("\u202f")
		}
		b.WriteRune(c)
	}
	return b.String()
}

func eventCounts(events map[string]int64) string {
	if len(events) == 0 {
		return "none yet"
	}
	parts := make([]string, 0, len(events))
	for _, name := range slices.Sorted(maps.Keys(events)) {
		parts = append(parts, name+" "+count(events[name]))
	}
	return strings.Join(parts, ", ")
}

// share is a whole percentage for the width of a bar.
func share(part, whole int) int {
	if whole <= 0 {
		return 0
	}
	return min(100, part*100/whole)
}
