// Package revise decides which sightings become events: what is new, what has changed, and what is merely seen again.
//
// It is pure: what is known of an entity comes in as bytes and goes out as bytes, and nothing is looked at but the
// arguments. The rules are those of the contract: a thing read again unchanged publishes nothing; changed, it publishes its
// next revision, whole; of a thing that two endpoints show, each field has one owner, so that the two never take turns.
package revise

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
)

// Memory answers what is known of entities: checkpoint.Store.Lookup for one account.
type Memory interface {
	Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error
}

// Input is one page.
type Input struct {
	// Source is the configured account's name.
	Source string
	// Sightings in the order of the page. Their events are filled in and must not be used otherwise afterwards.
	Sightings []events.Sighting
	// ReadAt is the server's clock when the page was asked for.
	ReadAt time.Time
	// CompleteFrom and CompleteUpTo bound the time that the endpoint was declared complete for before this page. Zero
	// CompleteUpTo: none.
	CompleteFrom, CompleteUpTo time.Time
	// LastRead says when the thing's parent was last read before this page, zero if it never was.
	LastRead func(*events.Sighting) time.Time
	// KeepSights is set if another endpoint that shows the same things is read too.
	KeepSights bool
	// Replay marks everything published as published again on purpose.
	Replay bool
}

// Outgoing is one event to publish.
type Outgoing struct {
	Event events.Event
	// Key is the same for all revisions of the entity.
	Key string
	// Negative is set on feedback that is, or once was, negative.
	Negative bool
}

// Result is what a page comes to.
type Result struct {
	// Events to publish, in order.
	Events []Outgoing
	// Puts are the changes to what is known, Touched the days of entities that were seen unchanged.
	Puts    []checkpoint.Entry
	Touched []uint32
	// Unchanged counts sightings of known versions; TakenOver those of them whose recipe was old; OutOfRank sightings
	// that an earlier one outranks; MergeHits those of things known through another endpoint.
	Unchanged, TakenOver, OutOfRank, MergeHits int
}

// entity is what is known of one entity while a page is decided.
type entity struct {
	key   checkpoint.Key
	known bool
	dirty bool
	state State
}

type decider struct {
	in       *Input
	entities map[string]*entity
	out      *Result
	recipe   int
}

// Decide returns what a page comes to. It fails only if memory does, or holds what this program cannot read.
func Decide(in Input, memory Memory) (*Result, error) {
	d := &decider{in: &in, entities: make(map[string]*entity, len(in.Sightings)), out: &Result{}, recipe: events.Recipe()}
	if err := d.recall(memory); err != nil {
		return nil, err
	}
	for i := range in.Sightings {
		if err := d.sight(&in.Sightings[i]); err != nil {
			return nil, err
		}
	}
	d.remember()
	return d.out, nil
}

// recall looks up all entities of the page at once.
func (d *decider) recall(memory Memory) error {
	var probes []checkpoint.Probe
	var ids []string
	ask := func(id string, s *events.Sighting) error {
		if _, ok := d.entities[id]; ok {
			return nil
		}
		probe, err := probeFor(id, s)
		if err != nil {
			return err
		}
		d.entities[id] = &entity{key: probe.Key}
		probes, ids = append(probes, probe), append(ids, id)
		return nil
	}
	for i := range d.in.Sightings {
		s := &d.in.Sightings[i]
		if err := ask(s.Event.Head().EntityID, s); err != nil {
			return err
		}
		if s.Supersedes != "" {
			if err := ask(s.Supersedes, s); err != nil {
				return err
			}
		}
	}
	found := make([]checkpoint.Found, len(probes))
	if err := memory.Lookup(probes, found); err != nil {
		return err
	}
	for i, f := range found {
		if !f.Known {
			continue
		}
		e := d.entities[ids[i]]
		state, err := DecodeState(f.Value)
		if err != nil {
			return fmt.Errorf("recall entity %s: %w", ids[i], err)
		}
		e.key, e.known, e.state = f.Key, true, state
	}
	return nil
}

func probeFor(id string, s *events.Sighting) (checkpoint.Probe, error) {
	var hash checkpoint.Hash
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) < len(hash) {
		return checkpoint.Probe{}, fmt.Errorf("look up %s: entity id %q is not one", s.Event.EventType(), id)
	}
	copy(hash[:], raw)
	const day = 24 * time.Hour
	return checkpoint.Probe{
		Key:   checkpoint.KeyAt(s.Anchor, s.Shared, hash),
		Slack: uint32((s.Slack + day - 1) / day),
	}, nil
}

