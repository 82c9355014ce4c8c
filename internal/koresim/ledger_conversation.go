package koresim

import (
	"slices"

	"agentassist-poller/internal/events"
)

// agenticEntries are a request, the use of its answer and, for the agent's own requests, the search.
// s is nil for a request that only conversations knows.
func (c *contact) agenticEntries(s *segment, a *agentic) (list []*Entry) {
	request := c.entry(events.TypeAgenticRequest, Fields{"request_id": a.request}, a.requested)
	used := c.entry(events.TypeSuggestionUsed, Fields{"via": "AGENTIC", "request_id": a.request}, a.responded, a.requested)
	feedback := func(by agent) Fields {
		return Fields{"request_id": a.request, "given_by": "AGENT", "target_type": "Agentic", "agent": Fields{"agent_id": by.id}}
	}
	var places []place
	if a.onInteractions {
		places = append(places, c.segmentPlace(s))
	}
	if a.onConversations {
		places = append(places, c.recordPlace())
	}
	for _, p := range places {
		onConversations := p.endpoint == events.Conversations
		request.add(c.part(p, []moment{a.requested, a.responded}, func(t moment) Fields {
			if t < a.requested {
				return nil
			}
			return a.fields(onConversations, t)
		}))
		if a.used != 0 {
			used.add(c.part(p, []moment{a.used}, func(t moment) Fields {
				if t < a.used {
					return nil
				}
				f := Fields{"via": "AGENTIC", "target_type": "Agentic", "request_id": a.request}
				f["usage"] = map[string]any{"send": "SENT", "copy": "COPIED", "override": "OVERRIDDEN"}[a.how]
				if onConversations {
					f["is_sent"], f["is_copied"] = a.how == "send", a.how == "copy"
				} else {
					f["used_type"] = a.how
				}
				return f
			}))
		}
	}
	if a.onInteractions && a.again != nil {
		next := c.segments[s.n+1]
		p, in := c.segmentPlace(next), a.inNextSegment()
		request.add(c.part(p, []moment{next.span.began, a.requested, a.responded}, func(t moment) Fields {
			if t < next.span.began || t < a.requested {
				return nil
			}
			return in.fields(false, t)
		}))
		if len(in.thumbs) > 0 {
			list = append(list, c.feedbackEntry(feedback(in.by), in.thumbs, a.rated(), p))
		}
	}
	list = append(list, request)
	if a.used != 0 {
		list = append(list, used)
	}
	if len(a.thumbs) > 0 {
		list = append(list, c.feedbackEntry(feedback(a.by), a.thumbs, a.rated(), places...))
	}
	if a.request[0] == 'u' {
		used.Searched = c.agenticSearchEntry(a, places)
		list = append(list, used.Searched)
	}
	return list
}

// inNextSegment returns the request as the next segment lists it.
func (a *agentic) inNextSegment() *agentic {
	in := *a
	in.participant, in.by, in.thumbs, in.used = a.again.participant, a.again.by, a.again.thumbs, 0
	return &in
}

// rated returns the fields of feedback on the answer that say what it is about.
func (a *agentic) rated() Fields {
	f := quoted(a.text, a.utterance)
	f["request_id"] = a.request
	return f
}

func (a *agentic) fields(onConversations bool, t moment) Fields {
	f := Fields{
		"request_id": a.request, "query": a.utterance, "requested_at": a.requested.Time(), "responded_at": known(a.responded, t),
		"kind": "ASSIST",
	}
	if a.request[0] == 'u' {
		f["kind"] = "SEARCH"
	}
	if onConversations {
		f["message_id"], f["agentic_session_id"], f["agentic_run_id"] = a.id, a.session, a.run
	} else {
		f["participant_id"], f["streaming"] = a.participant, a.streaming
		if a.responded <= t {
			f["res_status"] = int64(200)
		}
	}
	return f
}

// agenticSearchEntry is the search that a request is, as the search history shows it, and the segment in which it was asked.
func (c *contact) agenticSearchEntry(a *agentic, places []place) *Entry {
	e := c.entry(events.TypeSearch, Fields{"via": "AGENTIC", "request_id": a.request}, a.requested)
	for _, p := range places {
		e.add(c.part(p, []moment{a.requested, a.responded}, func(t moment) Fields {
			if t < a.requested {
				return nil
			}
			f := Fields{
				"via": "AGENTIC", "search_phrase": a.utterance, "request_id": a.request,
				"execution_start_time": a.requested.Time(), "display_time": known(a.responded, t),
			}
			if p.endpoint == events.Conversations {
				f["search_id"] = a.id
			}
			return f
		}))
	}
	return e
}

// askedIn returns the segment that lists an agentic search, nil if none does.
func (c *contact) askedIn(q *agentic) *segment {
	for _, s := range c.segments {
		if slices.Contains(s.asked, q) {
			return s
		}
	}
	return nil
}

func (c *contact) summaryEntries(m *summary) (list []*Entry) {
	s := c.segments[m.n]
	e := c.entry(events.TypeSummary, Fields{"summary_id": m.id})
	e.of = m
	places := []place{c.recordPlace()}
	if m.onInteractions {
		places = append(places, c.segmentPlace(s))
	}
	for _, p := range places {
		e.add(c.part(p, m.edits.moments([]moment{m.at}), func(t moment) Fields {
			if t < m.at {
				return nil
			}
			edited, isEdited := m.edits.at(t)
			f := Fields{
				"summary_id": m.id, "summary_type": m.kind, "summary": m.text, "edited_summary": edited, "participant_id": m.agent.id,
			}
			if p.endpoint == events.Interactions {
				f["is_error"], f["is_edited"], f["exe_start_time"] = m.failed, isEdited, m.at.Time()
			} else {
				f["generation_time_in_secs"] = m.took
			}
			return f
		}))
	}
	list = append(list, e)
	if len(m.thumbs) > 0 {
		id := Fields{"summary_id": m.id, "given_by": "AGENT", "target_type": "Summary", "agent": Fields{"agent_id": m.agent.id}}
		rated := Fields{}
		if !m.failed {
			rated = quoted(m.text, "")
		}
		rated["summary_id"] = m.id
		list = append(list, c.feedbackEntry(id, m.thumbs, rated, places...))
	}
	return list
}

// conversationEntries are the transcript and what agents think of the widget.
func (c *contact) conversationEntries() (list []*Entry) {
	for _, m := range c.messages {
		e := c.entry(events.TypeMessage, Fields{"message_id": m.id}, m.at, m.at+14)
		e.add(c.view(c.recordPlace(), []moment{m.at}, func(moment) Fields {
			f := Fields{
				"message_id": m.id, "message_time": (m.at + 14).Time(), "created_on": m.at.Time(), "author_type": "AGENT", "author_id": m.agent.id,
				"components": []any{Fields{"component_type": "text", "text": m.text}},
			}
			if m.customer {
				f["author_type"], f["author_id"] = "USER", nil
			}
			return f
		}))
		list = append(list, e)
	}
	for _, f := range c.widgets {
		id := Fields{"conversation_id": c.conversationID, "agent": Fields{"agent_id": f.agent.id}, "given_by": "AGENT", "target_type": "Widget"}
		list = append(list, c.feedbackEntry(id, f.thumbs, Fields{"feedback_type": "widget"}, c.recordPlace()))
	}
	return list
}
