package koresim

import (
	"agentassist-poller/internal/events"
)

// outcomeEntries are the session before and after an agent took over, the engagements of agents, and the customer's score.
func (c *contact) outcomeEntries() (list []*Entry) {
	o := &c.outline
	places := c.outcomePlaces()
	if !o.assisted() || o.transfer > o.session {
		if e := c.botOnlyEntry(places); len(e.Views) > 0 {
			list = append(list, e)
		}
	}
	if !o.assisted() {
		return list
	}
	for i := range places {
		places[i].appears = max(places[i].appears, o.transfer)
	}
	list = append(list, c.outcomeEntry(places))
	for _, l := range c.outcome.legs {
		list = append(list, c.engagementEntry(l, l.answering, true, places))
		for _, e := range l.ignoring {
			list = append(list, c.engagementEntry(l, e, false, places))
		}
	}
	if len(c.outcome.score) > 0 {
		list = append(list, c.scoreEntry(places))
	}
	return list
}

// botOnlyEntry is the session until an agent took over, if ever.
func (c *contact) botOnlyEntry(places []place) *Entry {
	o := &c.outline
	e := c.entry(events.TypeConversation, Fields{"session_id": c.sessionID, "channel": analyticsNames[o.channel]}, o.session.second(), o.transfer.second(), o.end.second())
	e.ConversationID, e.KafkaKey, e.Superseded = "", c.sessionID, o.transfer
	for _, p := range places {
		if o.assisted() && p.appears >= o.transfer {
			continue
		}
		v, ok := c.view(p, []moment{o.session, o.end}, func(t moment) Fields {
			if o.assisted() && t >= o.transfer {
				return nil
			}
			return c.outcomeFields(p.endpoint, t)
		})
		if o.assisted() {
			v.Gone = (o.transfer + p.lag).Time()
		}
		e.add(v, ok)
	}
	return e
}

func (c *contact) outcomeEntry(places []place) *Entry {
	out := &c.outcome
	e := c.entry(events.TypeConversation, Fields{"session_id": c.sessionID, "conversation_id": c.conversationID}, out.start, out.end, c.outline.transfer.second())
	changes := []moment{c.outline.transfer, c.outline.end}
	changes = out.status.moments(changes)
	changes = out.dispositions.moments(changes)
	changes = out.remarks.moments(changes)
	changes = out.score.moments(changes)
	changes = out.scoreText.moments(changes)
	changes = out.tags.moments(changes)
	for _, l := range out.legs {
		changes = append(changes, l.entered, l.answering.at())
	}
	for _, p := range places {
		e.add(c.view(p, changes, func(t moment) Fields {
			if t < c.outline.transfer {
				return nil
			}
			return c.outcomeFields(p.endpoint, t)
		}))
	}
	return e
}

func (c *contact) outcomeFields(e events.Endpoint, t moment) Fields {
	out := &c.outcome
	status, _ := out.status.at(t)
	assisted := c.outline.transfer.happened(t)
	f := Fields{
		"session_id": c.sessionID, "bot_only": !assisted, "session_start_time": out.start.Time(),
		"session_end_time": c.outline.shownEnd(t).Time(), "final_status": status, "user_id": c.userID,
	}
	if c.world.cfg.Drift {
		f["extra_json"] = `{"aiTopics":["billing"]}`
	}
	if e == events.CallDetails {
		f["automation_bot_ids"] = listOf([]string{c.bot.ID})
		if c.outline.end <= t {
			f["disconnecting_event"] = out.hangup
		}
	} else if smart, ok := out.smart.at(t); ok {
		f["smart_status"] = smart
	}
	if !assisted {
		return f
	}
	ds, _ := out.dispositions.at(t)
	rs, _ := out.remarks.at(t)
	f["dispositions"], f["disposition_remarks"] = listOf(ds), listOf(rs)
	if given, _ := out.score.at(t); given != (score{}) {
		given.fields(f)
		if given.scale == "LIKE" {
			f["like_dislike_score"] = given.response()
		}
		f["csat_feedback"], _ = out.scoreText.at(t)
	}
	if c.shape == shape2025 && e == events.InteractionDetails {
		f["reason"], f["reason_capitalized"] = "transfer", "AGENT_TRANSFER"
	}
	var ways []any
	for _, l := range out.legs {
		if l.direct && l.answering.at() <= t {
			ways = append(ways, Fields{"destination_type": "AgentSegment"})
		} else if !l.direct && l.entered <= t {
			way := Fields{"destination_type": "QueueEntry", "queue_id": l.queue.id, "enter_time": l.entered.Time()}
			if l.answering.at() <= t {
				way["responding_agent_id"] = l.answering.agent.id
			}
			ways = append(ways, way)
		}
	}
	f["destinations"] = ways
	return f
}

