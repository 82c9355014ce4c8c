// Package revise decides what is news. It compares the observations of a page with what is remembered of each thing, and says
// which events to publish, as which revisions, and what to remember from then on. It does no I/O beyond asking its store
// and reads no clock: the same input gives the same events with the same ids.
//
// The rules: a thing that is read again unchanged is no news. One that changed is its next revision, with the whole
// content. What counts as change is the upstream content under the recipe with which the thing is remembered, so that a
// build whose recipe counts more takes everything over silently. What two endpoints say of a thing is merged, each field by
// its owner, before it is compared. All revisions of a thing have the same Kafka key.
package revise

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
)

// Store remembers an account's entities. It is asked once a page.
type Store interface {
	// Lookup answers probes[i] in out[i].
	Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error
}

// Input is one page, or several read as one, of one endpoint.
type Input struct {
	Source       string // name of the configured account
	Observations []events.Observation
	// ShownAt is when the answer had come that was the page, by the server's clock: what is dated later is dated wrongly, and
	// is clamped to it.
	ShownAt time.Time
	// LastRead returns the last earlier read that covered what s was seen in; zero for none.
	LastRead func(s *events.Observation) time.Time
	// CompleteFrom and CompleteUpTo are what the endpoint had been declared complete for before this page: a new thing
	// in between is late. CompleteUpTo is zero while nothing has been declared.
	CompleteFrom, CompleteUpTo time.Time
	// KeepObservations is set while both endpoints that show the same things are read: what each says is then remembered.
	KeepObservations bool
	// Replay marks everything as published again on purpose. Such events are never late.
	Replay bool
	// TooLarge returns why an event is too large to be published, empty if it is not. It is asked about events of some size only. Nil:
	// none is.
	TooLarge func(o Outgoing) string
}

// Result is what to do about a page: publish the events in their order, and once that is done commit the rest.
type Result struct {
	Events  []Outgoing
	Refused []Refused // events that are too large, for the dead letters
	Puts    []checkpoint.Entry
	Touched []uint32 // days of all that was known and seen

	Unchanged int // observations that were no news, for they say what is known, or less
	MergeHits int // entities that a second endpoint showed for the first time
	// Unreadable is how many entities, or observations of them, were stored and could not be read. They count as never seen, so that
	// an old entity may be among Events as revision 1. Damage says what is wrong with the first of them.
	Unreadable int
	Damage     error

	// Of each event, each refused one and each put, the entity by its place on the page, and of events how large they are, about.
	eventOf, refusedOf, putOf, sizes []int
}

// Refused is an event that is too large to be published. It is not a revision: the next one that is published has its number.
type Refused struct {
	Outgoing
	Reason string
}

// Outgoing is an event to publish.
type Outgoing struct {
	Event events.Event
	// Key is the Kafka key. It is empty if the event has none of the ids that make one; such an event belongs to the dead
	// letters.
	Key string
	// Negative events go to the topic of negative feedback as well: negative feedback, and all that once was.
	Negative bool
}

// recipe is what content is compared under from now on; a variable for tests of upgrades.
var recipe = events.Recipe

// Decide applies the rules to a page. An entity may occur in it more than once. The events of the observations are used and
// changed.
func Decide(in Input, store Store) (*Result, error) {
	d := decision{Input: in, entities: make(map[string]*entity, len(in.Observations)), touched: make(map[uint32]bool)}
	d.ShownAt = in.ShownAt.UTC().Truncate(time.Millisecond) // as precise as events are
	if err := d.recall(store); err != nil {
		return nil, err
	}
	for i := range in.Observations {
		s := &in.Observations[i]
		if old := d.entities[s.Supersedes]; old != nil {
			d.supersede(old, s)
		}
		d.see(d.entities[s.Event.Head().EntityID], s)
	}
	for i, id := range d.order {
		if e := d.entities[id]; e.changed {
			d.Puts = appendEntries(d.Puts, e.place, e.encode())
		}
		for len(d.putOf) < len(d.Puts) {
			d.putOf = append(d.putOf, i)
		}
	}
	d.Touched = slices.Sorted(maps.Keys(d.touched))
	return &d.Result, nil
}

type decision struct {
	Input
	Result
	entities map[string]*entity
	order    []string // of the entities, as they come first
	touched  map[uint32]bool
	content  []byte // of one event at a time
}

