package poll

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/plan"
	"agentassist-poller/internal/poll/timeline"
	"agentassist-poller/internal/status"
)

// Forecast says what an account's budget allows at a steady volume: by the plan that a running poller would derive if it had read a week
// without gaps.
type Forecast struct {
	Account        string             `json:"account"`
	SegmentsPerDay float64            `json:"segments_per_day"`
	Budget         int                `json:"requests_per_minute"`
	Spent          map[string]float64 `json:"spent_per_minute"` // by priority class
	Endpoints      []EndpointForecast `json:"endpoints"`
	// FollowEdits says that sweeps follow edits. Their figures are then those of an account that has not seen enough of them.
	FollowEdits bool `json:"sweeps_follow_edits"`
}

// EndpointForecast is about one endpoint. If the endpoint is read for each bot, it is about the bot that is read least often.
type EndpointForecast struct {
	Endpoint            events.Endpoint `json:"endpoint"`
	Units               int             `json:"units"` // bots; 1 if the endpoint is read once for the account
	Poll                status.Seconds  `json:"poll_interval_seconds"`
	PollActual          status.Seconds  `json:"poll_interval_actual_seconds"`
	LongestPollInterval status.Seconds  `json:"longest_poll_interval_seconds"`
	// Hot is how often rows are read again that are open, or ended a moment ago, HotEnded how often those that ended half an hour ago.
	Hot      status.Seconds  `json:"hot_seconds"`
	HotEnded status.Seconds  `json:"hot_ended_seconds"`
	Sweeps   []SweepForecast `json:"sweeps"`
	// Concurrency is how many requests may be in flight at the same time, Latency how long one is taken to take.
	Concurrency int            `json:"concurrency"`
	Latency     status.Seconds `json:"request_seconds"`
	// What keeps the figures from being lower: configured, in-flight or budget.
	PollBound  string `json:"poll_interval_bound_by"`
	HotBound   string `json:"hot_bound_by"`
	SweepBound string `json:"sweeps_bound_by"`
}

// SweepForecast says within what time an edit to a row up to Within old is read.
type SweepForecast struct {
	Within status.Seconds `json:"within_seconds"`
	Every  status.Seconds `json:"every_seconds"` // configured, or aimed at until enough edits were seen
	Seen   status.Seconds `json:"seen_within_seconds"`
}

// forecastTalk is the assumed length of a conversation, for the size of the hot set.
const forecastTalk = 10 * time.Minute

// NewForecast derives the plan for a volume that is divided evenly among the bots. It uses only what is configured of the options.
func NewForecast(o Options, segmentsPerDay float64) *Forecast {
	now := time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC) // any day: the volume is steady
	var units []*plan.Unit
	for _, e := range events.Endpoints() {
		opts, ok := o.Endpoints[e]
		if !ok {
			continue
		}
		bots, perDay := len(o.Bots), segmentsPerDay/float64(max(1, len(o.Bots)))
		if e.PerAccount() {
			bots, perDay = 1, segmentsPerDay
		}
		for i := range bots {
			units = append(units, steadyUnit(e, fmt.Sprint(i), opts.PollInterval, perDay, now))
		}
	}
	policy := o.Policy
	policy.PerMinute, policy.Concurrency = float64(o.RequestsPerMinute), map[events.Endpoint]int{}
	for e, settings := range o.Endpoints {
		policy.Concurrency[e] = settings.Concurrency
	}
	p := plan.Derive(units, now, policy)
	f := &Forecast{
		Account: o.Name, SegmentsPerDay: segmentsPerDay, Budget: o.RequestsPerMinute, Spent: map[string]float64{}, FollowEdits: policy.Adapt,
	}
	for class, perMinute := range p.Demand() {
		f.Spent[plan.Priority(class).String()] = perMinute
	}
	for i, u := range units {
		c := &p.Units[i]
		n := len(f.Endpoints)
		if n == 0 || f.Endpoints[n-1].Endpoint != u.Endpoint {
			f.Endpoints = append(f.Endpoints, EndpointForecast{
				Endpoint: u.Endpoint, Poll: status.Seconds(u.PollInterval),
				Concurrency: max(1, policy.Concurrency[u.Endpoint]), Latency: status.Seconds(policy.Latency[u.Endpoint]),
				PollBound: c.PollBound.String(), HotBound: c.HotBound.String(), SweepBound: c.SweepBound.String(),
			})
			n++
		}
		e := &f.Endpoints[n-1]
		e.Units++
		e.PollActual = max(e.PollActual, status.Seconds(c.Poll))
		e.LongestPollInterval = max(e.LongestPollInterval, status.Seconds(c.LongestPollInterval))
		e.Hot, e.HotEnded = max(e.Hot, status.Seconds(c.Hot)), max(e.HotEnded, status.Seconds(c.HotAgain(hotFor)))
		for k, t := range policy.Stated(u.Endpoint, c) {
			if k == len(e.Sweeps) {
				e.Sweeps = append(e.Sweeps, SweepForecast{Within: status.Seconds(t.Within), Every: status.Seconds(t.Every)})
			}
			e.Sweeps[k].Seen = max(e.Sweeps[k].Seen, status.Seconds(t.Seen))
		}
	}
	return f
}

