package extract

import (
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// agentic is a request to the agentic copilot, what became of the answer, and the search that it was, if it was one.
type agentic struct {
	request  *events.AgenticRequest
	used     *events.SuggestionUsed
	feedback *events.Feedback
	search   *events.Search
}

func (a agentic) contents() []events.Event { return together(a.request, a.used, a.feedback, a.search) }

// The kinds of agentic requests.
const (
	KindAssist = "ASSIST"
	KindSearch = "SEARCH"
)

// activity reads an agentic request as interactions show it.
func (d *decoder) activity() (agentic, bool) {
	a := agentic{request: &events.AgenticRequest{Kind: KindAssist}}
	e := a.request
	ok := d.object("agenticActivities[]", func(name string) {
		switch name {
		case "requestId":
			e.RequestID = d.text()
		case "utterance":
			e.Query = d.textOrJSON()
		case "requestTime":
			e.RequestedAt = d.time()
		case "responseTime":
			e.RespondedAt = d.time()
		case "reqStatus":
			e.ReqStatus = d.text()
		case "resStatus":
			e.ResStatus = d.integer()
		case "participantId":
			e.ParticipantID = d.text()
		case "streaming":
			e.Streaming = d.boolean()
		case "response":
			d.list(func() {
				if r, ok := d.response(); ok {
					e.Responses = append(e.Responses, r)
				}
			})
		case "sessionInfo":
			d.sessionInfo(e)
		case "usageDetails":
			d.object(name, func(name string) {
				if name == "usedType" {
					if used := d.text(); used != nil {
						a.used = &events.SuggestionUsed{UsedType: used}
					}
				}
			})
		case "feedback":
			a.feedback = d.feedback()
		}
	})
	return a, ok
}

func (d *decoder) response() (events.AgenticResponse, bool) {
	var r events.AgenticResponse
	if d.kind() != '{' {
		r.Content = d.textOrJSON()
		return r, r.Content != nil
	}
	return r, d.object("response[]", func(name string) {
		switch name {
		case "type":
			r.Type = d.text()
		case "content":
			r.Content = d.textOrJSON()
		}
	})
}

func (d *decoder) sessionInfo(e *events.AgenticRequest) {
	start, more := d.next(), false
	d.object("sessionInfo", func(name string) {
		switch name {
		case "botSessionID":
			e.AgenticBotSessionID = d.text()
		case "status":
			e.AgenticStatus = d.text()
		case "userId":
			e.AgenticUserID = d.text()
		case "sessionId":
			e.AgenticSessionID = d.text()
		case "runId":
			e.AgenticRunID = d.text()
		case "appId":
			e.AgenticAppID = d.text()
		case "envId":
			e.AgenticEnvID = d.text()
		case "envName":
			e.AgenticEnvName = d.text()
		case "conversationState":
			e.AgenticConversationState = d.text()
		case "activeConversationAgent":
			e.AgenticActiveAgent = d.textOrJSON()
		case "source":
			e.AgenticSource = d.text()
		default:
			more = true
		}
	})
	if more {
		e.SessionInfoJSON = d.canonical(start)
	}
}

// observeAgentic adds a request and all that belongs to it. Where it has an id, the other endpoint shows it as well, and both
// arrive at the same entities; where it has none, the parent and the entry's own id or time identify it. It happened at at, which
// is unknown if the entry has no time of its own.
func (d *decoder) observeAgentic(a agentic, parent string, at moment) {
	e := a.request
	switch id := or(e.RequestID); {
	case strings.HasPrefix(id, "ua-"):
		e.Kind = KindSearch
	case strings.HasPrefix(id, "aa-"):
		e.Kind = KindAssist
	}
	if a.search == nil && d.scope.Endpoint == events.Interactions && e.Kind == KindSearch {
		a.search = &events.Search{SearchPhrase: e.Query, ExecutionStartTime: e.RequestedAt, DisplayTime: e.RespondedAt}
	}
	if s := a.search; s != nil {
		s.Via, s.RequestID = "AGENTIC", e.RequestID
	}
	at = at.orOf(d.at)
	parts := []string{or(e.RequestID)}
	if e.RequestID == nil {
		parts = []string{parent, or(e.MessageID), stamp(e.RequestedAt)}
		if e.MessageID != nil {
			parts = parts[:2]
		}
	}
	anchor := d.anchor
	if e.RequestedAt != nil {
		anchor = *e.RequestedAt
	}
	identify := d.entity
	if e.RequestID != nil {
		identify = d.id
	}
	id := identify(events.TypeAgenticRequest, parts...)
	// Without an id a request of a segment is remembered with the segment, as all of it is.
	own := e.RequestID != nil || d.home == ""
	belongs := func(seen *events.Observation) *events.Observation {
		seen.Merged = e.RequestID != nil
		if own {
			beside(d.spans(seen), id, anchor)
		}
		return seen
	}
	spans := func(seen *events.Observation) {
		seen.Merged = e.RequestID != nil
		if own {
			d.findable(d.spans(seen), false)
			seen.Anchor = anchor
		}
	}
	// Who rated the answer had asked for it, as far as anybody knows where the row names no agent.
	var agent *events.Agent
	if d.head.Agent == nil && given(a.feedback) {
		agent = a.feedback.Agent
	}
	e.Agent = agent
	spans(d.observe(e, id, at))
	var search *string
	if s := a.search; s != nil {
		search = d.texts.put(identify(events.TypeSearch, parts...))
		s.Agent = agent
		spans(d.observe(s, *search, at))
	}
	if u := a.used; u != nil {
		u.TargetType, u.Via, u.RequestID, u.ParentEntityID = "Agentic", "AGENTIC", e.RequestID, d.texts.put(id)
		u.DisplayTime, u.ShownEntityID, u.SearchEntityID = e.RespondedAt, u.ParentEntityID, search
		u.Agent = agent
		u.SetUsage(given(a.feedback))
		belongs(d.observe(u, d.id(events.TypeSuggestionUsed, id, "agentic"), at))
	}
	if f := saysOrNot(a.feedback); f != nil {
		f.TargetType, f.RequestID, f.MessageID = "Agentic", e.RequestID, e.MessageID
		about(f, first(joined(len(e.Responses), func(i int) *string { return e.Responses[i].Content }),
			joined(len(e.Components), func(i int) *string { return e.Components[i].Text })), e.Query)
		d.named(belongs(d.observeFeedback(f, id, at)), id)
	}
}

func requestTime(a agentic) *time.Time { return first(a.request.RequestedAt, a.request.MessageTime) }
