package revise

import (
	"encoding/binary"
	"slices"
)

// alternation notices when a place goes back and forth between contents. That somebody takes back a change, once or twice, is published
// at once. Copies of one row on several pages that disagree, or servers of which one lags, look the same and never end: what has come back
// before must be observed several times in a row before it counts again, twice as often each time. What has never been there counts at
// once. So does what is urgent, but for the last time when it has come back maxReturns times.
//
// The zero value has noticed nothing.
type alternation struct {
	past    []uint32 // fingerprints of earlier contents, the latest last
	returns uint8    // how often an earlier content came back and counted
	doubts  uint8    // observations of an earlier content since the present content was last observed
}

const (
	maxPast    = 8
	maxReturns = 6
)

func fingerprint(h hash) uint32 { return binary.BigEndian.Uint32(h[:]) }

// confirm notes that the present content was observed. It returns whether that changes anything.
func (a *alternation) confirm() bool {
	changed := a.doubts > 0
	a.doubts = 0
	return changed
}

// accept returns whether another content than the present one counts from now on. keep says whether the present content is to be noticed
// when it comes back, although none has so far.
func (a *alternation) accept(present, next hash, keep, urgent bool) bool {
	known := slices.Index(a.past, fingerprint(next))
	if known >= 0 {
		if a.returns > 0 && (!urgent || a.returns == maxReturns) {
			if a.doubts++; a.doubts < 1<<a.returns {
				return false
			}
		}
		a.returns = min(a.returns+1, maxReturns)
		a.past = slices.Delete(slices.Clone(a.past), known, known+1)
	}
	a.doubts = 0
	if keep || known >= 0 || len(a.past) > 0 {
		a.past = append(slices.Clip(a.past), fingerprint(present))
		a.past = a.past[max(len(a.past)-maxPast, 0):]
	}
	return true
}

func (a *alternation) noticed() bool { return len(a.past) > 0 }

// appendAlternation appends the stored form.
func (a *alternation) appendAlternation(dst []byte) []byte {
	dst = append(dst, a.returns<<4|byte(len(a.past)), a.doubts)
	for _, f := range a.past {
		dst = binary.BigEndian.AppendUint32(dst, f)
	}
	return dst
}

// alternation takes what appendAlternation has written.
func (r *reader) alternation() (a alternation) {
	first := r.Byte()
	a.returns, a.doubts = first>>4, r.Byte()
	n := int(first & 0x0f)
	r.require(n >= 1 && n <= maxPast && a.returns <= maxReturns && a.doubts < 1<<maxReturns, "an alternation that cannot be")
	for ; n > 0 && r.Err() == nil; n-- {
		var f [4]byte
		r.Fill(f[:])
		a.past = append(a.past, binary.BigEndian.Uint32(f[:]))
	}
	return a
}