// steadyUnit returns a unit that had the same volume every day of a week, all of it read.
func steadyUnit(e events.Endpoint, bot string, interval time.Duration, perDay float64, now time.Time) *plan.Unit {
	u := &plan.Unit{Endpoint: e, PollInterval: interval, Start: now.Add(-7 * timeline.Day), Read: &timeline.Set{}, Density: &timeline.Density{}, LastPoll: now}
	if !e.PerAccount() {
		u.Bot = bot
	}
	var starts []time.Time
	if perDay > 0 {
		for t := u.Start; t.Before(now); t = t.Add(time.Duration(float64(timeline.Day) / perDay)) {
			starts = append(starts, t)
		}
	}
	u.Density.Observe(timeline.Span{From: u.Start, To: now}, starts)
	u.Read.Mark(u.Start, now, now)
	for i := len(starts) - 1; i >= 0 && starts[i].After(now.Add(-forecastTalk-hotFor)) && len(u.Hot) < maxHot; i-- {
		ref := plan.HotRef{ID: fmt.Sprint(i), Start: starts[i], Read: now}
		if end := starts[i].Add(forecastTalk); end.Before(now) {
			ref.End = end
		}
		u.Hot = append(u.Hot, ref)
	}
	return u
}

// Print writes the forecast as a table, with the figures for twice the budget in brackets, and what to change where the configured ones are
// not attained.
func (f *Forecast) Print(w io.Writer, double *Forecast) error {
	fmt.Fprintf(w, "%s: %.0f segments a day, %d requests a minute (in brackets: with %d)\n", f.Account, f.SegmentsPerDay, f.Budget, double.Budget)
	fmt.Fprintln(w, "Behind each figure: what keeps it from being lower.")
	if f.FollowEdits {
		fmt.Fprintln(w, "Sweeps follow edits. The figures hold until enough were seen; then periods change, for the same requests, but\n"+
			"none is aimed at longer than four times its default, nor than the longest default.")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	both := func(a, b status.Seconds) string { return fmt.Sprintf("%s (%s)", round(a), round(b)) }
	for i, e := range f.Endpoints {
		d := double.Endpoints[i]
		of := ""
		if e.Units > 1 {
			of = fmt.Sprintf(", for each of %d bots at worst", e.Units)
		}
		fmt.Fprintf(t, "\n%s%s\t\t\n", e.Endpoint, of)
		fmt.Fprintf(t, "  new rows are polled every\t%s\t%s\n", both(e.PollActual, d.PollActual), f.bound(&e, e.PollBound, round(e.Poll)))
		fmt.Fprintf(t, "  no two polls are further apart than\t%s\t\n", both(e.LongestPollInterval, d.LongestPollInterval))
		fmt.Fprintf(t, "  rows that are open, or ended a moment ago, are read again every\t%s\t%s\n", both(e.Hot, d.Hot), f.bound(&e, e.HotBound, ""))
		left := ""
		if e.HotEnded > e.Hot {
			left = "what is left to sweeps, which are short of requests"
		}
		fmt.Fprintf(t, "  rows that ended %s ago, every\t%s\t%s\n", round(status.Seconds(hotFor)), both(e.HotEnded, d.HotEnded), left)
		for k, s := range e.Sweeps {
			fmt.Fprintf(t, "  an edit to a row up to %s old is read within\t%s\t%s\n", round(s.Within), both(s.Seen, d.Sweeps[k].Seen),
				f.sweepBound(&e, round(s.Every)))
		}
	}
	fmt.Fprintf(t, "\nrequests a minute\t\t\n")
	all, allDouble := 0.0, 0.0
	for class := range plan.PriorityCount {
		name := class.String()
		all, allDouble = all+f.Spent[name], allDouble+double.Spent[name]
		fmt.Fprintf(t, "  %s\t%.1f (%.1f)\t%s\n", name, f.Spent[name], double.Spent[name], spentOn[class])
	}
	fmt.Fprintf(t, "  together\t%.1f (%.1f)\tof %d (%d)\n\n", all, allDouble, f.Budget, double.Budget)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, strings.Join(f.advice(), "\n"))
	return err
}

