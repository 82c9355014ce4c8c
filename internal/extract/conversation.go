package extract

import (
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// conversation is a record of conversations: what the agentic copilot, the summaries and the widget had to do with it.
type conversation struct {
	id, convID, botID, sessionID *string
	start                        *time.Time

	// of the conversation, carried by what has no event for the conversation here
	isExtAD                        *bool
	userID, experience             *string
	assistSessions, searchSessions []string

	summaries []rated[*events.Summary]
	messages  []rated[*events.Message]
	agentic   []agentic
	widget    []*events.Feedback
	unread    bool // some of widget could not be read
}

func (d *decoder) conversation() {
	var c conversation
	d.object("results[]", func(name string) { d.conversationMember(name, &c) })
	if d.err != nil {
		return
	}
	ids := Dead{ConversationID: or(c.convID), SessionID: or(c.sessionID)}
	key := first(c.id, c.convID)
	if key == nil {
		d.dead(stageMap, "_id and convId are missing: a conversation has no other identity", ids)
		return
	}
	if reason := d.unfit(c.repeated()...); reason != "" {
		d.dead(stageMap, reason, ids)
		return
	}
	at := moment{}.or(c.start, "startTime").or(d.earliest, "earliest time in the record")
	if !at.known() {
		d.dead(stageMap, "there is no time in the record", ids)
		return
	}
	bot := d.scope.BotID
	if bot == "" {
		bot = or(c.botID)
	}
	d.begin(bot, at, *key, or(c.id), events.Header{ConversationID: c.convID, SessionID: c.sessionID, Channel: c.experience})
	d.observeConversation(&c)
	d.add(Row{
		ID:             *key,
		ConversationID: or(c.convID),
		BotID:          or(first(c.botID, &bot)),
		Start:          or(c.start),
		Agentic:        len(c.agentic) > 0 || len(c.summaries) > 0,
		Channel:        or(c.experience),
	})
}

// repeated returns the texts that many events of the conversation carry.
func (c *conversation) repeated() []named {
	return []named{
		{name: "_id", text: c.id}, {name: "convId", text: c.convID}, {name: "botId", text: c.botID},
		{name: "mbSessionId", text: c.sessionID}, {name: "mbUserId", text: c.userID}, {name: "experience", text: c.experience},
		{name: "agenticAssistSessionIds", list: c.assistSessions}, {name: "agenticSearchSessionIds", list: c.searchSessions},
	}
}

func (d *decoder) conversationMember(name string, c *conversation) {
	switch name {
	case "_id":
		c.id = d.text()
	case "convId":
		c.convID = d.text()
	case "botId":
		c.botID = d.text()
	case "isExtAD":
		c.isExtAD = d.boolean()
	case "startTime":
		c.start = d.time()
	case "mbSessionId":
		c.sessionID = d.text()
	case "mbUserId":
		c.userID = d.text()
	case "experience":
		c.experience = d.text()
	case "agenticAssistSessionIds":
		c.assistSessions = d.strings()
	case "agenticSearchSessionIds":
		c.searchSessions = d.strings()
	case "summaries":
		d.list(func() {
			if s, ok := d.summary("summaries[]"); ok {
				c.summaries = append(c.summaries, s)
			}
		})
	case "messages", "searchHistory":
		d.list(func() {
			e, ok := d.entry(name + "[]")
			switch {
			case !ok:
			case name == "searchHistory":
				a := e.agentic(KindSearch)
				a.search = e.search()
				c.agentic = append(c.agentic, a)
			case e.isAgentic():
				c.agentic = append(c.agentic, e.agentic(KindAssist))
			default:
				c.messages = append(c.messages, rated[*events.Message]{e.plain(), e.feedback})
			}
		})
	case "widgetFeedbacks":
		d.list(func() {
			if f := d.feedbackInfo("widgetFeedbacks[]"); given(f) {
				c.widget = append(c.widget, f)
			} else if f == unread {
				c.unread = true
			}
		})
	}
}

// entry is an element of messages or of searchHistory. Which of the two events it becomes is only known at its end.
type entry struct {
	request  *events.AgenticRequest
	message  *events.Message
	used     events.SuggestionUsed
	feedback *events.Feedback
}

func (d *decoder) entry(at string) (entry, bool) {
	e := entry{request: new(events.AgenticRequest), message: new(events.Message)}
	q, m := e.request, e.message
	ok := d.object(at, func(name string) {
		switch name {
		case "_id":
			m.MessageID = d.text()
		case "type":
			m.MessageType = d.text()
		case "timestampValue":
			m.MessageTime = d.time()
		case "orgId":
			m.OrgID = d.text()
		case "experience":
			m.Experience = d.text()
		case "lang", "language":
			m.Lang = d.text()
		case "createdOn":
			m.CreatedOn = d.time()
		case "lmodifiedOn":
			m.LmodifiedOn = d.time()
		case "__lModifiedOn__":
			m.InternalLmodifiedOn = d.time()
		case "chnl":
			m.Chnl = d.text()
		case "ire":
			m.Ire = d.boolean()
		case "author":
			d.object(name, func(name string) {
				switch name {
				case "type":
					m.AuthorType = d.text()
				case "id", "_id":
					m.AuthorID = d.text()
				}
			})
		case "components":
			d.list(func() {
				if c, ok := d.component(); ok {
					m.Components = append(m.Components, c)
				}
			})
		case "requestId":
			q.RequestID = d.text()
		case "query":
			q.Query = d.textOrJSON()
		case "requestedAt":
			q.RequestedAt = d.time()
		case "respondedAt":
			q.RespondedAt = d.time()
		case "triggeringMessageId":
			q.TriggeringMessageID = d.text()
		case "sessionInfo":
			d.sessionInfo(q)
		case "isSent":
			e.used.IsSent = d.boolean()
		case "isCopied":
			e.used.IsCopied = d.boolean()
		case "isOverride":
			e.used.IsOverride = d.boolean()
		case "feedbackInfo":
			e.feedback = d.feedbackInfo(name)
		case "botId", "accountId", "conversationId":
			d.skip() // of the record
		}
	})
	return e, ok
}

func (d *decoder) component() (events.MessageComponent, bool) {
	var c events.MessageComponent
	if d.kind() == '"' {
		c.Text = d.text()
		return c, c.Text != nil
	}
	ok := d.object("components[]", func(name string) {
		switch name {
		case "_id":
			c.ComponentID = d.text()
		case "cT":
			c.ComponentType = d.text()
		case "data":
			if d.kind() == '"' {
				c.Text = d.text()
				return
			}
			start, more := d.next(), d.kind() == '['
			if more {
				c.DataJSON = d.raw()
				return
			}
			d.object(name, func(name string) {
				if name == "text" {
					c.Text = d.textOrJSON()
				} else {
					d.skip()
					more = true
				}
			})
			if more {
				c.DataJSON = d.canonical(start)
			}
		case "thumbnails":
			c.ThumbnailsJSON = d.raw()
		}
	})
	return c, ok
}

func (e *entry) isAgentic() bool {
	if kind := e.message.MessageType; kind != nil {
		return strings.EqualFold(*kind, "AGENTIC")
	}
	return e.request.RequestID != nil
}

// agentic returns the entry as a request to the copilot.
func (e *entry) agentic(kind string) agentic {
	q, m := e.request, e.message
	q.Kind = kind
	q.MessageID, q.MessageType, q.MessageTime = m.MessageID, m.MessageType, m.MessageTime
	q.OrgID, q.LanguageCode, q.Experience = m.OrgID, m.Lang, m.Experience
	for _, c := range m.Components {
		q.Components = append(q.Components, events.AgenticComponent(c))
	}
	a := agentic{request: q, feedback: e.feedback}
	if u := e.used; or(u.IsSent) || or(u.IsCopied) || or(u.IsOverride) {
		a.used = &u
	}
	return a
}

// search returns an entry of the search history as a search.
func (e *entry) search() *events.Search {
	return &events.Search{
		ActionType:         e.message.MessageType,
		SearchPhrase:       e.request.Query,
		ExecutionStartTime: e.request.RequestedAt,
		DisplayTime:        e.request.RespondedAt,
		SearchID:           e.message.MessageID,
		LanguageCode:       e.message.Lang,
		Experience:         e.message.Experience,
	}
}

// plain returns the entry as a message of the transcript.
func (e *entry) plain() *events.Message {
	if m := e.message; m.AuthorID != nil && strings.EqualFold(or(m.AuthorType), "AGENT") {
		m.Agent = &events.Agent{AgentID: m.AuthorID}
	}
	return e.message
}

func (d *decoder) observeConversation(c *conversation) {
	parent := or(first(c.convID, c.id))
	for _, s := range inOrder(c.summaries, rated[*events.Summary].contents, summaryTime) {
		d.observeSummary(s, parent)
	}
	for _, m := range inOrder(c.messages, rated[*events.Message].contents, func(m rated[*events.Message]) *time.Time { return m.thing.MessageTime }) {
		m.thing.Experience = first(m.thing.Experience, c.experience)
		m.thing.IsExtAd, m.thing.MBUserID = c.isExtAD, c.userID
		d.observeMessage(m, parent)
	}
	for _, a := range inOrder(c.agentic, agentic.contents, requestTime) {
		e := a.request
		e.Experience = first(e.Experience, c.experience)
		e.IsExtAd, e.MBUserID = c.isExtAD, c.userID
		e.AssistSessionIDs, e.SearchSessionIDs = c.assistSessions, c.searchSessions
		at := moment{}.or(e.RequestedAt, "requestedAt").or(e.MessageTime, "timestampValue").or(e.RespondedAt, "respondedAt")
		d.observeAgentic(a, parent, at)
	}
	d.observeWidget(c, parent)
}

// observeWidget adds what agents think of the assistant as a whole. Nothing else in the document names who does, so that what was taken back
// is found by the group.
func (d *decoder) observeWidget(c *conversation, parent string) {
	group := d.id(events.TypeFeedback, "widgets", parent)
	for _, f := range inOrder(c.widget, alone[*events.Feedback]) {
		f.TargetType = "Widget"
		agent := ""
		if f.Agent != nil {
			agent = or(first(f.Agent.AgentID, f.Agent.Name))
		}
		seen := d.spans(d.observe(f, d.entity(events.TypeFeedback, "widget", parent, agent), moment{}))
		d.findable(seen, false)
		seen.Group = group
	}
	if !c.unread {
		seen := d.spans(d.observe(&events.Feedback{GivenBy: "AGENT", TargetType: "Widget", Sentiment: events.SentimentWithdrawn}, group, moment{}))
		d.findable(seen, true)
		seen.Group = group
	}
}

func (d *decoder) observeMessage(m rated[*events.Message], parent string) {
	e := m.thing
	parts := []string{or(e.MessageID)}
	if e.MessageID == nil {
		text := ""
		if len(e.Components) > 0 {
			text = or(e.Components[0].Text)
		}
		parts = []string{parent, stamp(e.MessageTime), text}
	}
	at := moment{}.or(e.MessageTime, "messages[].timestampValue").or(e.CreatedOn, "messages[].createdOn").orOf(d.at)
	identify := d.entity
	if e.MessageID != nil {
		identify = d.id
	}
	id := identify(events.TypeMessage, parts...)
	d.findable(d.spans(d.observe(e, id, at)), false)
	if f := saysOrNot(m.feedback); f != nil {
		f.TargetType, f.MessageID = "Message", e.MessageID
		about(f, joined(len(e.Components), func(i int) *string { return e.Components[i].Text }), nil)
		seen := d.spans(d.observeFeedback(f, id, at))
		beside(seen, id, d.anchor)
		d.named(seen, id)
	}
}
