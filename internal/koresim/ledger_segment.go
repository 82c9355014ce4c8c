package koresim

import (
	"maps"
	"strings"

	"agentassist-poller/internal/events"
)

func (c *contact) segmentEntry(s *segment) *Entry {
	e := c.entry(events.TypeSegment, Fields{"segment_id": s.id}, append(s.span.starts(), s.span.end)...)
	changes := []moment{s.span.began, s.span.end, s.joined, s.span.corrected}
	changes = s.scrolls.moments(changes)
	if s.welcomed != 0 {
		changes = append(changes, s.welcomed)
	}
	for _, g := range s.tags {
		changes = append(changes, g.at)
	}
	for _, l := range s.links {
		changes = append(changes, l.at)
	}
	v, ok := c.view(c.segmentPlace(s), changes, func(t moment) Fields {
		scrolls, _ := s.scrolls.at(t)
		var tags, links []any
		for _, g := range s.tags {
			if g.at <= t {
				tags = append(tags, Fields{"type": g.kind, "name": g.name, "value": g.value, "message_id": g.message, "created_at": g.at.Time()})
			}
		}
		for _, l := range s.links {
			if l.at <= t {
				links = append(links, Fields{"url": l.url, "timestamp": l.at.Time()})
			}
		}
		f := Fields{
			"segment_start_time": s.span.startAt(t).Time(), "segment_end_time": known(s.span.end, t),
			"is_welcome_msg_read": s.welcomed.happened(t), "count_scroll_up": scrolls[0], "count_scroll_dn": scrolls[1],
			"tags": tags, "links_clicked": links, "session_id": s.sessionAt(t),
		}
		if c.world.cfg.Drift {
			f["extra_json"] = `{"qualityHints":{"version":3}}`
		}
		return f
	})
	e.add(v, ok)
	return e
}

// actionEntries are the searches, the lists shown, the suggestions used and the feedback on them.
func (c *contact) actionEntries(s *segment) (list []*Entry) {
	for _, a := range s.actions {
		via, asked, around := "LIBRARY", "", s.span.starts()
		var shown, searched *Entry
		if q := a.search; q != nil {
			via, asked, around = "SEARCH", q.phrase, []moment{q.execution, q.display}
			searched = c.searchEntry(s, q)
			list = append(list, searched)
			if n := displayed(q.list, q.unlisted); n > 0 {
				shown = c.shownEntry(s, "SEARCH", "", q.display, q.display, q.list, n)
				shown.Searched = searched
				list = append(list, shown)
			}
		}
		list = append(list, c.usedEntries(s, a.used, via, asked, around, shown, searched)...)
	}
	for _, p := range s.shown {
		display, around := p.display, []moment{p.display}
		if p.untimed {
			display, around = 0, s.span.starts()
		}
		var shown *Entry
		if n := displayed(p.list, p.unlisted); n > 0 {
			shown = c.shownEntry(s, "PROACTIVE", p.utterance, display, p.display, p.list, n)
			list = append(list, shown)
		}
		list = append(list, c.usedEntries(s, p.used, "PROACTIVE", p.utterance, around, shown, nil)...)
	}
	return list
}

// displayed counts what a list shows: as upstream counts it, or, of kinds that it does not count, what it lists.
func displayed(list []*suggestion, unlisted bool) (n int64) {
	for _, l := range listNames {
		if l.count != "" {
			n += counted(list, l.of)
		}
	}
	if n == 0 && !unlisted {
		n = int64(len(list))
	}
	return n
}

func (c *contact) searchEntry(s *segment, q *search) *Entry {
	e := c.entry(events.TypeSearch,
		Fields{"via": "SEARCH_BAR", "segment_id": s.id, "execution_start_time": q.execution.Time()},
		q.execution, q.typing, q.display)
	v, ok := c.part(c.segmentPlace(s), []moment{q.display}, func(moment) Fields {
		return Fields{
			"via": "SEARCH_BAR", "action_type": "SearchBarEntry", "search_phrase": q.phrase, "phrase_input": q.input,
			"typing_start_time": q.typing.Time(), "execution_start_time": q.execution.Time(), "display_time": q.display.Time(),
			"suggestions_shown": listOf(q.offered), "suggestion_used": q.offeredUsed,
			"corrections_presented": q.corrections, "corrections_accepted": q.correctionsHit,
			"count_faqs": counted(q.list, faq), "count_answers": counted(q.list, answer), "segment_id": s.id,
		}
	})
	e.add(v, ok)
	return e
}

func (c *contact) shownEntry(s *segment, kind, utterance string, display, at moment, list []*suggestion, total int64) *Entry {
	id := Fields{"segment_id": s.id, "kind": kind, "utterance": utterance}
	times := []moment{display}
	if display != 0 {
		id["display_time"] = display.Time()
	} else {
		times = s.span.starts()
	}
	e := c.entry(events.TypeSuggestionShown, id, times...)
	v, ok := c.part(c.segmentPlace(s), []moment{at}, func(moment) Fields {
		f := Fields{
			"kind": kind, "utterance": utterance, "segment_id": s.id, "count_total": total,
			"count_dialog_tasks": counted(list, dialogTask), "count_faqs": counted(list, faq), "count_answers": counted(list, answer),
			"count_files": counted(list, file), "count_web_pages": counted(list, webPage),
			"count_from_non_native_data_source": counted(list, dataSource),
		}
		if display != 0 {
			f["display_time"] = display.Time()
		}
		return f
	})
	e.add(v, ok)
	return e
}

