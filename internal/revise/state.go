package revise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"agentassist-poller/internal/events"
)

// state is what is remembered of one entity: what was published last, and what the rules need to decide about the next
// sight. The usual one takes 11 bytes, and there are millions.
type state struct {
	revision     int64 // 0: never published
	recipe       int   // what hash is made under
	hash         hash  // content of the last revision
	rank         int64
	parent       [4]byte // of the sight that the rank is of, hashed
	key          string  // Kafka key of the first version, where it does not follow from the conversation
	everNegative bool
	superseded   bool
	sights       []sight // what each endpoint last said, where their sayings are merged; ordered by endpoint
}

type hash [8]byte

// sight is an entity as one endpoint last showed it. It has a recipe of its own, because after an upgrade the endpoints
// come round to the entity one after the other.
type sight struct {
	endpoint events.Endpoint
	recipe   int
	hash     hash
	body     []byte // see encodeSight
	differs  bool   // the body is only what differs from that of the first sight, as it is stored
}

// find returns the sight of an endpoint, nil if there is none.
func (s *state) find(e events.Endpoint) *sight {
	for i := range s.sights {
		if s.sights[i].endpoint == e {
			return &s.sights[i]
		}
	}
	return nil
}

// keep replaces or adds the sight of an endpoint, whose body is whole. It returns how many others could not be read.
func (s *state) keep(seen sight) (lost int) {
	lost = s.unfold()
	if old := s.find(seen.endpoint); old != nil {
		*old = seen
		return lost
	}
	s.sights = append(s.sights, seen)
	slices.SortFunc(s.sights, func(a, b sight) int { return endpointCode(a.endpoint) - endpointCode(b.endpoint) })
	return lost
}

// unfold makes the bodies of all sights whole. Those that cannot be read are dropped and counted: their endpoints count as
// not read yet.
func (s *state) unfold() (lost int) {
	whole := make([]sight, 0, len(endpointCodes))
	for _, seen := range s.sights {
		var ok bool
		if !seen.differs {
			_, ok = appendApplied(nil, seen.body, nil, 0)
		} else if seen.differs = false; len(whole) > 0 && whole[0].endpoint == s.sights[0].endpoint {
			seen.body, ok = appendApplied(nil, whole[0].body, seen.body, 0)
		}
		if !ok {
			lost++
			continue
		}
		whole = append(whole, seen)
	}
	s.sights = whole
	return lost
}

// The first byte of a stored state: the version in the upper bits, flags below.
const (
	stateVersion = 2

	flagNegative   = 1 << 0
	flagSuperseded = 1 << 1
	flagRank       = 1 << 2
	flagKey        = 1 << 3
	flagSights     = 1 << 4

	versionShift = 5

	flagDiffers = 1 << 7 // beside the code of a sight's endpoint
)

// endpointCodes are the endpoints by the code that stands for them in what is stored. A new one comes last: the order must never
// change.
var endpointCodes = events.PerEndpoint[events.Endpoint]([...]events.Endpoint{
	events.Interactions, events.Conversations, events.InteractionDetails, events.CallDetails,
})

func endpointCode(e events.Endpoint) int { return slices.Index(endpointCodes[:], e) }

func (s *state) encode() []byte {
	first := byte(stateVersion << versionShift)
	set := func(flag byte, on bool) {
		if on {
			first |= flag
		}
	}
	set(flagNegative, s.everNegative)
	set(flagSuperseded, s.superseded)
	set(flagRank, s.rank != 0)
	set(flagKey, s.key != "")
	set(flagSights, len(s.sights) > 0)
	dst := binary.AppendUvarint([]byte{first}, uint64(s.revision))
	dst = binary.AppendUvarint(dst, uint64(s.recipe))
	dst = append(dst, s.hash[:]...)
	if s.rank != 0 {
		dst = append(binary.AppendVarint(dst, s.rank), s.parent[:]...)
	}
	if s.key != "" {
		dst = appendText(dst, 0, s.key)
	}
	if len(s.sights) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.sights)))
	}
	for i, seen := range s.sights {
		if i > 0 && !seen.differs {
			seen = seen.against(s.sights[0])
		}
		code := byte(endpointCode(seen.endpoint))
		if seen.differs {
			code |= flagDiffers
		}
		dst = append(dst, code)
		dst = binary.AppendUvarint(dst, uint64(seen.recipe))
		dst = append(dst, seen.hash[:]...)
		dst = append(binary.AppendUvarint(dst, uint64(len(seen.body))), seen.body...)
	}
	return dst
}

// against returns the sight as what differs from the first one, unless that is longer.
func (s sight) against(first sight) sight {
	if difference, ok := appendDifference(nil, first.body, s.body, 0); ok && len(difference) < len(s.body) {
		s.body, s.differs = difference, true
	}
	return s
}

var errState = errors.New("not a state of an entity")

// decodeState reads what encode wrote, and refuses everything else. The state refers to b.
func decodeState(b []byte) (*state, error) {
	r := reader{rest: b}
	first := r.byte()
	if first>>versionShift != stateVersion {
		return nil, fmt.Errorf("%w: version %d", errState, first>>versionShift)
	}
	s := &state{
		everNegative: first&flagNegative != 0,
		superseded:   first&flagSuperseded != 0,
		revision:     int64(r.number()),
		recipe:       int(r.number()),
		hash:         r.hash(),
	}
	if first&flagRank != 0 {
		s.rank = r.signed()
		copy(s.parent[:], r.take(uint64(len(s.parent))))
		r.require(s.rank != 0)
	}
	if first&flagKey != 0 {
		key := r.item()
		s.key = (&reader{rest: key.value}).text(key.kind)
		r.require(s.key != "" && bytes.Equal(key.raw, appendText(nil, 0, s.key)))
	}
	if first&flagSights != 0 {
		n := r.number()
		r.require(n >= 1 && n <= uint64(len(endpointCodes)))
		previous := -1
		for ; n > 0 && !r.failed; n-- {
			first := r.byte()
			code, differs := int(first&^flagDiffers), first&flagDiffers != 0
			r.require(code > previous && code < len(endpointCodes) && (!differs || previous >= 0))
			if r.failed {
				break
			}
			previous = code
			s.sights = append(s.sights, sight{
				endpoint: endpointCodes[code], recipe: int(r.number()), hash: r.hash(), body: r.bytes(), differs: differs,
			})
		}
	}
	r.require(s.revision >= 1 && len(r.rest) == 0)
	if r.failed {
		return nil, fmt.Errorf("%w: %d bytes", errState, len(b))
	}
	return s, nil
}

// reader reads the parts of a state. After the first part that is missing or wrong it has failed and returns zeroes.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) require(ok bool) {
	if !ok {
		r.failed, r.rest = true, nil
	}
}

func (r *reader) take(n uint64) []byte {
	r.require(n <= uint64(len(r.rest)))
	if r.failed {
		return nil
	}
	part := r.rest[:n:n]
	r.rest = r.rest[n:]
	return part
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// number is never larger than a positive int, and written in the shortest way, so that every state has one form.
func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.require(n > 0 && v <= 1<<62 && (n == 1 || r.rest[n-1] != 0))
	r.take(uint64(max(n, 0)))
	return v
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.rest)
	r.require(n > 0 && (n == 1 || r.rest[n-1] != 0))
	r.take(uint64(max(n, 0)))
	return v
}

func (r *reader) hash() (h hash) {
	copy(h[:], r.take(uint64(len(h))))
	return h
}

func (r *reader) bytes() []byte { return r.take(r.number()) }
