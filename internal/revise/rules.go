package revise

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"agentassist-poller/internal/events"
)

// What disagrees must settle: pages that are read again, in any order, publish nothing, whatever they hold. Therefore what each place says of
// an entity is kept apart (a place is an endpoint and the row that shows the entity there), and what the entity is follows from all of
// them by an order that does not depend on which was read last:
//
//   - A page that shows an entity twice in one place shows it once: the newer copy of the row counts, and of two observations in one row
//     the newer (see events.Newer).
//   - Of the places of one endpoint the newest counts, whole: the segment that began last, the document that began last.
//   - Between endpoints each field is taken from its owner, or from the other endpoint while the owner has none (see events.Merge).
//   - Feedback is one statement: verdict, reasons and comment are taken whole from the place whose observation changed last. While none has
//     changed, a negative verdict counts before others, so that nobody misses it.
//   - Feedback that a place has shown and shows no more is taken back: that is a statement too, which says nothing. From a place that has
//     never shown it, silence means nothing.
//   - What goes back and forth in one place, for example because two pages show copies of a row, is not followed for ever (see alternation).
//
// So each change upstream is one revision at most. An entity of one place is compared with what was published, and nothing else of it is
// stored.

// maxPlaces is how many places of one endpoint are kept for an entity: of more, those of the newest rows.
const maxPlaces = 4

// decide applies the rules to what the page shows of one entity. What the entity supersedes comes first, so that it does not matter which of
// the two the page shows first.
func (d *decision) decide(e *entity) {
	if e.decided {
		return
	}
	e.decided = true
	said := 0
	for _, o := range e.observed {
		if !events.Withdrawn(o.Event) {
			said++
		}
	}
	observations := d.reduce(e)
	if said < len(e.observed) {
		observations = slices.DeleteFunc(slices.Clone(observations), func(o *events.Observation) bool {
			return events.Withdrawn(o.Event) && !d.showed(e, o)
		})
	}
	for _, o := range observations {
		if old := d.entities[o.Supersedes]; old != nil {
			d.decide(old)
			d.supersede(old, o)
		}
	}
	if len(observations) == 0 {
		return // it is only superseded on this page
	}
	news := len(d.Events) + len(d.Refused)
	switch o := observations[0]; {
	case e.superseded: // its last revision was published
	case len(observations) == 1 && !d.apart(e, o):
		d.observeAlone(e, o)
	default:
		d.observePlaces(e, observations)
	}
	d.Unchanged += max(said-(len(d.Events)+len(d.Refused)-news), 0)
}

// showed reports whether the place of o has shown the feedback that o says is none.
func (d *decision) showed(e *entity, o *events.Observation) bool {
	switch {
	case e.revision == 0:
		return false
	case e.find(placeOf(o)) != nil:
		return true
	case len(e.observations) > 0:
		return false
	case d.apart(e, o): // of the only place that has shown it, the state knows the row
		return e.parent != (idHash{}) && e.parent == hashID(o.Parent)
	}
	return true
}

// keepSurroundings gives feedback that was taken back who had given it and where, as far as its place knew that before.
func (d *decision) keepSurroundings(o *events.Observation, before *observation) {
	h := o.Event.Head()
	if !events.Withdrawn(o.Event) || len(before.body) == 0 || h.Agent != nil && h.Queue != nil || events.ContentIs(before.hash, o.Event, before.recipe) {
		return
	}
	if was := d.read(o, *before); was != nil {
		if h.Agent == nil {
			h.Agent = was.Head().Agent
		}
		if h.Queue == nil {
			h.Queue = was.Head().Queue
		}
	}
}

// reduce returns one observation of the entity for each place, in an order that does not depend on that of the page.
func (d *decision) reduce(e *entity) []*events.Observation {
	if len(e.observed) < 2 {
		return e.observed
	}
	all := slices.Clone(e.observed)
	slices.SortStableFunc(all, func(a, b *events.Observation) int {
		return cmp.Or(placeOf(a).compare(placeOf(b)), cmp.Compare(a.Copy, b.Copy), events.Newer(b.Event, a.Event))
	})
	last := 0
	for _, o := range all[1:] {
		counts := all[last]
		if placeOf(counts) != placeOf(o) {
			last++
			all[last] = o
			continue
		}
		counts.Rank = events.JoinRank(counts.Rank, o.Rank)
		if contentOf(o.Event) != contentOf(counts.Event) {
			d.contradicted(Copies, e, o)
		}
	}
	return all[:last+1]
}

