package extract

import (
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// segment is a record of interactions: one agent's part of a conversation and what was done in it.
type segment struct {
	event *events.Segment

	conversationID, sessionID, segmentID, channel *string
	agent                                         *events.Agent
	queue                                         *events.Queue

	actions   []action
	proactive []shown
	summaries []rated[*events.Summary]
	playbooks []playbook
	coaching  []*events.CoachingTriggered
	agentic   []agentic
}

// action is an agentAction: a search with what it displayed, or something run from the library.
type action struct {
	kind   *string
	search *events.Search // nil where there was none
	told   phrases
	shown  *events.SuggestionShown
	used   []used
}

// phrases are what a search says of phrases: whether it says what was suggested, and what was entered.
type phrases struct{ suggested, entered bool }

func (a action) contents() []events.Event {
	list := together(a.search, a.shown)
	for _, u := range a.used {
		list = append(list, u.contents()...)
	}
	return list
}

// began returns when the search began, or what else its identity depends on.
func (a action) began() *time.Time {
	if a.search == nil {
		return nil
	}
	return first(a.search.ExecutionStartTime, a.search.TypingStartTime, a.search.DisplayTime)
}

// displayed returns when the search displayed what it found, which is when the record begins to show it.
func (a action) displayed() *time.Time {
	if a.search == nil {
		return nil
	}
	return a.search.DisplayTime
}

// rated is a thing and what somebody thought of it.
type rated[T events.Event] struct {
	thing    T
	feedback *events.Feedback // nil for none
}

func (r rated[T]) contents() []events.Event { return together(r.thing, r.feedback) }

// alone returns a thing that has nothing with it.
func alone[T events.Event](thing T) []events.Event { return []events.Event{thing} }

func (d *decoder) segment() {
	s := segment{event: new(events.Segment)}
	var rest extra
	d.objectAndRest("data[]", &rest, func(name string) { d.segmentMember(name, &s) })
	s.event.ExtraJSON = rest.json(d.reader)
	if d.err != nil {
		return
	}
	if s.segmentID == nil {
		d.dead(stageMap, "segmentID is missing: a segment has no other identity", Dead{ConversationID: or(s.conversationID), SessionID: or(s.sessionID)})
		return
	}
	ids := Dead{ConversationID: or(s.conversationID), SessionID: or(s.sessionID), SegmentID: *s.segmentID}
	if reason := d.unfit(s.repeated()...); reason != "" {
		d.dead(stageMap, reason, ids)
		return
	}
	e := s.event
	at := moment{}.or(e.SegmentStartTime, "segmentStartTime").or(e.SegmentEndTime, "segmentEndTime").or(d.earliest, "earliest time in the record")
	if !at.known() {
		d.dead(stageMap, "there is no time in the record", ids)
		return
	}
	d.begin(d.scope.BotID, at, *s.segmentID, "", events.Header{
		ConversationID: s.conversationID,
		SessionID:      s.sessionID,
		SegmentID:      s.segmentID,
		Channel:        s.channel,
		Agent:          s.agent,
		Queue:          s.queue,
	})
	d.rank = events.Rank(at.time, e.SegmentEndTime)
	d.observeSegment(&s)
	row := Row{
		ID:             *s.segmentID,
		ConversationID: or(s.conversationID),
		BotID:          d.scope.BotID,
		Start:          or(e.SegmentStartTime),
		End:            or(e.SegmentEndTime),
		Open:           e.SegmentEndTime == nil,
		Agentic:        len(s.agentic) > 0 || len(s.summaries) > 0,
		Channel:        or(s.channel),
	}
	if queue := or(s.queue).QueueID; queue != nil {
		row.Queues = []string{*queue}
	}
	if agent := or(s.agent).AgentID; agent != nil {
		row.Agents = []string{*agent}
	}
	d.add(row)
}

// repeated returns the texts that every event of the segment carries.
func (s *segment) repeated() []named {
	agent, queue := or(s.agent), or(s.queue)
	return []named{
		{name: "conversationID", text: s.conversationID}, {name: "botSessionID", text: s.sessionID}, {name: "segmentID", text: s.segmentID},
		{name: "channel", text: s.channel},
		{name: "agent.agentId", text: agent.AgentID}, {name: "agent.name", text: agent.Name}, {name: "agent.email", text: agent.Email},
		{name: "queueInfo.queueId", text: queue.QueueID}, {name: "queueInfo.queueName", text: queue.QueueName},
	}
}

func (d *decoder) segmentMember(name string, s *segment) {
	e := s.event
	switch name {
	case "conversationID":
		s.conversationID = d.text()
	case "botSessionID":
		s.sessionID = d.text()
	case "segmentID":
		s.segmentID = d.text()
	case "channel":
		s.channel = d.text()
	case "segmentStartTime":
		e.SegmentStartTime = d.time()
	case "segmentEndTime":
		e.SegmentEndTime = d.time()
	case "countScrollUp":
		e.CountScrollUp = d.integer()
	case "countScrollDn":
		e.CountScrollDn = d.integer()
	case "isWelcomeMsgRead":
		e.IsWelcomeMsgRead = d.boolean()
	case "agent":
		s.agent = d.segmentAgent(e)
	case "queueInfo":
		s.queue = d.queue()
	case "tags":
		d.list(func() {
			var tag events.SegmentTag
			if d.tag(&tag) {
				e.Tags = append(e.Tags, tag)
			}
		})
	case "linksClicked":
		d.links(func(url *string, at *time.Time) {
			e.LinksClicked = append(e.LinksClicked, events.SegmentLink{URL: url, Timestamp: at})
		})
	case "agentActions":
		d.list(func() {
			if a, ok := d.action(); ok {
				s.actions = append(s.actions, a)
			}
		})
	case "proActiveSuggestions":
		d.list(func() {
			if p, ok := d.proactive(); ok {
				s.proactive = append(s.proactive, p)
			}
		})
	case "summary":
		d.list(func() {
			if sum, ok := d.summary("summary"); ok {
				s.summaries = append(s.summaries, sum)
			}
		})
	case "playbookRuntimeData":
		d.list(func() {
			if p, ok := d.playbook(); ok {
				s.playbooks = append(s.playbooks, p)
			}
		})
	case "coachingRuntimeData":
		d.list(func() {
			if c := d.coaching(); c != nil {
				s.coaching = append(s.coaching, c)
			}
		})
	case "agenticActivities":
		d.list(func() {
			if a, ok := d.activity(); ok {
				s.agentic = append(s.agentic, a)
			}
		})
	}
}

func (d *decoder) segmentAgent(e *events.Segment) *events.Agent {
	a := new(events.Agent)
	if !d.object("agent", func(name string) {
		switch name {
		case "agentId":
			a.AgentID = d.text()
		case "name":
			a.Name = d.text()
		case "email":
			a.Email = d.text()
		case "firstName":
			e.AgentFirstName = d.text()
		case "lastName":
			e.AgentLastName = d.text()
		}
	}) || *a == (events.Agent{}) {
		return nil
	}
	return a
}

func (d *decoder) queue() *events.Queue {
	q := new(events.Queue)
	if !d.object("queueInfo", func(name string) {
		switch name {
		case "queueId":
			q.QueueID = d.text()
		case "queueName":
			q.QueueName = d.text()
		}
	}) || *q == (events.Queue{}) {
		return nil
	}
	return q
}

func (d *decoder) tag(t *events.SegmentTag) bool {
	return d.object("tags[]", func(name string) {
		switch name {
		case "type":
			t.Type = d.text()
		case "name":
			t.Name = d.text()
		case "value":
			t.Value = d.textOrJSON()
		case "messageID":
			t.MessageID = d.text()
		case "createdAt":
			t.CreatedAt = d.time()
		}
	})
}

// links reads clicked links: objects with a time, or as the documentation's tables have them, strings "url, time".
func (d *decoder) links(add func(url *string, at *time.Time)) {
	d.list(func() {
		if d.kind() != '{' {
			if text := d.text(); text != nil {
				url, rest, _ := strings.Cut(*text, ", ")
				if t, ok := parseTime(rest); ok {
					add(d.texts.put(url), d.times.put(t))
				} else {
					add(text, nil)
				}
			}
			return
		}
		var url *string
		var at *time.Time
		if d.object("linksClicked[]", func(name string) {
			switch name {
			case "url":
				url = d.text()
			case "timestamp":
				at = d.time()
			}
		}) {
			add(url, at)
		}
	})
}

func (d *decoder) observeSegment(s *segment) {
	id := d.id(events.TypeSegment, *s.segmentID)
	d.countPhrases(s)
	d.findable(d.observe(s.event, id, moment{}), false)
	d.out[len(d.out)-1].Home = id
	d.home = id
	for _, a := range inOrder(s.actions, action.contents, action.began, action.displayed) {
		d.observeAction(a, id)
	}
	for _, p := range inOrder(s.proactive, shown.contents, func(p shown) *time.Time { return p.event.DisplayTime }) {
		d.observeShown(p.event, p.used)
	}
	for _, sum := range inOrder(s.summaries, rated[*events.Summary].contents, summaryTime) {
		d.observeSummary(sum, *s.segmentID)
	}
	for _, p := range inOrder(s.playbooks, playbook.contents, func(p playbook) *time.Time { return p.run.OpenedAt }) {
		d.observePlaybook(p)
	}
	for _, c := range inOrder(s.coaching, alone[*events.CoachingTriggered], func(c *events.CoachingTriggered) *time.Time { return c.TriggeredAt }) {
		d.observeCoaching(c)
	}
	for _, a := range inOrder(s.agentic, agentic.contents, func(a agentic) *time.Time { return a.request.RequestedAt }) {
		at := moment{}.or(a.request.RequestedAt, "agenticActivities[].requestTime").or(a.request.RespondedAt, "agenticActivities[].responseTime")
		d.observeAgentic(a, *s.segmentID, at)
	}
}

// countPhrases adds up what the searches of the segment say about phrases; a count stays null where no search gives it.
func (d *decoder) countPhrases(s *segment) {
	e := s.event
	sum := func(total **int64, n *int64) {
		if n == nil {
			return
		}
		if *total == nil {
			*total = d.ints.put(0)
		}
		**total += *n
	}
	for _, a := range s.actions {
		if a.search == nil {
			continue
		}
		if a.told.suggested {
			sum(&e.PhrasesSuggested, d.ints.put(int64(len(a.search.SuggestionsShown))))
		}
		sum(&e.PhrasesAccepted, a.search.SuggestionUsed)
		if a.told.entered {
			entered := int64(0)
			if a.search.PhraseInput != nil {
				entered = 1
			}
			sum(&e.PhrasesEntered, &entered)
		}
		sum(&e.CorrectionsPresented, a.search.CorrectionsPresented)
		sum(&e.CorrectionsAccepted, a.search.CorrectionsAccepted)
	}
}
