package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hamba/avro/v2"
)

// This is the only file that knows the Avro library, and it uses no more of it than the reading and writing of
// primitives. What the generated code calls here is bounded and checked, because the library's own record decoder takes
// truncated input for good and its encoder writes 0 for a number that does not fit.

// AppendAvro appends the Avro binary form of e under Schema(e.EventType()) to dst. Text that is not UTF-8 is
// repaired, since readers refuse it. An event without an event time is refused: its record would be gone at once.
func AppendAvro(dst []byte, e Event) ([]byte, error) {
	if e.Head().EventTime.IsZero() {
		return dst, fmt.Errorf("encode %s %s: no event time", e.EventType(), e.Head().EntityID)
	}
	return appendRecord(dst, e.(record))
}

// DecodeAvro fills e, which must be of type t, from what AppendAvro wrote. It reads all of b or fails; what it allocates is
// bounded by the length of b. The strings of e do not refer to b.
func DecodeAvro(t Type, b []byte, e Event) error {
	if e.EventType() != t {
		return fmt.Errorf("decode %s: into an event of type %s", t, e.EventType())
	}
	return decodeRecord(string(t), b, e.(record))
}

// AppendAvro appends the Avro binary form of the watermark under Schema(TypeWatermark) to dst.
func (e *Watermark) AppendAvro(dst []byte) ([]byte, error) { return appendRecord(dst, e) }

// DecodeAvro fills the watermark from what AppendAvro wrote, under the same bounds as DecodeAvro for events.
func (e *Watermark) DecodeAvro(b []byte) error { return decodeRecord(string(TypeWatermark), b, e) }

// AppendAvro appends the Avro binary form of the dead letter under Schema(TypeDeadLetter) to dst.
func (e *DeadLetter) AppendAvro(dst []byte) ([]byte, error) { return appendRecord(dst, e) }

// DecodeAvro fills the dead letter from what AppendAvro wrote, under the same bounds as DecodeAvro for events.
func (e *DeadLetter) DecodeAvro(b []byte) error { return decodeRecord(string(TypeDeadLetter), b, e) }

// record is what the generator writes for every record of every schema.
type record interface {
	encode(*encoder)
	decode(*decoder)
}

var encoders = sync.Pool{New: func() any { return &encoder{avro.NewWriter(nil, 4096)} }}

func appendRecord(dst []byte, e record) ([]byte, error) {
	w := encoders.Get().(*encoder)
	defer encoders.Put(w)
	w.w.Reset(nil)
	e.encode(w)
	if err := w.w.Error; err != nil {
		w.w.Error = nil
		return dst, fmt.Errorf("encode %T: %w", e, err)
	}
	return append(dst, w.w.Buffer()...), nil
}

func decodeRecord(name string, b []byte, e record) (err error) {
	r := &decoder{r: avro.NewReader(nil, 0).Reset(b), limit: int64(len(b))}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode %s: %v", name, p)
		}
	}()
	e.decode(r)
	if r.r.Error != nil {
		return fmt.Errorf("decode %s: %w", name, r.r.Error)
	}
	if r.r.Peek(); !errors.Is(r.r.Error, io.EOF) {
		return fmt.Errorf("decode %s: bytes left over", name)
	}
	return nil
}

// encoder writes the types that the schemas use. Null is the first branch of every union.
type encoder struct{ w *avro.Writer }

func (w *encoder) present(there bool) bool {
	if there {
		w.w.WriteLong(1)
	} else {
		w.w.WriteLong(0)
	}
	return there
}

func (w *encoder) str(s string) {
	if !ascii(s) && !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	w.w.WriteString(s)
}

// ascii reports whether s is ASCII, which most texts are. It looks at eight characters at a time, the last eight once more:
// texts are short, and what is left over would cost as much as all the rest.
func ascii(s string) bool {
	var high uint64
	if n := len(s); n >= 8 {
		for i := 0; i+8 <= n; i += 8 {
			high |= binary.LittleEndian.Uint64([]byte(s[i : i+8]))
		}
		high |= binary.LittleEndian.Uint64([]byte(s[n-8:]))
	} else {
		for i := range n {
			high |= uint64(s[i])
		}
	}
	return high&0x8080808080808080 == 0
}

