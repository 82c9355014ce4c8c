package koresim

// outcome is a contact as the analytics endpoints know it, with times in whole seconds.
type outcome struct {
	start, end   moment
	status       timeline[string] // finalStatus; "" : not in the record
	smart        timeline[string]
	detail       string
	hangup       string
	direction    string
	phone        string
	dispositions timeline[[]string]
	remarks      timeline[[]string]
	score        timeline[score]
	scoreText    timeline[string]
	tags         timeline[[]sessionTag]
	userTags     []sessionTag
	skills       []sessionTag
	legs         []*leg
}

type sessionTag struct{ name, value string }

// leg is one destination of a contact: a queue with who answered and who did not, or an agent directly.
type leg struct {
	queue     queue
	direct    bool
	entered   moment
	callback  moment // the customer asked to be called back
	answering *engagement
	ignoring  []*engagement
}

// engagement is one agent offered or serving one conversation.
type engagement struct {
	agent                     agent
	assigned                  moment
	unassigned                bool // assignedAt is not in the record, which appears when the contact is accepted
	accepted, response, ended moment
	work                      moment // end of after-call work
	notes                     timeline[[]string]
	event                     string // why there was no answer
}

func (e *engagement) at() moment {
	if e.unassigned {
		return e.accepted
	}
	return e.assigned
}

func (c *contact) newOutcome(d dice) outcome {
	o := &c.outline
	out := outcome{
		start: o.session.second(), end: o.end.second(),
		direction: pick(d, []string{"Inbound", "Inbound", "Outbound"}),
		phone:     "+1555" + d.word36(6), hangup: pick(d, hangups), skills: []sessionTag{{d.objectID(o.session), "Reporting"}},
	}
	out.tags = always([]sessionTag{{"welcomeMessage", "1"}}, o.session)
	if d.chance(0.4) {
		out.userTags = []sessionTag{{"accountnum", d.word36(12)}}
	}
	if !o.assisted() {
		out.status = always(pick(d, []string{"BotResolved", "Dropped", ""}), o.end)
		out.smart = always("CLOSED AT BOT", o.end)
		return out
	}
	out.status = always("ACTIVE", o.session).then(o.end, pick(d, []string{"CLOSED", "CLOSED", "CLOSED", "USER ABANDONED"}))
	out.smart = always("", o.session).then(o.end, pick(d, []string{"CLOSED", "TERMINATED", "ABANDONED WITH AGENT"}))
	out.tags = out.tags.then(o.end, []sessionTag{{"welcomeMessage", "1"}, {"voiceAgentTransferStart", d.word36(4)}})
	if d.chance(0.8) {
		out.dispositions = out.dispositions.then(o.end+c.world.later(d), []string{pick(d, dispositions)})
		if d.chance(0.5) {
			out.remarks = out.remarks.then(out.dispositions[0].at+d.between(100, second), []string{pick(d, notes)})
		}
	}
	if d.chance(0.4) {
		at, content := o.end+c.world.later(d), int64(1+d.IntN(5))
		out.score = out.score.then(at, c.newScore(content))
		if d.chance(0.6) {
			out.scoreText = out.scoreText.then(at+d.between(1000, 20*second), pick(d, surveys[content-1]))
		}
		if d := roll(c.world.cfg.Seed, 33, c.ref.key()); d.chance(0.1) { // it is taken back
			out.score = out.score.then(at+20*second+c.world.later(d), score{})
		}
	}
	for _, s := range c.segments {
		out.legs = append(out.legs, c.newLeg(d, s))
	}
	return out
}

func (c *contact) newLeg(d dice, s *segment) *leg {
	l := &leg{queue: s.queue, direct: s.n > 0 && d.chance(0.4), entered: max(s.span.began-second, c.outline.transfer).second()}
	e := &engagement{agent: s.agent, assigned: l.entered, accepted: s.span.began.second(), ended: s.span.end.second()}
	e.accepted = max(e.accepted, e.assigned)
	e.ended = max(e.ended, e.accepted)
	e.unassigned = d.chance(0.08)
	if d.chance(0.8) {
		e.response = min(e.accepted+second, e.ended)
	}
	if d.chance(0.7) {
		e.work = e.ended + max(c.world.lasting(d, 4*second, 3*minute), second).second()
	}
	if d.chance(0.6) {
		e.notes = e.notes.then(e.ended+c.world.later(d), []string{pick(d, notes)})
	}
	l.answering = e
	if !l.direct && d.chance(0.25) {
		if other := pick(d, c.account.agents); other != s.agent {
			l.ignoring = append(l.ignoring, &engagement{agent: other, assigned: l.entered, event: "Ignored"})
		}
	}
	if !l.direct && c.outline.channel == voice && d.chance(0.1) {
		l.callback = l.entered
	}
	return l
}

// shownEnd is the sessionEndTime that the endpoints give at t: the last thing that happened, also while the contact is open.
func (o *outline) shownEnd(t moment) moment {
	switch {
	case t >= o.end:
		return o.end.second()
	case o.transfer.happened(t):
		return o.transfer.second()
	}
	return o.session.second()
}
