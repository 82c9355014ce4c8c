package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"agentassist-poller/internal/binform"
	"agentassist-poller/internal/checkpoint"
)

// version is what this build writes, and oldest the oldest build that can read it. A new kind of section or of key means a
// new version; oldest moves only when skipping what it does not know would make an older build go wrong.
const (
	version = 2 // 1: no cluster in the manifest
	oldest  = 1
)

var (
	// ErrTooNew is wrapped by the errors about a record that only a later version of this program can read.
	ErrTooNew = errors.New("written by a later version of this program; run that version")
	// ErrMalformed is wrapped by the errors about a record that no version has written.
	ErrMalformed = errors.New("malformed")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

// newValue begins a value that is about to get size more bytes.
func newValue(size int) []byte { return append(make([]byte, 0, size+16), version, oldest) }

// appendSection leaves out what is empty, so that a value has one encoding.
func appendSection(value []byte, tag uint64, body []byte) []byte {
	if len(body) == 0 {
		return value
	}
	return binform.AppendBytes(binary.AppendUvarint(value, tag), body)
}

// readValue calls fn with each section that this version knows, those with tags up to known.
func readValue(value []byte, known uint64, fn func(tag uint64, body *reader)) error {
	r := binform.NewReader(value)
	writer, reads := r.Byte(), r.Byte()
	if r.Err() != nil || writer == 0 || reads == 0 || reads > writer {
		return malformed("it does not begin with versions")
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

// reader reads the pieces that only the journal's forms have.
type reader struct{ binform.Reader }

// day takes the distance from the day before.
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

// uint32 takes a number of 32 bits.
func (r *reader) uint32() uint32 { return uint32(r.Uint(math.MaxUint32)) }

func (r *reader) hash() (h checkpoint.Hash) {
	r.Fill(h[:])
	return h
}
