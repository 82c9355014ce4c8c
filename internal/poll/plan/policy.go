package plan

import (
	"math"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// Tier says that time up to Within old is read again at least every Every, if the budget allows.
type Tier struct {
	Within, Every time.Duration
}

// Policy is what was configured. Periods are floors: the plan undercuts none, and lengthens them if the budget is too small.
type Policy struct {
	// PerMinute is the account's request budget.
	PerMinute float64
	// Latency is how long a request takes, as measured. Concurrency is how many an endpoint may have in flight at the same time; 0 is 1.
	Latency     map[events.Endpoint]time.Duration
	Concurrency map[events.Endpoint]int
	// Tiers are the tiers of the endpoints that can be read by the second, the youngest time first. ConversationTiers are those of
	// `conversations`, which can only be read by the day.
	Tiers, ConversationTiers []Tier
	// Adapt has the plan divide the tiers of a unit and choose their periods by the edits that were seen. The tiers then say how far back
	// sweeps reach, how many requests they get at the most, and how often they come round until enough edits were seen: see refresh.go.
	Adapt bool
	// HotEvery is how often hot rows are read again where polls do not reach them.
	HotEvery time.Duration
	// BackOff has hot rows that have ended be read the less often the longer ago they did, where sweeps are short of requests.
	BackOff bool
	// CatchUp is how far back a poll begins at the earliest.
	CatchUp time.Duration
	// RecentGap is how old a gap may be to be filled with the priority class of sweeps. Older gaps are filled with that of backfills.
	RecentGap time.Duration
	// BusyRate is the rate, in rows a second, from which on a unit is busy.
	BusyRate float64
}

// DefaultPolicy returns the policy for what is not configured.
func DefaultPolicy() Policy {
	return Policy{
		PerMinute:         60,
		Latency:           latencies(),
		Tiers:             []Tier{{2 * time.Hour, 5 * time.Minute}, {timeline.Day, time.Hour}, {7 * timeline.Day, 12 * time.Hour}},
		ConversationTiers: []Tier{{timeline.Day, 2 * time.Hour}, {7 * timeline.Day, timeline.Day}},
		HotEvery:          time.Minute,
		BackOff:           true,
		CatchUp:           time.Hour,
		RecentGap:         timeline.Day,
		BusyRate:          4.0 / 3600,
	}
}

// concurrency returns how many requests an endpoint may have in flight at the same time.
func (p *Policy) concurrency(e events.Endpoint) int { return max(1, p.Concurrency[e]) }

func latencies() map[events.Endpoint]time.Duration {
	out := map[events.Endpoint]time.Duration{}
	for _, e := range events.Endpoints() {
		out[e] = e.Spec().Latency
	}
	return out
}

// TiersOf returns the tiers by which an endpoint is swept, the youngest first.
func (p *Policy) TiersOf(e events.Endpoint) []Tier {
	if pagingOf(e).days {
		return p.ConversationTiers
	}
	return p.Tiers
}

// paging is how large the windows of an endpoint are, by what its pages hold.
type paging struct {
	rows int     // on a full page
	fill float64 // rows to aim at if a window must fit on one page
	// Rows to aim at in a window of a poll, of a sweep, and of a gap or backfill: the shorter a pass, the less one unit delays another.
	poll, chunk, window float64
	// perRequest is how many rows a request brings in such windows.
	perRequest float64
	// longest is the longest time that one query is to ask for, and maxRange the longest window: a day where only whole days
	// can be read. Rows that started within idRange of each other can be asked for by id in one query.
	longest, maxRange, idRange time.Duration
	days                       bool // only whole days can be read
}

const (
	// rangeMargin is how far windows stay below the longest range of the endpoint: passes widen them to whole seconds, and more.
	rangeMargin = time.Minute
	// onePage is how many rows to aim at for the fewest requests if a window must fit on one page: a page that is too full costs a
	// request. For random arrivals the optimum is flat between 80 and 86 of 100.
	onePage = 83
)

// pagings is the paging of each endpoint before anything was learned about it.
var pagings = func() (out events.PerEndpoint[paging]) {
	for _, e := range events.Endpoints() {
		out[e.Index()] = newPaging(&e.Spec().Takes)
	}
	return out
}()

func newPaging(takes *events.Takes) paging {
	pg := paging{rows: takes.Limit, longest: takes.Range - rangeMargin, days: takes.Days}
	pg.maxRange = pg.longest
	rows := float64(takes.Limit)
	switch {
	case takes.Days:
		pg.fill, pg.poll, pg.perRequest, pg.maxRange = 0.7*rows, rows, rows, timeline.Day
		pg.idRange = takes.Range - 3*timeline.Day // of the calendar days that rows start on, in any zone
	case takes.MaxOffset == 0: // pages overlap by a row, and the last one should not be begun for a few rows
		pg.fill, pg.perRequest = 0.78*rows, 0.91*rows
		pg.poll, pg.chunk, pg.window = 5*pg.perRequest, 5*pg.perRequest, 50*(rows-2)
	default: // what one query can show is capped: a window must fit on one page
		pg.fill, pg.perRequest = 0.76*rows, onePage
		pg.poll, pg.chunk, pg.window = onePage, onePage, onePage
	}
	return pg
}

func pagingOf(e events.Endpoint) *paging { return &pagings[e.Index()] }

// paging returns the paging of the endpoint, with what was learned about it.
func (u *Unit) paging() paging {
	pg := *pagingOf(u.Endpoint)
	if n := float64(min(u.WindowPages, maxWindowPages)); u.Endpoint.PerAccount() && n > 2 {
		// Far from the last page that can be read, so that hardly ever a window has to be split.
		pg.window = (n - 1) * 85
		pg.chunk = min(pg.window, 3*85)
		pg.perRequest = 85
	}
	if u.Keyset {
		pg.poll, pg.chunk, pg.window, pg.perRequest = timeline.KeysetRows, 3*timeline.KeysetRows, 8*timeline.KeysetRows, 85
	}
	return pg
}

const maxWindowPages = 10

// requests returns how many requests a window with so many rows is expected to take.
func (pg paging) requests(rows float64) float64 {
	if pg.perRequest == onePage {
		return max(1, rows/onePage)
	}
	return 1 + math.Floor(rows/pg.perRequest)
}
