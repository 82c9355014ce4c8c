package koresim

import "slices"

// playbookRun is one run of a playbook. It may go on in the next segments, where it is seen again with the same id.
type playbookRun struct {
	id, playbook, kind, trigger, order string
	opened, closed                     moment // closed 0: left open
	stages                             []*stage
	hidden                             bool // upstream sends stages: []
	completes                          bool // its steps say completed where others say isAdhered
}

type stage struct {
	id, name string
	steps    []*playbookStep
}

type playbookStep struct {
	id, name, by string
	adhered      moment // 0: never
}

// completedBy reports whether all steps were adhered to by t.
func (s *stage) completedBy(t moment) bool {
	return !slices.ContainsFunc(s.steps, func(p *playbookStep) bool { return !p.adhered.happened(t) })
}

// playbookView is a run as a segment shows it: up to the segment's end if the run goes on in the next.
type playbookView struct {
	run   *playbookRun
	from  moment
	until moment // 0: to the run's end
}

func (v *playbookView) at(t moment) moment {
	if v.until != 0 {
		return min(t, v.until)
	}
	return t
}

// adheredBy counts the steps that were adhered to by t.
func (r *playbookRun) adheredBy(t moment) (done, all int64) {
	for _, st := range r.stages {
		for _, p := range st.steps {
			all++
			if p.adhered.happened(t) {
				done++
			}
		}
	}
	return done, all
}

func (c *contact) scriptRuns(d dice) {
	for n, s := range c.segments {
		if !d.chance(0.4) {
			continue
		}
		r := c.newRun(d, s)
		last := n
		if n+1 < len(c.segments) && d.chance(0.6) {
			last = n + 1
			// What is left to do is done in the next segment.
			for _, st := range r.stages {
				for _, p := range st.steps {
					if p.adhered == 0 && d.chance(0.5) {
						p.adhered = c.segments[last].within(d, 0.1, 0.9)
					}
				}
			}
			if r.closed != 0 {
				r.closed = c.segments[last].at(0.95)
			}
		}
		for i := n; i <= last; i++ {
			v := &playbookView{run: r, from: max(r.opened, c.segments[i].span.began)}
			if i < last {
				v.until = c.segments[i].span.end
			}
			c.segments[i].runs = append(c.segments[i].runs, v)
		}
	}
}

func (c *contact) newRun(d dice, s *segment) *playbookRun {
	r := &playbookRun{
		id: d.objectID(s.span.began), playbook: d.uuid("acl-"), kind: pick(d, []string{"primary", "dynamic"}),
		trigger: "auto", order: pick(d, []string{"sequential", "random"}), opened: s.at(0.03), hidden: d.chance(0.2),
	}
	if d.chance(0.7) {
		r.closed = s.at(0.97)
	}
	// There are few playbooks, and each has many runs. The dice of the contact rolled one for each run: what follows stays as it was.
	r.playbook = pick(roll(c.world.cfg.Seed, 22, c.ref.key(), uint64(s.n)), playbookIDs)
	r.completes = roll(c.world.cfg.Seed, 20, c.ref.key(), uint64(s.n)).chance(0.3)
	stages, steps := 1+d.IntN(3), 0
	for i := range stages {
		st := &stage{id: d.uuid("acs-"), name: stageNames[i]}
		if !d.chance(0.15) {
			for range 1 + d.IntN(3) {
				p := &playbookStep{id: d.uuid("acst-"), name: stepNames[steps%len(stepNames)], by: pick(d, []string{"manual", "coachingEngine"})}
				if d.chance(0.7) {
					p.adhered = s.within(d, 0.05, 0.9)
				}
				st.steps = append(st.steps, p)
				steps++
			}
		}
		r.stages = append(r.stages, st)
	}
	return r
}

// nudge is one coaching rule triggered.
type nudge struct {
	id, rule, name, message, action, actionID, expression, title, body, criteria string
	emails                                                                       []string
	triggered, adhered                                                           moment
	until                                                                        moment // 0, or when its segment ended and it went on in the next
}

// at returns the moment up to which the first segment of a nudge shows it.
func (n *nudge) at(t moment) moment {
	if n.until != 0 {
		return min(t, n.until)
	}
	return t
}

func (c *contact) newNudge(d dice, s *segment) *nudge {
	n := &nudge{
		triggered: s.within(d, 0.1, 0.8), rule: d.uuid("acr-"), name: pick(d, ruleNames), message: d.uuid("ms-"),
		action: pick(d, []string{"nudge", "hint", "email_manager"}), actionID: d.uuid("aca-"), expression: pick(d, expressions),
		title: "Use the standard greeting", body: pick(d, answers), criteria: "ack",
	}
	n.id = d.objectID(n.triggered)
	if n.action == "email_manager" {
		n.emails = []string{"manager@example.com"}
	} else if s.n+1 < len(c.segments) && d.chance(0.3) {
		next := c.segments[s.n+1]
		n.until, n.adhered = s.span.end, next.within(d, 0.1, 0.8)
		next.carried = append(next.carried, n)
	} else if d.chance(0.6) {
		n.adhered = n.triggered + c.world.lasting(d, second, 45*second)
	}
	return n
}
