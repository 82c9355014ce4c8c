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

// state is what is remembered of one entity: what was published last, and what the rules need to decide about the next
// observation. The usual one takes 11 bytes, and there are millions.
type state struct {
	revision     int64   // 0: never published
	recipe       int     // what hash is made under
	hash         hash    // content of the last revision
	refused      content // what was too large to be published since then; zero for nothing
	rank         int64
	parent       [4]byte // of the observation that the rank is of, hashed
	key          string  // Kafka key of the first version, where it does not follow from the conversation
	everNegative bool
	superseded   bool
	minute       uint16        // 1 + the minute of the day under which is remembered what belongs to it; 0 where nothing does
	observations []observation // what each endpoint last said, where their sayings are merged; ordered by endpoint
}

type hash [8]byte

// content is a version of an entity, as it is remembered.
type content struct {
	recipe int // that hash is made under; 0 for nothing
	hash   hash
}

func contentOf(e events.Event) content { return content{recipe(), events.ContentHash(e, recipe())} }

// is reports whether an event is that version.
func (c content) is(e events.Event) bool {
	return c.recipe > 0 && c.hash == events.ContentHash(e, c.recipe)
}

// published returns the version that was published last; zero for none.
func (s *state) published() content {
	if s.revision == 0 {
		return content{}
	}
	return content{s.recipe, s.hash}
}

// observation is an entity as one endpoint last showed it. It has a recipe of its own, because after an upgrade the endpoints
// come round to the entity one after the other.
type observation struct {
	endpoint events.Endpoint
	recipe   int
	hash     hash
	body     []byte // see encodeObservation
	differs  bool   // the body is only what differs from that of the first observation, as it is stored
	huge     bool   // it is too large to be published by itself, and there is no body
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

// keep replaces or adds the observation of an endpoint, whose body is whole. It returns how many others could not be read.
func (s *state) keep(seen observation) (lost int) {
	lost = s.unfold()
	if old := s.find(seen.endpoint); old != nil {
		*old = seen
		return lost
	}
	s.observations = append(s.observations, seen)
	slices.SortFunc(s.observations, func(a, b observation) int { return endpointCode(a.endpoint) - endpointCode(b.endpoint) })
	return lost
}

// unfold makes the bodies of all observations whole. Those that cannot be read are dropped and counted: their endpoints count as
// not read yet.
func (s *state) unfold() (lost int) {
	whole := make([]observation, 0, len(endpointCodes))
	for _, seen := range s.observations {
		var ok bool
		if !seen.differs {
			_, ok = appendApplied(nil, seen.body, nil, 0)
		} else if seen.differs = false; len(whole) > 0 && whole[0].endpoint == s.observations[0].endpoint {
			seen.body, ok = appendApplied(nil, whole[0].body, seen.body, 0)
		}
		if !ok {
			lost++
			continue
		}
		whole = append(whole, seen)
	}
	s.observations = whole
	return lost
}

// The first byte of a stored state: the version in the upper bits, flags below. Version 3 has a second byte, with more flags, and is
// written only where one of them is set, so that everything else can be read by a build that knows only version 2.
const (
	stateVersion     = 2
	stateVersionMore = 3

	flagNegative     = 1 << 0
	flagSuperseded   = 1 << 1
	flagRank         = 1 << 2
	flagKey          = 1 << 3
	flagObservations = 1 << 4

	versionShift = 5

	// In the second byte.
	flagRefused = 1 << 0 // what was too large to be published stands behind the hash
	flagMinute  = 1 << 1 // the minute stands behind the key
	flagsMore   = flagRefused | flagMinute

	flagDiffers = 1 << 7 // beside the code of an observation's endpoint
	flagHuge    = 1 << 6 // beside it as well

	minutesPerDay = 24 * 60
)

// endpointCodes are the endpoints by the code that stands for them in what is stored. A new one comes last: the order must never
// change.
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
	for i, seen := range s.observations {
		if i > 0 && !seen.differs {
			seen = seen.against(s.observations[0])
		}
		code := byte(endpointCode(seen.endpoint))
		if seen.differs {
			code |= flagDiffers
		}
		if seen.huge {
			code |= flagHuge
		}
		dst = append(dst, code)
		dst = binary.AppendUvarint(dst, uint64(seen.recipe))
		dst = append(dst, seen.hash[:]...)
		dst = binform.AppendBytes(dst, seen.body)
	}
	return dst
}

// against returns the observation as what differs from the first one, unless that is longer.
func (s observation) against(first observation) observation {
	if difference, ok := appendDifference(nil, first.body, s.body, 0); ok && len(difference) < len(s.body) {
		s.body, s.differs = difference, true
	}
	return s
}

var errState = errors.New("not a state of an entity")

// decodeState reads what encode wrote, and refuses everything else. The state refers to b.
func decodeState(b []byte) (*state, error) {
	r := newReader(b)
	first := r.Byte()
	var more byte
	switch version := first >> versionShift; version {
	case stateVersion:
	case stateVersionMore:
		more = r.Byte()
		r.require(more != 0 && more&^flagsMore == 0, "flags that are not known")
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
		r.require(s.refused.recipe > 0, "nothing that was refused")
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
		r.require(n >= 1 && n <= uint64(len(endpointCodes)), "as many observations as there are no endpoints")
		previous := -1
		for ; n > 0 && r.Err() == nil; n-- {
			first := r.Byte()
			code, differs, huge := int(first&^(flagDiffers|flagHuge)), first&flagDiffers != 0, first&flagHuge != 0
			r.require(code > previous && code < len(endpointCodes) && (!differs || previous >= 0), "an observation of an endpoint that cannot follow")
			if r.Err() != nil {
				break
			}
			previous = code
			seen := observation{
				endpoint: endpointCodes[code], recipe: int(r.number()), hash: r.hash(), body: r.Bytes(), differs: differs, huge: huge,
			}
			r.require(!huge || !differs && len(seen.body) == 0, "a body of what is too large")
			s.observations = append(s.observations, seen)
		}
	}
	unpublished := s.refused != (content{}) || slices.ContainsFunc(s.observations, func(seen observation) bool { return seen.huge })
	r.require(s.revision >= 1 || unpublished, "revision 0")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %d bytes: %w", errState, len(b), err)
	}
	return s, nil
}

// reader reads the pieces that only states have.
type reader struct{ binform.Reader }

func newReader(b []byte) reader { return reader{binform.NewReader(b)} }

// require fails with what is wrong unless ok.
func (r *reader) require(ok bool, wrong string) {
	if !ok {
		r.Fail(errors.New(wrong))
	}
}

// number is never larger than a positive int.
func (r *reader) number() uint64 { return r.Uint(1 << 62) }

func (r *reader) hash() (h hash) {
	r.Fill(h[:])
	return h
}
