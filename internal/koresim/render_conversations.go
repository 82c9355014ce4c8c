package koresim

// include are the four flags of the conversations endpoint.
type include struct{ history, agentic, feedback, summary bool }

// renderConversation writes a record of conversations as it was at t.
func (c *contact) renderConversation(w *jsonWriter, t moment, inc include) {
	sloppy := c.world.cfg.Profile.Sloppy
	experience := assistNames[c.outline.channel]
	w.obj("")
	w.str("_id", c.recordID)
	w.str("convId", c.conversationID)
	w.str("botId", c.bot.ID)
	w.flag("isExtAD", true)
	w.time("startTime", c.outline.transfer)
	if inc.summary {
		c.renderSummaries(w, t, inc)
	}
	if c.outline.end <= t {
		w.str("mbSessionId", c.backendSession)
	}
	w.str("mbUserId", c.userID)
	w.str("experience", experience)
	if inc.history || inc.agentic {
		c.renderMessages(w, t, inc)
	}
	if inc.agentic {
		if n := countSeen(c.searches, t); n > 0 || !sloppy {
			w.arr("searchHistory")
			for _, q := range c.searches {
				if q.requested <= t {
					c.renderAgentic(w, q, t, inc)
				}
			}
			w.end()
		}
		w.arr("agenticAssistSessionIds")
		for _, a := range c.assisted() {
			if a.requested <= t {
				w.str("", a.session)
			}
		}
		w.end()
		w.arr("agenticSearchSessionIds")
		for _, q := range c.searches {
			if q.requested <= t {
				w.str("", q.session)
			}
		}
		w.end()
	}
	if inc.feedback {
		c.renderWidgets(w, t)
	}
	if c.world.cfg.Drift {
		w.str("tenantRegion", "eu-1")
	}
	w.end()
}

func countSeen(list []*agentic, t moment) (n int) {
	for _, a := range list {
		if a.requested <= t {
			n++
		}
	}
	return n
}

// assisted returns the requests that conversations shows among the messages.
func (c *contact) assisted() (list []*agentic) {
	for _, s := range c.segments {
		for _, a := range s.activities {
			if a.onConversations {
				list = append(list, a)
			}
		}
	}
	return list
}

func (c *contact) renderSummaries(w *jsonWriter, t moment, inc include) {
	seen := false
	open := func() {
		if !seen {
			w.arr("summaries")
			seen = true
		}
	}
	if !c.world.cfg.Profile.Sloppy {
		open()
	}
	for _, m := range c.summaries() {
		if m.at > t {
			continue
		}
		open()
		w.obj("")
		w.str("summaryId", m.id)
		renderParticipant(w, m.agent, "agent")
		w.str("summary", m.text)
		if edited, ok := m.edits.at(t); ok {
			w.str("editedSummary", edited)
		}
		w.str("type", m.kind)
		w.float("generationTimeInSecs", m.took)
		if inc.feedback {
			renderVerdict(w, "feedbackInfo", m.agent, m.thumbs, t, "summary")
		}
		w.end()
	}
	if seen {
		w.end()
	}
}

// renderVerdict writes feedback as conversations has it.
func renderVerdict(w *jsonWriter, k string, by agent, l timeline[thumb], t moment, kind string) {
	v, ok := l.at(t)
	if !ok || v.none && !v.blank {
		return
	}
	said := verdict(v.up)
	if v.none {
		said = ""
	}
	w.obj(k)
	w.obj("agentDetails")
	w.str("identity", by.id)
	w.str("name", by.name())
	w.end()
	w.str("feedback", said)
	w.str("comment", v.comment)
	w.strs("feedbackDetails", v.reasons)
	w.str("type", kind)
	w.end()
}

// verdict is how conversations says what interactions says as response.
func verdict(up bool) string {
	if up {
		return "like"
	}
	return "dislike"
}

