package revise

import (
	"hash/fnv"

	"agentassist-poller/internal/events"
)

// see decides about one sight of an entity.
func (d *decision) see(e *entity, s *events.Sighting) {
	switch {
	case e.superseded: // it has had its last revision
		d.Unchanged++
		return
	case e.outranked(s):
		d.Unchanged++
		return
	case s.Rank != e.rank:
		// Also without any news: from now on an older sight must not come through.
		e.rank, e.parent, e.changed = s.Rank, parentOf(s), true
	}
	// Ranked sights all come from one endpoint. Sights that were kept once are used for good, whatever is read now, lest
	// the fields of an endpoint that was switched off vanish.
	if s.Shared && d.KeepSights && s.Rank == 0 || len(e.sights) > 0 {
		d.seeShared(e, s)
		return
	}
	if e.revision == 0 {
		e.rememberKey(s.Event, false)
	}
	d.compare(e, s, s.Event)
}

// outranked reports whether another parent has shown the entity that is as new as the sight's or newer. Sights of the same
// parent always count: as long as it is open it outranks those that have ended, and then no longer.
func (e *entity) outranked(s *events.Sighting) bool {
	parent := parentOf(s)
	if parent == e.parent {
		return parent == [4]byte{} && s.Rank < e.rank // no parent is named: the rank alone decides
	}
	return e.rank != 0 && s.Rank <= e.rank
}

// parentOf returns the parent of a sight that has a rank: its segment.
func parentOf(s *events.Sighting) (parent [4]byte) {
	if id := s.Event.Head().SegmentID; id != nil {
		h := fnv.New32a()
		h.Write([]byte(*id))
		h.Sum(parent[:0])
	}
	return parent
}

// seeShared decides about a sight of an entity that two endpoints show.
func (d *decision) seeShared(e *entity, s *events.Sighting) {
	before := e.find(s.Endpoint)
	if before != nil && before.hash == events.ContentHash(s.Event, before.recipe) {
		d.Unchanged++
		if before.recipe != recipe() {
			// The endpoint says what it said before. What this build reads in it beyond that is no news.
			e.settle(d.merge(e, s))
		}
		return
	}
	if before == nil && len(e.sights) > 0 {
		d.MergeHits++
	}
	merged := d.merge(e, s)
	if e.revision == 0 {
		e.rememberKey(merged, true)
	}
	d.compare(e, s, merged)
}

// compare publishes the event if it is news.
func (d *decision) compare(e *entity, s *events.Sighting, event events.Event) {
	if e.revision > 0 && e.hash == events.ContentHash(event, e.recipe) {
		d.Unchanged++
		if e.recipe != recipe() {
			e.settle(event)
		}
		return
	}
	e.settle(event)
	d.publish(e, s, event)
}

// settle remembers the event as the present content of the entity.
func (e *entity) settle(event events.Event) {
	e.recipe, e.hash, e.changed = recipe(), events.ContentHash(event, recipe()), true
}

// rememberKey stores the Kafka key of a first version where later ones might have another: they may gain a conversation,
// and endpoints may name it differently.
func (e *entity) rememberKey(first events.Event, shared bool) {
	if id := first.Head().ConversationID; shared || id == nil || *id == "" {
		e.key = events.Key(first.Head())
	}
}

// merge keeps the sight, and returns what all endpoints together say.
func (d *decision) merge(e *entity, s *events.Sighting) events.Event {
	for range e.keep(sight{
		endpoint: s.Endpoint, recipe: recipe(), hash: events.ContentHash(s.Event, recipe()), body: encodeSight(s.Event),
	}) {
		d.unreadable(s.Event.Head().EntityID, errState)
	}
	e.changed = true
	merged := s.Event
	for _, other := range e.sights {
		if other.endpoint == s.Endpoint {
			continue
		}
		if seen := d.recallSight(s, other); seen != nil {
			merged = events.Merge(merged, s.Endpoint, seen, other.endpoint)
		}
	}
	return merged
}

// recallSight returns what was seen of the entity that s is of, or of one that it replaces.
func (d *decision) recallSight(s *events.Sighting, seen sight) events.Event {
	event, err := decodeSight(s.Event.EventType(), s.Event.Head(), seen.body)
	if err != nil {
		d.unreadable(s.Event.Head().EntityID, err)
		return nil
	}
	return event
}

// supersede publishes the last revision of an entity that s replaces, unless it was never published or has had it.
func (d *decision) supersede(old *entity, s *events.Sighting) {
	if old.revision == 0 || old.superseded {
		return
	}
	last := d.lastOf(old, s)
	by := s.Event.Head().EntityID
	last.Head().SupersededBy = &by
	old.superseded, old.sights = true, nil
	d.publish(old, s, last)
}

// lastOf rebuilds a superseded entity from what its endpoints said, or else from its successor.
func (d *decision) lastOf(old *entity, s *events.Sighting) events.Event {
	var last events.Event
	var from events.Endpoint
	for range old.unfold() {
		d.unreadable(s.Supersedes, errState)
	}
	for _, seen := range old.sights {
		switch event := d.recallSight(s, seen); {
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
