package koresim

import "strconv"

// renderSegment writes a row of interactions as it was at t.
func (c *contact) renderSegment(w *jsonWriter, s *segment, t moment, agenticToo bool) {
	w.obj("")
	w.str("conversationID", c.conversationID)
	if session := s.sessionAt(t); session != "" {
		w.str("botSessionID", session)
	}
	w.str("channel", assistNames[c.outline.channel])
	w.str("segmentID", s.id)
	c.renderAgent(w, s)
	w.arr("tags")
	for _, g := range s.tags {
		if g.at <= t {
			w.obj("")
			w.str("type", g.kind)
			w.str("name", g.name)
			w.str("value", g.value)
			if g.message != "" {
				w.str("messageID", g.message)
			}
			w.time("createdAt", g.at)
			w.end()
		}
	}
	w.end()
	w.time("segmentStartTime", s.span.startAt(t))
	if s.span.end <= t {
		w.time("segmentEndTime", s.span.end)
	} else if c.shape == shape2025 {
		w.null("segmentEndTime")
	}
	if m := s.summary; m != nil && m.at <= t && m.onInteractions {
		c.renderSummary(w, m, t)
	} else if c.shape == shape2024 {
		w.null("summary")
	}
	w.arr("agentActions")
	for _, a := range s.actions {
		if a.at <= t {
			c.renderAction(w, a, t)
		}
	}
	w.end()
	w.arr("proActiveSuggestions")
	for _, p := range s.shown {
		if p.display <= t {
			c.renderProactive(w, p, t)
		}
	}
	w.end()
	w.obj("queueInfo")
	w.str("queueId", s.queue.id)
	w.str("queueName", s.queue.name)
	w.end()
	scrolls, _ := s.scrolls.at(t)
	c.count(w, "countScrollUp", scrolls[0])
	c.count(w, "countScrollDn", scrolls[1])
	w.flag("isWelcomeMsgRead", s.welcomed.happened(t))
	w.arr("linksClicked")
	for _, l := range s.links {
		if l.at <= t {
			w.obj("")
			w.str("url", l.url)
			w.time("timestamp", l.at)
			w.end()
		}
	}
	w.end()
	w.arr("playbookRuntimeData")
	for _, v := range s.runs {
		if v.from <= t {
			c.renderRun(w, v.run, v.at(t))
		}
	}
	w.end()
	w.arr("coachingRuntimeData")
	for _, n := range s.nudges {
		if n.triggered <= t {
			c.renderNudge(w, n, n.at(t))
		}
	}
	for _, n := range s.carried {
		c.renderNudge(w, n, t)
	}
	w.end()
	if agenticToo {
		w.arr("agenticActivities")
		for _, a := range s.activities {
			if a.onInteractions && a.requested <= t {
				c.renderActivity(w, a, t)
			}
		}
		for _, q := range s.asked {
			if q.requested <= t {
				c.renderActivity(w, q, t)
			}
		}
		for _, a := range s.passedOn {
			if a.onInteractions {
				c.renderActivity(w, a.inNextSegment(), t)
			}
		}
		w.end()
	}
	if c.world.cfg.Drift {
		w.obj("qualityHints")
		w.num("version", 3)
		w.end()
	}
	w.end()
}

func (c *contact) renderAgent(w *jsonWriter, s *segment) {
	w.obj("agent")
	if !s.bare {
		w.str("firstName", s.agent.first)
		w.str("lastName", s.agent.last)
		w.str("email", s.agent.email)
		w.str("name", s.agent.name())
	}
	w.str("agentId", s.agent.id)
	w.end()
}

// count writes a number; the older the shape the more likely as a string.
func (c *contact) count(w *jsonWriter, k string, n int64) {
	if c.shape == shape2024 {
		w.str(k, strconv.FormatInt(n, 10))
		return
	}
	w.num(k, n)
}

// optional writes a time that may not have come yet in the way of the shape: not at all, as null or as "".
func (c *contact) optional(w *jsonWriter, k string, m, t moment) {
	switch {
	case m.happened(t):
		w.time(k, m)
	case c.shape == shape2025:
		w.null(k)
	case c.shape == shape2026:
		w.str(k, "")
	}
}

