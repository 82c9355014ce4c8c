package revise

import (
	"hash/fnv"

	"agentassist-poller/internal/events"
)

// see decides about one observation of an entity.
func (d *decision) see(e *entity, s *events.Observation) {
	switch {
	case e.superseded: // it has had its last revision
		d.Unchanged++
		return
	case e.outranked(s):
		d.Unchanged++
		return
	case s.Rank != e.rank:
		// Also without any news: from now on an older observation must not come through.
		e.rank, e.parent, e.changed = s.Rank, parentOf(s), true
	}
	// Ranked observations all come from one endpoint. Observations that were kept once are used for good, whatever is read now, lest
	// the fields of an endpoint that was switched off vanish.
	if s.Shared && d.KeepObservations && s.Rank == 0 || len(e.observations) > 0 {
		d.seeShared(e, s)
		return
	}
	if e.revision == 0 {
		e.rememberKey(s.Event, false)
	}
	d.compare(e, s, s.Event)
}

// outranked reports whether another parent has shown the entity that is as new as the observation's or newer. Observations of the same
// parent always count: as long as it is open it outranks those that have ended, and then no longer.
func (e *entity) outranked(s *events.Observation) bool {
	parent := parentOf(s)
	if parent == e.parent {
		return parent == [4]byte{} && s.Rank < e.rank // no parent is named: the rank alone decides
	}
	return e.rank != 0 && s.Rank <= e.rank
}

// parentOf returns the parent of an observation that has a rank: its segment.
func parentOf(s *events.Observation) (parent [4]byte) {
	if id := s.Event.Head().SegmentID; id != nil {
		h := fnv.New32a()
		h.Write([]byte(*id))
		h.Sum(parent[:0])
	}
	return parent
}

// seeShared decides about an observation of an entity that two endpoints show.
func (d *decision) seeShared(e *entity, s *events.Observation) {
	before := e.find(s.Endpoint)
	if before != nil && before.hash == events.ContentHash(s.Event, before.recipe) {
		d.Unchanged++
		if before.recipe != recipe() && !before.huge {
			// The endpoint says what it said before. What this build reads in it beyond that is no news.
			e.settleAgain(d.merge(e, s))
		}
		return
	}
	if before == nil && len(e.observations) > 0 {
		d.MergeHits++
	}
	if d.tooLargeAlone(e, s) {
		// It is no part of what the entity is: what the other endpoint says stays as it is.
		d.keep(e, s, observation{endpoint: s.Endpoint, recipe: recipe(), hash: events.ContentHash(s.Event, recipe()), huge: true})
		return
	}
	merged := d.merge(e, s)
	if e.revision == 0 {
		e.rememberKey(merged, true)
	}
	d.compare(e, s, merged)
}

// tooLargeAlone reports whether an observation is too large to be published by itself, and notes it if so.
func (d *decision) tooLargeAlone(e *entity, s *events.Observation) bool {
	if d.TooLarge == nil {
		return false
	}
	if d.content = s.Event.AppendContent(d.content[:0], recipe()); len(d.content) <= certainlySmall {
		return false
	}
	alone := events.Merge(s.Event, s.Endpoint, s.Event, s.Endpoint) // a copy, as its header is filled in
	return d.refuses(e, d.revisionOf(e, s, alone))
}

// compare publishes the event if it is news.
func (d *decision) compare(e *entity, s *events.Observation, event events.Event) {
	switch {
	case e.published().is(event):
		d.Unchanged++
		if e.recipe != recipe() || e.refused != (content{}) {
			e.settle(contentOf(event))
		}
		return
	case e.refused.is(event):
		d.Unchanged++
		if e.refused.recipe != recipe() {
			e.refuse(contentOf(event))
		}
		return
	}
	now := contentOf(event) // before its header is filled in
	if d.publish(e, s, event) {
		e.settle(now)
	} else {
		e.refuse(now)
	}
}

// settle remembers what was published last.
func (e *entity) settle(c content) {
	e.recipe, e.hash, e.refused, e.changed = c.recipe, c.hash, content{}, true
}

// refuse remembers what was too large to be published, so that it is refused once. What was published last stays.
func (e *entity) refuse(c content) { e.refused, e.changed = c, true }

// settleAgain remembers under the recipe of this build what is remembered under an earlier one.
func (e *entity) settleAgain(event events.Event) {
	if e.refused != (content{}) {
		e.refuse(contentOf(event))
	} else {
		e.settle(contentOf(event))
	}
}

// rememberKey stores the Kafka key of a first version where later ones might have another: they may gain a conversation,
// and endpoints may name it differently.
func (e *entity) rememberKey(first events.Event, shared bool) {
	if id := first.Head().ConversationID; shared || id == nil || *id == "" {
		e.key = events.Key(first.Head())
	}
}

// merge keeps the observation, and returns what all endpoints together say.
func (d *decision) merge(e *entity, s *events.Observation) events.Event {
	d.keep(e, s, observation{endpoint: s.Endpoint, recipe: recipe(), hash: events.ContentHash(s.Event, recipe()), body: encodeObservation(s.Event)})
	merged := s.Event
	for _, other := range e.observations {
		if other.endpoint == s.Endpoint || other.huge {
			continue
		}
		if seen := d.recallObservation(s, other); seen != nil {
			merged = events.Merge(merged, s.Endpoint, seen, other.endpoint)
		}
	}
	return merged
}

// keep remembers what an endpoint says of the entity.
func (d *decision) keep(e *entity, s *events.Observation, seen observation) {
	for range e.keep(seen) {
		d.unreadable(s.Event.Head().EntityID, errState)
	}
	e.changed = true
}

// recallObservation returns what was seen of the entity that s is of, or of one that it replaces.
func (d *decision) recallObservation(s *events.Observation, seen observation) events.Event {
	event, err := decodeObservation(s.Event.EventType(), s.Event.Head(), seen.body)
	if err != nil {
		d.unreadable(s.Event.Head().EntityID, err)
		return nil
	}
	return event
}

// supersede publishes the last revision of an entity that s replaces, unless it was never published or has had it.
func (d *decision) supersede(old *entity, s *events.Observation) {
	if old.revision == 0 || old.superseded {
		return
	}
	last := d.lastOf(old, s)
	by := s.Event.Head().EntityID
	last.Head().SupersededBy = &by
	old.superseded, old.observations = true, nil
	d.publish(old, s, last)
}

// lastOf rebuilds a superseded entity from what its endpoints said, or else from its successor.
func (d *decision) lastOf(old *entity, s *events.Observation) events.Event {
	var last events.Event
	var from events.Endpoint
	for range old.unfold() {
		d.unreadable(s.Supersedes, errState)
	}
	for _, seen := range old.observations {
		if seen.huge {
			continue
		}
		switch event := d.recallObservation(s, seen); {
		case event == nil:
		case last == nil:
			last, from = event, seen.endpoint
		default:
			last = events.Merge(last, from, event, seen.endpoint)
		}
	}
	if last == nil {
		last = events.Merge(s.Event, s.Endpoint, s.Event, s.Endpoint) // a copy
		last.Head().ConversationID = nil
		if c, ok := last.(*events.Conversation); ok {
			c.BotOnly = true
		}
	}
	last.Head().EntityID = s.Supersedes
	return last
}