// usedEntries are the suggestions used of a list. A use has no time of its own before it was sent, and takes one of those
// around it.
func (c *contact) usedEntries(s *segment, used []*use, via, asked string, around []moment, shown, searched *Entry) (list []*Entry) {
	for _, u := range used {
		id := u.identity()
		id["segment_id"], id["via"] = s.id, via
		e := c.entry(events.TypeSuggestionUsed, id, append(around, u.sent, u.started)...)
		e.Shown, e.Searched = shown, searched
		changes := append(u.links.moments([]moment{u.at}), u.sent, u.more, u.finished)
		v, ok := c.part(c.segmentPlace(s), changes, func(t moment) Fields {
			if t < u.at {
				return nil
			}
			return u.fields(c, via, t)
		})
		e.add(v, ok)
		list = append(list, e)
		if len(u.thumbs) > 0 {
			id := u.identity()
			id["segment_id"], id["given_by"] = s.id, "AGENT"
			list = append(list, c.feedbackEntry(id, u.thumbs, quoted(u.text(), asked), c.segmentPlace(s)))
		}
	}
	return list
}

// identity returns the fields by which a suggestion is known in its segment.
func (u *use) identity() Fields {
	id := Fields{"target_type": string(u.target)}
	if u.position {
		id["position_id"] = u.of.position
		return id
	}
	switch u.target {
	case faq, videoClip:
		id["title"], id["target_name"] = u.of.title, u.of.title
	case webPage:
		id["url"], id["target_name"] = u.of.url, u.of.url
	case file:
		id["path"], id["target_name"] = u.of.path, u.of.path
	case dataSource:
		id["uri"], id["target_name"] = u.of.url, u.of.url
	}
	return id
}

// text is what the list says of the suggestion, else what it is called.
func (u *use) text() string {
	switch {
	case u.target == dialogTask:
		return u.of.name
	case u.position:
		return u.of.body
	}
	return text(u.identity()["target_name"])
}

// quoted returns the fields of feedback that say what was rated and what was asked.
func quoted(text, asked string) Fields {
	const most = 2000
	cut := func(s string) (string, bool) {
		if r := []rune(s); len(r) > most {
			return string(r[:most]), true
		}
		return s, false
	}
	f := Fields{}
	f["target_text"], f["target_text_truncated"] = cut(text)
	f["target_query"], _ = cut(asked)
	return f
}

func (u *use) fields(c *contact, via string, t moment) Fields {
	f := u.identity()
	delete(f, "target_name")
	f["via"] = via
	if u.target == dialogTask {
		f["usage"] = "RUN"
		f["dialog_name"], f["run_type"], f["dialog_start_time"] = u.of.name, u.runType, u.started.Time()
		f["tell_suggestions"], f["ask_suggestions"] = u.counts[0], u.counts[1]
		if u.finished <= t {
			f["status"], f["dialog_end_time"] = u.outcome, u.finished.Time()
		}
		return f
	}
	switch u.target {
	case faq, videoClip:
		f["title"] = u.of.title
	case webPage:
		f["url"] = u.of.url
	case file:
		f["path"] = u.of.path
	case dataSource:
		f["connector"], f["uri"] = u.of.connector, u.of.url
	}
	if u.sent.happened(t) {
		f["status"], f["used_time"] = u.status, u.sent.Time()
		f["usage"] = map[string]any{"sent": "SENT", "send": "SENT", "copied": "COPIED", "copy": "COPIED"}[strings.ToLower(u.status)]
	}
	if u.target == answer {
		f["show_more_clicked"] = u.more.happened(t)
		if c.shape != shape2024 {
			links, _ := u.links.at(t)
			f["answer_link_clicked"] = listOf(links)
		}
	}
	return f
}

// withdrawn is the sentiment of feedback that was taken back.
const withdrawn = "WITHDRAWN"

// feedbackEntry is about feedback that given places show. more adds to the fields.
func (c *contact) feedbackEntry(id Fields, l timeline[thumb], more Fields, places ...place) *Entry {
	e := c.entry(events.TypeFeedback, id)
	e.AgentID = text(id.get("agent.agent_id"))
	for _, p := range places {
		v, ok := c.part(p, l.moments(nil), func(t moment) Fields {
			v, ok := l.at(t)
			if !ok {
				return nil
			}
			f := Fields{"given_by": id["given_by"], "target_type": id["target_type"]}
			maps.Copy(f, more)
			if v.none {
				f["sentiment"] = withdrawn
				delete(f, "feedback_type")
				return f
			}
			f["comment_text"], f["reason_codes"] = v.comment, listOf(v.reasons)
			f["sentiment"], f["response"] = "NEGATIVE", c.response(v.up)
			if v.up {
				f["sentiment"] = "POSITIVE"
			}
			if p.endpoint == events.Conversations {
				f["response"] = verdict(v.up)
			}
			return f
		})
		e.add(v, ok)
	}
	return e
}