// sight decides one sighting.
func (d *decider) sight(s *events.Sighting) error {
	e := d.entities[s.Event.Head().EntityID]
	if e.known && (e.state.Superseded || s.Rank < e.state.Rank) {
		if !e.state.Superseded {
			d.out.OutOfRank++
		}
		d.out.Unchanged++
		return nil
	}
	if s.Supersedes != "" {
		if err := d.supersede(s); err != nil {
			return err
		}
	}
	if s.Rank > e.state.Rank {
		e.state.Rank, e.dirty = s.Rank, true
	}
	ev, err := d.merge(s, e)
	if err != nil {
		return err
	}
	hash := events.ContentHash(ev, d.recipe)
	switch {
	case !e.known:
	case e.state.Recipe == d.recipe && hash == e.state.Hash:
		d.out.Unchanged++
		return nil
	case e.state.Recipe != d.recipe && events.ContentHash(ev, e.state.Recipe) == e.state.Hash:
		// Unchanged as far as it counted when it was published: what counts now is taken over silently.
		e.state.Recipe, e.state.Hash, e.dirty = d.recipe, hash, true
		d.out.Unchanged++
		d.out.TakenOver++
		return nil
	}
	e.state.Recipe, e.state.Hash = d.recipe, hash
	d.publish(s, e, ev)
	return nil
}

// merge returns the event that all sights of the entity make together, and keeps this one for those to come.
func (d *decider) merge(s *events.Sighting, e *entity) (events.Event, error) {
	if !s.Shared || !d.in.KeepSights {
		return s.Event, nil
	}
	sight, err := json.Marshal(s.Event)
	if err != nil {
		return nil, fmt.Errorf("keep sight of %s %s: %w", s.Event.EventType(), s.Event.Head().EntityID, err)
	}
	ev, others := s.Event, false
	for _, other := range e.state.Sights {
		if other.Endpoint == s.Endpoint {
			continue
		}
		o := events.New(s.Event.EventType())
		if err := json.Unmarshal(other.JSON, o); err != nil {
			return nil, fmt.Errorf("recall sight of %s %s: %w", s.Event.EventType(), s.Event.Head().EntityID, err)
		}
		ev, others = events.Merge(ev, s.Endpoint, o, other.Endpoint), true
	}
	if others {
		d.out.MergeHits++
	}
	if e.state.keep(s.Endpoint, sight) {
		e.dirty = true
	}
	return ev, nil
}

// publish makes ev the entity's next revision.
func (d *decider) publish(s *events.Sighting, e *entity, ev events.Event) {
	h := ev.Head()
	e.state.Revision++
	h.Revision = e.state.Revision
	h.Source, h.Endpoint = d.in.Source, string(s.Endpoint)
	h.ObservedTime, h.ChangedBefore, h.ChangedAfter = d.in.ReadAt, d.in.ReadAt, nil
	if last := d.in.LastRead(s); h.Revision > 1 && !last.IsZero() {
		h.ChangedAfter = &last
	}
	h.Late = h.Revision == 1 && h.EventTime.Before(d.in.CompleteUpTo) && !h.EventTime.Before(d.in.CompleteFrom)
	h.Replay = d.in.Replay
	if h.EventTime.After(d.in.ReadAt) {
		h.EventTime, h.EventTimeBasis = d.in.ReadAt, "clamped:"+h.EventTimeBasis
	}
	h.EventID = events.EventID(h.EntityID, h.Revision, e.state.Hash[:])
	key := events.Key(h)
	if e.state.Revision == 1 && (h.ConversationID == nil || *h.ConversationID == "") {
		e.state.Key = key
	}
	if e.state.Key != "" {
		key = e.state.Key
	}
	e.state.EverNegative = e.state.EverNegative || events.Negative(ev)
	e.known, e.dirty = true, true
	d.out.Events = append(d.out.Events, Outgoing{Event: ev, Key: key, Negative: e.state.EverNegative})
}

// supersede publishes the last revision of the entity that a sighting replaces, if it was ever published.
func (d *decider) supersede(s *events.Sighting) error {
	old := d.entities[s.Supersedes]
	if !old.known || old.state.Superseded {
		return nil
	}
	last := events.New(s.Event.EventType())
	sight, err := json.Marshal(s.Event)
	if err != nil {
		return fmt.Errorf("supersede %s %s: %w", s.Event.EventType(), s.Supersedes, err)
	}
	// What it last was is known where sights are kept; else it is what replaces it, under its own name.
	if i := slices.IndexFunc(old.state.Sights, func(x Sight) bool { return x.Endpoint == s.Endpoint }); i >= 0 {
		sight = old.state.Sights[i].JSON
	} else if len(old.state.Sights) > 0 {
		sight = old.state.Sights[0].JSON
	}
	if err := json.Unmarshal(sight, last); err != nil {
		return fmt.Errorf("supersede %s %s: %w", s.Event.EventType(), s.Supersedes, err)
	}
	by := s.Event.Head().EntityID
	h := last.Head()
	h.EntityID, h.SupersededBy, h.ConversationID = s.Supersedes, &by, nil
	old.state.Superseded, old.state.Sights = true, nil
	d.publish(s, old, last)
	return nil
}

// remember turns what was decided into changes of the memory.
func (d *decider) remember() {
	touched := map[uint32]bool{}
	for _, e := range d.entities {
		switch {
		case e.dirty:
			d.out.Puts = append(d.out.Puts, checkpoint.Entry{Key: e.key, Value: e.state.AppendBinary(nil)})
		case e.known && !touched[e.key.Day]:
			touched[e.key.Day] = true
			d.out.Touched = append(d.out.Touched, e.key.Day)
		}
	}
}
