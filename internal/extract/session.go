package extract

import (
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// session is a record of the two analytics endpoints: a session of a bot, with or without a conversation with agents.
type session struct {
	event                                          *events.Conversation
	conversationID, sessionID, botID, channel      *string
	topDirection, customerDirection, metaDirection *string
	fromMeta                                       events.Conversation // what metaInfo says about the customer
	engagements                                    []*engagement
}

// engagement is an agent's part with the time at which the conversation entered the queue.
type engagement struct {
	event *events.AgentEngagement
	agent events.Agent
}

func (d *decoder) session() {
	s := session{event: new(events.Conversation)}
	var rest extra
	d.objectAndRest("data[]", &rest, func(name string) { d.sessionMember(name, &s) })
	s.event.ExtraJSON = rest.json(d.reader)
	if d.err != nil {
		return
	}
	ids := Dead{ConversationID: or(s.conversationID), SessionID: or(s.sessionID)}
	if s.sessionID == nil {
		d.dead(stageMap, "sessionId is missing: a session has no other identity", ids)
		return
	}
	if reason := d.unfit(
		named{name: "conversationId", text: s.conversationID}, named{name: "sessionId", text: s.sessionID},
		named{name: "botId", text: s.botID}, named{name: "channel", text: s.channel},
	); reason != "" {
		d.dead(stageMap, reason, ids)
		return
	}
	e := s.event
	at := moment{}.or(e.SessionStartTime, "sessionStartTime").or(e.SessionEndTime, "sessionEndTime").or(d.earliest, "earliest time in the record")
	if !at.known() {
		d.dead(stageMap, "there is no time in the record", ids)
		return
	}
	bot := or(s.botID)
	if bot == "" {
		bot = d.scope.BotID
	}
	d.begin(bot, at, *s.sessionID, *s.sessionID, events.Header{ConversationID: s.conversationID, SessionID: s.sessionID, Channel: s.channel})
	s.settle()
	s.settleScores()
	d.observeSession(&s)
	row := Row{
		ID:             *s.sessionID + "/" + or(first(s.conversationID, s.channel)),
		ConversationID: or(s.conversationID),
		BotID:          bot,
		Start:          or(e.SessionStartTime),
		End:            or(e.SessionEndTime),
		Open:           e.SessionEndTime == nil || isOpen(or(e.FinalStatus)),
		BotOnly:        e.BotOnly,
		Channel:        or(s.channel),
	}
	for _, to := range e.Destinations {
		if to.QueueID != nil {
			row.Queues = append(row.Queues, *to.QueueID)
		}
	}
	for _, p := range s.engagements {
		if p.agent.AgentID != nil {
			row.Agents = append(row.Agents, *p.agent.AgentID)
		}
	}
	d.add(row)
}

// isOpen knows the states in which a conversation will go on.
func isOpen(finalStatus string) bool {
	return slices.Contains([]string{"ACTIVE", "IDLE", "OPEN", "OVERDUE"}, strings.ToUpper(strings.TrimSpace(finalStatus)))
}

// settle takes what the record itself leaves out from metaInfo.
func (s *session) settle() {
	e, meta := s.event, &s.fromMeta
	e.BotOnly = s.conversationID == nil
	e.Direction = first(s.topDirection, s.customerDirection, s.metaDirection)
	e.CustomerPhone = first(e.CustomerPhone, meta.CustomerPhone)
	e.CenterPhone = first(e.CenterPhone, meta.CenterPhone)
	e.CustomerFirstName = first(e.CustomerFirstName, meta.CustomerFirstName)
	e.CustomerLastName = first(e.CustomerLastName, meta.CustomerLastName)
	e.CustomerEmail = first(e.CustomerEmail, meta.CustomerEmail)
}

func (d *decoder) sessionMember(name string, s *session) {
	e := s.event
	switch name {
	case "conversationId":
		s.conversationID = d.text()
	case "sessionId":
		s.sessionID = d.text()
	case "botId":
		s.botID = d.text()
	case "channel":
		s.channel = d.text()
	case "sessionStartTime":
		e.SessionStartTime = d.time()
	case "sessionEndTime":
		e.SessionEndTime = d.time()
	case "userId":
		e.UserID = d.text()
	case "channelSpecificUserId":
		e.ChannelSpecificUserID = d.text()
	case "orgId":
		e.OrgID = d.text()
	case "Direction", "direction":
		s.topDirection = d.text()
	case "finalStatus":
		e.FinalStatus = d.text()
	case "smartStatus":
		e.SmartStatus = d.text()
	case "statusDetail":
		e.StatusDetail = d.text()
	case "disconnectingEvent":
		e.DisconnectingEvent = d.text()
	case "reason":
		e.Reason = d.text()
	case "Reason":
		e.ReasonCapitalized = d.text()
	case "isVoicemail":
		e.IsVoicemail = d.text()
	case "dispositions":
		e.Dispositions = d.strings()
	case "dispositionRemarks":
		e.DispositionRemarks = d.strings()
	case "automationBotIDs", "automationBotIds":
		e.AutomationBotIDs = d.strings()
	case "skills":
		d.list(func() { d.skill(e) })
	case "csatScore":
		e.CSATScore = d.number()
	case "csatFeedback":
		e.CSATFeedback = d.text()
	case "npsScore":
		e.NPSScore = d.integer()
	case "likeDislikeScore":
		e.LikeDislikeScore = d.text()
	case "customerinfo", "customerInfo":
		s.customerDirection, e.CustomerInfoJSON = d.customer(name, e)
	case "userleveltags":
		e.UserLevelTags = d.tags(name)
	case "sessionleveltags":
		e.SessionLevelTags = d.tags(name)
	case "campaigninfo":
		e.CampaignInfoJSON = d.raw()
	case "snoozeinfo":
		e.SnoozeInfoJSON = d.raw()
	case "metaInfo":
		e.MetaInfo, e.MetaInfoJSON = d.metaInfo(s)
	case "destinations":
		d.list(func() { d.destination(s) })
	}
}

func (d *decoder) skill(e *events.Conversation) {
	var skill events.ConversationSkill
	if d.kind() == '"' {
		skill.ID = d.text()
	} else if !d.object("skills[]", func(name string) {
		switch name {
		case "id", "_id":
			skill.ID = d.text()
		case "name":
			skill.Name = d.text()
		}
	}) {
		return
	}
	e.Skills = append(e.Skills, skill)
}

func (d *decoder) tags(at string) []events.ConversationTag {
	var tags []events.ConversationTag
	d.list(func() {
		var t events.ConversationTag
		if d.object(at+"[]", func(name string) {
			switch name {
			case "name":
				t.Name = d.text()
			case "value":
				t.Value = d.textOrJSON()
			}
		}) {
			tags = append(tags, t)
		}
	})
	return tags
}

// customer reads customerinfo. The JSON is given only where there is more than the known members.
func (d *decoder) customer(at string, e *events.Conversation) (direction, json *string) {
	start, more := d.next(), false
	d.object(at, func(name string) {
		switch name {
		case "CustomerPhone":
			e.CustomerPhone = d.text()
		case "CenterPhone":
			e.CenterPhone = d.text()
		case "CustomerFirstName":
			e.CustomerFirstName = d.text()
		case "CustomerLastName":
			e.CustomerLastName = d.text()
		case "CustomerEmail":
			e.CustomerEmail = d.text()
		case "Direction":
			direction = d.text()
		default:
			more = true
		}
	})
	if more {
		json = d.canonical(start)
	}
	return direction, json
}

// destination reads a queue with the agents it was offered to, or the part of an agent that it was transferred to directly.
func (d *decoder) destination(s *session) {
	var to events.ConversationDestination
	own := &engagement{event: new(events.AgentEngagement)}
	var parts []*engagement
	if !d.object("destinations[]", func(name string) {
		switch name {
		case "destinationType":
			to.DestinationType = d.text()
		case "queueId":
			to.QueueID = d.text()
		case "queueName":
			to.QueueName = d.text()
		case "EnterTime", "enterTime":
			to.EnterTime = d.time()
		case "CallbackOpted":
			to.CallbackOpted = d.boolean()
		case "CallbackOptedTime":
			to.CallbackOptedTime = d.time()
		case "userCallbackAcceptTime":
			to.UserCallbackAcceptTime = d.time()
		case "respondingAgent":
			d.list(func() { parts = d.engaged("respondingAgent", true, parts) })
		case "nonRespondingAgents", "nonRespondingAgent":
			d.list(func() { parts = d.engaged("nonRespondingAgents[]", false, parts) })
		default:
			d.engagedMember(name, own)
		}
	}) {
		return
	}
	if own.known() {
		own.event.Responding = own.event.NonResponseEvent == nil
		own.event.DestinationType = to.DestinationType
		parts = append(parts, own)
	}
	for _, p := range parts {
		if p.event.Responding {
			to.RespondingAgentID = first(to.RespondingAgentID, p.agent.AgentID)
		} else if p.agent.AgentID != nil {
			to.NonRespondingAgentIDs = append(to.NonRespondingAgentIDs, *p.agent.AgentID)
		}
		p.event.QueueDestinationType, p.event.QueueEnterTime = to.DestinationType, to.EnterTime
		p.event.QueueCallbackOpted, p.event.QueueCallbackOptedTime = to.CallbackOpted, to.CallbackOptedTime
		p.event.QueueUserCallbackAcceptTime = to.UserCallbackAcceptTime
		if p.agent != (events.Agent{}) {
			p.event.Agent = &p.agent
		}
		if to.QueueID != nil || to.QueueName != nil {
			p.event.Queue = &events.Queue{QueueID: to.QueueID, QueueName: to.QueueName}
		}
	}
	s.engagements = append(s.engagements, parts...)
	s.event.Destinations = append(s.event.Destinations, to)
}

func (d *decoder) engaged(at string, responding bool, parts []*engagement) []*engagement {
	p := &engagement{event: &events.AgentEngagement{Responding: responding}}
	if d.object(at, func(name string) {
		if name == "destinationType" {
			p.event.DestinationType = d.text()
		} else {
			d.engagedMember(name, p)
		}
	}) && p.known() {
		parts = append(parts, p)
	}
	return parts
}

func (d *decoder) engagedMember(name string, p *engagement) {
	e := p.event
	switch name {
	case "agentId":
		p.agent.AgentID = d.text()
	case "name":
		p.agent.Name = d.text()
	case "email":
		p.agent.Email = d.text()
	case "status":
		e.Status = d.text()
	case "assignedAt":
		e.AssignedAt = d.time()
	case "acceptedTime":
		e.AcceptedTime = d.time()
	case "firstResponseTime":
		e.FirstResponseTime = d.time()
	case "firstResponseDuration":
		e.FirstResponseDuration = d.integer()
	case "interactionEndTime":
		e.InteractionEndTime = d.time()
	case "interactionDuration":
		e.InteractionDuration = d.integer()
	case "afterCallWorkDuration":
		e.AfterCallWorkDuration = d.integer()
	case "afterCallWorkEndTime":
		e.AfterCallWorkEndTime = d.time()
	case "agentNotes":
		e.AgentNotes = d.strings()
	case "nonResponseEvent":
		e.NonResponseEvent = d.text()
	case "ConsultingAgents":
		e.ConsultingAgentsJSON = d.raw()
	case "JoinedUsers":
		e.JoinedUsersJSON = d.raw()
	}
}

// known reports whether the engagement says who or when: without either there was none.
func (p *engagement) known() bool {
	return p.agent.AgentID != nil || p.event.AssignedAt != nil || p.event.AcceptedTime != nil
}

func (d *decoder) observeSession(s *session) {
	e := s.event
	// A session begins without a conversation and may gain one. It is then another entity, which replaces the first,
	// and so is what the customer said about it.
	botOnly := events.EntityID(d.scope.AccountID, d.bot, events.TypeConversation, *s.sessionID, "channel", strings.ToLower(strings.TrimSpace(or(s.channel))))
	id := botOnly
	before := "" // the id of the session without a conversation
	if !e.BotOnly {
		before = botOnly
		id = d.id(events.TypeConversation, *s.sessionID, *s.conversationID)
	}
	seen := d.observe(e, id, moment{})
	d.findable(seen, d.fixed)
	seen.Merged = true
	seen.Supersedes = before
	served := s.served()
	for _, f := range d.scores(s) {
		f.TargetEntityID = d.texts.put(id)
		if served != nil {
			f.Agent, f.Queue = served.event.Agent, served.event.Queue
		}
		seen := d.observe(f, d.scoreID(id, f), moment{})
		beside(seen, id, d.anchor)
		seen.Merged = true
		switch {
		case e.BotOnly:
		case !events.Withdrawn(f):
			seen.Supersedes = d.scoreID(botOnly, f)
		default: // nor is the score that the session may have had before it gained the conversation
			gone := *f
			seen := d.observe(&gone, d.scoreID(botOnly, f), moment{})
			beside(seen, botOnly, d.anchor)
			seen.Merged = true
		}
	}
	for _, p := range inOrder(s.engagements, func(p *engagement) []events.Event { return together(p.event) },
		func(p *engagement) *time.Time { return p.event.AssignedAt }) {
		d.observeEngagement(p, id, before)
	}
}

// served returns the part of the agent who responded last, to whom what the customer says is put down; nil if nobody responded. Where times
// do not tell, the last in the list counts.
func (s *session) served() (last *engagement) {
	at := func(p *engagement) time.Time {
		return or(first(p.event.AcceptedTime, p.event.AssignedAt, p.event.QueueEnterTime))
	}
	for _, p := range s.engagements {
		if p.event.Responding && (last == nil || !at(p).Before(at(last))) {
			last = p
		}
	}
	return last
}

// observeEngagement adds an engagement of a conversation. If the conversation has replaced a session, the engagement may have replaced one of
// the session.
func (d *decoder) observeEngagement(p *engagement, conversation, session string) {
	e := p.event
	var queue string
	if e.Queue != nil {
		queue = or(e.Queue.QueueID)
	}
	parts := []string{conversation, queue, or(p.agent.AgentID), stamp(e.AssignedAt)}
	switch {
	case e.AssignedAt != nil:
	case e.AcceptedTime != nil:
		parts = append(parts[:3], "accepted", stamp(e.AcceptedTime))
	default:
		parts = append(parts[:3], "entered", stamp(e.QueueEnterTime))
	}
	at := moment{}.
		or(e.AssignedAt, "destinations[].respondingAgent.assignedAt").
		or(e.AcceptedTime, "destinations[].respondingAgent.acceptedTime").
		or(e.QueueEnterTime, "destinations[].EnterTime")
	if !e.Responding && e.AssignedAt != nil {
		at.basis = "destinations[].nonRespondingAgents[].assignedAt"
	}
	seen := d.observe(e, d.entity(events.TypeAgentEngagement, parts...), at)
	beside(seen, conversation, d.anchor)
	seen.Merged = true
	if session != "" {
		parts[0] = session
		seen.Supersedes = d.entity(events.TypeAgentEngagement, parts...)
	}
}