func (c *contact) renderAction(w *jsonWriter, a *action, t moment) {
	w.obj("")
	if q := a.search; q == nil {
		w.str("actionType", "LibrarySelection")
	} else {
		w.str("actionType", "SearchBarEntry")
		w.obj("action")
		w.str("searchPhrase", q.phrase)
		w.time("typingStartTime", q.typing)
		w.time("executionStartTime", q.execution)
		w.time("displayTime", q.display)
		w.strs("suggestionsShown", q.offered)
		c.count(w, "suggestionUsed", q.offeredUsed)
		w.str("phraseInput", q.input)
		c.count(w, "correctionsPresented", q.corrections)
		c.count(w, "correctionsAccepted", q.correctionsHit)
		c.renderList(w, q.list, q.unlisted)
		w.end()
	}
	c.renderUsed(w, a.used, t)
	w.end()
}

func (c *contact) renderProactive(w *jsonWriter, p *proactive, t moment) {
	w.obj("")
	if !p.untimed {
		w.time("displayTime", p.display)
	}
	w.str("utterance", p.utterance)
	c.renderList(w, p.list, p.unlisted)
	c.renderUsed(w, p.used, t)
	w.end()
}

// listNames are the keys of the lists of suggestions, in the order of counts.
var listNames = []struct {
	of          target
	list, count string
}{
	{dialogTask, "dialogs", "countDialogTasks"},
	{faq, "faqs", "countFaqs"},
	{answer, "answers", "countAnswers"},
	{file, "file", "countFiles"},
	{webPage, "web", "countWebPages"},
	{dataSource, "generalDataSources", "countFromNonNativeDataSource"},
	{agenticUse, "agentic", ""},
	{snippet, "snippets", ""},
	{videoClip, "videoClips", ""},
}

func counted(list []*suggestion, of target) (n int64) {
	for _, s := range list {
		if s.target == of {
			n++
		}
	}
	return n
}

func (c *contact) renderList(w *jsonWriter, list []*suggestion, unlisted bool) {
	w.obj("countDisplayedAnswers")
	for _, l := range listNames {
		if l.count != "" {
			c.count(w, l.count, counted(list, l.of))
		}
	}
	w.end()
	if unlisted {
		return
	}
	w.obj("suggestions")
	for _, l := range listNames {
		if counted(list, l.of) == 0 && c.shape != shape2026 {
			continue
		}
		w.arr(l.list)
		for _, s := range list {
			if s.target == l.of {
				s.render(w)
			}
		}
		w.end()
	}
	w.end()
}

func (s *suggestion) render(w *jsonWriter) {
	w.obj("")
	defer w.end()
	if s.target == dialogTask {
		w.str("name", s.name)
		return
	}
	w.str("content", s.body)
	w.str("positionId", s.position)
	w.arr("sources").obj("")
	w.str("title", s.title)
	w.str("url", s.url)
	w.end()
	w.end()
	if s.target == answer {
		w.flag("internalFlag", false)
		return
	}
	w.obj("appInfo")
	w.str("appName", "Help Center")
	w.str("product", s.product)
	w.num("displayLines", 4)
	w.end()
}

func (c *contact) renderUsed(w *jsonWriter, used []*use, t moment) {
	w.arr("used")
	for _, u := range used {
		if u.at <= t {
			w.obj("")
			w.str("targetType", string(u.target))
			w.obj("target")
			c.renderTarget(w, u, t)
			w.end()
			if c.shape == shape2025 {
				c.renderThumb(w, "feedback", u.thumbs, t)
			}
			w.end()
		}
	}
	w.end()
}

var nestedUnder = map[target]string{faq: "faq", answer: "answer", webPage: "webpage", file: "file", dataSource: "general-data-source", videoClip: "videoClip"}

