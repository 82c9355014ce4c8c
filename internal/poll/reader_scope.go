package poll

import (
	"context"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// scopePass finds out whether the server shows, of an account-wide endpoint, only the rows of the bot that is named in the
// header iId. Rows of another bot prove that it does not. Where all rows are the named bot's, the same window is asked for
// in the name of another: that shows either the same rows, or that each bot must be asked for by itself.
//
// Until some bot has rows nothing is known, and nothing counts as read.
type scopePass struct {
	endpoint events.Endpoint
	bots     []string
	scoped   *scoping
	try      *int // which bot to ask in the name of
	span     timeline.Span
	second   bool
}

func newScopePass(e events.Endpoint, bots []string, scoped *scoping, try *int, now time.Time) *scopePass {
	return &scopePass{endpoint: e, bots: bots, scoped: scoped, try: try, span: timeline.Span{From: now.Add(-6 * timeline.Day), To: now}}
}

func (p *scopePass) step(ctx context.Context, fetch fetchFunc) (*Page, *outcome, error) {
	iid := p.bots[*p.try%len(p.bots)]
	pg, err := fetch(ctx, kore.Query{
		Endpoint: p.endpoint, IID: iid, From: p.span.From, To: p.span.To, Limit: analyticsLimit,
	})
	if err != nil {
		*p.try++ // a bot that is refused must not keep the others from being asked for
		return nil, nil, err
	}
	named, foreign := false, false
	for _, r := range pg.Rows {
		named = named || r.BotID == iid
		foreign = foreign || r.BotID != "" && r.BotID != iid
	}
	done := &outcome{ReadAt: pg.ReadAt}
	switch {
	case foreign:
		*p.scoped = scopeAccount
	case p.second:
		*p.scoped = scopeBot
	case named:
		*p.try++
		p.second = true
		return pg, nil, nil
	default:
		*p.try++
	}
	return pg, done, nil
}
