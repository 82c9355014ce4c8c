package pass

import (
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/poll/timeline"
)

// The endpoint filters by calendar day and does not say in which zone. No zone is further from UTC than these.
const zoneWest, zoneEast = 12 * time.Hour, 14 * time.Hour

// listOrder is the order of a list by start time.
type listOrder uint8

const (
	orderUnknown listOrder = iota
	orderAscending
	orderDescending
)

// idsForm is how `conversationIds` must be sent to be honoured. The API's page calls it a string and shows an array.
type idsForm uint8

const (
	idsUnknown idsForm = iota
	idsArray
	idsString
	idsIgnored
)

// ConversationFacts are what was learned about `conversations` of one bot.
type ConversationFacts struct {
	Order listOrder `json:"order,omitempty"`
	IDs   idsForm   `json:"ids,omitempty"`
	// IgnoredAt is when ids were found to be ignored.
	IgnoredAt time.Time `json:"ignored_at,omitzero"`
	// PageSize is the number of rows of a full page, where the server gives out fewer than the API documents.
	PageSize int `json:"page_size,omitempty"`
	// Counts holds the number of rows of each recent day that have been read.
	Counts map[string]int `json:"counts,omitempty"`
	// ZoneMin and ZoneMax bound the zone of the calendar days, as seen from the rows that came for them; ZoneMax is not
	// reached.
	ZoneMin time.Duration `json:"zone_min"`
	ZoneMax time.Duration `json:"zone_max"`
	// Transcripts is learned only where nobody wants them.
	Transcripts Transcripts `json:"transcripts,omitempty"`

	// seen are the ids read of each recent day. They are not stored: where they are incomplete, only the counts decide.
	seen map[string]map[string]struct{}
}

// NewConversationFacts returns what is known before anything was read: nothing.
func NewConversationFacts() *ConversationFacts {
	return &ConversationFacts{Counts: map[string]int{}, ZoneMin: -zoneWest, ZoneMax: zoneEast + zoneGrain}
}

// Zone returns the offset from UTC of the endpoint's calendar days: UTC as long as nothing speaks against it.
func (f *ConversationFacts) Zone() time.Duration {
	if f.ZoneMin <= 0 && f.ZoneMax > 0 {
		return 0
	}
	return ((f.ZoneMin + f.ZoneMax) / 2).Round(30 * time.Minute)
}

// ZoneWest returns the westernmost offset from UTC that the endpoint's calendar days may have.
func (f *ConversationFacts) ZoneWest() time.Duration {
	west, _ := zones(f.ZoneMin, f.ZoneMax)
	return west
}

// pageSize returns the number of rows of a full page.
func (f *ConversationFacts) pageSize() int {
	if f.PageSize > 0 {
		return f.PageSize
	}
	return conversationsTakes.Limit
}

// dayOf returns the calendar day of the endpoint that t lies in.
func (f *ConversationFacts) dayOf(t time.Time) time.Time {
	return t.Add(f.Zone()).Truncate(timeline.Day)
}

// spanOf returns the time that a calendar day of the endpoint covers.
func (f *ConversationFacts) spanOf(d time.Time) timeline.Span {
	return timeline.Span{From: d.Add(-f.Zone()), To: d.Add(timeline.Day - f.Zone())}
}

// zoneGrain is what the offsets of all zones are multiples of.
const zoneGrain = 15 * time.Minute

// zones returns the westernmost of the zones from least on, and the easternmost of those below most. There is none if west is
// greater than east.
func zones(least, most time.Duration) (west, east time.Duration) {
	if west = least.Truncate(zoneGrain); west < least {
		west += zoneGrain
	}
	if east = (most - 1).Truncate(zoneGrain); east > most-1 {
		east -= zoneGrain
	}
	return west, east
}