// renderTarget writes the inside of a target: nested under its type since 2025, flat before and for snippets.
func (c *contact) renderTarget(w *jsonWriter, u *use, t moment) {
	if name := nestedUnder[u.target]; name != "" && c.shape != shape2024 {
		w.obj(name)
		defer w.end()
	}
	if u.position {
		w.str("positionId", u.of.position)
	}
	switch u.target {
	case dialogTask:
		c.renderDialog(w, u, t)
	case faq, videoClip:
		w.str("title", u.of.title)
	case webPage:
		w.str("url", u.of.url)
	case file:
		w.str("path", u.of.path)
	case dataSource:
		w.str("connector", u.of.connector)
		w.str("uri", u.of.url)
	}
	if u.target != dialogTask {
		status := ""
		if u.sent.happened(t) {
			status = u.status
		}
		w.str("status", status)
		c.optional(w, "usedTime", u.sent, t)
	}
	if u.target == answer {
		more := "showMoreClicked"
		if c.shape == shape2024 {
			more = "showmoreClicked"
		}
		w.flag(more, u.more.happened(t))
		if c.shape != shape2024 {
			links, _ := u.links.at(t)
			w.strs("answerLinkClicked", links)
			w.flag("internalInfoMoreClicked", false)
		}
	}
	if c.shape != shape2025 {
		c.renderThumb(w, "feedback", u.thumbs, t)
	}
}

func (c *contact) renderDialog(w *jsonWriter, u *use, t moment) {
	w.str("name", u.of.name)
	w.str("runType", u.runType)
	if u.finished <= t {
		w.str("status", u.outcome)
		w.time("endTime", u.finished)
	} else {
		w.str("status", "")
		w.null("endTime")
	}
	w.time("startTime", u.started)
	w.obj("suggestionsCount")
	ask, tell := "askCustomer", "tellCustomer"
	if c.shape == shape2026 {
		ask, tell = "askSuggestions", "tellSuggestions"
	}
	w.num(tell, u.counts[0])
	w.num(ask, u.counts[1])
	w.num("tellUsed", u.counts[2])
	w.num("askUsed", u.counts[3])
	w.end()
	w.arr("linksClicked").end()
}

// response is how interactions say a verdict.
func (c *contact) response(up bool) string {
	switch {
	case c.shape == shape2026 && up:
		return "up"
	case c.shape == shape2026:
		return "down"
	case up:
		return "Up"
	}
	return "Down"
}

func (c *contact) renderThumb(w *jsonWriter, k string, l timeline[thumb], t moment) {
	v, ok := l.at(t)
	if !ok || v.none && !v.blank {
		// Where nothing was said some records have nothing, some null, some an empty list.
		switch c.shape {
		case shape2025:
			w.arr(k).end()
		case shape2026:
			w.null(k)
		}
		return
	}
	w.obj(k)
	response := c.response(v.up)
	if v.none {
		response = ""
	}
	w.str("response", response)
	w.strs("reasonCode", v.reasons)
	w.str("comment", v.comment)
	w.end()
}

func (c *contact) renderSummary(w *jsonWriter, m *summary, t moment) {
	edited, isEdited := m.edits.at(t)
	w.obj("summary")
	w.str("summaryId", m.id)
	renderParticipant(w, m.agent, "AGENT")
	w.str("type", m.kind)
	w.str("summary", m.text)
	w.str("editedSummary", edited)
	w.flag("isError", m.failed)
	w.flag("isDisabled", false)
	w.flag("isEdited", isEdited)
	w.num("exeStartTime", int64(m.at))
	w.str("positionId", m.position)
	if isEdited && !m.failed {
		w.num("sumSubTime", int64(m.edits[len(m.edits)-1].at))
	}
	w.float("time", m.took)
	w.str("summaryModel", "kore")
	c.renderThumb(w, "feedback", m.thumbs, t)
	w.end()
}

func renderParticipant(w *jsonWriter, a agent, kind string) {
	w.obj("participant")
	w.str("identity", a.id)
	w.str("name", a.name())
	w.str("type", kind)
	w.arr("startTime").end()
	w.arr("endTime").end()
	w.end()
}