func (w *encoder) long(v int64)     { w.w.WriteLong(v) }
func (w *encoder) boolean(v bool)   { w.w.WriteBool(v) }
func (w *encoder) double(v float64) { w.w.WriteDouble(v) }
func (w *encoder) bytes(v []byte)   { w.w.WriteBytes(v) }
func (w *encoder) time(v time.Time) { w.w.WriteLong(millis(v)) }

func (w *encoder) strPtr(v *string) {
	if w.present(v != nil) {
		w.str(*v)
	}
}

func (w *encoder) longPtr(v *int64) {
	if w.present(v != nil) {
		w.long(*v)
	}
}

func (w *encoder) booleanPtr(v *bool) {
	if w.present(v != nil) {
		w.boolean(*v)
	}
}

func (w *encoder) doublePtr(v *float64) {
	if w.present(v != nil) {
		w.double(*v)
	}
}

func (w *encoder) timePtr(v *time.Time) {
	if w.present(v != nil) {
		w.time(*v)
	}
}

// open begins an array of n items in one block, close ends it.
func (w *encoder) open(n int) {
	if n > 0 {
		w.w.WriteLong(int64(n))
	}
}

func (w *encoder) close() { w.w.WriteLong(0) }

func (w *encoder) strs(v []string) {
	w.open(len(v))
	for _, s := range v {
		w.str(s)
	}
	w.close()
}

func (w *encoder) longMap(m map[string]int64) {
	w.open(len(m))
	for _, k := range sortedKeys(m) {
		w.str(k)
		w.long(m[k])
	}
	w.close()
}

func sortedKeys(m map[string]int64) []string {
	keys := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(keys)
	return keys
}

// decoder reads the types that the schemas use. After the first error it returns zero values.
type decoder struct {
	r     *avro.Reader
	limit int64 // no length or count in the input can honestly exceed it
}

func (r *decoder) ok() bool { return r.r.Error == nil }

func (r *decoder) present() bool {
	switch r.long() {
	case 0:
		return false
	case 1:
		return r.ok()
	}
	r.r.ReportError("union", "branch out of range")
	return false
}

func (r *decoder) bytes() []byte {
	n := r.long()
	if n < 0 || n > r.limit {
		r.r.ReportError("bytes", "length out of range")
		return nil
	}
	if n == 0 || !r.ok() {
		return nil
	}
	b := make([]byte, n)
	r.r.Read(b)
	return b
}

func (r *decoder) str() string {
	b := r.bytes()
	if !utf8.Valid(b) {
		r.r.ReportError("string", "not UTF-8")
	}
	return string(b)
}

func (r *decoder) long() int64 {
	if !r.ok() {
		return 0
	}
	return r.r.ReadLong()
}

func (r *decoder) boolean() bool {
	return r.ok() && r.r.ReadBool()
}

func (r *decoder) double() float64 {
	if !r.ok() {
		return 0
	}
	var b [8]byte
	r.r.Read(b[:])
	return math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
}

func (r *decoder) time() time.Time {
	ms := r.long()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (r *decoder) strPtr() *string     { return read(r, (*decoder).str) }
func (r *decoder) longPtr() *int64     { return read(r, (*decoder).long) }
func (r *decoder) booleanPtr() *bool   { return read(r, (*decoder).boolean) }
func (r *decoder) doublePtr() *float64 { return read(r, (*decoder).double) }
func (r *decoder) timePtr() *time.Time { return read(r, (*decoder).time) }

func read[T any](r *decoder, value func(*decoder) T) *T {
	if !r.present() {
		return nil
	}
	v := value(r)
	return &v
}

// block returns how many items the next block of an array or map has, 0 at its end. Every item takes a byte at least.
func (r *decoder) block() int64 {
	if !r.ok() {
		return 0
	}
	n, _ := r.r.ReadBlockHeader()
	if n < 0 || n > r.limit {
		r.r.ReportError("block", "count out of range")
		return 0
	}
	return n
}

func (r *decoder) strs() (v []string) {
	for n := r.block(); n > 0; n = r.block() {
		for ; n > 0 && r.ok(); n-- {
			v = append(v, r.str())
		}
	}
	return v
}

func (r *decoder) longMap() (m map[string]int64) {
	for n := r.block(); n > 0; n = r.block() {
		if m == nil {
			m = map[string]int64{}
		}
		for ; n > 0 && r.ok(); n-- {
			k := r.str()
			m[k] = r.long()
		}
	}
	return m
}

// millis is the wire form of a time; the zero time is 0, the schemas' default.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
