package app

import (
	"bytes"
	"cmp"
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
	"ago":       ago,
	"since":     func(now, t time.Time) string { return short(now.Sub(t)) },
	"duration":  func(s any) string { return short(asDuration(s)) },
	"optional":  optional,
	"clock":     clock,
	"at":        at,
	"unstated":  unstated,
	"boundBy":   boundBy,
	"count":     func(n any) string { return group(fmt.Sprint(n)) },
	"bytes":     bytesOf,
	"events":    countsOf,
	"timeline":  newTimeline,
	"percent":   func(share float64) string { return strconv.Itoa(int(share*100+0.5)) + "%" },
	"budgetBar": budgetBar,
}).Parse(pageSource))

// page is what the template is given: the status, and what a person wants to know first.
type page struct {
	status.Status
	Refresh  int // seconds
	Headline string
	Tone     status.State
	Troubles []*trouble // what is red, then what is to be looked at
	Red      int
	Figures  []figure
}

// refreshEvery is how often the page reloads itself, unless HTTPOptions say otherwise.
const refreshEvery = 5 * time.Second

// writePage renders completely before it writes, so that a failure does not leave half a page.
func writePage(w io.Writer, s status.Status, refresh time.Duration) error {
	red, look := troubles(s), warnings(s)
	p := page{
		Status: s, Refresh: int(cmp.Or(refresh, refreshEvery) / time.Second), Tone: s.State,
		Troubles: slices.Concat(red, look), Red: len(red), Figures: figures(s),
	}
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
	case len(red) > 0:
		p.Headline = plural(len(red), "problem")
	case s.State == status.Waiting:
		p.Headline = fmt.Sprintf("Waiting: %d of %s", waiting, plural(total, "endpoint"))
	case len(look) > 0:
		p.Headline, p.Tone = fmt.Sprintf("Nothing fails: %s", plural(total, "endpoint")), status.Waiting
	case total == 0 && len(s.Accounts) > 0:
		p.Headline = "All well: other instances read all accounts"
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
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return count(int64(n)) + " " + what + "s"
}

func ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return short(now.Sub(*t)) + " ago"
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// at takes a time or a pointer to one that is not nil, and leaves out the date of today.
func at(now time.Time, t any) string {
	if p, ok := t.(*time.Time); ok {
		return at(now, *p)
	}
	text := clock(t.(time.Time))
	return strings.TrimPrefix(text, now.UTC().Format("2006-01-02 "))
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
		return strings.Replace("-"+short(-d), "-0 s", "0 s", 1)
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

func countsOf(things map[string]int64) string {
	if len(things) == 0 {
		return "none yet"
	}
	parts := make([]string, 0, len(things))
	for _, name := range slices.Sorted(maps.Keys(things)) {
		parts = append(parts, name+" "+count(things[name]))
	}
	return strings.Join(parts, ", ")
}

// boundBy says what keeps a period from being shorter; empty where the configuration does, or nothing is planned yet.
func boundBy(what string) string {
	switch what {
	case "budget":
		return "the budget allows no more"
	case "in-flight":
		return "its requests in flight allow no more"
	}
	return ""
}

// unstated says why the events of an endpoint are not declared complete up to any time.
func unstated(e status.Endpoint) string {
	switch {
	case e.State.Red():
		return "it fails"
	case e.Waiting != nil:
		return "it waits"
	case e.FirstRead != nil:
		return "its first read has not ended"
	case e.ReadThrough == nil:
		return "nothing has been read"
	}
	return "what was read may still gain rows"
}

// budgetBar returns the parts of a bar that is as wide as the budget: what each priority class took.
func budgetBar(b status.Budget) (parts []part) {
	x := 0.0
	for i, c := range b.PriorityClasses {
		if c.Used > 0 {
			w := min(1000*float64(c.Used)/float64(max(b.Limit, b.Used)), 1000-x)
			parts = append(parts, part{fmt.Sprint("u", i), x, w, c.Name + " " + strconv.Itoa(c.Used)})
			x += w
		}
	}
	return parts
}
