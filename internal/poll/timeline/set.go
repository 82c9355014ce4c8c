package timeline

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"agentassist-poller/internal/binform"
)

// ReadSpan is a span whose rows were all read, together, at ReadAt by the server's clock.
type ReadSpan struct {
	Span
	ReadAt time.Time
}

// Set is the time read so far of one unit: ordered spans that do not overlap, each with the time of its last complete read. Time that is
// not in the set is a gap. A Set rounds to the safe side: it never claims more time, or a later read, than was marked.
//
// Times have millisecond precision. The zero Set is empty and ready for use. A Set is not safe for concurrent use.
type Set struct {
	parts []part
}

// part is a ReadSpan in milliseconds since 1970. Parts are small because hundreds of bots have a year of them.
type part struct {
	from, to, read int64
}

func (p part) readSpan() ReadSpan {
	return ReadSpan{Span{time.UnixMilli(p.from).UTC(), time.UnixMilli(p.to).UTC()}, time.UnixMilli(p.read).UTC()}
}

// ceilMilli returns the first whole millisecond that is not before t.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// Mark records that all rows of [from, to) were read at readAt, which replaces earlier reads of that time. It marks nothing later than
// readAt, because a read cannot show rows that start after it.
func (s *Set) Mark(from, to, readAt time.Time) {
	p := part{ceilMilli(from), to.UnixMilli(), readAt.UnixMilli()}
	p.to = min(p.to, p.read)
	if p.from >= p.to {
		return
	}
	i := s.after(p.from) // the first part that reaches past p.from
	j := i
	repl := make([]part, 0, 3)
	for ; j < len(s.parts) && s.parts[j].from < p.to; j++ {
		if q := s.parts[j]; q.from < p.from {
			repl = append(repl, part{q.from, p.from, q.read})
		}
	}
	repl = append(repl, p)
	if j > i {
		if q := s.parts[j-1]; q.to > p.to {
			repl = append(repl, part{p.to, q.to, q.read})
		}
	}
	s.parts = slices.Replace(s.parts, i, j, repl...)
	s.join(max(0, i-1), min(len(s.parts), i+len(repl)+1))
}

// after returns the index of the first part that ends after ms.
func (s *Set) after(ms int64) int {
	return sort.Search(len(s.parts), func(i int) bool { return s.parts[i].to > ms })
}

// join joins neighbours in parts[i:j] that touch and were read at the same time.
func (s *Set) join(i, j int) {
	out := s.parts[:i]
	for k := i; k < j; k++ {
		p := s.parts[k]
		if n := len(out); n > i && out[n-1].to == p.from && out[n-1].read == p.read {
			out[n-1].to = p.to
			continue
		}
		out = append(out, p)
	}
	s.parts = slices.Delete(s.parts, len(out), j)
}

// Empty reports whether nothing was read.
func (s *Set) Empty() bool { return len(s.parts) == 0 }

// Len returns the number of spans.
func (s *Set) Len() int { return len(s.parts) }

// Bounds returns the span from the first moment that was read to the last, gaps included. It is zero if nothing was read.
func (s *Set) Bounds() Span {
	if len(s.parts) == 0 {
		return Span{}
	}
	return Span{s.parts[0].readSpan().From, s.parts[len(s.parts)-1].readSpan().To}
}

// clip returns the parts within [from, to), cut at its ends.
func (s *Set) clip(from, to time.Time) []part {
	a, b := from.UnixMilli(), ceilMilli(to)
	var out []part
	for i := s.after(a); a < b && i < len(s.parts) && s.parts[i].from < b; i++ {
		p := s.parts[i]
		out = append(out, part{max(p.from, a), min(p.to, b), p.read})
	}
	return out
}

// ReadSpans returns the spans that were read within [from, to), in order.
func (s *Set) ReadSpans(from, to time.Time) []ReadSpan {
	parts := s.clip(from, to)
	out := make([]ReadSpan, len(parts))
	for i, p := range parts {
		out[i] = p.readSpan()
	}
	return out
}

// Covered reports whether all of [from, to) was read.
func (s *Set) Covered(from, to time.Time) bool {
	return !s.ReadThrough(from).Before(to)
}

// Gaps returns the spans within [from, to) that were never read, in order.
func (s *Set) Gaps(from, to time.Time) []Span {
	var out []Span
	for _, p := range s.clip(from, to) {
		span := p.readSpan()
		if span.From.After(from) {
			out = append(out, Span{from, span.From})
		}
		from = span.To
	}
	if from.Before(to) {
		out = append(out, Span{from, to})
	}
	return out
}

// ReadThrough returns the end of the time that was read without a gap from from on. It is from itself if from was not read.
func (s *Set) ReadThrough(from time.Time) time.Time {
	end := from.UnixMilli()
	i := s.after(end)
	if i == len(s.parts) || s.parts[i].from > end {
		return from
	}
	for ; i < len(s.parts) && s.parts[i].from <= end; i++ {
		end = s.parts[i].to
	}
	return time.UnixMilli(end).UTC()
}

// LastRead returns when the moment t was last read, and false if it never was.
func (s *Set) LastRead(t time.Time) (time.Time, bool) {
	ms := t.UnixMilli()
	if i := s.after(ms); i < len(s.parts) && s.parts[i].from <= ms {
		return time.UnixMilli(s.parts[i].read).UTC(), true
	}
	return time.Time{}, false
}