func (c *contact) renderRun(w *jsonWriter, r *playbookRun, t moment) {
	done, all := r.adheredBy(t)
	w.obj("")
	w.str("_id", r.id)
	w.str("playbookId", r.playbook)
	w.str("type", r.kind)
	w.str("triggerType", r.trigger)
	w.str("language", "en")
	w.str("order", r.order)
	w.time("openedAt", r.opened)
	if r.closed.happened(t) {
		w.time("closedAt", r.closed)
	} else if r.hidden {
		w.null("closedAt")
	}
	w.num("adheredSteps", done)
	w.num("adherenceRate", rate(done, all))
	w.arr("stages")
	for _, st := range r.stages {
		if r.hidden {
			break
		}
		w.obj("")
		w.str("_id", st.id)
		w.str("name", st.name)
		w.flag("completed", st.completedBy(t))
		w.arr("steps")
		for _, p := range st.steps {
			w.obj("")
			w.str("_id", p.id)
			w.str("name", p.name)
			adherence := "isAdhered"
			if r.completes {
				adherence = "completed"
			}
			w.flag(adherence, p.adhered.happened(t))
			if p.adhered.happened(t) {
				w.str("adheredBy", p.by)
				w.time("adheredAt", p.adhered)
			}
			w.end()
		}
		w.end()
		w.end()
	}
	w.end()
	w.obj("totalStages")
	for i, st := range r.stages {
		w.num("stage-"+strconv.Itoa(i+1), int64(len(st.steps)))
	}
	w.end()
	if c.world.cfg.Drift {
		w.str("scenarioStatus", scenarioStatus(r, t))
	}
	w.end()
}

// scenarioStatus is a member of runs that no page of the API's documentation names.
func scenarioStatus(r *playbookRun, t moment) string {
	if r.closed.happened(t) {
		return "completed"
	}
	return "ongoing"
}

// rate is the adherence in whole percent.
func rate(done, all int64) int64 {
	if all == 0 {
		return 0
	}
	return 100 * done / all
}

func (c *contact) renderNudge(w *jsonWriter, n *nudge, t moment) {
	w.obj("")
	w.str("_id", n.id)
	w.str("ruleId", n.rule)
	w.str("ruleName", n.name)
	w.str("messageId", n.message)
	w.time("triggeredAt", n.triggered)
	w.str("actionType", n.action)
	w.str("actionId", n.actionID)
	w.str("expression", n.expression)
	w.obj("message")
	w.str("title", n.title)
	w.str("body", n.body)
	w.end()
	w.strs("emails", n.emails)
	if n.action == "email_manager" {
		w.arr("adherence").end()
	} else {
		w.obj("adherence")
		w.str("criteria", n.criteria)
		w.end()
		w.flag("isAdhered", n.adhered.happened(t))
		if n.adhered.happened(t) {
			w.time("adheredAt", n.adhered)
		} else if c.shape == shape2025 {
			w.null("adheredAt")
		}
	}
	w.end()
}

func (c *contact) renderActivity(w *jsonWriter, a *agentic, t moment) {
	w.obj("")
	w.str("utterance", a.utterance)
	w.str("requestId", a.request)
	w.time("requestTime", a.requested)
	w.str("reqStatus", "200")
	w.arr("response")
	if a.responded <= t {
		w.obj("")
		w.str("type", "suggestion")
		w.str("content", a.text)
		w.end()
	}
	w.end()
	c.optional(w, "responseTime", a.responded, t)
	if a.responded <= t {
		w.num("resStatus", 200)
	} else {
		w.null("resStatus")
	}
	w.obj("sessionInfo")
	w.str("botSessionID", c.sessionID)
	w.end()
	w.str("participantId", a.participant)
	w.flag("streaming", a.streaming)
	if a.used.happened(t) {
		w.obj("usageDetails")
		w.str("usedType", a.how)
		w.end()
	} else if c.shape == shape2025 {
		w.arr("usageDetails").end()
	}
	c.renderThumb(w, "feedback", a.thumbs, t)
	w.end()
}
