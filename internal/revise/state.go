package revise

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/events"
)

// state is what the store holds of one entity: what was published last, and what the rules need to decide about the next observation. Most
// states take 11 bytes, and there are millions of them.
//
//	+-------+------+----------+--------+------+---------+------+-----+--------+--------+-------------+-------+-------------+----
//	| first | more | revision | recipe | hash | refused | rank | key | minute | person | alternation | count | observation | ...
//	+-------+------+----------+--------+------+---------+------+-----+--------+--------+-------------+-------+-------------+----
//	  byte    byte   uvarint   uvarint    8                                                             uvarint  count times
//
//	first        bits 7 to 5: the version, 2 or 3. Bits 4 to 0, flags: there are observations; a key; a rank; the entity is superseded; it
//	             was negative in any revision
//	more         only in version 3. Bits 4 to 0, flags: there is a person; an alternation; observations with a place; a minute; something
//	             was refused. Other bits are 0
//	revision     of the last event that was published; 0 if there is none
//	recipe       of the hash after it
//	hash         of the content of the last revision (see events.ContentHash)
//	refused      recipe (uvarint) and hash (8) of the content that was too large to be published since the last revision
//	rank         rank (varint, not 0) and parent (4) of the only place that shows the entity; if there are several they are in observations
//	key          the Kafka key as a text field with number 0 (see observation.go)
//	minute       uvarint: the minute of the day under which entities that belong to this one are stored
//	person       4 bytes: the FNV-1a hash of the id that this entity would have with the person who speaks in it (events.Observation.Named)
//	alternation  returns and length (4 bits each), doubts (byte), and as many fingerprints (4) of earlier contents (see alternation.go)
//	count        of the observations: at least 1, and at most maxPlaces for each endpoint
//
// An observation:
//
//	+----------+--------+-------+---------+-------------+--------+------+--------+------+
//	| endpoint | parent | rank  | changes | alternation | recipe | hash | length | body |
//	+----------+--------+-------+---------+-------------+--------+------+--------+------+
//	    byte      4      varint   uvarint                uvarint    8    uvarint  length
//
//	endpoint  bits 3 to 0: the endpoint, by its place in endpointCodes; ascends together with parent. Bit 7: the body is a difference to
//	          the body of the first observation (see difference.go). Bit 6: the observation was too large to be published by itself, and
//	          the body is empty. Bit 5: parent, rank and changes follow. Bit 4: an alternation follows
//	parent    FNV-1a hash of the id of the row that shows the entity, 0 if the endpoint has only one
//	rank      of the row (see events.Rank)
//	changes   only for feedback, else 0: the place of this observation's last change in the order of the changes of all observations of
//	          the entity
//	hash      of the content of the observation, under the recipe before it
//	body      empty if it is not known, because there was only one place when it was observed
//
// Version 2 has no byte more. A state is written in version 2 unless it needs that byte, so that a build that knows version 2 only can
// read most states. A reader refuses other versions, and every flag and form that is not drawn here. The entity then counts as not
// stored, and the caller reports it.
type state struct {
	revision     int64   // 0: never published
	recipe       int     // of hash
	hash         hash    // of the content of the last revision
	refused      content // content that was too large to be published since then; zero if there is none
	rank         int64
	parent       idHash // of the only place; zero if there are observations, or if no other row can show the entity
	key          string // Kafka key of the first version, if the conversation does not determine it
	everNegative bool
	superseded   bool
	minute       uint16        // 1 + the minute of the day under which entities that belong to this one are stored; 0 if none do
	person       idHash        // of the person who speaks, zero if the person is not known or if only one can speak
	alternation                // of what the only place shows
	observations []observation // the last of each place, if there are several or endpoints are merged; ordered by endpoint and parent
}

type hash [8]byte

// content identifies a version of an entity.
type content struct {
	recipe int // of hash; 0 if there is no version
	hash   hash
}

func contentOf(e events.Event) content { return content{recipe(), events.ContentHash(e, recipe())} }

// is reports whether the event has this content.
func (c content) is(e events.Event) bool {
	return c.recipe > 0 && events.ContentIs(c.hash, e, c.recipe)
}

// published returns the version that was published last, zero if there is none.
func (s *state) published() content {
	if s.revision == 0 {
		return content{}
	}
	return content{s.recipe, s.hash}
}

// observation is the last observation of an entity in one place. It has its own recipe, because after an upgrade the places show the entity
// again one after the other.
type observation struct {
	place
	rank    int64
	changes int // order of its last change among those of all places; 0 if it never changed. Counted for feedback only
	alternation
	recipe  int
	hash    hash
	body    []byte // see encodeObservation; empty if not known
	differs bool   // body is a difference to the body of the first observation, as stored
	huge    bool   // the observation is too large to be published by itself, and has no body
}

// place is what shows an entity: an endpoint, and the row in it if several can.
type place struct {
	endpoint events.Endpoint
	parent   idHash
}

func placeOf(o *events.Observation) place { return place{o.Endpoint, hashID(o.Parent)} }

// idHash is the FNV-1a hash of an id, zero if there is none.
type idHash [4]byte