// days returns the calendar days that may hold rows starting from from to to, in whatever zone is still possible.
func (f *ConversationFacts) days(from, to time.Time) []time.Time {
	var out []time.Time
	west, east := zones(f.ZoneMin, f.ZoneMax)
	for d := from.Add(west).Truncate(timeline.Day); !d.After(to.Add(east).Truncate(timeline.Day)); d = d.Add(timeline.Day) {
		out = append(out, d)
	}
	return out
}

// learn notes what a page of one calendar day shows of order and zone, and remembers its rows.
func (f *ConversationFacts) learn(d time.Time, pg *Page) (fresh int) {
	if pg.records() > 0 && hasMore(pg) {
		f.PageSize = min(pg.records(), conversationsTakes.Limit)
	}
	return f.learnRows(d, pg)
}

// learnRows is learn for a page that tells nothing of the number of rows of a full page.
func (f *ConversationFacts) learnRows(d time.Time, pg *Page) (fresh int) {
	seen := f.seenOf(d)
	for i, r := range pg.Rows {
		if _, ok := seen[r.ID]; !ok {
			seen[r.ID] = struct{}{}
			fresh++
		}
		if r.Start.IsZero() {
			continue
		}
		f.narrow(d.Sub(r.Start), d.Add(timeline.Day).Sub(r.Start))
		if f.Order == orderUnknown && i > 0 && !r.Start.Equal(pg.Rows[0].Start) {
			f.Order = orderAscending
			if r.Start.Before(pg.Rows[0].Start) {
				f.Order = orderDescending
			}
		}
	}
	for i := range pg.Dead {
		id := deadID(&pg.Dead[i])
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			fresh++
		}
	}
	return fresh
}

// narrow notes that the zone is at least least and below most. If that leaves no zone, it is not the zone that explains the row:
// the server shows it for another reason, and it tells nothing.
func (f *ConversationFacts) narrow(least, most time.Duration) {
	least, most = max(f.ZoneMin, least), min(f.ZoneMax, most)
	if west, east := zones(least, most); west <= east {
		f.ZoneMin, f.ZoneMax = least, most
	}
}

// Restore makes facts that were read from a record usable. Records of earlier versions may contradict themselves about the zone.
func (f *ConversationFacts) Restore() {
	if f.Counts == nil {
		f.Counts = map[string]int{}
	}
	if west, east := zones(f.ZoneMin, f.ZoneMax); west > east {
		fresh := NewConversationFacts()
		f.ZoneMin, f.ZoneMax = fresh.ZoneMin, fresh.ZoneMax
	}
}

// deadID tells records that cannot be read apart, as ids do rows. It is short, however large the record.
func deadID(d *extract.Dead) string { return "dead/" + strconv.FormatUint(xxhash.Sum64(d.Raw), 16) }

func (f *ConversationFacts) seenOf(d time.Time) map[string]struct{} {
	if f.seen == nil {
		f.seen = map[string]map[string]struct{}{}
	}
	name := timeline.DayName(d)
	if f.seen[name] == nil {
		f.seen[name] = map[string]struct{}{}
	}
	return f.seen[name]
}

// forget drops what is remembered of days that can no longer grow.
func (f *ConversationFacts) forget(now time.Time) {
	first := timeline.DayName(now.Add(-zoneWest - timeline.DayGrace - timeline.Day))
	for name := range f.Counts {
		if name < first {
			delete(f.Counts, name)
		}
	}
	for name := range f.seen {
		if name < first {
			delete(f.seen, name)
		}
	}
}

// IDsIgnored reports whether the server does not honour ids.
func (f *ConversationFacts) IDsIgnored() bool { return f.IDs == idsIgnored }

// IDsUnknown reports whether it is not known yet whether the server honours ids.
func (f *ConversationFacts) IDsUnknown() bool { return f.IDs == idsUnknown }

// RetryIDs has ids tried again once a day where they were ignored: a poll that came at a bad moment, or an API that was mended
// since, must not cost requests for ever.
func (f *ConversationFacts) RetryIDs(now time.Time) {
	if f.IDs == idsIgnored && now.Sub(f.IgnoredAt) >= timeline.Day {
		f.IDs = idsUnknown
	}
}