// renderMessages writes the transcript and the agentic requests in it, in the order of time.
func (c *contact) renderMessages(w *jsonWriter, t moment, inc include) {
	w.arr("messages")
	defer w.end()
	var messages []*message
	var requests []*agentic
	if inc.history {
		messages = c.messages
	}
	if inc.agentic && (inc.history || !c.world.cfg.Profile.AgenticNeedsHistory) {
		requests = c.assisted()
	}
	for len(messages)+len(requests) > 0 {
		if len(requests) == 0 || len(messages) > 0 && messages[0].at <= requests[0].requested {
			if messages[0].at <= t {
				c.renderMessage(w, messages[0])
			}
			messages = messages[1:]
		} else {
			if requests[0].requested <= t {
				c.renderAgentic(w, requests[0], t, inc)
			}
			requests = requests[1:]
		}
	}
}

func (c *contact) renderMessage(w *jsonWriter, m *message) {
	w.obj("")
	w.str("_id", m.id)
	w.str("botId", c.bot.ID)
	w.str("accountId", c.account.ID)
	w.arr("components").obj("")
	w.str("_id", "cp-"+m.id[3:])
	w.str("cT", "text")
	w.obj("data")
	w.str("text", m.text)
	w.end()
	w.arr("thumbnails").end()
	w.end()
	w.end()
	w.time("createdOn", m.at)
	w.time("lmodifiedOn", m.at)
	w.flag("ire", true)
	w.str("chnl", "agentassist")
	w.str("lang", "en")
	w.obj("author")
	if m.customer {
		w.str("type", "USER")
	} else {
		w.str("type", "AGENT")
		w.str("id", m.agent.id)
	}
	w.end()
	w.str("conversationId", c.conversationID)
	w.time("__lModifiedOn__", m.at.second())
	w.num("timestampValue", int64(m.at+14))
	w.end()
}

func (c *contact) renderAgentic(w *jsonWriter, a *agentic, t moment, inc include) {
	w.obj("")
	w.str("_id", a.id)
	w.str("type", "AGENTIC")
	w.num("timestampValue", int64(a.requested))
	w.str("requestId", a.request)
	w.str("conversationId", c.conversationID)
	w.str("botId", c.bot.ID)
	w.str("accountId", c.account.ID)
	w.str("orgId", "o-"+c.account.ID)
	w.str("experience", assistNames[c.outline.channel])
	w.str("language", "en")
	w.str("query", a.utterance)
	if a.responded <= t {
		c.renderAnswer(w, a)
	}
	if a.onInteractions {
		w.str("triggeringMessageId", a.trigger)
	} else {
		w.null("triggeringMessageId")
	}
	used := a.used.happened(t)
	w.flag("isSent", used && a.how == "send")
	w.flag("isCopied", used && a.how == "copy")
	if a.request[0] == 'a' || c.shape != shape2025 {
		w.flag("isOverride", used && a.how == "override")
	}
	w.time("requestedAt", a.requested)
	if a.responded <= t {
		w.time("respondedAt", a.responded)
	} else {
		w.null("respondedAt")
	}
	w.obj("sessionInfo")
	w.str("status", "idle")
	w.str("userId", c.userID)
	w.str("sessionId", a.session)
	w.str("runId", a.run)
	w.str("appId", a.app)
	w.str("envId", a.env)
	w.str("envName", "demo")
	w.str("conversationState", "COMPLETED")
	w.null("activeConversationAgent")
	w.str("source", "AIS-AA")
	w.end()
	if inc.feedback {
		renderVerdict(w, "feedbackInfo", a.by, a.thumbs, t, "agentic")
	}
	w.end()
}

// renderAnswer writes components, which is an object here and an array in every other message, and sometimes here too.
func (c *contact) renderAnswer(w *jsonWriter, a *agentic) {
	if c.world.cfg.Profile.Sloppy {
		w.arr("components").obj("")
		defer w.end()
	} else {
		w.obj("components")
	}
	w.str("_id", "cp-"+a.request[3:])
	w.str("cT", "text")
	w.obj("data")
	w.str("text", a.text)
	w.end()
	w.end()
}

func (c *contact) renderWidgets(w *jsonWriter, t moment) {
	w.arr("widgetFeedbacks")
	for _, f := range c.widgets {
		renderVerdict(w, "", f.agent, f.thumbs, t, "widget")
	}
	w.end()
}