// entity is one thing of the page.
type entity struct {
	state
	place   checkpoint.Key // where it is remembered
	number  int            // on the page
	known   bool           // something is stored there
	home    *entity        // beside which it is remembered, nil for none
	shown   *events.Observation
	changed bool
}

// recall asks the store for every entity of the page, and for those that are replaced by one.
//
// Where an entity is remembered never changes, though the times may that say where to look. What belongs to another thing is
// remembered beside it, wherever that is: only for the things that others belong to must the whole store be looked through.
func (d *decision) recall(store Store) error {
	probes, err := d.probes()
	if err != nil {
		return err
	}
	if err := d.lookUp(store, d.order, probes); err != nil {
		return err
	}
	var ids []string
	probes = probes[:0]
	again := func(id string, probe checkpoint.Probe) {
		ids, probes = append(ids, id), append(probes, probe)
	}
	for _, id := range d.order {
		e := d.entities[id]
		switch {
		case e.known:
		case e.home != nil && e.home != e:
			if key := e.beside(); key != e.place {
				e.place = key
				if e.home.known {
					again(id, checkpoint.Probe{Key: key, Slack: daysOf(e.shown.Slack)})
				}
			}
		case id == e.shown.Supersedes && e.shown.Slack == events.Anywhere && !d.entities[e.shown.Event.Head().EntityID].known:
			again(id, checkpoint.Probe{Key: e.place, Slack: checkpoint.Anywhere})
		}
	}
	if len(probes) == 0 {
		return nil
	}
	return d.lookUp(store, ids, probes)
}

// probes lists the entities of the page, in the order in which they come, and asks for each where its anchor says.
func (d *decision) probes() ([]checkpoint.Probe, error) {
	probes := make([]checkpoint.Probe, 0, len(d.Observations))
	d.order = make([]string, 0, len(d.Observations))
	all := make([]entity, 0, len(d.Observations)) // superseded ones come on top
	add := func(id string, s *events.Observation, slack time.Duration) error {
		if d.entities[id] != nil {
			return nil
		}
		h, err := hashOf(id)
		if err != nil {
			return fmt.Errorf("look up %s: %w", s.Event.EventType(), err)
		}
		if len(all) == cap(all) {
			all = make([]entity, 0, 16)
		}
		all = append(all, entity{place: checkpoint.KeyAt(s.Anchor, s.Shared, h), number: len(d.order), shown: s})
		e := &all[len(all)-1]
		if s.Home == id {
			e.home = e
			e.minute = 1 + checkpoint.KeyAt(s.Anchor, false, h).Minute
		}
		d.entities[id] = e
		d.order = append(d.order, id)
		probe := checkpoint.Probe{Key: e.place, Slack: daysOf(slack)}
		if s.Slack == events.Anywhere {
			probe.Earlier = checkpoint.KeyAt(s.Anchor, false, h)
		}
		probes = append(probes, probe)
		return nil
	}
	for i := range d.Observations {
		s := &d.Observations[i]
		if err := add(s.Event.Head().EntityID, s, s.Slack); err != nil {
			return nil, err
		}
		if s.Supersedes == "" {
			continue
		}
		// What is replaced is mostly not known, and everywhere is only looked if it may be for the first time.
		if err := add(s.Supersedes, s, min(s.Slack, day)); err != nil {
			return nil, err
		}
	}
	for _, id := range d.order {
		e := d.entities[id]
		if e.home == nil && e.shown.Home != "" && id != e.shown.Supersedes {
			e.home = d.entities[e.shown.Home]
		}
	}
	return probes, nil
}

const day = 24 * time.Hour

// daysOf returns how many days away from its anchor something may be remembered.
func daysOf(slack time.Duration) uint32 {
	if slack == events.Anywhere {
		return checkpoint.Anywhere
	}
	return uint32((slack + day - 1) / day)
}

// lookUp asks the store for some of the entities and takes over what it knows of them.
func (d *decision) lookUp(store Store, ids []string, probes []checkpoint.Probe) error {
	found := make([]checkpoint.Found, len(probes))
	if err := store.Lookup(probes, found); err != nil {
		return err
	}
	if err := joinParts(store, found); err != nil {
		return err
	}
	for i, f := range found {
		if !f.Known {
			continue
		}
		e := d.entities[ids[i]]
		e.place, e.known = f.Key, true
		known, err := decodeState(f.Value)
		if err != nil {
			d.unreadable(ids[i], err)
			continue
		}
		e.state = *known
		d.touched[f.Key.Day] = true
	}
	return nil
}

