package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// newValue begins a value that is about to get size more bytes.
func newValue(size int) []byte { return append(make([]byte, 0, size+16), version, oldest) }

// appendSection leaves out what is empty, so that a value has one encoding.
func appendSection(value []byte, tag uint64, body []byte) []byte {
	if len(body) == 0 {
		return value
	}
	value = binary.AppendUvarint(value, tag)
	value = binary.AppendUvarint(value, uint64(len(body)))
	return append(value, body...)
}

// readValue calls fn with each section that this version knows, those with tags up to known.
func readValue(value []byte, known uint64, fn func(tag uint64, body *reader)) error {
	if len(value) < 2 || value[0] == 0 || value[1] == 0 || value[1] > value[0] {
		return malformed("it does not begin with versions")
	}
	if value[1] > version {
		return fmt.Errorf("it needs a reader of version %d, and this is version %d: %w", value[1], version, ErrTooNew)
	}
	r := &reader{rest: value[2:]}
	for last := uint64(0); len(r.rest) > 0; {
		tag := r.uvarint()
		body := r.bytes(r.uvarint())
		switch {
		case r.err != nil:
			return r.err
		case tag <= last:
			return malformed("section %d comes after section %d", tag, last)
		case len(body) == 0:
			return malformed("section %d is empty", tag)
		case tag > known && value[0] <= version:
			return malformed("section %d is unknown to version %d, which has written it", tag, value[0])
		}
		last = tag
		if tag > known {
			continue
		}
		section := &reader{rest: body}
		if fn(tag, section); section.err == nil && len(section.rest) > 0 {
			section.fail("%d bytes are left over", len(section.rest))
		}
		if section.err != nil {
			return fmt.Errorf("section %d: %w", tag, section.err)
		}
	}
	return nil
}

// reader takes values off the front of rest. After the first failure it returns zeros, so that err is asked once.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = malformed(format, args...)
	}
	r.rest = nil
}

func (r *reader) more() bool { return r.err == nil && len(r.rest) > 0 }

// uvarint takes only the shortest form.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.fail("a number is cut off or too long")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// number takes a number that is at most limit.
func (r *reader) number(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.fail("%d is more than %d", v, limit)
		return 0
	}
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("%d bytes are announced, and %d left", n, len(r.rest))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) fixed64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// day takes the distance from the day before.
func (r *reader) day(before uint32) uint32 {
	u := r.uvarint()
	day := int64(before) + (int64(u>>1) ^ -int64(u&1))
	if day < 0 || day > 1<<32-1 {
		r.fail("day %d is out of range", day)
		return 0
	}
	return uint32(day)
}

func appendDay(b []byte, before, day uint32) []byte {
	return binary.AppendVarint(b, int64(day)-int64(before))
}
