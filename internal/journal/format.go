package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/checkpoint"
)

// A value of the checkpoint topic consists of two versions and of sections. So do the journal's own records in the store.
//
//	+---------+--------+-----+--------+------+-----+--------+------+----
//	| version | oldest | tag | length | body | tag | length | body | ...
//	+---------+--------+-----+--------+------+-----+--------+------+----
//	  byte      byte    uvarint uvarint length
//	                                    bytes
//
//	version   of the form in which the value was written
//	oldest    the oldest version whose readers can read it; 1 <= oldest <= version
//	tag       what the body holds, by kind of record; tags ascend
//	length    of the body; never 0: a section without content is left out, so that a value has one encoding
//
// uvarint and varint are those of package binform. Days are days since 1970-01-01 in UTC, hours are hours since then. A list of days
// holds the distance of each from the one before it, as varints; the first is the distance from day 0.
//
// A reader refuses a value whose oldest is above its own version: with ErrTooNew, which names both. It skips a section with a tag that
// it does not know if a later version wrote the value. It refuses with ErrMalformed whatever else is not as drawn.

// version is the version that this build writes, and oldest the oldest that can read it. A new tag or a new kind of key needs a new
// version. oldest rises only if an older build would go wrong by skipping what it does not know.
const (
	version = 2 // version 1 named no cluster in the manifest
	oldest  = 1
)

var (
	// ErrTooNew is wrapped by errors about a record that only a later version of this program can read.
	ErrTooNew = errors.New("written by a later version of this program; run that version")
	// ErrMalformed is wrapped by errors about a record that no version of this program has written.
	ErrMalformed = errors.New("malformed")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

// newValue returns a value without sections, with room for size bytes of them.
func newValue(size int) []byte { return append(make([]byte, 0, size+16), version, oldest) }

// appendSection appends a section, unless its body is empty.
func appendSection(value []byte, tag uint64, body []byte) []byte {
	if len(body) == 0 {
		return value
	}
	return binform.AppendBytes(binary.AppendUvarint(value, tag), body)
}

// readValue calls fn with each section whose tag this version knows, those up to known.
func readValue(value []byte, known uint64, fn func(tag uint64, body *reader)) error {
	r := binform.NewReader(value)
	writer, reads := r.Byte(), r.Byte()
	if r.Err() != nil || writer == 0 || reads == 0 || reads > writer {
		return malformed("it does not begin with two versions")
	}
	if reads > version {
		return fmt.Errorf("it needs a reader of version %d, and this is version %d: %w", reads, version, ErrTooNew)
	}
	for last := uint64(0); r.More(); {
		tag, body := r.Uvarint(), r.Bytes()
		switch {
		case r.Err() != nil:
			return malformed("%w", r.Err())
		case tag <= last:
			return malformed("section %d comes after section %d", tag, last)
		case len(body) == 0:
			return malformed("section %d is empty", tag)
		case tag > known && writer <= version:
			return malformed("section %d is unknown to version %d, which has written it", tag, writer)
		}
		last = tag
		if tag > known {
			continue
		}
		section := &reader{binform.NewReader(body)}
		fn(tag, section)
		if err := section.Done(); err != nil {
			return malformed("section %d: %w", tag, err)
		}
	}
	return nil
}

// reader adds to binform.Reader the pieces of the journal's forms.
type reader struct{ binform.Reader }

// day takes a day that is stored as the distance from another.
func (r *reader) day(before uint32) uint32 {
	day := int64(before) + r.Int(-math.MaxUint32, math.MaxUint32)
	if day < 0 || day > math.MaxUint32 {
		r.Failf("day %d is out of range", day)
		return 0
	}
	return uint32(day)
}

func appendDay(b []byte, before, day uint32) []byte {
	return binary.AppendVarint(b, int64(day)-int64(before))
}

// uint32 takes an uvarint of at most 32 bits.
func (r *reader) uint32() uint32 { return uint32(r.Uint(math.MaxUint32)) }

func (r *reader) hash() (h checkpoint.Hash) {
	r.Fill(h[:])
	return h
}
