// Package revise decides which observations are news. It compares the observations of a page with what the store holds of each entity,
// and says which events to publish, as which revisions, and what to store from then on. It does no I/O except through its Store, and
// reads no clock: the same input gives the same events with the same ids.
//
// The rules: An entity that is observed unchanged is no news. An entity that has changed gets its next revision, with its complete
// content. Only upstream content counts as a change, under the recipe with which the entity is stored, so that a build with a later
// recipe, which counts more fields, publishes nothing for that reason. What several rows and endpoints show of an entity is kept apart, and
// becomes one content by an order that does not depend on what is read first (see rules.go). All revisions of an entity have the same
// Kafka key.
package revise

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/privacy"
)

// Store holds an account's entities. Decide calls it once to four times a page.
type Store interface {
	// Lookup answers probes[i] in out[i].
	Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error
}

// OfAccount returns the store of one account of a store that holds those of several.
func OfAccount(store interface {
	Lookup(account string, probes []checkpoint.Probe, out []checkpoint.Found) error
}, account string) Store {
	return accountStore(func(probes []checkpoint.Probe, out []checkpoint.Found) error {
		return store.Lookup(account, probes, out)
	})
}

type accountStore func(probes []checkpoint.Probe, out []checkpoint.Found) error

// Lookup implements Store.
func (s accountStore) Lookup(probes []checkpoint.Probe, out []checkpoint.Found) error {
	return s(probes, out)
}

// Input is one page, or several read as one, of one endpoint.
type Input struct {
	Source       string // name of the configured account
	Observations []events.Observation
	// Off are the types that are not published. Segments are taken in all the same, for the queue of feedback.
	Off []events.Type
	// ShownAt is when the page had arrived, by the server's clock. Event times after it are wrong, and are set to it.
	ShownAt time.Time
	// Received is when the page had arrived, by our clock: consumers measure by it how fresh events are.
	Received time.Time
	// LastRead returns the time of the last earlier read that covered the row of o, zero if there was none.
	LastRead func(o *events.Observation) time.Time
	// CompleteFrom and CompleteUpTo are the time that had been declared complete for the endpoint before this page: a new entity in
	// it is late. CompleteUpTo is zero while nothing has been declared.
	CompleteFrom, CompleteUpTo time.Time
	// KeepObservations is set while both endpoints that show the same entities are read: the observation of each is then stored.
	KeepObservations bool
	// Link makes the addresses in feedback.
	Link events.Link
	// Privacy says what becomes of personal data in events and in what is stored.
	Privacy *privacy.Policy
	// Replay marks events as published again on purpose. Such events are never late.
	Replay bool
	// TooLarge returns why an event is too large to be published, or "" if it is not. It is called only for events above a certain
	// size. If it is nil, no event is too large.
	TooLarge func(o Outgoing) string
}

// Result says what to do with a page: publish the events in their order, and then commit the rest.
type Result struct {
	Events  []Outgoing
	Rows    []time.Time // of Events: the times by which the endpoint selects the rows that show them
	Refused []Refused   // events that are too large, for the dead letters
	Puts    []checkpoint.Entry
	Touched []uint32 // days of all entities of the page that the store had

	Unchanged int // observations that were no news
	MergeHits int // entities that a second endpoint showed for the first time
	// Contradicted is how often the page contradicts itself or what other rows said, by kind. Examples describes the first of each kind.
	Contradicted map[Contradiction]int
	Examples     map[Contradiction]string
	// Unreadable is how many stored entities, or stored observations, could not be read. They count as not stored, so that Events may
	// have an old entity as revision 1. Damage says what is wrong with the first of them.
	Unreadable int
	Damage     error

	// eventOf, refusedOf and putOf are the entities of Events, Refused and Puts, by their places on the page, or ofNoEntity. sizes are the approximate
	// sizes of Events.
	eventOf, refusedOf, putOf, sizes []int
}

// Refused is an event that is too large to be published. It is not a revision: the next event of the entity has its number.
type Refused struct {
	Outgoing
	Reason string
}

