package extract

import (
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// summary reads a summary as interactions and conversations show it: the same thing, each with members of its own.
func (d *decoder) summary(at string) (rated[*events.Summary], bool) {
	s := rated[*events.Summary]{thing: new(events.Summary)}
	e := s.thing
	ok := d.object(at, func(name string) {
		switch name {
		case "summaryId":
			e.SummaryID = d.text()
		case "type":
			e.SummaryType = d.text()
		case "summary":
			e.Summary = d.text()
		case "editedSummary":
			e.EditedSummary = d.text()
		case "isError":
			e.IsError = d.boolean()
		case "isDisabled":
			e.IsDisabled = d.boolean()
		case "isEdited":
			e.IsEdited = d.boolean()
		case "summaryModel":
			e.SummaryModel = d.text()
		case "modelType":
			e.ModelType = d.text()
		case "time":
			e.SummaryDuration = d.number()
		case "exeStartTime":
			e.ExeStartTime = d.time()
		case "sumSubTime":
			e.SumSubTime = d.time()
		case "generationTimeInSecs":
			e.GenerationTimeInSecs = d.number()
		case "positionId":
			e.PositionID = d.text()
		case "agentId":
			e.SummaryAgentID = d.text()
		case "identity":
			e.SummaryIdentity = d.text()
		case "participant":
			e.Agent = d.participant(name, &e.ParticipantType, &e.ParticipantStartTimes, &e.ParticipantEndTimes)
			if e.Agent != nil {
				e.ParticipantID, e.ParticipantName = e.Agent.AgentID, e.Agent.Name
			}
			if kind := e.ParticipantType; kind != nil && !strings.EqualFold(*kind, "agent") {
				e.Agent = nil
			}
		case "feedback":
			s.feedback = d.feedback()
		case "feedbackInfo":
			s.feedback = d.feedbackInfo(name)
		}
	})
	return s, ok && first(e.SummaryID, e.SummaryType, e.Summary, e.EditedSummary) != nil
}

// participant reads who somebody is. The other members are read where the caller wants them.
func (d *decoder) participant(at string, kind **string, starts, ends *[]string) *events.Agent {
	a := new(events.Agent)
	d.object(at, func(name string) {
		switch {
		case name == "identity":
			a.AgentID = d.text()
		case name == "name":
			a.Name = d.text()
		case name == "email":
			a.Email = d.text()
		case name == "type" && kind != nil:
			*kind = d.text()
		case name == "startTime" && starts != nil:
			*starts = d.strings()
		case name == "endTime" && ends != nil:
			*ends = d.strings()
		}
	})
	if *a == (events.Agent{}) {
		return nil
	}
	return a
}

func summaryTime(s rated[*events.Summary]) *time.Time { return s.thing.ExeStartTime }

// observeSummary adds a summary. The parent identifies it together with its type where it has no id.
func (d *decoder) observeSummary(s rated[*events.Summary], parent string) {
	e := s.thing
	at := moment{}.or(e.ExeStartTime, "summary.exeStartTime").or(e.SumSubTime, "summary.sumSubTime").orOf(d.at)
	parts := []string{or(e.SummaryID)}
	if e.SummaryID == nil {
		parts = []string{parent, or(e.SummaryType)}
	}
	identify := d.entity
	if e.SummaryID != nil {
		identify = d.id
	}
	id := identify(events.TypeSummary, parts...)
	if d.head.Agent != nil {
		e.Agent = nil // the segment says more about the agent than the participant does
	}
	seen := d.observe(e, id, at)
	own := e.SummaryID != nil || d.home == ""
	seen.Merged = e.SummaryID != nil
	if own {
		d.findable(d.spans(seen), false)
	}
	if f := saysOrNot(s.feedback); f != nil {
		f.TargetType, f.TargetName, f.PositionID, f.SummaryID = "Summary", e.SummaryType, e.PositionID, e.SummaryID
		about(f, first(e.Summary, e.EditedSummary), nil)
		seen := d.observeFeedback(f, id, at)
		seen.Merged = e.SummaryID != nil
		if own {
			beside(d.spans(seen), id, d.anchor)
			d.named(seen, id)
		}
	}
}
