package poll

import (
	"context"
	"errors"
	"time"

	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

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

// fetchFunc makes one request and decodes the answer. It is where the budget is spent.
type fetchFunc func(ctx context.Context, q kore.Query) (*Page, error)

// A pass reads one stretch of one endpoint, one page a step, so that more urgent work can come between two pages.
// A step that fails leaves the pass as it was: the same step can be tried again.
type pass interface {
	// step makes exactly one request and reads what comes. The page may be nil where the request only asked for a count.
	// The outcome is nil while there is more to read. From the answer on nobody else looks at what passes learn.
	step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error)
}

// outcome is what a finished pass has established.
type outcome struct {
	// Read are the stretches whose rows were all seen, as of ReadAt.
	Read   []timeline.Span
	ReadAt time.Time
	// Unstable is set when the list kept moving under the pass: nothing is concluded, the pass must run again.
	Unstable bool
	// IDs are the conversations that were asked for by id and read.
	IDs []string
	// Capped are seconds in which the endpoint holds back rows: they stay gaps.
	Capped []timeline.Span
}

// maxRestarts bounds how often one pass begins again because pages shifted under it. After that it ends unstable, and
// the stretch is left as unread as it was.
const maxRestarts = 3

// errStuck is returned when a server claims that there is more but gives nothing to go on with.
var errStuck = errors.New("the server says there are more rows but returns none; not read on, or it would never end")
