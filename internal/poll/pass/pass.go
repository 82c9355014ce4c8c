// Package pass reads one span of one unit, a page at a time. A pass is a value: it says what to ask and takes in what is
// answered. It knows no clock and does no I/O, and it is not safe for concurrent use.
//
// A pass writes what it learns of the server into facts that outlive it. All passes of a unit have the same facts, so that the
// caller must guard the facts together with the passes. Between the Query and the Read of a pass others may read, but for those that plan.InFlight
// keeps apart.
package pass

import (
	"errors"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// A Pass is the reading of one span. One page is one step, so that more urgent work can come between two pages.
type Pass interface {
	// Query returns what to ask next. It changes nothing: asked again, it says the same.
	Query() kore.Query
	// Read takes in the answer to Query: a page, or the error that came in its place. It returns the page to publish, nil if
	// it was asked for a count only; the outcome, nil while there is more to read; and an error if nothing can be concluded.
	// After an error the pass is as it was: the same Query can be asked again. Beside failed, pg is nil or has only the times of the answer.
	//
	// An answer that was too large is no error as long as the pass can ask for less: then it returns none.
	Read(pg *Page, failed error) (*Page, *Outcome, error)
}

// Page is one decoded response.
type Page struct {
	*extract.Page
	// ReadAt is the server's clock when the request was sent, or when a cache had got the page: everything that was readable then is on the
	// page.
	ReadAt time.Time
	// Age is for how long a cache had kept the page; 0 if it came from the API.
	Age time.Duration
	// ShownAt is the server's clock when the answer had come: nothing on the page is later.
	ShownAt time.Time
	// Received is our clock when the answer had come.
	Received time.Time
	// Unsure is set while that clock is not known: what the page shows is published, but nothing counts as read.
	Unsure bool
}

// NewPage returns the page of an answer. Skew is how far the server's clock is ahead of ours, and known whether that is known.
func NewPage(page *extract.Page, resp *kore.Response, skew time.Duration, known bool) *Page {
	pg := &Page{
		Page: page, ReadAt: resp.Sent.Add(skew - resp.Age).UTC(), ShownAt: resp.Received.Add(skew).UTC(), Received: resp.Received.UTC(),
		Age: resp.Age, Unsure: !known,
	}
	if !resp.ServerTime.IsZero() { // known to half a second only, else
		pg.ShownAt = timeline.Later(pg.ShownAt, resp.ServerTime.Add(time.Second).UTC())
	}
	return pg
}

// NewFailedPage returns what is known of an answer that could not be had or read: only its times, from when the request was sent and when
// that was known.
func NewFailedPage(sent, failed time.Time, skew time.Duration, known bool) *Page {
	return &Page{ReadAt: sent.Add(skew).UTC(), ShownAt: failed.Add(skew).UTC(), Received: failed.UTC(), Unsure: !known}
}

// records returns how many records the response held, readable or not.
func (p *Page) records() int { return len(p.Rows) + len(p.Dead) }

// Outcome is what a finished pass has established.
type Outcome struct {
	// Read are the spans whose rows were all seen, as of ReadAt.
	Read   []timeline.Span
	ReadAt time.Time
	// Unsettled is why the pass concluded nothing, nil if it concluded something. The pass must run again.
	Unsettled *Unsettled
	// IDs are the conversations that were asked for by id and read.
	IDs []string
	// Capped are seconds in which the endpoint holds back rows: they stay gaps.
	Capped []timeline.Span
}

// What a query of each kind of pass may ask for. The two analytics endpoints take the same.
var (
	interactionsTakes  = &events.Interactions.Spec().Takes
	conversationsTakes = &events.Conversations.Spec().Takes
	analyticsTakes     = &events.InteractionDetails.Spec().Takes
)

// Unsettled is why a pass concluded nothing, and what an operator can do about it. What the pass showed is published all the same.
type Unsettled struct {
	Text, Hint string
	// Quiet is set if nothing is wrong: there are just no rows yet to learn from.
	Quiet bool
}

// Why passes end without a conclusion.
var (
	ListMoved = &Unsettled{
		Text: "interactions: the first row of a page was not the last row of the page before, each time the pages were read, so it is not " +
			"known whether all rows were shown",
		Hint: "if this lasts, check that no proxy changes query parameters, and ask Kore.ai whether agentassistinteractions honours offset",
	}
	PagesRepeat = &Unsettled{
		Text: "the next page showed the rows of the page before, each time the pages were read, so it is not known whether all rows were shown",
		Hint: "if this lasts, check that no proxy changes query parameters or bodies, and ask Kore.ai whether the endpoint honours offset or page",
	}
	TotalsDiffer = &Unsettled{
		Text: "conversations: the total of a day differed from the number of its rows, each time they were read, so it is not known whether " +
			"all rows were shown",
		Hint: "if this lasts, ask Kore.ai why totalResults and the pages of aaconversation disagree",
	}
	FilterIgnored = &Unsettled{
		Text: "the API returns the same rows for different windows of time, so it is not known which rows there are",
		Hint: "check that no proxy changes query parameters or bodies, and ask Kore.ai whether the endpoint honours its window",
	}
	ZoneUnknown = &Unsettled{
		Text: "interactions: the API shows a row in no window of time in which it could be, whatever the time zone of the window; UTC is assumed, " +
			"rows are published, and nothing is declared complete",
		Hint: "ask Kore.ai by which time, and in which time zone, agentassistinteractions selects rows; the poller expects a segment's start or end",
	}
	ZoneUnreadable = &Unsettled{
		Text: "interactions: no row of the last days can be read, so the time zone of windows is not known; UTC is assumed, rows are published, " +
			"and nothing is declared complete",
		Hint: "read on the topic dead-letter why the rows cannot be read; the time zone is found with the first row that can",
	}
	ScopeUnreadable = &Unsettled{
		Text: "no row of the last 6 days can be read or names its bot, so it is not known whether the endpoint shows the rows of all bots or only of " +
			"the bot in iId, and nothing counts as read",
		Hint: "read on the topic dead-letter why the rows cannot be read",
	}
	NoRows = &Unsettled{
		Text: "no bot had a row in the last 6 days, so it is not known yet whether the endpoint shows the rows of all bots or only of the bot in iId",
		Hint: "nothing, if the account is quiet; else check the ids of its bots", Quiet: true,
	}
	ClockUnknown = &Unsettled{
		Text: "the server's clock is not known yet, so nothing counts as read",
		Hint: "check that the API's answers carry a Date header and that no proxy removes it",
	}
)

// maxRestarts bounds how often one pass begins again because pages shifted under it. After that it ends unsettled, and the span is left as
// unread as it was.
const maxRestarts = 3

// ErrStuck is returned when a server claims that there is more but gives nothing to go on with. StuckHint says what an operator can do.
var ErrStuck = errors.New("the server says there are more rows but returns none; not read on, or it would never end")

const StuckHint = "if this lasts, check that no proxy changes query parameters or bodies, and ask Kore.ai why the page has no rows"