// Outgoing is an event to publish.
type Outgoing struct {
	Event events.Event
	// Key is the Kafka key. It is empty if the event has none of the ids that a key is made of. Such an event is a dead letter.
	Key string
	// Negative events also go to the topic of negative feedback: negative feedback, and feedback that was negative in an earlier
	// revision.
	Negative bool
}

// recipe returns the recipe of this build. Tests of upgrades replace it.
var recipe = events.Recipe

// Decide applies the rules to a page. An entity may occur on the page more than once, and gets one revision at most, apart from a last one
// if it is superseded. Decide changes the observations and their events, and the result uses them.
func Decide(in Input, store Store) (*Result, error) {
	d := decision{
		Input: in, page: in.Privacy.Page(), entities: make(map[string]*entity, len(in.Observations)), touched: make(map[uint32]bool),
	}
	d.ShownAt = in.ShownAt.UTC().Truncate(time.Millisecond) // as precise as events are
	d.conceal()
	if err := d.recallServed(store); err != nil {
		return nil, err
	}
	if len(d.Off) > 0 {
		off := func(o events.Observation) bool { return slices.Contains(d.Off, o.Event.EventType()) }
		d.Observations = slices.DeleteFunc(d.Observations, off)
	}
	if err := d.expand(store); err != nil {
		return nil, err
	}
	if err := d.recall(store); err != nil {
		return nil, err
	}
	for i := range d.Observations {
		o := &d.Observations[i]
		d.join(o)
		e := d.entities[o.Event.Head().EntityID]
		if e.observed == nil {
			e.observed = e.first[:0]
		}
		e.observed = append(e.observed, o)
	}
	for _, id := range d.order {
		d.decide(d.entities[id])
	}
	for i, id := range d.order {
		if e := d.entities[id]; e.changed && e.stored() {
			d.Puts = appendEntries(d.Puts, e.at, e.encode())
		}
		for len(d.putOf) < len(d.Puts) {
			d.putOf = append(d.putOf, i)
		}
	}
	d.putGroups()
	d.Touched = slices.Sorted(maps.Keys(d.touched))
	return &d.Result, nil
}

// conceal puts tokens in place of the personal data in the observations.
func (d *decision) conceal() {
	for i := range d.Observations {
		o := &d.Observations[i]
		if concealed := d.page.Conceal(o.Event); concealed != o.Event {
			o.Event, o.Plain = concealed, o.Event
		}
	}
}

type decision struct {
	Input
	Result
	page     *privacy.Page
	entities map[string]*entity
	order    []string // ids of the entities, in the order of their first observations
	touched  map[uint32]bool
	groups   map[string]*group // by id
	groupIDs []string          // in the order of their first observations
	served   map[string]*served
	content  []byte // buffer for the content of one event
}

// entity is an entity of the page.
type entity struct {
	state
	at       checkpoint.Key // where it is stored
	number   int            // its place on the page
	known    bool           // the store has something there
	home     *entity        // the entity that it is stored next to, nil if there is none
	shown    *events.Observation
	observed []*events.Observation  // of the page, in its order; none if the entity is only superseded
	first    [1]*events.Observation // where observed begins
	decided  bool
	changed  bool
}

// stored reports whether anything was ever published or refused of the entity.
func (e *entity) stored() bool {
	return e.revision > 0 || e.refused != (content{}) || len(e.observations) > 0
}

// recall looks up every entity of the page, and the entities that they supersede.
//
// Where an entity is stored never changes, but the times may change that say where to look. An entity that belongs to another is stored next
// to it, wherever that is, so that the whole store is searched only for entities that others belong to.
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
			if key := e.beside(); key != e.at {
				e.at = key
				if e.home.known {
					again(id, checkpoint.Probe{Key: key, Slack: daysOf(e.shown.Slack)})
				}
			}
		case id == e.shown.Supersedes && e.shown.Slack == events.Anywhere && !d.entities[e.shown.Event.Head().EntityID].known:
			again(id, checkpoint.Probe{Key: e.at, Slack: checkpoint.Anywhere})
		}
	}
	if len(probes) > 0 {
		if err := d.lookUp(store, ids, probes); err != nil {
			return err
		}
	}
	return d.tellApart(store)
}