func hashID(id string) (h idHash) {
	if id == "" {
		return h
	}
	f := fnv.New32a()
	f.Write([]byte(id))
	f.Sum(h[:0])
	return h
}

func (p place) compare(other place) int {
	return cmp.Or(endpointCode(p.endpoint)-endpointCode(other.endpoint), bytes.Compare(p.parent[:], other.parent[:]))
}

// find returns the observation of a place, nil if there is none.
func (s *state) find(p place) *observation {
	for i := range s.observations {
		if s.observations[i].place == p {
			return &s.observations[i]
		}
	}
	return nil
}

// keep replaces or adds the observation of a place. Bodies must not be differences.
func (s *state) keep(o observation) {
	if old := s.find(o.place); old != nil {
		*old = o
		return
	}
	s.observations = append(s.observations, o)
	s.sort()
}

// sort puts the observations in the order in which they are stored.
func (s *state) sort() {
	slices.SortFunc(s.observations, func(a, b observation) int { return a.compare(b.place) })
}

// unfold replaces differences by complete bodies. It drops and counts observations that cannot be read: their places count as not read yet.
func (s *state) unfold() (lost int) {
	whole := make([]observation, 0, len(s.observations))
	for _, o := range s.observations {
		var ok bool
		if !o.differs {
			_, ok = appendApplied(nil, o.body, nil, 0)
		} else if o.differs = false; len(whole) > 0 && whole[0].place == s.observations[0].place {
			o.body, ok = appendApplied(nil, whole[0].body, o.body, 0)
		}
		if !ok {
			lost++
			continue
		}
		whole = append(whole, o)
	}
	s.observations = whole
	return lost
}

const (
	stateVersion     = 2
	stateVersionMore = 3 // with the byte more
	versionShift     = 5

	// In the byte first.
	flagNegative     = 1 << 0
	flagSuperseded   = 1 << 1
	flagRank         = 1 << 2
	flagKey          = 1 << 3
	flagObservations = 1 << 4

	// In the byte more.
	flagRefused     = 1 << 0
	flagMinute      = 1 << 1
	flagPlaces      = 1 << 2
	flagAlternation = 1 << 3
	flagPerson      = 1 << 4
	flagsMore       = 1<<5 - 1

	// In the byte endpoint.
	flagDiffers    = 1 << 7
	flagHuge       = 1 << 6
	flagPlace      = 1 << 5
	flagAlternates = 1 << 4
	endpointBits   = 1<<4 - 1

	minutesPerDay = 24 * 60
)

// endpointCodes are the endpoints by their stored codes. A new endpoint comes last: the order must never change.
var endpointCodes = events.PerEndpoint[events.Endpoint]([...]events.Endpoint{
	events.Interactions, events.Conversations, events.InteractionDetails, events.CallDetails,
})

func endpointCode(e events.Endpoint) int { return slices.Index(endpointCodes[:], e) }

func (s *state) encode() []byte {
	var first, more byte
	set := func(flags *byte, flag byte, on bool) {
		if on {
			*flags |= flag
		}
	}
	set(&first, flagNegative, s.everNegative)
	set(&first, flagSuperseded, s.superseded)
	set(&first, flagRank, s.rank != 0)
	set(&first, flagKey, s.key != "")
	set(&first, flagObservations, len(s.observations) > 0)
	set(&more, flagRefused, s.refused != (content{}))
	set(&more, flagMinute, s.minute > 0)
	set(&more, flagPlaces, slices.ContainsFunc(s.observations, func(o observation) bool { return o.placed() || o.noticed() }))
	set(&more, flagAlternation, s.noticed())
	set(&more, flagPerson, s.person != idHash{})
	dst := []byte{stateVersion<<versionShift | first}
	if more != 0 {
		dst = []byte{stateVersionMore<<versionShift | first, more}
	}
	dst = binary.AppendUvarint(dst, uint64(s.revision))
	dst = binary.AppendUvarint(dst, uint64(s.recipe))
	dst = append(dst, s.hash[:]...)
	if s.refused != (content{}) {
		dst = append(binary.AppendUvarint(dst, uint64(s.refused.recipe)), s.refused.hash[:]...)
	}
	if s.rank != 0 {
		dst = append(binary.AppendVarint(dst, s.rank), s.parent[:]...)
	}
	if s.key != "" {
		dst = appendText(dst, 0, s.key)
	}
	if s.minute > 0 {
		dst = binary.AppendUvarint(dst, uint64(s.minute-1))
	}
	if s.person != (idHash{}) {
		dst = append(dst, s.person[:]...)
	}
	if s.noticed() {
		dst = s.appendAlternation(dst)
	}
	if len(s.observations) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.observations)))
	}
	for i, o := range s.observations {
		if i > 0 && !o.differs {
			o = o.against(s.observations[0])
		}
		code := byte(endpointCode(o.endpoint))
		if o.differs {
			code |= flagDiffers
		}
		if o.huge {
			code |= flagHuge
		}
		if o.placed() {
			code |= flagPlace
		}
		if o.noticed() {
			code |= flagAlternates
		}
		dst = append(dst, code)
		if o.placed() {
			dst = binary.AppendVarint(append(dst, o.parent[:]...), o.rank)
			dst = binary.AppendUvarint(dst, uint64(o.changes))
		}
		if o.noticed() {
			dst = o.appendAlternation(dst)
		}
		dst = binary.AppendUvarint(dst, uint64(o.recipe))
		dst = append(dst, o.hash[:]...)
		dst = binform.AppendBytes(dst, o.body)
	}
	return dst
}