// apart reports whether what each place says of the entity is kept. Once it is kept that is for good, whichever endpoints are read:
// otherwise the fields of an endpoint that was switched off would vanish. Feedback is kept from the beginning, because a statement that
// does not come from the newest row may count.
func (d *decision) apart(e *entity, o *events.Observation) bool {
	_, statement := o.Event.(*events.Feedback)
	return len(e.observations) > 0 || o.Merged && d.KeepObservations || statement && o.Parent != "" ||
		e.stored() && e.parent != idHash{} && e.parent != hashID(o.Parent)
}

// observeAlone applies the rules to an observation of an entity that only this place has shown.
func (d *decision) observeAlone(e *entity, o *events.Observation) {
	if at, rank := hashID(o.Parent), events.JoinRank(e.rank, o.Rank); e.rank != rank || rank != 0 && e.parent != at {
		e.parent, e.rank, e.changed = at, rank, true
	}
	switch event := o.Event; {
	case e.revision == 0:
		e.keepKey(event, false)
	case e.refused.is(event):
	case e.published().is(event):
		e.changed = e.confirm() || e.changed
		e.stays(event)
		return
	case o.Plain != nil && e.published().is(o.Plain): // before personal data was concealed
		e.settle(contentOf(event))
		return
	case !e.accept(e.hash, events.ContentHash(event, e.recipe), e.revision > 1, events.Negative(event)):
		e.changed = true
		d.contradicted(Alternation, e, o)
		return
	}
	d.compare(e, o, o.Event)
}

// observePlaces applies the rules to observations of an entity whose places are kept apart.
func (d *decision) observePlaces(e *entity, observations []*events.Observation) {
	if !slices.ContainsFunc(observations, func(o *events.Observation) bool { return !e.showsAgain(o) }) {
		return
	}
	d.keepFirst(e, observations[0])
	for range e.unfold() {
		d.unreadable(observations[0].Event.Head().EntityID, errState)
	}
	shown := make(map[place]*events.Observation, len(observations)) // by the places that say so from now on
	var news []*events.Observation
	moved, reread := false, false
	for _, o := range e.knownFirst(observations) {
		e.adopt(o)
		before := e.find(placeOf(o))
		now := observation{place: placeOf(o), rank: o.Rank}
		if before != nil {
			now.rank, now.changes, now.alternation = events.JoinRank(before.rank, o.Rank), before.changes, before.alternation
			d.keepSurroundings(o, before)
		}
		same := before.shownBy(o)
		switch {
		case same != nil:
			e.changed = now.confirm() || before.rank != now.rank || e.changed
			poorer := len(before.body) > 0 && before.hash != events.ContentHash(same, before.recipe)
			if before.huge || poorer && same == o.Event {
				moved = moved || !before.huge && before.rank != now.rank
				before.rank, before.alternation = now.rank, now.alternation
				continue
			}
			moved = moved || before.rank != now.rank || len(before.body) == 0
			reread = reread || before.recipe != recipe() || same != o.Event
		case !d.takes(e, before, &now, o):
			continue
		case d.tooLargeAlone(e, o):
			// The observation is left out of the entity, which stays as the other places show it.
			now.recipe, now.hash, now.huge = recipe(), events.ContentHash(o.Event, recipe()), true
			e.keep(now)
			e.changed = true
			continue
		default:
			news = append(news, o)
		}
		now.recipe, now.hash, now.body = recipe(), events.ContentHash(o.Event, recipe()), encodeObservation(d.page.Store(o.Event))
		e.keep(now)
		shown[now.place] = o
	}
	if news == nil && !moved && !reread {
		return
	}
	e.changed = true
	if i := slices.IndexFunc(news, e.contradictsRows); i >= 0 {
		d.contradicted(Rows, e, news[i])
	}
	merged, from := d.merged(e, observations[0], shown)
	switch {
	case merged == nil: // of the newest place only the hash is known, and it is what was published
	case news == nil && !moved:
		// The places show the same as before. Fields that only this build reads are no news.
		e.settleAgain(merged)
	default:
		if e.revision == 0 {
			e.keepKey(merged, true)
		}
		by := observations[0] // whose endpoint the event names
		if o := shown[from]; o != nil && (news == nil || o.Event.EventType() == events.TypeFeedback) {
			by = o
		} else if news != nil {
			by = news[0]
		}
		d.compare(e, by, merged)
	}
}

