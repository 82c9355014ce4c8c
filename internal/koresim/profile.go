package koresim

import (
	"slices"
	"time"

	"agentassist-poller/internal/events"
)

// IDFilter says what the conversations endpoint makes of conversationIds.
type IDFilter int

const (
	IDsAsArray  IDFilter = iota // honoured as an array, a string is ignored
	IDsAsString                 // honoured as a comma-separated string, an array is refused
	IDsIgnored                  // documented and without effect
)

// Profile is one consistent answer to everything that is not known about the real API.
type Profile struct {
	Name  string
	About string // what a person may want to know before choosing it

	// OffsetInRecords: offset on the analytics endpoints counts records, else pages.
	OffsetInRecords bool
	// LimitPerList: bot-only sessions and conversations are limited each by themselves, so that a page may hold twice the limit.
	LimitPerList bool
	// Descending lists per endpoint: newest first. On the analytics endpoints it is about the second list, conversations.
	Descending map[events.Endpoint]bool
	// FilterOnEnd: interactions and the analytics endpoints select rows by their end (their last activity while open), else by their start.
	FilterOnEnd map[events.Endpoint]bool
	// WholeSecond: the upper bound covers the whole second that it names, else only its first millisecond.
	WholeSecond bool
	// DayZone is the zone of the days that the conversations endpoint is asked for, and of whole days on interactions.
	DayZone time.Duration
	// BoundsZone is the zone of from and to on interactions.
	BoundsZone time.Duration
	// HideOpen: a row appears only when it has ended.
	HideOpen map[events.Endpoint]bool
	IDs      IDFilter
	// ScopedByIID: the analytics endpoints return only rows of the bot that the header iId names.
	ScopedByIID bool
	// NoHasMore: interactions leaves hasMore out.
	NoHasMore bool
	// Latency is how late a change becomes readable; each row adds its own constant share of Jitter.
	Latency map[events.Endpoint]time.Duration
	Jitter  time.Duration
	// Sloppy conversations: empty lists left out, totals as strings, a page limit below the documented one.
	Sloppy bool

	// AgenticNeedsHistory: conversations lists the agentic entries among messages only if the transcript is asked for, too.
	AgenticNeedsHistory bool
	// Refuses are the fields that the analytics endpoints refuse to select, and the filters that interactions refuses. It is empty in all of
	// Profiles.
	Refuses []string
	// Broken is empty in all of Profiles.
	Broken Broken
}

// Broken is what keeps any client from knowing what it has missed.
type Broken struct {
	// IgnoresOffset: every page of an endpoint is the first.
	IgnoresOffset map[events.Endpoint]bool
	// IgnoresWindow: the analytics endpoints return the rows of all time.
	IgnoresWindow map[events.Endpoint]bool
	// SelectsStored: interactions selects rows by when they were stored: so long after the time by which the profile says that it selects.
	SelectsStored time.Duration
	// TotalsDiffer: the total of conversations is one more than there are rows. TotalsGrow: it grows by one a second.
	TotalsDiffer, TotalsGrow bool
	// Unreadable: no row of an endpoint can be read.
	Unreadable map[events.Endpoint]bool
}

type perEndpoint = map[events.Endpoint]bool

func lags(interactions, conversations, analytics time.Duration) map[events.Endpoint]time.Duration {
	lag := events.ForEach(interactions, conversations, analytics, analytics+analytics/2)
	out := map[events.Endpoint]time.Duration{}
	for i, e := range events.Endpoints() {
		out[e] = lag[i]
	}
	return out
}

// Profiles returns all profiles. Together they play each unknown each way; the first is what the documentation suggests most.
func Profiles() []Profile {
	const s = time.Second
	in, co, id, cd := events.Interactions, events.Conversations, events.InteractionDetails, events.CallDetails
	return []Profile{
		{
			Name: "documented", About: "as the documentation suggests; a change can be read at once",
			Descending: perEndpoint{id: true, cd: true},
			Latency:    lags(0, 0, 0),
		},
		{
			Name: "records", About: "offsets count records, not pages; changes appear 2 to 13 s late",
			OffsetInRecords: true, LimitPerList: true,
			Descending: perEndpoint{co: true, id: true, cd: true},
			IDs:        IDsAsString, ScopedByIID: true,
			Latency: lags(2*s, 5*s, 10*s), Jitter: 3 * s,
		},
		{
			Name: "on-end", About: "rows are selected by their end, not their start; agentic entries need the transcript",
			AgenticNeedsHistory: true,
			FilterOnEnd:         perEndpoint{in: true, id: true, cd: true},
			Descending:          perEndpoint{in: true, id: true, cd: true},
			IDs:                 IDsIgnored, NoHasMore: true, WholeSecond: true,
			Latency: lags(s, 20*s, 5*s), Jitter: s,
		},
		{
			Name: "closed-only", About: "rows appear only when they have ended, up to two minutes late",
			OffsetInRecords: true,
			HideOpen:        perEndpoint{in: true, id: true, cd: true},
			IDs:             IDsAsArray,
			Latency:         lags(5*s, 30*s, 60*s), Jitter: 20 * s,
		},
		{
			Name: "ascending", About: "the oldest rows first where it was the newest; days begin at midnight in India",
			LimitPerList: true, DayZone: 5*time.Hour + 30*time.Minute,
			Descending: perEndpoint{in: true, co: true}, ScopedByIID: true,
			IDs: IDsIgnored, Sloppy: true,
			Latency: lags(0, 2*s, 90*s), Jitter: 10 * s,
		},
		{
			Name: "end-and-records", About: "on-end, records and closed-only together; days begin at midnight in California",
			OffsetInRecords: true, LimitPerList: true, WholeSecond: true,
			FilterOnEnd: perEndpoint{in: true, id: true}, HideOpen: perEndpoint{in: true, cd: true},
			Descending: perEndpoint{co: true, id: true}, NoHasMore: true, DayZone: -8 * time.Hour,
			IDs: IDsAsString, Sloppy: true,
			Latency: lags(10*s, 10*s, 10*s), Jitter: 30 * s,
		},
		{
			Name: "zoned", About: "times that are asked for are those of India",
			BoundsZone: 5*time.Hour + 30*time.Minute, DayZone: 5*time.Hour + 30*time.Minute,
			Descending: perEndpoint{id: true, cd: true},
			Latency:    lags(s, s, s),
		},
	}
}

// ProfileNamed returns the profile of that name.
func ProfileNamed(name string) (Profile, bool) {
	ps := Profiles()
	i := slices.IndexFunc(ps, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return ps[i], true
}

// lag is how much later than it happens a change of a row can be read. It is constant per row, so that a row never goes back.
func (p Profile) lag(e events.Endpoint, row uint64) moment {
	lag := moment(p.Latency[e].Milliseconds())
	if p.Jitter > 0 {
		lag += moment(mix64(row) % uint64(p.Jitter.Milliseconds()))
	}
	return lag
}
