package revise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/events"
)

// state is what the store holds of one entity: what was published last, and what the rules need to decide about the next observation. Most
// states take 11 bytes, and there are millions of them.
//
//	+-------+------+----------+--------+------+-----------------+---------------+-----+--------+-------+-------------+----
//	| first | more | revision | recipe | hash | refused         | rank          | key | minute | count | observation | ...
//	|       |      |          |        |      | recipe  hash    | rank   parent |     |        |       |             |
//	+-------+------+----------+--------+------+-----------------+---------------+-----+--------+-------+-------------+----
//	  byte    byte   uvarint   uvarint    8    uvarint    8      varint    4     field uvarint  uvarint  count times
//
//	first     bits 7 to 5: the version, 2 or 3. Bits 4 to 0, flags: there are observations; a key; a rank; the entity is superseded; it
//	          was negative in any revision
//	more      only in version 3. Bits 1 and 0, flags: there is a minute; something was refused. Other bits are 0
//	revision  of the last event that was published; 0 if there is none
//	recipe    of the hash after it
//	hash      of the content of the last revision (see events.ContentHash)
//	refused   only with its flag: the content that was too large to be published since the last revision
//	rank      only with its flag: the rank, not 0, and the FNV-1a hash of the segment that has it
//	key       only with its flag: the Kafka key as a text field with number 0 (see observation.go)
//	minute    only with its flag: the minute of the day under which entities that belong to this one are stored
//	count     of the observations; only with its flag. At least 1, and at most one for each endpoint
//
// An observation:
//
//	+----------+--------+------+--------+------+
//	| endpoint | recipe | hash | length | body |
//	+----------+--------+------+--------+------+
//	    byte    uvarint    8    uvarint  length
//
//	endpoint  bits 5 to 0: the endpoint, by its place in endpointCodes; ascends. Bit 7: the body is a difference to the body of the first
//	          observation (see difference.go). Bit 6: the observation was too large to be published by itself, and the body is empty
//	hash      of the content of the observation, under the recipe before it
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
	parent       [4]byte // hash of the segment that has the rank
	key          string  // Kafka key of the first version, if the conversation does not determine it
	everNegative bool
	superseded   bool
	minute       uint16        // 1 + the minute of the day under which entities that belong to this one are stored; 0 if none do
	observations []observation // the last of each endpoint, if observations are merged; ordered by endpoint
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
	return c.recipe > 0 && c.hash == events.ContentHash(e, c.recipe)
}

// published returns the version that was published last, zero if there is none.
func (s *state) published() content {
	if s.revision == 0 {
		return content{}
	}
	return content{s.recipe, s.hash}
}

// observation is the last observation of an entity by one endpoint. It has its own recipe, because after an upgrade the endpoints show the
// entity again one after the other.
type observation struct {
	endpoint events.Endpoint
	recipe   int
	hash     hash
	body     []byte // see encodeObservation
	differs  bool   // body is a difference to the body of the first observation, as stored
	huge     bool   // the observation is too large to be published by itself, and has no body
}

// find returns the observation of an endpoint, nil if there is none.
func (s *state) find(e events.Endpoint) *observation {
	for i := range s.observations {
		if s.observations[i].endpoint == e {
			return &s.observations[i]
		}
	}
	return nil
}

// keep replaces or adds the observation of an endpoint, whose body is not a difference. It returns how many other observations could not be
// read.
func (s *state) keep(o observation) (lost int) {
	lost = s.unfold()
	if old := s.find(o.endpoint); old != nil {
		*old = o
		return lost
	}
	s.observations = append(s.observations, o)
	slices.SortFunc(s.observations, func(a, b observation) int { return endpointCode(a.endpoint) - endpointCode(b.endpoint) })
	return lost
}

// unfold replaces differences by complete bodies. It drops and counts observations that cannot be read: their endpoints count as not read
// yet.
func (s *state) unfold() (lost int) {
	whole := make([]observation, 0, len(endpointCodes))
	for _, o := range s.observations {
		var ok bool
		if !o.differs {
			_, ok = appendApplied(nil, o.body, nil, 0)
		} else if o.differs = false; len(whole) > 0 && whole[0].endpoint == s.observations[0].endpoint {
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
	flagRefused = 1 << 0
	flagMinute  = 1 << 1
	flagsMore   = flagRefused | flagMinute

	// In the byte endpoint.
	flagDiffers = 1 << 7
	flagHuge    = 1 << 6

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
		dst = append(dst, code)
		dst = binary.AppendUvarint(dst, uint64(o.recipe))
		dst = append(dst, o.hash[:]...)
		dst = binform.AppendBytes(dst, o.body)
	}
	return dst
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
	if first&flagObservations != 0 {
		n := r.number()
		r.require(n >= 1 && n <= uint64(len(endpointCodes)), "more observations than endpoints, or none")
		previous := -1
		for ; n > 0 && r.Err() == nil; n-- {
			first := r.Byte()
			code, differs, huge := int(first&^(flagDiffers|flagHuge)), first&flagDiffers != 0, first&flagHuge != 0
			r.require(code > previous && code < len(endpointCodes) && (!differs || previous >= 0), "an observation whose endpoint is unknown or out of order")
			if r.Err() != nil {
				break
			}
			previous = code
			o := observation{
				endpoint: endpointCodes[code], recipe: int(r.number()), hash: r.hash(), body: r.Bytes(), differs: differs, huge: huge,
			}
			r.require(!huge || !differs && len(o.body) == 0, "a body where the observation was too large")
			s.observations = append(s.observations, o)
		}
	}
	unpublished := s.refused != (content{}) || slices.ContainsFunc(s.observations, func(o observation) bool { return o.huge })
	r.require(s.revision >= 1 || unpublished, "revision 0")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %d bytes: %w", errState, len(b), err)
	}
	return s, nil
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
