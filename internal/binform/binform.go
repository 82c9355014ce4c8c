// Package binform reads and writes the pieces of the poller's binary forms: the records of the checkpoint topic, the values
// of the checkpoint file, and what they contain.
//
// All forms are built from the same pieces:
//
//	uvarint   an unsigned number, 7 bits a byte, lowest first    1 to 10 bytes
//	varint    a signed number, zigzag, as an uvarint             1 to 10 bytes
//	fixed     a number of 4 or 8 bytes, big-endian
//	bytes     a length as an uvarint, then as many bytes
//
// encoding/binary appends numbers, AppendBytes appends bytes, and a Reader reads every piece. A number has one form, the
// shortest: a Reader refuses any longer one, so that a format can promise one encoding for each value.
package binform

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// AppendBytes appends the length of b, and b.
func AppendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// What a Reader may find wrong with a number; errors about lengths and limits say more.
var (
	errNumber = errors.New("a number is cut off or longer than it needs to be")
	errByte   = errors.New("a byte is missing")
)

// Reader reads pieces off the front of a byte slice. The first failure ends it: from then on every method returns zeros and
// More returns false, so that a caller may read a whole record and ask for the error once, with Done or Err. Whatever the
// bytes claim, a Reader allocates nothing, and returns no count or length that exceeds what is left.
//
// A Reader is not safe for concurrent use.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a Reader of b. The byte slices that it returns are parts of b.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Err returns the first failure, nil if there was none.
func (r *Reader) Err() error { return r.err }

// Done returns the first failure, or an error if bytes are left over. It is the last call to a Reader.
func (r *Reader) Done() error {
	if r.err == nil && len(r.rest) > 0 {
		r.Failf("%d bytes are left over", len(r.rest))
	}
	return r.err
}

// Fail makes err the failure of the Reader, unless it has failed already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// Failf is Fail with a new error.
func (r *Reader) Failf(format string, args ...any) {
	if r.err == nil {
		r.Fail(fmt.Errorf(format, args...))
	}
}

// More reports whether bytes are left. It is the condition of a loop over items.
func (r *Reader) More() bool { return len(r.rest) > 0 }

// Len returns how many bytes are left, 0 after a failure.
func (r *Reader) Len() int { return len(r.rest) }

// Peek returns all that is left and takes nothing. It is nil after a failure.
func (r *Reader) Peek() []byte { return r.rest }

// Rest takes all that is left. It is nil after a failure.
func (r *Reader) Rest() []byte {
	b := r.rest
	r.rest = nil
	return b
}

// Take takes n bytes. It returns nil if fewer are left.
func (r *Reader) Take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.Failf("%d bytes are announced, and %d left", n, len(r.rest))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Fill takes as many bytes as dst has, and copies them to dst. After a failure dst is unchanged.
func (r *Reader) Fill(dst []byte) { copy(dst, r.Take(uint64(len(dst)))) }

// Bytes takes a length and as many bytes.
func (r *Reader) Bytes() []byte { return r.Take(r.Uvarint()) }

// Byte takes one byte.
func (r *Reader) Byte() byte {
	if len(r.rest) == 0 {
		r.Fail(errByte)
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// Uvarint takes an unsigned number.
func (r *Reader) Uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 { // most numbers are small
		v := uint64(r.rest[0])
		r.rest = r.rest[1:]
		return v
	}
	v, n := binary.Uvarint(r.rest)
	if !r.number(n) {
		return 0
	}
	return v
}

// Varint takes a signed number.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.rest)
	if !r.number(n) {
		return 0
	}
	return v
}

// number takes the n bytes of a number, and reports whether they are its shortest form.
func (r *Reader) number(n int) bool {
	if n <= 0 || n > 1 && r.rest[n-1] == 0 {
		r.Fail(errNumber)
		return false
	}
	r.rest = r.rest[n:]
	return true
}

// Uint takes an unsigned number of at most limit.
func (r *Reader) Uint(limit uint64) uint64 {
	v := r.Uvarint()
	if v > limit {
		r.Failf("%d is more than %d", v, limit)
		return 0
	}
	return v
}

// Int takes a signed number of at least lowest and at most highest. After a failure it returns 0, also where that is out of
// range.
func (r *Reader) Int(lowest, highest int64) int64 {
	v := r.Varint()
	if r.err == nil && (v < lowest || v > highest) {
		r.Failf("%d is not within %d and %d", v, lowest, highest)
		return 0
	}
	return v
}

// Count takes a number of items that follow, each of at least size bytes. It fails if they cannot all be there, so that a
// caller may allocate for as many.
func (r *Reader) Count(size int) int {
	n := r.Uvarint()
	if n > uint64(len(r.rest)/size) {
		r.Failf("%d items of at least %d bytes are announced, and %d bytes are left", n, size, len(r.rest))
		return 0
	}
	return int(n)
}

// Uint32 takes a number of 4 bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.Take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 takes a number of 8 bytes.
func (r *Reader) Uint64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