func (c *contact) nudgeEntry(s *segment, n *nudge) *Entry {
	e := c.entry(events.TypeCoachingTriggered, Fields{"coaching_id": n.id}, n.triggered)
	e.add(c.part(c.segmentPlace(s), []moment{n.triggered, n.adhered}, func(t moment) Fields {
		if t < n.triggered {
			return nil
		}
		return n.fields(n.at(t))
	}))
	if n.until != 0 {
		next := c.segments[s.n+1]
		e.add(c.part(c.segmentPlace(next), []moment{next.span.began, n.adhered}, func(t moment) Fields {
			if t < next.span.began {
				return nil
			}
			return n.fields(t)
		}))
	}
	return e
}

func (n *nudge) fields(t moment) Fields {
	f := Fields{
		"coaching_id": n.id, "rule_id": n.rule, "rule_name": n.name, "message_id": n.message, "triggered_at": n.triggered.Time(),
		"action_type": n.action, "action_id": n.actionID, "expression": n.expression, "message_title": n.title, "message_body": n.body,
		"emails": listOf(n.emails), "adhered_at": known(n.adhered, t),
	}
	if n.action != "email_manager" {
		f["is_adhered"], f["adherence_criteria"] = n.adhered.happened(t), n.criteria
	}
	return f
}

// runEntries are about playbook runs: each is seen by every segment that it spans.
func (c *contact) runEntries() (list []*Entry) {
	byRun := map[*playbookRun][]*Entry{}
	var runs []*playbookRun
	for _, s := range c.segments {
		for _, v := range s.runs {
			if byRun[v.run] == nil {
				runs = append(runs, v.run)
				byRun[v.run] = c.newRunEntries(v.run)
			}
			for i, thing := range runThings(v.run) {
				changes := append(stepTimes(v.run), v.from, v.run.closed)
				if v.until != 0 {
					changes = append(changes, v.until)
				}
				view, ok := c.part(c.segmentPlace(s), changes, func(t moment) Fields {
					if t < v.from {
						return nil
					}
					f := thing.fields(v.run, v.at(t))
					if c.world.cfg.Drift && thing.level == "PLAYBOOK" {
						f["run_json"] = `{"scenarioStatus":"` + scenarioStatus(v.run, v.at(t)) + `"}`
					}
					return f
				})
				byRun[v.run][i].add(view, ok)
			}
		}
	}
	for _, r := range runs {
		list = append(list, byRun[r]...)
	}
	return list
}

// runThing is what becomes an event of a run: the run, a stage, or a step.
type runThing struct {
	level string
	stage *stage
	step  *playbookStep
}

func runThings(r *playbookRun) []runThing {
	things := []runThing{{level: "PLAYBOOK"}}
	if r.hidden {
		return things
	}
	for _, st := range r.stages {
		things = append(things, runThing{"STAGE", st, nil})
		for _, p := range st.steps {
			things = append(things, runThing{"STEP", st, p})
		}
	}
	return things
}

// stepTimes are the moments at which steps were adhered to.
func stepTimes(r *playbookRun) (at []moment) {
	for _, st := range r.stages {
		for _, p := range st.steps {
			if p.adhered != 0 {
				at = append(at, p.adhered)
			}
		}
	}
	return at
}

func (c *contact) newRunEntries(r *playbookRun) (list []*Entry) {
	for _, th := range runThings(r) {
		id := Fields{"run_id": r.id, "level": th.level}
		times := []moment{r.opened, r.closed}
		if th.stage != nil {
			id["stage_id"] = th.stage.id
		}
		if th.step != nil {
			id["step_id"] = th.step.id
			times = append(times, th.step.adhered)
		}
		list = append(list, c.entry(events.TypePlaybookStep, id, times...))
	}
	return list
}

func (th runThing) fields(r *playbookRun, t moment) Fields {
	f := Fields{
		"level": th.level, "run_id": r.id, "playbook_id": r.playbook, "playbook_type": r.kind, "trigger_type": r.trigger,
		"step_order": r.order, "opened_at": r.opened.Time(),
	}
	switch th.level {
	case "PLAYBOOK":
		done, all := r.adheredBy(t)
		f["adhered_steps"], f["adherence_rate"], f["closed_at"] = done, rate(done, all), known(r.closed, t)
	case "STAGE":
		f["stage_id"], f["stage_name"], f["stage_completed"] = th.stage.id, th.stage.name, th.stage.completedBy(t)
	case "STEP":
		f["stage_id"], f["step_id"], f["step_name"] = th.stage.id, th.step.id, th.step.name
		f["is_adhered"], f["adhered_at"] = th.step.adhered.happened(t), known(th.step.adhered, t)
		f["adherence_basis"] = "isAdhered"
		if r.completes {
			f["adherence_basis"] = "completed"
		}
		if th.step.adhered.happened(t) {
			f["adhered_by"] = th.step.by
		}
	}
	return f
}
