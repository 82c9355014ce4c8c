// Package pass reads one span of one unit, a page at a time. A pass is a value: it says what to ask and takes in what is
// answered. It knows no clock and does no I/O, and it is not safe for concurrent use.
//
// A pass writes what it learns of the server into facts that outlive it. All passes of a unit have the same facts, so that the
// caller must guard the facts together with the passes, and ask nothing else of the endpoint between a Query and its Read.
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
	// After an error the pass is as it was: the same Query can be asked again.
	Read(pg *Page, failed error) (*Page, *Outcome, error)
}

// Page is one decoded response.
type Page struct {
	*extract.Page
	// ReadAt is the server's clock when the request was sent: everything that was readable then is on the page.
	ReadAt time.Time
	// ShownAt is the server's clock when the answer had come: nothing on the page is later.
	ShownAt time.Time
	// Unsure is set while that clock is not known: what the page shows is published, but nothing counts as read.
	Unsure bool
}

// records returns how many records the response held, readable or not.
func (p *Page) records() int { return len(p.Rows) + len(p.Dead) }

// Outcome is what a finished pass has established.
type Outcome struct {
	// Read are the spans whose rows were all seen, as of ReadAt.
	Read   []timeline.Span
	ReadAt time.Time
	// Unstable is set when the list kept moving under the pass: nothing is concluded, the pass must run again.
	Unstable bool
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

// maxRestarts bounds how often one pass begins again because pages shifted under it. After that it ends unstable, and
// the span is left as unread as it was.
const maxRestarts = 3

// ErrStuck is returned when a server claims that there is more but gives nothing to go on with.
var ErrStuck = errors.New("the server says there are more rows but returns none; not read on, or it would never end")
