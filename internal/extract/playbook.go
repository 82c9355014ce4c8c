package extract

import (
	"strconv"
	"time"

	"agentassist-poller/internal/events"
)

// playbook is a run of a playbook with its stages and steps.
type playbook struct {
	run   *events.PlaybookStep
	parts []*events.PlaybookStep
}

func (p playbook) contents() []events.Event {
	list := together(p.run)
	for _, e := range p.parts {
		list = append(list, e)
	}
	return list
}

func (d *decoder) playbook() (playbook, bool) {
	var p playbook
	p.run = &events.PlaybookStep{Level: "PLAYBOOK"}
	e := p.run
	var rest extra
	ok := d.objectAndRest("playbookRuntimeData[]", &rest, func(name string) {
		switch name {
		case "_id":
			e.RunID = d.text()
		case "playbookId":
			e.PlaybookID = d.text()
		case "type":
			e.PlaybookType = d.text()
		case "triggerType":
			e.TriggerType = d.text()
		case "language":
			e.LanguageCode = d.text()
		case "order":
			e.StepOrder = d.text()
		case "openedAt":
			e.OpenedAt = d.time()
		case "closedAt":
			e.ClosedAt = d.time()
		case "adheredSteps":
			e.AdheredSteps = d.integer()
		case "adherenceRate":
			e.AdherenceRate = d.number()
		case "totalStages":
			d.totalStages(e)
		case "stages":
			ordinal := int64(0)
			d.list(func() {
				ordinal++
				p.parts = append(p.parts, d.stage(ordinal)...)
			})
		}
	})
	e.RunJSON = rest.json(d.reader)
	for _, part := range p.parts {
		part.RunID, part.PlaybookID, part.PlaybookType = e.RunID, e.PlaybookID, e.PlaybookType
		part.TriggerType, part.LanguageCode, part.StepOrder, part.OpenedAt = e.TriggerType, e.LanguageCode, e.StepOrder, e.OpenedAt
	}
	return p, ok
}

// totalStages reads a map of numbers. What is not a number is kept in the JSON of the whole.
func (d *decoder) totalStages(e *events.PlaybookStep) {
	start := d.next()
	other := d.kind() != '{'
	if other {
		e.TotalStagesJSON = d.raw()
		return
	}
	d.object("totalStages", func(name string) {
		if k := d.kind(); k != '0' && k != '"' {
			other = true
			d.skip()
			return
		}
		if n, ok := parseInteger(or(d.text())); ok {
			if e.TotalStages == nil {
				e.TotalStages = map[string]int64{}
			}
			e.TotalStages[name] = n
		} else {
			other = true
		}
	})
	if other {
		e.TotalStagesJSON = d.canonical(start)
	}
}

// stage reads a stage: one event for itself, and one for each of its steps. The shape of stages and steps is not documented, so that
// members beyond the likely ones are no drift; each event keeps the whole as JSON, but a stage its steps.
func (d *decoder) stage(ordinal int64) []*events.PlaybookStep {
	var steps []*events.PlaybookStep
	var listed struct{ from, to int }
	e := &events.PlaybookStep{Level: "STAGE", StageOrdinal: d.ints.put(ordinal)}
	start := d.next()
	if d.kind() == '"' {
		e.StageName = d.text()
		return []*events.PlaybookStep{e}
	}
	if !d.object("stages[]", func(name string) {
		switch name {
		case "_id", "id", "stageId":
			e.StageID = d.text()
		case "name":
			e.StageName = d.text()
		case "status":
			e.StageStatus = d.text()
		case "completed", "complete":
			e.StageCompleted = d.boolean()
		case "openedAt":
			e.StageOpenedAt = d.time()
		case "closedAt":
			e.StageClosedAt = d.time()
		case "steps":
			n := int64(0)
			listed.from = d.next()
			d.list(func() {
				n++
				if step := d.step(n); step != nil {
					steps = append(steps, step)
				}
			})
			listed.to = d.pos
		default:
			d.skip()
		}
	}) {
		return nil
	}
	switch {
	case d.err != nil:
	case len(steps) == 0:
		e.StageJSON = d.canonical(start)
	default:
		e.StageJSON = d.texts.put(canonicalJSON(d.body[start:listed.from] + "[]" + d.body[listed.to:d.pos]))
	}
	for _, step := range steps {
		step.StageID, step.StageName, step.StageOrdinal = e.StageID, e.StageName, e.StageOrdinal
	}
	return append([]*events.PlaybookStep{e}, steps...)
}

func (d *decoder) step(ordinal int64) *events.PlaybookStep {
	e := &events.PlaybookStep{Level: "STEP", StepOrdinal: d.ints.put(ordinal)}
	start := d.next()
	if d.kind() == '"' {
		e.StepName = d.text()
		return e
	}
	var completed *bool
	if !d.object("steps[]", func(name string) {
		switch name {
		case "_id", "id", "stepId":
			e.StepID = d.text()
		case "name":
			e.StepName = d.text()
		case "description":
			e.StepDescription = d.text()
		case "status":
			e.StepStatus = d.text()
		case "isAdhered", "adhered":
			e.IsAdhered = d.boolean()
		case "completed", "complete":
			completed = d.boolean()
		case "adheredAt":
			e.AdheredAt = d.time()
		case "adheredBy":
			e.AdheredBy = d.text()
		default:
			d.skip()
		}
	}) {
		return nil
	}
	e.StepJSON = d.canonical(start)
	d.adheres(e, completed)
	return e
}