// OldestRead returns the earliest of the last reads within [from, to): every edit made before that time has been read. It returns false
// if a part of the time was never read, or if from is not before to.
func (s *Set) OldestRead(from, to time.Time) (time.Time, bool) {
	if !from.Before(to) || !s.Covered(from, to) {
		return time.Time{}, false
	}
	oldest := int64(math.MaxInt64)
	for _, p := range s.clip(from, to) {
		oldest = min(oldest, p.read)
	}
	return time.UnixMilli(oldest).UTC(), true
}

// Drop forgets everything before a time.
func (s *Set) Drop(before time.Time) {
	ms := ceilMilli(before)
	i := s.after(ms)
	s.parts = slices.Delete(s.parts, 0, i)
	if len(s.parts) > 0 {
		s.parts[0].from = max(s.parts[0].from, ms)
	}
}

// Coalesce joins touching spans until at most limit are left, or until all are separated by gaps. The joined span has the older of the two
// reads. Coalesce first joins spans whose ages at now differ least in proportion, so that it loses freshness where that matters least:
// of old reads.
func (s *Set) Coalesce(limit int, now time.Time) {
	n := now.UnixMilli()
	for tolerance := 1.0 / 16; len(s.parts) > limit; tolerance *= 2 {
		out := s.parts[:1]
		youngest := s.parts[0].read // the last read within the last part of out
		for _, p := range s.parts[1:] {
			last := &out[len(out)-1]
			oldest, newest := min(last.read, p.read), max(youngest, p.read)
			if last.to == p.from && float64(n-oldest) <= float64(max(n-newest, 1000))*(1+tolerance) {
				last.to, last.read, youngest = p.to, oldest, newest
				continue
			}
			out = append(out, p)
			youngest = p.read
		}
		s.parts = out
		if tolerance > 1e9 { // only gaps are left between them
			return
		}
	}
}

// Limit gives up the shortest spans until at most limit are left: they are gaps again. It is for sets that Coalesce leaves too large.
func (s *Set) Limit(limit int) {
	if len(s.parts) <= limit {
		return
	}
	lengths := make([]int64, len(s.parts))
	for i, p := range s.parts {
		lengths[i] = p.to - p.from
	}
	slices.Sort(lengths)
	shortest := lengths[len(lengths)-limit]
	equal := 0 // how many of the shortest that stay are to go all the same
	for _, n := range lengths[len(lengths)-limit:] {
		if n == shortest {
			equal++
		}
	}
	s.parts = slices.DeleteFunc(s.parts, func(p part) bool {
		switch n := p.to - p.from; {
		case n > shortest:
			return false
		case n < shortest || equal == 0:
			return true
		}
		equal--
		return false
	})
}

// The form of a Set:
//
//	+---------+-------+------+--------+------+----
//	| version | count | from | length | read | ...      count spans, in order
//	+---------+-------+------+--------+------+----
//	   byte    uvarint varint uvarint  varint
//
//	version  1
//	from     the distance from the end of the span before, the first from 1970
//	length   of the span, not 0
//	read     the distance from the end of the span to its last read; negative if rows were read before the end
//
// All are milliseconds. A reader refuses another version, and times after the year 9999.
const setVersion = 1

var errSetFormat = errors.New("not a set of spans")

// AppendBinary appends the form of the set to dst.
func (s *Set) AppendBinary(dst []byte) []byte {
	dst = append(dst, setVersion)
	dst = binary.AppendUvarint(dst, uint64(len(s.parts)))
	var end int64
	for _, p := range s.parts {
		dst = binary.AppendVarint(dst, p.from-end)
		dst = binary.AppendUvarint(dst, uint64(p.to-p.from))
		dst = binary.AppendVarint(dst, p.read-p.to)
		end = p.to
	}
	return dst
}

// maxMilli is the end of the year 9999 in milliseconds. Sums of two such times cannot overflow.
const maxMilli = 253402214400_000

func plausible(ms int64) bool { return ms >= -maxMilli && ms <= maxMilli }

// DecodeSet reads a form that AppendBinary has written.
func DecodeSet(b []byte) (*Set, error) {
	r := binform.NewReader(b)
	if v := r.Byte(); v != setVersion {
		return nil, fmt.Errorf("read set of spans: version %d: %w", v, errSetFormat)
	}
	n := r.Count(3)
	s := &Set{parts: make([]part, 0, n)}
	var end int64
	for i := range n {
		var p part
		p.from = end + r.Int(-maxMilli, maxMilli)
		p.to = p.from + int64(r.Uint(2*maxMilli))
		p.read = p.to + r.Int(-maxMilli, maxMilli)
		if p.to <= p.from || (i > 0 && p.from < end) || !plausible(p.from) || !plausible(p.to) || !plausible(p.read) {
			return nil, fmt.Errorf("read set of spans: span %d of %d: %w", i+1, n, cmp.Or(r.Err(), errSetFormat))
		}
		s.parts = append(s.parts, p)
		end = p.to
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read set of spans: %w", err)
	}
	s.join(0, len(s.parts))
	return s, nil
}
