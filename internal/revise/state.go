package revise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"agentassist-poller/internal/events"
)

// State is what is known of one entity: enough to tell whether it has changed, and to publish what comes next.
type State struct {
	Revision int64
	// Recipe and Hash are of the content of the last revision.
	Recipe int
	Hash   [8]byte
	// Rank is the highest rank that it was seen with.
	Rank int64
	// Key is the Kafka key, if the first revision had no conversation to be named after; else empty.
	Key string
	// EverNegative is set on feedback that was negative in some revision.
	EverNegative bool
	// Superseded entities have had their last revision.
	Superseded bool
	// Sights are what each endpoint last showed of an entity that several show.
	Sights []Sight
}

// Sight is an event as one endpoint last showed it, as JSON, which outlives changes of the schema.
type Sight struct {
	Endpoint events.Endpoint
	JSON     []byte
}

// keep remembers the sight of an endpoint, and reports whether that was news.
func (s *State) keep(e events.Endpoint, sight []byte) bool {
	i := slices.IndexFunc(s.Sights, func(x Sight) bool { return x.Endpoint == e })
	switch {
	case i < 0:
		s.Sights = append(s.Sights, Sight{e, sight})
	case bytes.Equal(s.Sights[i].JSON, sight):
		return false
	default:
		s.Sights[i].JSON = sight
	}
	return true
}

// The first byte of a state is its version and what follows beyond the fixed part.
const (
	stateVersion = 1 << 4

	flagNegative   = 1 << 0
	flagSuperseded = 1 << 1
	flagRank       = 1 << 2
	flagMore       = 1 << 3 // key and sights
)

var errState = errors.New("the stored state of an entity is not readable by this program; " +
	"it was written by another release, or the checkpoint file is damaged: set the file aside to begin a new one")

// AppendBinary appends the state to dst: 11 bytes for the ordinary entity.
func (s *State) AppendBinary(dst []byte) []byte {
	var first byte = stateVersion
	for flag, set := range map[byte]bool{
		flagNegative: s.EverNegative, flagSuperseded: s.Superseded, flagRank: s.Rank != 0, flagMore: s.Key != "" || len(s.Sights) > 0,
	} {
		if set {
			first |= flag
		}
	}
	dst = append(dst, first)
	dst = binary.AppendUvarint(dst, uint64(s.Revision))
	dst = binary.AppendUvarint(dst, uint64(s.Recipe))
	dst = append(dst, s.Hash[:]...)
	if first&flagRank != 0 {
		dst = binary.AppendVarint(dst, s.Rank)
	}
	if first&flagMore != 0 {
		dst = appendBytes(dst, []byte(s.Key))
		dst = append(dst, byte(len(s.Sights)))
		for _, sight := range s.Sights {
			dst = append(dst, byte(slices.Index(events.Endpoints(), sight.Endpoint)))
			dst = appendBytes(dst, sight.JSON)
		}
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// DecodeState reads what AppendBinary wrote. The state does not share memory with b.
func DecodeState(b []byte) (State, error) {
	d := stateDecoder{b: b, ok: true}
	first := d.byte()
	s := State{
		Revision: int64(d.uvarint()), Recipe: int(d.uvarint()),
		EverNegative: first&flagNegative != 0, Superseded: first&flagSuperseded != 0,
	}
	copy(s.Hash[:], d.take(uint64(len(s.Hash))))
	if first&flagRank != 0 {
		s.Rank = d.varint()
	}
	if first&flagMore != 0 {
		s.Key = string(d.take(d.uvarint()))
		for n := d.byte(); n > 0 && d.ok; n-- {
			e := d.byte()
			if int(e) >= len(events.Endpoints()) {
				return State{}, errState
			}
			s.Sights = append(s.Sights, Sight{events.Endpoints()[e], bytes.Clone(d.take(d.uvarint()))})
		}
	}
	if !d.ok || len(d.b) > 0 || first&0xf0 != stateVersion || s.Revision < 1 || s.Recipe < 1 {
		return State{}, errState
	}
	return s, nil
}

// stateDecoder reads from b until something is wrong; then it returns zeros.
type stateDecoder struct {
	b  []byte
	ok bool
}

func (d *stateDecoder) take(n uint64) []byte {
	if !d.ok || n > uint64(len(d.b)) {
		d.ok = false
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *stateDecoder) byte() byte {
	if b := d.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *stateDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.ok = false
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *stateDecoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.ok = false
		return 0
	}
	d.b = d.b[n:]
	return v
}