// tellApart gives observations of what another person says an entity of their own: the first person who is named owns the entity, of
// several on one page the one with the smallest id. Observations that name nobody are of the entity whose owner is known or not.
func (d *decision) tellApart(store Store) error {
	owners := map[*entity]string{}
	named := 0
	for i := range d.Observations {
		o := &d.Observations[i]
		e := d.entities[o.Event.Head().EntityID]
		if o.Named == "" {
			continue
		}
		named++
		if events.Withdrawn(o.Event) || o.Copy > 0 && d.outdated(o) { // nobody speaks
			continue
		}
		if owner := owners[e]; e.person == (idHash{}) && (owner == "" || o.Named < owner) {
			owners[e] = o.Named
		}
	}
	if named == 0 {
		return nil
	}
	for e, owner := range owners {
		e.person, e.changed = hashID(owner), true
	}
	var ids []string
	var probes []checkpoint.Probe
	for i := range d.Observations {
		o := &d.Observations[i]
		h := o.Event.Head()
		first := d.entities[h.EntityID]
		if o.Named == "" || first.person == hashID(o.Named) || first.person == (idHash{}) {
			continue
		}
		h.EntityID = o.Named
		if o.Plain != nil {
			o.Plain.Head().EntityID = o.Named
		}
		if d.entities[o.Named] != nil {
			continue
		}
		e := &entity{at: first.at, number: len(d.order), shown: o}
		var err error
		if e.at.Hash, err = HashOf(o.Named); err != nil {
			return fmt.Errorf("look up %s: %w", o.Event.EventType(), err)
		}
		d.entities[o.Named] = e
		d.order = append(d.order, o.Named)
		ids, probes = append(ids, o.Named), append(probes, checkpoint.Probe{Key: e.at})
	}
	if len(probes) == 0 {
		return nil
	}
	return d.lookUp(store, ids, probes)
}

// outdated reports whether the page shows what a person says of a thing in a copy of the row that has progressed further.
func (d *decision) outdated(o *events.Observation) bool {
	return slices.ContainsFunc(d.Observations, func(other events.Observation) bool {
		return other.Copy < o.Copy && other.Named == o.Named && other.Event.Head().EntityID == o.Event.Head().EntityID && placeOf(&other) == placeOf(o)
	})
}