// shownBy returns the form of seen's event that is as the place o is kept: with personal data concealed, or as it came if the place was kept
// before any was. It returns nil if neither is, or if o is nil.
func (o *observation) shownBy(seen *events.Observation) events.Event {
	switch {
	case o == nil:
	case events.ContentIs(o.hash, seen.Event, o.recipe):
		return seen.Event
	case seen.Plain != nil && events.ContentIs(o.hash, seen.Plain, o.recipe):
		return seen.Plain
	}
	return nil
}

// showsAgain reports whether an observation is as it is kept, which is how most entities are read again.
func (e *entity) showsAgain(o *events.Observation) bool {
	before := e.find(placeOf(o))
	return before != nil && before.recipe == recipe() && before.rank == events.JoinRank(before.rank, o.Rank) && before.doubts == 0 &&
		(before.huge || len(before.body) > 0) && events.ContentIs(before.hash, o.Event, before.recipe)
}

// knownFirst returns the observations with those of places that are kept first, so that no new place takes the room of one that has risen,
// and then those of the newest rows.
func (e *entity) knownFirst(observations []*events.Observation) []*events.Observation {
	if len(observations) < 2 {
		return observations
	}
	var known, others []*events.Observation
	for _, o := range observations {
		if e.find(placeOf(o)) != nil {
			known = append(known, o)
		} else {
			others = append(others, o)
		}
	}
	slices.SortStableFunc(others, func(a, b *events.Observation) int { return cmp.Compare(b.Rank, a.Rank) })
	return append(known, others...)
}

// keepFirst makes the only place that has shown the entity so far one of several. What it said is known by its hash.
func (d *decision) keepFirst(e *entity, o *events.Observation) {
	// Of an entity that two endpoints show it is not known which of them it was, unless it is the same row.
	if len(e.observations) == 0 && e.stored() && e.parent != (idHash{}) && (!o.Merged || e.parent == hashID(o.Parent)) {
		first := observation{place: place{o.Endpoint, e.parent}, rank: e.rank, recipe: e.recipe, hash: e.hash, alternation: e.alternation}
		if e.refused != (content{}) {
			first.recipe, first.hash, first.huge = e.refused.recipe, e.refused.hash, true
		}
		e.keep(first)
	}
	e.parent, e.rank, e.alternation = idHash{}, 0, alternation{}
}

// adopt gives a place that an earlier build kept without its row the row of o.
func (e *entity) adopt(o *events.Observation) {
	at := placeOf(o)
	if kept := e.find(place{endpoint: at.endpoint}); kept != nil && at.parent != (idHash{}) && e.find(at) == nil {
		kept.place, kept.rank, e.changed = at, o.Rank, true
		e.sort()
	}
}

// takes reports whether another content counts as what a place says from now on; before is nil if it has said nothing yet. now is what is to
// be kept of it, but for the content.
func (d *decision) takes(e *entity, before, now *observation, o *events.Observation) bool {
	feedback, _ := o.Event.(*events.Feedback)
	if before != nil {
		if !now.accept(before.hash, events.ContentHash(o.Event, before.recipe), true, events.Negative(o.Event)) {
			before.alternation, e.changed = now.alternation, true
			d.contradicted(Alternation, e, o)
			return false
		}
		if feedback != nil && !d.agrees(e, o, feedback) && !d.repeats(before, o) {
			now.changes = e.nextChange()
		}
	} else {
		if len(e.observations) > 0 && !slices.ContainsFunc(e.observations, func(kept observation) bool { return kept.endpoint == o.Endpoint }) {
			d.MergeHits++
		}
		if e.count(o.Endpoint) == maxPlaces {
			if !e.makeRoom(now) {
				d.contradicted(Places, e, o)
				return false
			}
		} else if feedback != nil && len(e.observations) > 0 && events.Negative(feedback) {
			if statement, _ := d.statement(e, o, nil); statement == nil || !events.Negative(statement) {
				now.changes = e.nextChange() // nobody should miss it, whatever other places have said since
			}
		}
	}
	return true
}

func (e *entity) nextChange() (n int) {
	for i := range e.observations {
		n = max(n, e.observations[i].changes)
	}
	return n + 1
}