// beside returns where an entity is remembered that belongs to another.
func (e *entity) beside() checkpoint.Key {
	key := e.place
	key.Day = e.home.place.Day
	switch {
	case key.Shared:
	case !e.home.place.Shared:
		key.Minute = e.home.place.Minute
	case e.home.minute > 0:
		key.Minute = e.home.minute - 1
	}
	return key
}

// unreadable counts something stored of an entity that cannot be read.
func (d *decision) unreadable(entity string, err error) {
	d.Unreadable++
	if d.Damage == nil {
		d.Damage = fmt.Errorf("read what is stored of entity %s: %w", entity, err)
	}
}

// hashOf returns the part of an entity id by which the entity is remembered.
func hashOf(id string) (h checkpoint.Hash, err error) {
	digits := 2 * len(h)
	if len(id) < digits {
		return h, fmt.Errorf("entity id %q is too short", id)
	}
	if _, err := hex.Decode(h[:], []byte(id[:digits])); err != nil {
		return h, fmt.Errorf("entity id %q: %w", id, err)
	}
	return h, nil
}

// publish makes event the next revision of the entity. It reports false if the event is too large.
func (d *decision) publish(e *entity, s *events.Observation, event events.Event) bool {
	o := d.revisionOf(e, s, event)
	if d.refuses(e, o) {
		return false
	}
	e.revision++
	e.changed, e.everNegative = true, o.Negative
	d.Events = append(d.Events, o)
	d.eventOf, d.sizes = append(d.eventOf, e.number), append(d.sizes, len(d.content)+headerSize(event.Head()))
	return true
}

// revisionOf returns event as the next revision of the entity, and leaves its content in d.content.
func (d *decision) revisionOf(e *entity, s *events.Observation, event events.Event) Outgoing {
	key := e.key
	if key == "" {
		key = events.Key(event.Head())
	}
	d.fill(event.Head(), e.revision+1, s)
	d.content = event.AppendContent(d.content[:0], recipe())
	event.Head().EventID = events.EventID(event.Head().EntityID, e.revision+1, d.content)
	return Outgoing{Event: event, Key: key, Negative: e.everNegative || events.Negative(event)}
}

// certainlySmall is a size of content with which no event is too large, whatever stands beside the content.
const certainlySmall = 4 << 10

// refuses notes an event of the entity that is too large, and reports whether it is. d.content holds its content.
func (d *decision) refuses(e *entity, o Outgoing) bool {
	if d.TooLarge == nil || len(d.content) <= certainlySmall {
		return false
	}
	reason := d.TooLarge(o)
	if reason == "" {
		return false
	}
	e.changed = true
	d.Refused = append(d.Refused, Refused{o, reason})
	d.refusedOf = append(d.refusedOf, e.number)
	return true
}

// headerSize is about what the header of an event takes, encoded.
func headerSize(h *events.Header) int {
	const fixed = 200
	size := fixed + len(h.Source) + len(h.AccountID)
	for _, text := range []*string{h.BotID, h.ConversationID, h.SessionID, h.SegmentID, h.Channel} {
		if text != nil {
			size += len(*text)
		}
	}
	return size
}

// fill writes into the header what the poller, not upstream, says of an event.
func (d *decision) fill(h *events.Header, revision int64, s *events.Observation) {
	h.Source, h.Endpoint = d.Source, string(s.Endpoint)
	h.Revision, h.Replay = revision, d.Replay
	h.ObservedTime, h.ChangedBefore, h.ChangedAfter = d.ShownAt, d.ShownAt, nil
	if h.EventTime.After(d.ShownAt) {
		h.EventTime = d.ShownAt
		h.EventTimeBasis = "clamped:" + h.EventTimeBasis
	}
	declared := !h.EventTime.Before(d.CompleteFrom) && !h.EventTime.After(d.CompleteUpTo)
	h.Late = revision == 1 && declared && !d.Replay
	if revision == 1 {
		return
	}
	if before := d.LastRead(s).UTC().Truncate(time.Millisecond); !before.IsZero() && before.Before(d.ShownAt) {
		h.ChangedAfter = &before
	}
}