// adheres says whether a step was followed, and what says so.
func (d *decoder) adheres(e *events.PlaybookStep, completed *bool) {
	basis := ""
	if e.IsAdhered != nil {
		basis = events.AdherenceIsAdhered
	} else if completed != nil {
		e.IsAdhered, basis = completed, events.AdherenceCompleted
	} else if adhered, ok := events.Adhered(or(e.StepStatus)); ok {
		e.IsAdhered, basis = d.bools.put(adhered), events.AdherenceStatus
	}
	if basis != "" {
		e.AdherenceBasis = d.texts.put(basis)
	}
}

func (d *decoder) observePlaybook(p playbook) {
	run := []string{or(p.run.RunID)}
	if p.run.RunID == nil {
		run = []string{"playbook", or(first(d.head.ConversationID, d.head.SegmentID)), or(p.run.PlaybookID), stamp(p.run.OpenedAt)}
	}
	at := moment{}.or(p.run.OpenedAt, "playbookRuntimeData[].openedAt").orOf(d.at)
	identify := d.entity
	if p.run.RunID != nil {
		identify = d.id
	}
	id := identify(events.TypePlaybookStep, run...)
	d.spanning(d.observe(p.run, id, at), p.run.OpenedAt)
	d.out[len(d.out)-1].Home = id
	add := func(e *events.PlaybookStep, at moment, parts ...string) {
		seen := d.spans(d.observe(e, identify(events.TypePlaybookStep, append(run[:len(run):len(run)], parts...)...), at))
		seen.Anchor, seen.Home = timeOr(p.run.OpenedAt, d.anchor), id
	}
	for _, e := range p.parts {
		stage := ordinalOr(e.StageID, e.StageOrdinal)
		if e.Level == "STAGE" {
			add(e, moment{}.
				or(e.StageOpenedAt, "playbookRuntimeData[].stages[].openedAt").
				or(e.StageClosedAt, "playbookRuntimeData[].stages[].closedAt").
				orOf(at), stage)
		} else {
			add(e, moment{}.or(e.AdheredAt, "playbookRuntimeData[].stages[].steps[].adheredAt").orOf(at), stage, ordinalOr(e.StepID, e.StepOrdinal))
		}
	}
}

// ordinalOr identifies a stage or a step by its place in the configuration where it has no id.
func ordinalOr(id *string, ordinal *int64) string {
	if id != nil {
		return *id
	}
	return "#" + strconv.FormatInt(or(ordinal), 10)
}

// spanning marks a thing that several segments of a conversation may show: what the newest says counts. It has a time of its own,
// which all of them agree on.
func (d *decoder) spanning(seen *events.Observation, own *time.Time) {
	d.findable(d.spans(seen), false)
	seen.Anchor = timeOr(own, d.anchor)
}

// timeOr returns the time, or another if it is not known.
func timeOr(t *time.Time, other time.Time) time.Time {
	if t != nil {
		return *t
	}
	return other
}

func (d *decoder) coaching() *events.CoachingTriggered {
	e := new(events.CoachingTriggered)
	if !d.object("coachingRuntimeData[]", func(name string) {
		switch name {
		case "_id":
			e.CoachingID = d.text()
		case "ruleId":
			e.RuleID = d.text()
		case "ruleName":
			e.RuleName = d.text()
		case "messageId":
			e.MessageID = d.text()
		case "triggeredAt":
			e.TriggeredAt = d.time()
		case "actionType":
			e.ActionType = d.text()
		case "actionId":
			e.ActionID = d.text()
		case "expression":
			e.Expression = d.text()
		case "message":
			if d.kind() == '"' {
				e.MessageBody = d.text()
				return
			}
			d.object(name, func(name string) {
				switch name {
				case "title":
					e.MessageTitle = d.text()
				case "body":
					e.MessageBody = d.textOrJSON()
				}
			})
		case "emails":
			e.Emails = d.textsOrJSON()
		case "adherence":
			d.adherence(e)
		case "isAdhered":
			e.IsAdhered = d.boolean()
		case "adheredAt":
			e.AdheredAt = d.time()
		}
	}) {
		return nil
	}
	return e
}

func (d *decoder) adherence(e *events.CoachingTriggered) {
	if d.kind() == '"' {
		e.AdherenceCriteria = d.text()
		return
	}
	start, more := d.next(), false
	d.object("adherence", func(name string) {
		if k := d.kind(); name == "criteria" && k != '{' && k != '[' {
			e.AdherenceCriteria = d.text()
		} else {
			more = true
		}
	})
	if more {
		e.AdherenceJSON = d.canonical(start)
	}
}

func (d *decoder) observeCoaching(e *events.CoachingTriggered) {
	parts := []string{or(e.CoachingID)}
	if e.CoachingID == nil {
		parts = []string{or(d.head.SegmentID), or(e.RuleID), or(e.MessageID), stamp(e.TriggeredAt)}
	}
	at := moment{}.or(e.TriggeredAt, "coachingRuntimeData[].triggeredAt").orOf(d.at)
	if e.CoachingID != nil {
		d.spanning(d.observe(e, d.id(events.TypeCoachingTriggered, parts...), at), e.TriggeredAt)
	} else {
		d.observe(e, d.entity(events.TypeCoachingTriggered, parts...), at)
	}
}
