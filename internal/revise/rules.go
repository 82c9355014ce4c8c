package revise

import (
	"hash/fnv"

	"agentassist-poller/internal/events"
)

// observe applies the rules to one observation of an entity.
func (d *decision) observe(e *entity, o *events.Observation) {
	switch {
	case e.superseded: // its last revision was published
		d.Unchanged++
		return
	case e.outranked(o):
		d.Unchanged++
		return
	case o.Rank != e.rank:
		// This counts also if the observation is no news: from now on, older observations must not count.
		e.rank, e.parent, e.changed = o.Rank, parentOf(o), true
	}
	// Once observations are stored they are used for good, whichever endpoints are read now: otherwise the fields of an endpoint that was
	// switched off would vanish.
	if o.Merged && d.KeepObservations || len(e.observations) > 0 {
		d.observeShared(e, o)
		return
	}
	if e.revision == 0 {
		e.keepKey(o.Event, false)
	}
	d.compare(e, o, o.Event)
}

// outranked reports whether another parent with at least the same rank has shown the entity. Observations of the parent that showed it last
// always count, because the rank of a parent falls when it ends.
func (e *entity) outranked(o *events.Observation) bool {
	parent := parentOf(o)
	if parent == e.parent {
		return parent == [4]byte{} && o.Rank < e.rank // without a parent only the rank counts
	}
	return e.rank != 0 && o.Rank <= e.rank
}

// parentOf returns the hash of the parent of an observation with a rank: its segment.
func parentOf(o *events.Observation) (parent [4]byte) {
	if id := o.Event.Head().SegmentID; id != nil {
		h := fnv.New32a()
		h.Write([]byte(*id))
		h.Sum(parent[:0])
	}
	return parent
}

// observeShared applies the rules to an observation of an entity that two endpoints show.
func (d *decision) observeShared(e *entity, o *events.Observation) {
	before := e.find(o.Endpoint)
	if before != nil && before.hash == events.ContentHash(o.Event, before.recipe) {
		d.Unchanged++
		if before.recipe != recipe() && !before.huge {
			// The endpoint shows the same as before. Fields that only this build reads are no news.
			e.settleAgain(d.merge(e, o))
		}
		return
	}
	if before == nil && len(e.observations) > 0 {
		d.MergeHits++
	}
	if d.tooLargeAlone(e, o) {
		// The observation is left out of the entity, which stays as the other endpoint shows it.
		d.keep(e, o, observation{endpoint: o.Endpoint, recipe: recipe(), hash: events.ContentHash(o.Event, recipe()), huge: true})
		return
	}
	merged := d.merge(e, o)
	if e.revision == 0 {
		e.keepKey(merged, true)
	}
	d.compare(e, o, merged)
}

// tooLargeAlone reports whether an observation is too large to be published by itself, and adds it to Refused if so.
func (d *decision) tooLargeAlone(e *entity, o *events.Observation) bool {
	if d.TooLarge == nil {
		return false
	}
	if d.content = o.Event.AppendContent(d.content[:0], recipe()); len(d.content) <= certainlySmall {
		return false
	}
	alone := events.Merge(o.Event, o.Endpoint, o.Event, o.Endpoint) // a copy, because revisionOf fills in its header
	return d.refuses(e, d.revisionOf(e, o, alone))
}

// compare publishes the event if its content is news.
func (d *decision) compare(e *entity, o *events.Observation, event events.Event) {
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
	now := contentOf(event) // before publish fills in the header
	if d.publish(e, o, event) {
		e.settle(now)
	} else {
		e.refuse(now)
	}
}

// settle stores the content that was published last.
func (e *entity) settle(c content) {
	e.recipe, e.hash, e.refused, e.changed = c.recipe, c.hash, content{}, true
}

// refuse stores the content that was too large to be published, so that it is refused only once. The last published content stays.
func (e *entity) refuse(c content) { e.refused, e.changed = c, true }

// settleAgain stores under the recipe of this build the content that is stored under an earlier one.
func (e *entity) settleAgain(event events.Event) {
	if e.refused != (content{}) {
		e.refuse(contentOf(event))
	} else {
		e.settle(contentOf(event))
	}
}

// keepKey stores the Kafka key of the first version if later versions could have another: they may gain a conversation, and endpoints may
// name it differently.
func (e *entity) keepKey(first events.Event, shared bool) {
	if id := first.Head().ConversationID; shared || id == nil || *id == "" {
		e.key = events.Key(first.Head())
	}
}

// merge stores the observation, and returns the merged observations of all endpoints.
func (d *decision) merge(e *entity, o *events.Observation) events.Event {
	d.keep(e, o, observation{endpoint: o.Endpoint, recipe: recipe(), hash: events.ContentHash(o.Event, recipe()), body: encodeObservation(o.Event)})
	merged := o.Event
	for _, other := range e.observations {
		if other.endpoint == o.Endpoint || other.huge {
			continue
		}
		if stored := d.read(o, other); stored != nil {
			merged = events.Merge(merged, o.Endpoint, stored, other.endpoint)
		}
	}
	return merged
}

// keep stores the observation of an endpoint.
func (d *decision) keep(e *entity, o *events.Observation, stored observation) {
	for range e.keep(stored) {
		d.unreadable(o.Event.Head().EntityID, errState)
	}
	e.changed = true
}

// read returns a stored observation of o's entity or of the entity that o supersedes, nil if it cannot be read.
func (d *decision) read(o *events.Observation, stored observation) events.Event {
	event, err := decodeObservation(o.Event.EventType(), o.Event.Head(), stored.body)
	if err != nil {
		d.unreadable(o.Event.Head().EntityID, err)
		return nil
	}
	return event
}

// supersede publishes the last revision of an entity that o supersedes, unless the entity was never published, or its last revision has
// been.
func (d *decision) supersede(old *entity, o *events.Observation) {
	if old.revision == 0 || old.superseded {
		return
	}
	last := d.lastOf(old, o)
	by := o.Event.Head().EntityID
	last.Head().SupersededBy = &by
	old.superseded, old.observations = true, nil
	d.publish(old, o, last)
}

// lastOf makes the last version of a superseded entity from its stored observations, or from its successor if there are none.
func (d *decision) lastOf(old *entity, o *events.Observation) events.Event {
	var last events.Event
	var from events.Endpoint
	for range old.unfold() {
		d.unreadable(o.Supersedes, errState)
	}
	for _, stored := range old.observations {
		if stored.huge {
			continue
		}
		switch event := d.read(o, stored); {
		case event == nil:
		case last == nil:
			last, from = event, stored.endpoint
		default:
			last = events.Merge(last, from, event, stored.endpoint)
		}
	}
	if last == nil {
		last = events.Merge(o.Event, o.Endpoint, o.Event, o.Endpoint) // a copy
		last.Head().ConversationID = nil
		if c, ok := last.(*events.Conversation); ok {
			c.BotOnly = true
		}
	}
	last.Head().EntityID = o.Supersedes
	return last
}
