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

// ReadSpan is time whose rows were all read, together, at ReadAt by the server's clock.
type ReadSpan struct {
	Span
	ReadAt time.Time
}

// Set is the time read so far for one endpoint and bot: ordered stretches that do not overlap, each with the time of its last
// complete read. What is not in the set is a gap. Whatever is rounded is rounded to the careful side: a Set never claims
// more time, or a fresher read, than it was told.
//
// Times have millisecond precision. The zero Set is empty and ready for use; a Set is not safe for concurrent use.
type Set struct {
	parts []part
}

// part is a ReadSpan in milliseconds. A year of parts is kept by hundreds of bots, so they are small.
type part struct {
	from, to, read int64
}

func (p part) stretch() ReadSpan {
	return ReadSpan{Span{time.UnixMilli(p.from).UTC(), time.UnixMilli(p.to).UTC()}, time.UnixMilli(p.read).UTC()}
}

// ceilMilli is the first whole millisecond not before t.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// Mark records that all rows of [from, to) were read at readAt, whatever was known of that time before. Nothing later than
// readAt is marked: rows that start after a read cannot have been on it.
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

// join makes one part of neighbours in parts[i:j] that touch and were read at the same time.
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

// Empty reports whether nothing was read yet.
func (s *Set) Empty() bool { return len(s.parts) == 0 }

// Len returns the number of stretches.
func (s *Set) Len() int { return len(s.parts) }

// Bounds returns the time from the first moment read to the last. It may have gaps. The zero Span if nothing was read.
func (s *Set) Bounds() Span {
	if len(s.parts) == 0 {
		return Span{}
	}
	return Span{s.parts[0].stretch().From, s.parts[len(s.parts)-1].stretch().To}
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

// Stretches returns what was read within [from, to), in order.
func (s *Set) ReadSpans(from, to time.Time) []ReadSpan {
	parts := s.clip(from, to)
	out := make([]ReadSpan, len(parts))
	for i, p := range parts {
		out[i] = p.stretch()
	}
	return out
}

// Covered reports whether all of [from, to) was read.
func (s *Set) Covered(from, to time.Time) bool {
	return !s.ReadThrough(from).Before(to)
}

// Gaps returns the time within [from, to) that was never read, in order.
func (s *Set) Gaps(from, to time.Time) []Span {
	var out []Span
	for _, p := range s.clip(from, to) {
		st := p.stretch()
		if st.From.After(from) {
			out = append(out, Span{from, st.From})
		}
		from = st.To
	}
	if from.Before(to) {
		out = append(out, Span{from, to})
	}
	return out
}

// ReadThrough returns the end of the unbroken coverage that contains from, or from itself where from was not read.
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

// LastRead returns when the moment t was last read. It is false if it never was.
func (s *Set) LastRead(t time.Time) (time.Time, bool) {
	ms := t.UnixMilli()
	if i := s.after(ms); i < len(s.parts) && s.parts[i].from <= ms {
		return time.UnixMilli(s.parts[i].read).UTC(), true
	}
	return time.Time{}, false
}

// OldestRead returns the earliest time at which any of [from, to) was last read: every edit made before it has been
// seen. It is false if part of the time was never read, or there is no time between from and to.
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

// Drop forgets everything before t.
func (s *Set) Drop(before time.Time) {
	ms := ceilMilli(before)
	i := s.after(ms)
	s.parts = slices.Delete(s.parts, 0, i)
	if len(s.parts) > 0 {
		s.parts[0].from = max(s.parts[0].from, ms)
	}
}

// Coalesce joins touching stretches until at most limit are left, or only gaps separate them. The joined stretch has the older of
// the two reads. Those whose ages at now differ least, in proportion, are joined first, so that what is given
// up is freshness where it matters least: of old reads.
func (s *Set) Coalesce(limit int, now time.Time) {
	n := now.UnixMilli()
	for tolerance := 1.0 / 16; len(s.parts) > limit; tolerance *= 2 {
		out := s.parts[:1]
		youngest := s.parts[0].read // within the last of out
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
		if tolerance > 1e9 { // nothing but gaps is left between them
			return
		}
	}
}

// The version leads the bytes, so that a later format can be told from this one.
const setVersion = 1

var errSetFormat = errors.New("not a set of intervals")

// AppendBinary appends the set in a compact form of its own to dst.
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

// maxMilli is the year 9999 in milliseconds: sums of two such times cannot overflow.
const maxMilli = 253402214400_000

func plausible(ms int64) bool { return ms >= -maxMilli && ms <= maxMilli }

// DecodeSet reads what AppendBinary wrote.
func DecodeSet(b []byte) (*Set, error) {
	r := binform.NewReader(b)
	if v := r.Byte(); v != setVersion {
		return nil, fmt.Errorf("read intervals: version %d: %w", v, errSetFormat)
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
			return nil, fmt.Errorf("read intervals: stretch %d of %d: %w", i+1, n, cmp.Or(r.Err(), errSetFormat))
		}
		s.parts = append(s.parts, p)
		end = p.to
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read intervals: %w", err)
	}
	s.join(0, len(s.parts))
	return s, nil
}