// placed reports whether there is more to say of the place than its endpoint.
func (o *observation) placed() bool {
	return o.parent != idHash{} || o.rank != 0 || o.changes != 0
}

// against returns the observation with a difference to the first one as its body, unless the difference is longer.
func (o observation) against(first observation) observation {
	if difference, ok := appendDifference(nil, first.body, o.body, 0); ok && len(difference) < len(o.body) {
		o.body, o.differs = difference, true
	}
	return o
}

var errState = errors.New("not the state of an entity")

// decodeState reads a state that encode has written, and refuses everything else. The state refers to b.
func decodeState(b []byte) (*state, error) {
	r := newReader(b)
	first := r.Byte()
	var more byte
	switch version := first >> versionShift; version {
	case stateVersion:
	case stateVersionMore:
		more = r.Byte()
		r.require(more != 0 && more&^flagsMore == 0, "an unknown flag")
	default:
		return nil, fmt.Errorf("%w: version %d", errState, version)
	}
	s := &state{
		everNegative: first&flagNegative != 0,
		superseded:   first&flagSuperseded != 0,
		revision:     int64(r.number()),
		recipe:       int(r.number()),
		hash:         r.hash(),
	}
	if more&flagRefused != 0 {
		s.refused = content{int(r.number()), r.hash()}
		r.require(s.refused.recipe > 0, "refused content without a recipe")
	}
	if first&flagRank != 0 {
		s.rank = r.Varint()
		r.Fill(s.parent[:])
		r.require(s.rank != 0, "a rank of 0")
	}
	if first&flagKey != 0 {
		key := r.item()
		s.key = r.text(key)
		r.require(s.key != "" && bytes.Equal(key.raw, appendText(nil, 0, s.key)), "a key in another form")
	}
	if more&flagMinute != 0 {
		s.minute = 1 + uint16(r.Uint(minutesPerDay-1))
	}
	if more&flagPerson != 0 {
		r.Fill(s.person[:])
		r.require(s.person != idHash{}, "an empty person")
	}
	if more&flagAlternation != 0 {
		s.alternation = r.alternation()
	}
	if first&flagObservations != 0 {
		r.observations(s, more&flagPlaces != 0)
	}
	r.require(more&flagPlaces == 0 || first&flagObservations != 0, "places without observations")
	unpublished := s.refused != (content{}) || slices.ContainsFunc(s.observations, func(o observation) bool { return o.huge })
	r.require(s.revision >= 1 || unpublished, "revision 0")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %d bytes: %w", errState, len(b), err)
	}
	return s, nil
}

// observations takes the observations of a state. If placed, one at least says more of its place than the endpoint.
func (r *reader) observations(s *state, placed bool) {
	n := r.number()
	r.require(n >= 1 && n <= uint64(maxPlaces*len(endpointCodes)), "more observations than places, or none")
	found := false
	for ; n > 0 && r.Err() == nil; n-- {
		first := r.Byte()
		code := int(first & endpointBits)
		r.require(code < len(endpointCodes), "an unknown endpoint")
		if r.Err() != nil {
			return
		}
		o := observation{
			place:   place{endpoint: endpointCodes[code]},
			differs: first&flagDiffers != 0, huge: first&flagHuge != 0,
		}
		if first&flagPlace != 0 {
			r.Fill(o.parent[:])
			o.rank = r.Varint()
			o.changes = int(r.number())
			r.require(o.placed(), "a place that says nothing")
		}
		if first&flagAlternates != 0 {
			o.alternation = r.alternation()
		}
		found = found || first&(flagPlace|flagAlternates) != 0
		o.recipe, o.hash, o.body = int(r.number()), r.hash(), r.Bytes()
		r.require(!o.huge || !o.differs && len(o.body) == 0, "a body where the observation was too large")
		if last := len(s.observations) - 1; last >= 0 {
			r.require(s.observations[last].compare(o.place) < 0, "places out of order")
		} else {
			r.require(!o.differs, "a first observation that is a difference")
		}
		s.observations = append(s.observations, o)
	}
	r.require(found == placed, "a flag that does not fit the observations")
}

// reader adds to binform.Reader the pieces of states and observations.
type reader struct{ binform.Reader }

func newReader(b []byte) reader { return reader{binform.NewReader(b)} }

// require makes the reader fail unless ok. wrong says what is wrong.
func (r *reader) require(ok bool, wrong string) {
	if !ok {
		r.Fail(errors.New(wrong))
	}
}

// number takes an uvarint that fits an int.
func (r *reader) number() uint64 { return r.Uint(1 << 62) }

func (r *reader) hash() (h hash) {
	r.Fill(h[:])
	return h
}