// probes lists the entities of the page in the order of their first observations. Each probe asks for the key that the anchor names.
func (d *decision) probes() ([]checkpoint.Probe, error) {
	probes := make([]checkpoint.Probe, 0, len(d.Observations))
	d.order = make([]string, 0, len(d.Observations))
	all := make([]entity, 0, len(d.Observations)) // superseded ones come on top
	add := func(id string, o *events.Observation, slack time.Duration) error {
		if d.entities[id] != nil {
			return nil
		}
		h, err := HashOf(id)
		if err != nil {
			return fmt.Errorf("look up %s: %w", o.Event.EventType(), err)
		}
		if len(all) == cap(all) {
			all = make([]entity, 0, 16)
		}
		all = append(all, entity{at: checkpoint.KeyAt(o.Anchor, o.Shared, h), number: len(d.order), shown: o})
		e := &all[len(all)-1]
		if o.Home == id {
			e.home = e
			e.minute = 1 + checkpoint.KeyAt(o.Anchor, false, h).Minute
		}
		d.entities[id] = e
		d.order = append(d.order, id)
		probe := checkpoint.Probe{Key: e.at, Slack: daysOf(slack)}
		if o.Slack == events.Anywhere {
			probe.Earlier = checkpoint.KeyAt(o.Anchor, false, h)
		}
		probes = append(probes, probe)
		return nil
	}
	for i := range d.Observations {
		o := &d.Observations[i]
		if err := add(o.Event.Head().EntityID, o, o.Slack); err != nil {
			return nil, err
		}
		if o.Supersedes == "" {
			continue
		}
		// A superseded entity is usually not stored. The whole store is searched for it only if the new one is not stored either.
		if err := add(o.Supersedes, o, min(o.Slack, day)); err != nil {
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

// daysOf returns how many days away from its anchor an entity may be stored.
func daysOf(slack time.Duration) uint32 {
	if slack == events.Anywhere {
		return checkpoint.Anywhere
	}
	return uint32((slack + day - 1) / day)
}

// lookUp asks the store for some of the entities and takes over their states.
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
		e.at, e.known = f.Key, true
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

// beside returns the key next to the entity's home.
func (e *entity) beside() checkpoint.Key {
	key := e.at
	key.Day = e.home.at.Day
	switch {
	case key.Shared:
	case !e.home.at.Shared:
		key.Minute = e.home.at.Minute
	case e.home.minute > 0:
		key.Minute = e.home.minute - 1
	}
	return key
}

// unreadable counts a stored state or observation that cannot be read.
func (d *decision) unreadable(entity string, err error) {
	d.Unreadable++
	if d.Damage == nil {
		d.Damage = fmt.Errorf("read stored entity %s: %w", entity, err)
	}
}

// HashOf returns the part of an entity id that is in the key under which the entity is stored.
func HashOf(id string) (h checkpoint.Hash, err error) {
	digits := 2 * len(h)
	if len(id) < digits {
		return h, fmt.Errorf("entity id %q is too short", id)
	}
	if _, err := hex.Decode(h[:], []byte(id[:digits])); err != nil {
		return h, fmt.Errorf("entity id %q: %w", id, err)
	}
	return h, nil
}

// publish makes event the next revision of the entity. It returns false if the event is too large.
func (d *decision) publish(e *entity, o *events.Observation, event events.Event) bool {
	out := d.revisionOf(e, o, event)
	if d.refuses(e, out) {
		return false
	}
	e.revision++
	e.changed, e.everNegative = true, out.Negative
	d.Events, d.Rows = append(d.Events, out), append(d.Rows, o.Row)
	d.eventOf, d.sizes = append(d.eventOf, e.number), append(d.sizes, len(d.content)+headerSize(out.Event.Head())+quoted(out.Event))
	return true
}

// revisionOf returns event as the next revision of the entity, as it is published, and leaves its content in d.content.
func (d *decision) revisionOf(e *entity, o *events.Observation, event events.Event) Outgoing {
	key := e.key
	if key == "" {
		key = events.Key(event.Head())
	}
	d.fill(event.Head(), e.revision+1, o)
	event = d.page.Publish(event)
	if f, ok := event.(*events.Feedback); ok {
		f.Link = d.Link.Of(&f.Header)
	}
	d.content = event.AppendContent(d.content[:0], recipe())
	event.Head().EventID = events.EventID(event.Head().EntityID, e.revision+1, d.content)
	return Outgoing{Event: event, Key: key, Negative: e.everNegative || events.Negative(event)}
}

// certainlySmall is a size of content with which no event is too large, whatever else is in the event.
const certainlySmall = 4 << 10

// refuses reports whether an event is too large, and adds it to Refused if so. d.content must be its content.
func (d *decision) refuses(e *entity, o Outgoing) bool {
	if d.TooLarge == nil || len(d.content)+quoted(o.Event) <= certainlySmall {
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

// quoted returns the size of what feedback says for people, which is not part of its content.
func quoted(event events.Event) int {
	f, ok := event.(*events.Feedback)
	if !ok {
		return 0
	}
	return len(text(f.TargetText)) + len(text(f.TargetQuery)) + len(text(f.Link))
}

// headerSize returns the approximate size of an encoded header.
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

// fill fills in the fields of the header that come from the poller.
func (d *decision) fill(h *events.Header, revision int64, o *events.Observation) {
	h.Source, h.Endpoint = d.Source, string(o.Endpoint)
	h.Revision, h.Replay = revision, d.Replay
	h.ObservedTime, h.ChangedBefore, h.ChangedAfter = d.Received.UTC().Truncate(time.Millisecond), d.ShownAt, nil
	if h.EventTime.After(d.ShownAt) {
		h.EventTime = d.ShownAt
		h.EventTimeBasis = "clamped:" + h.EventTimeBasis
	}
	declared := !h.EventTime.Before(d.CompleteFrom) && !h.EventTime.After(d.CompleteUpTo)
	h.Late = revision == 1 && declared && !d.Replay
	if revision == 1 {
		return
	}
	if before := d.LastRead(o).UTC().Truncate(time.Millisecond); !before.IsZero() && before.Before(d.ShownAt) {
		h.ChangedAfter = &before
	}
}
