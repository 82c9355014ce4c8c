package pass

import (
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// Scope is whether the server shows, of an account-wide endpoint, only the rows of the bot that is named in the header iId.
type Scope uint8

// The scopes.
const (
	ScopeUnknown Scope = iota
	ScopeAccount       // rows of other bots came: it does not
	ScopeBot           // it does: the endpoint must be read once per bot
)

// scope finds out the scope of an account-wide endpoint. Rows of another bot than the named one prove that the server shows all.
// Where all rows are the named bot's, the same window is asked for in the name of another bot: that shows either the same rows, or
// that each bot must be asked for by itself.
//
// Until some bot has rows nothing is known, and nothing counts as read: the pass ends unsettled.
type scope struct {
	endpoint events.Endpoint
	bots     []string
	found    *Scope
	try      *int // which bot to ask in the name of
	span     timeline.Span
	second   bool
	// What is asked for: all that fits on a page, or less where that is too large.
	offset, limit int
	stepped       stepped
}

// NewScope returns the pass that finds out the scope of an endpoint, and notes it in found. It goes on with the bot that the pass
// before left in try.
func NewScope(e events.Endpoint, bots []string, found *Scope, try *int, now time.Time) Pass {
	return &scope{endpoint: e, bots: bots, found: found, try: try, span: timeline.Span{From: now.Add(-6 * timeline.Day), To: now}, limit: analyticsTakes.Limit}
}

// Query implements Pass.
func (p *scope) Query() kore.Query {
	return kore.Query{Endpoint: p.endpoint, IID: p.named(), From: p.span.From, To: p.span.To, Offset: p.offset, Limit: p.limit}
}

// named is the bot to ask in the name of.
func (p *scope) named() string { return p.bots[*p.try%len(p.bots)] }

// Read implements Pass.
func (p *scope) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	switch {
	case tooLarge(failed) != nil && p.limit > 1:
		p.limit = max(1, p.limit/4)
		return nil, nil, nil
	case tooLarge(failed) != nil && p.offset < analyticsTakes.MaxOffset: // any other row is as good
		if dead, ok := p.stepped.over(p.Query(), pg, failed); ok {
			p.offset++
			return dead, nil, nil
		}
	}
	if failed != nil {
		*p.try++ // a bot that is refused must not keep the others from being asked for
		return nil, nil, failed
	}
	own, foreign := false, false
	for _, r := range pg.Rows {
		own = own || r.BotID == p.named()
		foreign = foreign || r.BotID != "" && r.BotID != p.named()
	}
	switch {
	case foreign:
		*p.found = ScopeAccount
	case p.second:
		*p.found = ScopeBot
	case own:
		*p.try++
		p.second = true
		return pg, nil, nil
	case pg.records() > 0:
		*p.try++
		return pg, &Outcome{Unsettled: ScopeUnreadable, ReadAt: pg.ReadAt}, nil
	default:
		*p.try++
		return pg, &Outcome{Unsettled: NoRows, ReadAt: pg.ReadAt}, nil
	}
	return pg, &Outcome{ReadAt: pg.ReadAt}, nil
}
