package koresim

// agentic is one request to an agentic app: asked for by the conversation (aa-) or by the agent in the search bar (ua-).
type agentic struct {
	request, id, utterance, text, trigger string
	session, run, app, env, participant   string
	requested, responded                  moment
	used                                  moment
	how                                   string // send, copy, override
	thumbs                                timeline[thumb]
	by                                    agent
	streaming                             bool
	onInteractions, onConversations       bool
	again                                 *again // in the next segment, nil if it is not listed there
}

// again is what the next segment says of a request of the segment before: somebody else took part, and may have another opinion.
type again struct {
	participant string
	by          agent
	thumbs      timeline[thumb]
}

func (c *contact) newAgentic(d dice, s *segment, prefix string) *agentic {
	a := &agentic{
		request: d.uuid(prefix), requested: s.within(d, 0.05, 0.8), utterance: pick(d, utterances), text: pick(d, answers),
		trigger: d.uuid("ms-"), session: d.uuid("s-"), run: d.uuid("r-"), app: d.uuid("aa-"), env: d.uuid("env-"),
		participant: d.uuid("p-"), by: s.agent, streaming: d.chance(0.3), onInteractions: true, onConversations: true,
	}
	a.id = d.objectID(a.requested)
	a.responded = a.requested + d.between(400, 2500)
	if d.chance(0.5) {
		// What the agent asked for cannot be overridden: nothing was offered.
		ways := []string{"send", "copy", "override"}
		if prefix == "ua-" {
			ways = ways[:2]
		}
		a.used, a.how = a.responded+d.between(300, 4*second), pick(d, ways)
	}
	if d.chance(0.35) {
		a.thumbs = c.newThumbs(d, max(a.responded, a.used)+d.between(300, 3*second))
	}
	return a
}

// passOn makes the next segment list some requests of this one, if another agent has it. It rolls dice of its own.
func (c *contact) passOn(s *segment) {
	if s.n+1 == len(c.segments) || c.segments[s.n+1].agent.id == s.agent.id {
		return
	}
	next := c.segments[s.n+1]
	d := roll(c.world.cfg.Seed, 17, c.ref.key(), uint64(s.n))
	for _, a := range s.activities {
		if !d.chance(0.4) {
			continue
		}
		a.again = &again{participant: d.uuid("p-"), by: next.agent}
		if d.chance(0.5) {
			a.again.thumbs = c.newThumbs(d, max(next.span.began, a.responded)+d.between(300, 3*second))
		}
		next.passedOn = append(next.passedOn, a)
	}
}

// summary is the text that the assistant wrote about a segment, and what the agent made of it.
type summary struct {
	id, kind, text string
	n              int // segment
	agent          agent
	at             moment
	took           float64
	failed         bool
	edits          timeline[string]
	thumbs         timeline[thumb]
	onInteractions bool
	position       string
}

func (c *contact) newSummary(d dice, s *segment, kind string, at moment) *summary {
	m := &summary{
		id: d.shortUUID("smr-"), kind: kind, n: s.n, agent: s.agent, at: at, took: float64(200+d.IntN(1500)) / 1000,
		text:     "The customer asked: " + pick(d, utterances) + " The agent said: " + pick(d, answers),
		position: "dg-" + d.word36(10), onInteractions: kind == "final",
	}
	if m.failed = kind == "final" && d.chance(0.08); m.failed {
		m.text = ""
		m.edits = m.edits.then(at, "We're sorry, but there was a problem generating the summary for this conversation. Please create your own summary")
	}
	if kind == "final" && d.chance(0.35) {
		m.edits = m.edits.then(at+c.world.later(d), m.text+" Edited by the agent: "+pick(d, notes))
	}
	if d.chance(0.3) {
		m.thumbs = c.newThumbs(d, at+c.world.later(d))
	}
	return m
}

type message struct {
	id, text string
	at       moment
	customer bool
	agent    agent
}

// widgetFeedback is an agent's opinion of the assistant as a whole. There is one per agent and conversation.
type widgetFeedback struct {
	agent  agent
	thumbs timeline[thumb]
}

func (c *contact) scriptConversation(d dice) {
	for _, s := range c.segments {
		n := 2 + d.IntN(5)
		for i := range n {
			at := s.at((float64(i) + d.Float64()) / float64(n))
			text := pick(d, utterances)
			if i%2 == 1 {
				text = pick(d, answers)
			}
			c.messages = append(c.messages, &message{id: d.uuid("ms-"), text: text, at: at, customer: i%2 == 0, agent: s.agent})
		}
		if d.chance(0.3) {
			q := c.newAgentic(d, s, "ua-")
			if q.onInteractions = roll(c.world.cfg.Seed, 18, c.ref.key(), uint64(s.n)).chance(0.7); q.onInteractions {
				s.asked = append(s.asked, q)
			}
			c.searches = append(c.searches, q)
		}
		for _, a := range s.activities {
			// Some requests are known to one of the two endpoints only.
			switch d.weighed(90, 5, 5) {
			case 1:
				a.onInteractions = false
			case 2:
				a.onConversations = false
			}
		}
	}
	if s := c.segments[0]; d.chance(0.25) {
		c.interim = c.newSummary(d, s, "interim", s.at(0.6))
	}
	if d.chance(0.2) {
		s := pick(d, c.segments)
		c.widgets = append(c.widgets, &widgetFeedback{s.agent, c.newThumbs(d, c.outline.end+c.world.later(d))})
	}
}

// summaries returns the summaries of the conversation in the order of their making: interim ones come first.
func (c *contact) summaries() (list []*summary) {
	if c.interim != nil {
		list = append(list, c.interim)
	}
	for _, s := range c.segments {
		if s.summary != nil {
			list = append(list, s.summary)
		}
	}
	return list
}