func (c *contact) engagementEntry(l *leg, g *engagement, responding bool, places []place) *Entry {
	id := Fields{"session_id": c.sessionID, "conversation_id": c.conversationID, "agent": Fields{"agent_id": g.agent.id}, "accepted_time": g.accepted.Time()}
	if !g.unassigned {
		id["assigned_at"] = g.assigned.Time()
	}
	if !l.direct {
		id["queue"] = Fields{"queue_id": l.queue.id}
	}
	e := c.entry(events.TypeAgentEngagement, id, g.at(), g.accepted)
	if e.AgentID = g.agent.id; !l.direct {
		e.QueueName = l.queue.name
	}
	at := max(g.at(), l.entered)
	changes := append(g.notes.moments([]moment{at}), g.accepted, g.response, g.ended, g.work)
	for _, p := range places {
		e.add(c.view(p, changes, func(t moment) Fields {
			if t < at {
				return nil
			}
			return g.fields(responding, t)
		}))
	}
	return e
}

func (e *engagement) fields(responding bool, t moment) Fields {
	f := Fields{"responding": responding}
	if !e.unassigned {
		f["assigned_at"] = e.assigned.Time()
	}
	if !responding {
		f["non_response_event"] = e.event
		return f
	}
	notes, _ := e.notes.at(t)
	f["agent_notes"] = listOf(notes)
	if e.accepted <= t {
		f["status"], f["accepted_time"] = "Answered", e.accepted.Time()
	}
	f["first_response_time"] = known(e.response, t)
	if e.ended <= t {
		f["interaction_end_time"], f["interaction_duration"] = e.ended.Time(), int64((e.ended-e.accepted)/second)
	}
	if e.work.happened(t) {
		f["after_call_work_end_time"], f["after_call_work_duration"] = e.work.Time(), int64((e.work-e.ended)/second)
	}
	return f
}

// scoreEntry is the customer's feedback.
func (c *contact) scoreEntry(places []place) *Entry {
	out := &c.outcome
	scale := out.score[0].value.scale
	id := Fields{
		"session_id": c.sessionID, "conversation_id": c.conversationID, "given_by": "CUSTOMER", "target_type": "Conversation", "scale": scale,
	}
	e := c.entry(events.TypeFeedback, id)
	for _, p := range places {
		e.add(c.view(p, out.scoreText.moments(out.score.moments(nil)), func(t moment) Fields {
			given, ok := out.score.at(t)
			if !ok {
				return nil
			}
			f := Fields{"given_by": "CUSTOMER", "target_type": "Conversation", "scale": scale, "sentiment": withdrawn}
			last := out.legs[len(out.legs)-1] // all are over
			if f["agent"] = (Fields{"agent_id": last.answering.agent.id}); !last.direct {
				f["queue"] = Fields{"queue_id": last.queue.id}
			}
			if given == (score{}) {
				return f
			}
			f["response"], f["sentiment"] = given.response(), given.sentiment()
			given.fields(f)
			f["csat_feedback"], _ = out.scoreText.at(t)
			return f
		}))
	}
	return e
}
