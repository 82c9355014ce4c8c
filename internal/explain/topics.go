package explain

import (
	"cmp"
	"context"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
)

// An explanation is one run.
type explanation struct {
	Options
	names  kafka.Names
	reader *kafkaread.Reader
	report *Report

	// from and to are the times of the events that are published of the conversation; from is zero if there are none.
	from, to time.Time
	// seen are the units that published them.
	seen map[unitKey]bool
	byID map[string]*Entity // those of the report
	// ids are what the records of the conversation have: its id, or only that of its session, or both.
	ids map[string]bool
}

// readTopics collects what is on the topics.
func (e *explanation) readTopics(ctx context.Context) error {
	topics := e.topics()
	ids := map[string]bool{e.ID: true}
	e.ids = ids
	err := e.reader.Since(e.Since).Each(ctx, func(r *kafkaread.Record) error {
		if HasID(r.Value, e.ID) {
			ids[cmp.Or(r.Field("conversation_id"), r.Field("session_id"))] = true
		}
		return nil
	}, topics...)
	if err != nil {
		return err
	}
	delete(ids, "")
	err = e.reader.Since(e.Since).Each(ctx, func(r *kafkaread.Record) error {
		if e.isOf(r) {
			e.take(r)
		}
		return nil
	}, topics...)
	if err != nil {
		return err
	}
	return e.reader.Each(ctx, e.takeWatermark, e.names.Watermark())
}

// isOf reports whether a record is of the conversation.
func (e *explanation) isOf(r *kafkaread.Record) bool {
	return e.ids[r.Field("conversation_id")] || e.ids[r.Field("session_id")]
}

// topics returns the topics of events and of dead letters. Those of types that are switched off need not exist.
func (e *explanation) topics() (topics []string) {
	for _, t := range events.Types() {
		if slices.ContainsFunc(e.Accounts, func(a Account) bool { return !slices.Contains(a.Poll.Off, t) }) {
			topics = append(topics, e.names.Event(t))
		}
	}
	return append(topics, e.names.DeadLetter())
}

// take adds a record of the conversation to the report.
func (e *explanation) take(r *kafkaread.Record) {
	if r.Topic == e.names.DeadLetter() {
		e.report.DeadLetters = append(e.report.DeadLetters, DeadLetter{
			Stage: r.Field("stage"), Reason: r.Field("reason"), Endpoint: r.Field("endpoint"), Entity: r.Field("entity_id"),
			Partition: r.Partition, Offset: r.Offset, Published: r.Timestamp,
		})
		return
	}
	e.report.Conversation = cmp.Or(r.Field("conversation_id"), e.report.Conversation)
	e.report.Session = cmp.Or(r.Field("session_id"), e.report.Session)
	at, _ := r.Value["event_time"].(time.Time)
	revision, _ := r.Value["revision"].(int64)
	endpoint := events.Endpoint(r.Field("endpoint"))
	unit := unitKey{r.Field("source"), endpoint, r.Field("bot_id")}
	if endpoint.Known() && endpoint.PerAccount() {
		unit.bot = ""
	}
	e.seen[unit] = true
	if e.from.IsZero() || at.Before(e.from) {
		e.from = at
	}
	if at.After(e.to) {
		e.to = at
	}
	var kind events.Type
	for _, t := range events.Types() {
		if e.names.Event(t) == r.Topic {
			kind = t
		}
	}
	entity := e.entity(r.Field("entity_id"), kind)
	entity.Time = at
	if entity.content == nil { // else the API has said it better
		entity.by, entity.row, entity.unit = endpoint, at, unit
	}
	observed, _ := r.Value["observed_time"].(time.Time)
	entity.Revisions = append(entity.Revisions, Revision{
		Revision: revision, EventID: r.Field("event_id"), Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Published: r.Timestamp,
		SupersededBy: r.Field("superseded_by"), endpoint: endpoint, observed: observed,
	})
}

// entity returns the entity of an id, which is added to the report if it is new.
func (e *explanation) entity(id string, t events.Type) *Entity {
	known := e.byID[id]
	if known == nil {
		known = &Entity{ID: id, Type: t, Revisions: []Revision{}}
		e.byID[id], e.report.Entities = known, append(e.report.Entities, known)
	}
	return known
}

// takeWatermark keeps the last watermark of each unit.
func (e *explanation) takeWatermark(r *kafkaread.Record) error {
	if r.Value == nil {
		return nil
	}
	u := Unit{
		Account: r.Field("source"), Endpoint: r.Field("endpoint"), Bot: r.Field("bot_id"),
		CompleteFrom: instant(r.Value["complete_from"]), CompleteUpTo: instant(r.Value["complete_up_to"]), ReadThrough: instant(r.Value["read_through"]),
	}
	gaps, _ := r.Value["gaps"].([]any)
	for _, g := range gaps {
		if gap, ok := g.(map[string]any); ok {
			from, _ := gap["from"].(time.Time)
			to, _ := gap["to"].(time.Time)
			reason, _ := gap["reason"].(string)
			u.Gaps = append(u.Gaps, Gap{from, to, reason})
		}
	}
	if known := e.unit(unitKey{u.Account, events.Endpoint(u.Endpoint), u.Bot}); known != nil {
		*known = u
	} else {
		e.report.Units = append(e.report.Units, u)
	}
	return nil
}

func instant(v any) *time.Time {
	if t, ok := v.(time.Time); ok {
		return &t
	}
	return nil
}