// agrees reports whether feedback says, in its own words, what counts already: an endpoint that shows a change of mind after the other one.
func (d *decision) agrees(e *entity, o *events.Observation, f *events.Feedback) bool {
	statement, _ := d.statement(e, o, nil)
	return statement != nil && f.Sentiment == statement.Sentiment && text(f.CommentText) == text(statement.CommentText) &&
		slices.Equal(f.ReasonCodes, statement.ReasonCodes)
}

// repeats reports whether a place says what it has said, although more is known now of the segment around it.
func (d *decision) repeats(before *observation, o *events.Observation) bool {
	if len(before.body) == 0 {
		return false
	}
	was := d.read(o, *before)
	return was != nil && bytes.Equal(was.AppendContent(nil, recipe()), o.Event.AppendContent(nil, recipe()))
}

func (e *entity) count(endpoint events.Endpoint) (n int) {
	for i := range e.observations {
		if e.observations[i].endpoint == endpoint {
			n++
		}
	}
	return n
}

// makeRoom makes room for another place of an endpoint, and reports whether there is any: if not, the others are newer. Which places are
// kept does not depend on when rows end, and so not on what is read first.
func (e *entity) makeRoom(now *observation) bool {
	outlives := func(a, b *observation) int {
		return cmp.Or(cmp.Compare(a.changes, b.changes), cmp.Compare(events.RankStart(a.rank), events.RankStart(b.rank)), a.compare(b.place))
	}
	oldest := -1
	for i := range e.observations {
		if o := &e.observations[i]; o.endpoint == now.endpoint && (oldest < 0 || outlives(o, &e.observations[oldest]) < 0) {
			oldest = i
		}
	}
	if outlives(now, &e.observations[oldest]) < 0 {
		return false
	}
	e.observations = slices.Delete(e.observations, oldest, oldest+1)
	return true
}

// newer orders the places of one endpoint.
func (o *observation) newer(other *observation) int {
	return cmp.Or(cmp.Compare(o.rank, other.rank), o.compare(other.place))
}

// said returns what a place says of the entity that of is of: from shown, or as it is kept. It returns nil if that is not known.
func (d *decision) said(o *observation, of *events.Observation, shown map[place]*events.Observation) events.Event {
	switch s := shown[o.place]; {
	case s != nil:
		return s.Event
	case o.huge || len(o.body) == 0:
		return nil
	}
	return d.read(of, *o)
}

// merged returns what all places together say of the entity that of is of, and the place that comes first in it. shown has the observations
// of the page. It returns nil if what counts is known by its hash only.
func (d *decision) merged(e *entity, of *events.Observation, shown map[place]*events.Observation) (merged events.Event, from place) {
	statement, said := d.statement(e, of, shown)
	var newest []*observation // of each endpoint
	for i := range e.observations {
		switch o := &e.observations[i]; {
		case o.huge:
		case statement != nil && len(o.body) == 0 && shown[o.place] == nil: // what is known of the others is enough
		case len(newest) == 0 || newest[len(newest)-1].endpoint != o.endpoint:
			newest = append(newest, o)
		case o.newer(newest[len(newest)-1]) > 0:
			newest[len(newest)-1] = o
		}
	}
	for _, o := range newest {
		event := d.said(o, of, shown)
		switch {
		case event == nil && len(o.body) == 0:
			return nil, place{}
		case event == nil: // it cannot be read
		case merged == nil:
			merged, from = event, o.place
		default:
			merged = events.Merge(merged, from.endpoint, event, o.endpoint)
		}
	}
	if merged == nil || statement == nil {
		return merged, from
	}
	merged = events.Merge(merged, from.endpoint, merged, from.endpoint) // a copy
	events.TakeVerdict(merged, statement)
	return merged, said
}

// statement returns the feedback that counts, and its place; nil if the entity is none, or if it is not known.
func (d *decision) statement(e *entity, of *events.Observation, shown map[place]*events.Observation) (statement *events.Feedback, from place) {
	if of.Event.EventType() != events.TypeFeedback {
		return nil, place{}
	}
	var counts *observation
	for i := range e.observations {
		o := &e.observations[i]
		f, _ := d.said(o, of, shown).(*events.Feedback)
		if f != nil && (statement == nil || cmp.Or(
			cmp.Compare(o.changes, counts.changes), negative(f)-negative(statement), endpointCode(counts.endpoint)-endpointCode(o.endpoint), o.newer(counts)) > 0) {
			statement, counts = f, o
		}
	}
	if statement == nil {
		return nil, place{}
	}
	return statement, counts.place
}

