package poll

import (
	"math"
	"time"

	"agentassist-poller/internal/events"
)

// Tier says that time up to Within old is to be read again at least every Every, budget permitting.
type Tier struct {
	Within, Every time.Duration
}

// Policy is what the plan strives for. Periods are floors: none is undercut, and all are stretched where the budget demands it.
type Policy struct {
	// PerMinute is the account's request budget.
	PerMinute float64
	// Latency is how long a request takes, as measured.
	Latency map[events.Endpoint]time.Duration
	// Tiers are the sweeps of the endpoints that read by the second, the youngest time first. ConversationTiers are
	// those of `conversations`, which can only be read by the day.
	Tiers, ConversationTiers []Tier
	// HotEvery is how often hot rows are read again, at most once a poll interval.
	HotEvery time.Duration
	// CatchUp is how far back a look for new rows begins at the earliest.
	CatchUp time.Duration
	// RecentGap is how old a gap may be and still be filled in the lane of sweeps. Older gaps are history.
	RecentGap time.Duration
	// BusyRate is the rate, in rows a second, from which on a unit is busy. WakeFor is how long it counts as busy after
	// another endpoint saw activity.
	BusyRate float64
	WakeFor  time.Duration
}

// DefaultPolicy returns the policy that holds where nothing else is configured.
func DefaultPolicy() Policy {
	return Policy{
		PerMinute: 60,
		Latency: map[events.Endpoint]time.Duration{
			events.Interactions: time.Second, events.Conversations: 5 * time.Second,
			events.InteractionDetails: time.Second, events.CallDetails: time.Second,
		},
		Tiers: []Tier{
			{15 * time.Minute, time.Minute}, {2 * time.Hour, 5 * time.Minute}, {day, time.Hour}, {7 * day, 12 * time.Hour},
		},
		ConversationTiers: []Tier{{day, 2 * time.Hour}, {7 * day, day}},
		HotEvery:          30 * time.Second,
		CatchUp:           time.Hour,
		RecentGap:         day,
		BusyRate:          4.0 / 3600,
		WakeFor:           10 * time.Minute,
	}
}

func (p *Policy) tiers(e events.Endpoint) []Tier {
	if pagingOf(e).days {
		return p.ConversationTiers
	}
	return p.Tiers
}

// paging is what an endpoint's pages mean for the size of windows.
type paging struct {
	rows int     // on a full page
	fill float64 // rows to aim at where a window must fit on one page
	// onePage is set where a window must fit on one page, because the endpoint does not say whether there is more.
	onePage bool
	// Pages a window, in a look, a sweep, and a read of history: the shorter the pass, the less does one unit hold
	// up another.
	look, chunk, window float64
	maxRange            time.Duration
	days                bool // reads whole days only
}

func pagingOf(e events.Endpoint) paging {
	const week = 7*day - time.Minute // ranges stay below seven days
	switch e {
	case events.Conversations:
		return paging{rows: 20, fill: 14, look: 1, chunk: 1, window: 1, maxRange: day, days: true}
	case events.Interactions:
		return paging{rows: 100, fill: 78, look: 5, chunk: 5, window: 50, maxRange: week}
	default:
		return paging{rows: 100, fill: 76, onePage: true, look: 1, chunk: 1, window: 1, maxRange: week}
	}
}

// windowRows is the number of rows to aim at with a window of so many pages. Where a page must hold them all it is such that
// too full a page, which costs a request, is as rare as makes the fewest requests: for arrivals by chance the optimum
// is flat between 80 and 86 of 100.
func (pg paging) windowRows(pages float64) float64 {
	if pg.onePage {
		return 82
	}
	return pages * float64(pg.rows-1)
}

// requests is what reading a window with so many rows costs.
func (pg paging) requests(rows float64) float64 {
	if pg.onePage {
		return max(1, rows/82)
	}
	return 1 + math.Floor(rows/float64(pg.rows-1))
}
