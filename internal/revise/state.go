package revise

import (
	"encoding/binary"
	"encoding/json"
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
	body     []byte // the event as JSON, which a build with more fields or fewer reads as well
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

// keep replaces or adds the sight of an endpoint.
func (s *state) keep(seen sight) {
	if old := s.find(seen.endpoint); old != nil {
		*old = seen
		return
	}
	s.sights = append(s.sights, seen)
	slices.SortFunc(s.sights, func(a, b sight) int { return endpointCode(a.endpoint) - endpointCode(b.endpoint) })
}

// The first byte of a stored state: the version in the upper bits, flags below.
const (
	stateVersion = 1

	flagNegative   = 1 << 0
	flagSuperseded = 1 << 1
	flagRank       = 1 << 2
	flagKey        = 1 << 3
	flagSights     = 1 << 4

	versionShift = 5
)

// endpointCodes are the endpoints as they are stored; the order must never change.
var endpointCodes = []events.Endpoint{events.Interactions, events.Conversations, events.InteractionDetails, events.CallDetails}

func endpointCode(e events.Endpoint) int { return slices.Index(endpointCodes, e) }

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
		dst = append(binary.AppendUvarint(dst, uint64(len(s.key))), s.key...)
	}
	if len(s.sights) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(s.sights)))
	}
	for _, seen := range s.sights {
		dst = append(dst, byte(endpointCode(seen.endpoint)))
		dst = binary.AppendUvarint(dst, uint64(seen.recipe))
		dst = append(dst, seen.hash[:]...)
		dst = append(binary.AppendUvarint(dst, uint64(len(seen.body))), seen.body...)
	}
	return dst
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
		s.key = string(r.bytes())
		r.require(s.key != "")
	}
	if first&flagSights != 0 {
		n := r.number()
		r.require(n >= 1 && n <= uint64(len(endpointCodes)))
		previous := -1
		for ; n > 0 && !r.failed; n-- {
			code := int(r.byte())
			r.require(code > previous && code < len(endpointCodes))
			if r.failed {
				break
			}
			previous = code
			s.sights = append(s.sights, sight{endpoint: endpointCodes[code], recipe: int(r.number()), hash: r.hash(), body: r.bytes()})
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

// encodeSight returns nothing for an event that JSON cannot hold, such as one with a time after the year 9999. It is then
// remembered as seen, but takes no part in merging.
func encodeSight(e events.Event) []byte {
	body, err := json.Marshal(e)
	if err != nil {
		return nil
	}
	return body
}

// decodeSight reads an event of type t. What the poller itself adds to an event is not part of a sight.
func decodeSight(t events.Type, body []byte) (events.Event, error) {
	e := events.New(t)
	if err := json.Unmarshal(body, e); err != nil {
		return nil, fmt.Errorf("read stored sight of %s: %w", t, err)
	}
	return e, nil
}
