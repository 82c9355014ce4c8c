package koresim

import "time"

// analyticsView is what a request to an analytics endpoint decides about how rows look.
type analyticsView struct {
	v1     bool // call-details
	zone   time.Duration
	fields map[string]bool // selectedFields
}

// renderOutcome writes a row of an analytics endpoint as it was at t: bot-only until an agent took over.
func (c *contact) renderOutcome(w *jsonWriter, t moment, view analyticsView) {
	o := &c.outcome
	assisted := c.outline.transfer.happened(t)
	w.obj("")
	if assisted {
		w.str("conversationId", c.conversationID)
	}
	w.str("sessionId", c.sessionID)
	w.str("channel", analyticsNames[c.outline.channel])
	w.local("sessionStartTime", o.start, view.zone)
	w.local("sessionEndTime", c.outline.shownEnd(t), view.zone)
	w.str("botId", c.bot.ID)
	w.str("userId", c.userID)
	if c.shape == shape2024 {
		w.null("channelSpecificUserId")
	} else {
		w.str("channelSpecificUserId", c.account.ID+"/"+c.userID)
	}
	w.str("orgId", "o-"+c.account.ID)
	if status, ok := o.status.at(t); ok && status != "" {
		w.str("finalStatus", status)
	}
	if view.v1 {
		w.strs("automationBotIDs", []string{c.bot.ID})
		if c.outline.end <= t {
			w.str("disconnectingEvent", o.hangup)
		}
	} else if smart, ok := o.smart.at(t); ok {
		w.str("smartStatus", smart)
	}
	if assisted {
		c.renderHandled(w, t, view)
	}
	c.renderSelected(w, t, view)
	if c.world.cfg.Drift {
		w.strs("aiTopics", []string{"billing"})
	}
	w.end()
}

func (c *contact) renderHandled(w *jsonWriter, t moment, view analyticsView) {
	o := &c.outcome
	if !view.v1 {
		w.str("Direction", o.direction)
		w.str("isVoicemail", "NO")
		w.str("statusDetail", o.detail)
	}
	ds, _ := o.dispositions.at(t)
	w.strs("dispositions", ds)
	rs, _ := o.remarks.at(t)
	w.strs("dispositionRemarks", rs)
	c.renderScore(w, t)
	if c.shape == shape2025 && !view.v1 {
		// Both spellings occur in one record, with different values.
		w.str("reason", "transfer")
		w.str("Reason", "AGENT_TRANSFER")
	}
	if c.shape == shape2024 {
		w.arr("metaInfo").end()
	} else {
		w.obj("metaInfo")
		w.str("caller", o.phone)
		w.str("userId", c.userID)
		w.obj("agentTransferConfig")
		w.arr("skillsIds").end()
		w.flag("overrideAgents", false)
		w.str("automationBotId", c.bot.ID)
		w.end()
		w.end()
	}
	w.arr("destinations")
	for _, l := range o.legs {
		l.render(w, t, view.zone)
	}
	w.end()
}

func (c *contact) renderSelected(w *jsonWriter, t moment, view analyticsView) {
	o := &c.outcome
	if view.fields["customerinfo"] {
		w.obj("customerinfo")
		w.str("CustomerPhone", o.phone)
		w.str("CenterPhone", "+15550100")
		if view.v1 || !c.outline.transfer.happened(t) {
			w.str("Direction", o.direction)
		}
		w.str("CustomerFirstName", "Jane")
		w.str("CustomerLastName", "Doe")
		w.str("CustomerEmail", "jane.doe@example.com")
		w.end()
	}
	if view.fields["skills"] {
		w.arr("skills")
		for _, s := range o.skills {
			w.obj("")
			w.str("id", s.name)
			w.str("name", s.value)
			w.end()
		}
		w.end()
	}
	if view.fields["userleveltags"] {
		renderTags(w, "userleveltags", o.userTags)
	}
	if view.fields["sessionleveltags"] {
		tags, _ := o.tags.at(t)
		renderTags(w, "sessionleveltags", tags)
	}
}

func renderTags(w *jsonWriter, k string, tags []sessionTag) {
	w.arr(k)
	for _, g := range tags {
		w.obj("")
		w.str("name", g.name)
		w.str("value", g.value)
		w.end()
	}
	w.end()
}

func (l *leg) render(w *jsonWriter, t moment, zone time.Duration) {
	if l.entered > t || l.direct && l.answering.at() > t {
		return
	}
	w.obj("")
	defer w.end()
	if l.direct {
		l.answering.render(w, t, zone)
		return
	}
	w.str("destinationType", "QueueEntry")
	w.str("queueId", l.queue.id)
	w.str("queueName", l.queue.name)
	w.flag("CallbackOpted", l.callback != 0)
	if l.callback != 0 {
		w.time("CallbackOptedTime", l.callback)
	}
	w.local("EnterTime", l.entered, zone)
	if l.answering.at() <= t {
		w.obj("respondingAgent")
		l.answering.render(w, t, zone)
		w.end()
	}
	if len(l.ignoring) > 0 {
		w.arr("nonRespondingAgents")
		for _, e := range l.ignoring {
			w.obj("")
			w.str("agentId", e.agent.id)
			w.arr("agentNotes").end()
			w.str("destinationType", "AgentSegment")
			w.str("email", e.agent.email)
			w.str("name", e.agent.name())
			w.local("assignedAt", e.assigned, zone)
			w.str("nonResponseEvent", e.event)
			w.end()
		}
		w.end()
	}
}

func (e *engagement) render(w *jsonWriter, t moment, zone time.Duration) {
	w.str("agentId", e.agent.id)
	notes, _ := e.notes.at(t)
	w.strs("agentNotes", notes)
	w.str("destinationType", "AgentSegment")
	if e.accepted <= t {
		w.str("status", "Answered")
		w.local("acceptedTime", e.accepted, zone)
	}
	if e.response.happened(t) {
		w.local("firstResponseTime", e.response, zone)
		w.num("firstResponseDuration", int64((e.response-e.accepted)/second))
	}
	if e.ended <= t {
		w.local("interactionEndTime", e.ended, zone)
		w.num("interactionDuration", int64((e.ended-e.accepted)/second))
	}
	if e.work.happened(t) {
		w.num("afterCallWorkDuration", int64((e.work-e.ended)/second))
		w.local("afterCallWorkEndTime", e.work, zone)
	}
	w.str("email", e.agent.email)
	w.str("name", e.agent.name())
	if !e.unassigned {
		w.local("assignedAt", e.assigned, zone)
	}
}
