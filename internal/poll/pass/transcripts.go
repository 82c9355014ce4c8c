package pass

import (
	"errors"
	"slices"
	"strings"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/extract"
	"agentassist-poller/internal/kore"
)

// Transcripts is whether all else that rows of `conversations` show comes without their transcripts, among which the server lists the
// agentic entries.
type Transcripts uint8

// What is known of it.
const (
	TranscriptsUnknown Transcripts = iota
	TranscriptsSpare               // it does: transcripts need not be asked for
	TranscriptsNeeded              // it does not
)

// withoutTranscripts is a pass over `conversations` of which nobody wants the transcripts. It asks for them until it is known whether they
// can be left out: the first page with an agentic entry is asked for once more, without.
type withoutTranscripts struct {
	Pass
	facts *ConversationFacts

	again *kore.Query         // the page that is asked for once more; nil for none
	shown map[string][]string // what rows of the page with agentic entries showed, by their ids
	end   *Outcome            // what the page before has established
}

// WithoutTranscripts returns a pass over `conversations` that leaves out the transcripts where all else comes without them.
func WithoutTranscripts(p Pass, facts *ConversationFacts) Pass {
	return &withoutTranscripts{Pass: p, facts: facts}
}

// Query implements Pass.
func (p *withoutTranscripts) Query() kore.Query {
	if p.again != nil {
		return *p.again
	}
	q := p.Pass.Query()
	q.NoTranscripts = p.facts.Transcripts == TranscriptsSpare
	return q
}

// Read implements Pass.
func (p *withoutTranscripts) Read(pg *Page, failed error) (*Page, *Outcome, error) {
	if p.again != nil {
		return p.compare(pg, failed)
	}
	asked := p.Query()
	shown, end, err := p.Pass.Read(pg, failed)
	if err != nil || shown == nil || asked.Bare || p.facts.Transcripts != TranscriptsUnknown {
		return shown, end, err
	}
	p.shown = map[string][]string{}
	for i := range shown.Rows {
		if ids, agentic := besideTranscript(&shown.Rows[i]); agentic {
			p.shown[strings.Clone(shown.Rows[i].ID)] = ids
		}
	}
	if len(p.shown) == 0 {
		return shown, end, nil
	}
	asked.NoTranscripts = true
	p.again, p.end = &asked, end
	return shown, nil, nil
}

// compare takes in the page without transcripts. It is not published: it shows less than the one before, at the least.
func (p *withoutTranscripts) compare(pg *Page, failed error) (*Page, *Outcome, error) {
	if failed != nil {
		if ke, ok := errors.AsType[*kore.Error](failed); !ok || ke.Reason != kore.ReasonRejected {
			return nil, nil, failed // it is asked for again
		}
		p.facts.Transcripts = TranscriptsNeeded // the server takes no such request
	} else {
		for i := range pg.Rows {
			ids, _ := besideTranscript(&pg.Rows[i])
			if before, ok := p.shown[pg.Rows[i].ID]; ok {
				p.found(before, ids)
			}
		}
	}
	end := p.end
	p.again, p.shown, p.end = nil, nil, nil
	return nil, end, nil
}

// found notes what a row showed with its transcript and without. What is missing from one row may be missing from all.
func (p *withoutTranscripts) found(with, without []string) {
	missing := slices.ContainsFunc(with, func(id string) bool { return !slices.Contains(without, id) })
	switch {
	case missing:
		p.facts.Transcripts = TranscriptsNeeded
	case p.facts.Transcripts == TranscriptsUnknown:
		p.facts.Transcripts = TranscriptsSpare
	}
}

// besideTranscript returns the entities that a row shows, but for the messages of its transcript, and whether there is an agentic entry of
// those that the server lists among the messages.
func besideTranscript(row *extract.Row) (ids []string, agentic bool) {
	for _, o := range row.Observations {
		switch e := o.Event.(type) {
		case *events.Message:
			continue
		case *events.AgenticRequest:
			agentic = agentic || e.Kind == extract.KindAssist
		}
		ids = append(ids, strings.Clone(o.Event.Head().EntityID))
	}
	return ids, agentic
}
