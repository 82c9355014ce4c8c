package pass

import (
	"errors"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll/timeline"
)

// byID re-reads conversations by id. The first one finds out whether, and in which form, the server honours ids.
type byID struct {
	bot      string
	ids      []string
	from, to time.Time // calendar days
	facts    *ConversationFacts
	others   int // rows that the same days hold without the filter, at least
	form     idsForm
	now      time.Time
	stepped  stepped
}

// NewByID returns the pass that reads conversations of a bot again by id: those of ids, which began at starts, that one request can
// ask for.
func NewByID(bot string, ids []string, starts []time.Time, facts *ConversationFacts, now time.Time) Pass {
	p := &byID{bot: bot, facts: facts, form: facts.IDs, now: now}
	for i, t := range starts {
		days := facts.days(t, t)
		first, last := days[0], days[len(days)-1]
		if i > 0 {
			first, last = timeline.Earlier(first, p.from), timeline.Later(last, p.to)
			if conversationsTakes.CheckRange(first, last) != nil {
				continue
			}
		}
		if len(p.ids) == conversationsTakes.Limit {
			break
		}
		p.from, p.to, p.ids = first, last, append(p.ids, ids[i])
	}
	if p.form == idsUnknown {
		p.ids, p.form = p.ids[:1], idsArray
	}
	for d := p.from; !d.After(p.to); d = d.Add(timeline.Day) {
		p.others += facts.Counts[timeline.DayName(d)]
	}
	return p
}

// Query implements Pass.
func (p *byID) Query() kore.Query {
	return kore.Query{
		Endpoint: events.Conversations, BotID: p.bot, From: p.from, To: p.to, Offset: 1, Limit: conversationsTakes.Limit,
		ConversationIDs: p.ids, IDsAsString: p.form == idsString,
	}
}

// Read implements Pass.
func (p *byID) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	if ke, ok := errors.AsType[*kore.Error](failed); ok && ke.Reason == kore.ReasonRejected && p.facts.IDs == idsUnknown {
		return nil, p.nextForm(), nil // another form may be taken
	}
	switch {
	case tooLarge(failed) != nil && p.facts.IDs == idsUnknown: // it may be all rows of the days
		return nil, p.nextForm(), nil
	case tooLarge(failed) != nil && len(p.ids) > 1:
		p.ids = p.ids[:len(p.ids)/2]
		return nil, nil, nil
	case tooLarge(failed) != nil:
		if dead, ok := p.stepped.over(p.Query(), pg, failed); ok {
			return dead, &Outcome{IDs: p.ids, ReadAt: dead.ReadAt}, nil
		}
		return nil, nil, failed
	case failed != nil:
		return nil, nil, failed
	}
	only := true
	for _, r := range pg.Rows {
		only = only && slices.Contains(p.ids, r.ConversationID)
	}
	if p.facts.IDs == idsUnknown {
		switch {
		case len(pg.Rows) > 0 && only && p.others > 1:
			p.facts.IDs = p.form
		case only: // nothing else is there to tell the filter by, but what was asked for was read
			return pg, &Outcome{IDs: p.ids, ReadAt: pg.ReadAt}, nil
		default:
			return pg, p.nextForm(), nil
		}
	}
	if !only { // it was honoured once and is no more
		p.facts.IDs = idsUnknown
		return pg, &Outcome{ReadAt: pg.ReadAt}, nil
	}
	return pg, &Outcome{IDs: p.ids, ReadAt: pg.ReadAt}, nil
}

// nextForm goes on to the next form of ids to try, or ends the pass if none is honoured.
func (p *byID) nextForm() *Outcome {
	if p.form == idsArray {
		p.form = idsString
		return nil
	}
	p.facts.IDs, p.facts.IgnoredAt = idsIgnored, p.now
	return &Outcome{}
}