// spentOn says what the requests of a priority class are for.
var spentOn = map[plan.Priority]string{
	plan.PriorityTail: "new rows", plan.PriorityHot: "rows that are open or ended a short while ago, again", plan.PrioritySweep: "older rows again, for late edits",
	plan.PriorityBackfill: "spans that somebody asks for, and gaps",
}

// advice says whether what is configured, or aimed at, is attained, and if not what to change. More requests in flight come first: they cost
// nothing.
func (f *Forecast) advice() []string {
	var waiting, short []string
	for i := range f.Endpoints {
		e := &f.Endpoints[i]
		bounds := []string{e.PollBound, e.HotBound}
		if len(e.Sweeps) > 0 {
			bounds = append(bounds, e.SweepBound)
		}
		switch {
		case slices.Contains(bounds, plan.BoundInFlight.String()):
			waiting = append(waiting, fmt.Sprintf("  raise concurrency of %s above %d: its requests wait for each other, not for the budget", e.Endpoint, e.Concurrency))
		case slices.Contains(bounds, plan.BoundBudget.String()):
			short = append(short, string(e.Endpoint))
		}
	}
	if len(short) > 0 {
		waiting = append(waiting, fmt.Sprintf("  raise requests_per_minute above %d, if Kore.ai grants more, or have fewer requests: a longer poll_interval, longer sweeps,\n"+
			"  fewer bots or endpoints; the budget bounds %s", f.Budget, strings.Join(short, ", ")))
	}
	if len(waiting) == 0 {
		return []string{"All that is configured or aimed at is attained."}
	}
	return append([]string{"Not all that is configured or aimed at is attained. To change that:"}, waiting...)
}

// sweepBound says what keeps the figure of a sweep from being lower.
func (f *Forecast) sweepBound(e *EndpointForecast, every string) string {
	switch {
	case !f.FollowEdits:
		return f.bound(e, e.SweepBound, every)
	case e.SweepBound == plan.BoundConfigured.String():
		return "what is aimed at, " + every
	}
	return f.bound(e, e.SweepBound, "") + "; aimed at " + every
}

// bound says what keeps a figure from being lower, and what was configured, if anything was.
func (f *Forecast) bound(e *EndpointForecast, by, configured string) string {
	switch by {
	case plan.BoundBudget.String():
		by = fmt.Sprintf("the budget of %d requests a minute", f.Budget)
	case plan.BoundInFlight.String():
		by = fmt.Sprintf("%d in flight, a request takes %s", e.Concurrency, round(e.Latency))
		if e.Concurrency == 1 {
			by = "one request at a time, which takes " + round(e.Latency)
		}
	case plan.BoundConfigured.String():
		if by = "what is configured"; configured != "" {
			return by + ", " + configured
		}
		return by
	}
	if configured != "" {
		by += "; configured " + configured
	}
	return by
}

func round(s status.Seconds) string {
	d := time.Duration(s)
	switch {
	case d >= 48*time.Hour:
		return tenths(d.Hours()/24) + "d"
	case d >= time.Hour:
		return tenths(d.Hours()) + "h"
	case d >= time.Minute:
		return tenths(d.Minutes()) + "m"
	}
	return fmt.Sprintf("%.0fs", d.Seconds())
}

// tenths writes a number to the tenth, and a whole one without.
func tenths(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}