func negative(f *events.Feedback) int {
	if events.Negative(f) {
		return 1
	}
	return 0
}

// tooLargeAlone reports whether an observation is too large to be published by itself, and adds it to Refused if so.
func (d *decision) tooLargeAlone(e *entity, o *events.Observation) bool {
	if d.TooLarge == nil {
		return false
	}
	if d.content = d.page.Publish(o.Event).AppendContent(d.content[:0], recipe()); len(d.content) <= certainlySmall {
		return false
	}
	alone := events.Merge(o.Event, o.Endpoint, o.Event, o.Endpoint) // a copy, because revisionOf fills in its header
	return d.refuses(e, d.revisionOf(e, o, alone))
}

// compare publishes the event if its content is news.
func (d *decision) compare(e *entity, o *events.Observation, event events.Event) {
	switch {
	case e.published().is(event):
		e.stays(event)
		return
	case e.refused.is(event):
		if e.refused.recipe != recipe() {
			e.refuse(contentOf(event))
		}
		return
	}
	if len(e.observations) > 0 { // of what each place shows its hash is kept, to which the queue adds nothing
		d.fillQueue(event, o)
	}
	now := contentOf(event) // before publish fills in the header
	if d.publish(e, o, event) {
		e.settle(now)
	} else {
		e.refuse(now)
	}
}

// stays takes in that the content that was published last is what counts again.
func (e *entity) stays(event events.Event) {
	if e.recipe != recipe() || e.refused != (content{}) {
		e.settle(contentOf(event))
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

// read returns a kept observation of o's entity or of the entity that o supersedes, nil if it cannot be read.
func (d *decision) read(o *events.Observation, kept observation) events.Event {
	event, err := decodeObservation(o.Event.EventType(), o.Event.Head(), kept.body)
	if err != nil {
		d.unreadable(o.Event.Head().EntityID, err)
		return nil
	}
	return d.page.Recall(event)
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

// lastOf makes the last version of a superseded entity from what its places said, or from its successor if that is not kept.
func (d *decision) lastOf(old *entity, o *events.Observation) events.Event {
	for range old.unfold() {
		d.unreadable(o.Supersedes, errState)
	}
	last, _ := d.merged(old, o, nil)
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

// A Contradiction is a kind of disagreement that the rules settle.
type Contradiction string

// The kinds of contradictions.
const (
	Copies      Contradiction = "copies"      // a page shows a thing twice in one row, or shows one row twice, with different content
	Alternation Contradiction = "alternation" // a row goes back and forth between contents
	Rows        Contradiction = "rows"        // two rows of one endpoint disagree: two segments, two documents
	Places      Contradiction = "places"      // more rows show an entity than are kept apart
)

// Contradictions are all kinds.
var Contradictions = []Contradiction{Copies, Alternation, Rows, Places}

// contradicted counts a contradiction and describes the first of its kind on the page.
func (d *decision) contradicted(kind Contradiction, e *entity, o *events.Observation) {
	if d.Contradicted == nil {
		d.Contradicted, d.Examples = map[Contradiction]int{}, map[Contradiction]string{}
	}
	d.Contradicted[kind]++
	if d.Examples[kind] == "" {
		h := o.Event.Head()
		d.Examples[kind] = fmt.Sprintf("%s %s in row %q of conversation %q", o.Event.EventType(), h.EntityID,
			cmp.Or(o.Parent, text(h.SegmentID), text(h.SessionID)), text(h.ConversationID))
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// contradictsRows reports whether another row of the endpoint shows something else than o. A run or a nudge that goes on in the next segment
// is no contradiction.
func (e *entity) contradictsRows(o *events.Observation) bool {
	kind, at := o.Event.EventType(), placeOf(o)
	return kind != events.TypePlaybookStep && kind != events.TypeCoachingTriggered &&
		slices.ContainsFunc(e.observations, func(other observation) bool {
			return other.endpoint == at.endpoint && other.parent != at.parent && !other.huge && !events.ContentIs(other.hash, o.Event, other.recipe)
		})
}
