package revise

import "bytes"

// Two endpoints show much the same of an entity. Therefore the observations after the first are stored as differences to the first. A
// difference is a record (see observation.go) in which a field means:
//
//	gone         the observation does not have the field; only the first has it
//	change       both have the field, and it is a record: the value is the difference between the two records
//	other kinds  the observation has the field with this value, and the first does not
//
// A field that is the same in both is left out. Making and applying a difference needs no knowledge of the fields, so that fields of a
// later build pass through an earlier one unchanged.

// maxDepth limits how deep records are compared field by field. The records of events are less deep.
const maxDepth = 4

// appendDifference appends the difference that turns base into body. It returns false if either is not an observation.
func appendDifference(dst, base, body []byte, depth int) ([]byte, bool) {
	ours, theirs := walk(body), walk(base)
	for !ours.done || !theirs.done {
		switch was, is := theirs.field, ours.field; {
		case ours.done || !theirs.done && was.number < is.number:
			dst = appendTag(dst, was.number, kindGone)
			theirs.next()
		case theirs.done || is.number < was.number:
			dst = append(dst, is.raw...)
			ours.next()
		default:
			if !bytes.Equal(was.raw, is.raw) {
				dst = appendChange(dst, was, is, depth)
			}
			ours.next()
			theirs.next()
		}
	}
	return dst, ours.Err() == nil && theirs.Err() == nil
}

// appendChange appends a field whose value differs: as a change if both are records and that is shorter, else whole.
func appendChange(dst []byte, was, is field, depth int) []byte {
	if was.kind == kindRecord && is.kind == kindRecord && depth < maxDepth {
		if difference, ok := appendDifference(nil, was.value, is.value, depth+1); ok && len(difference) < len(is.value) {
			return appendSized(appendTag(dst, is.number, kindChange), func(dst []byte) []byte { return append(dst, difference...) })
		}
	}
	return append(dst, is.raw...)
}

// appendApplied applies a difference to base and appends the result: the body that appendDifference was given. It returns false if base and
// difference do not belong together.
func appendApplied(dst, base, difference []byte, depth int) ([]byte, bool) {
	changes, theirs := walkChanges(difference), walk(base)
	ok := true
	for !changes.done || !theirs.done {
		switch was, change := theirs.field, changes.field; {
		case changes.done || !theirs.done && was.number < change.number:
			dst = append(dst, was.raw...)
			theirs.next()
			continue
		case theirs.done || change.number < was.number:
			ok = ok && change.kind != kindGone && change.kind != kindChange
			dst = append(dst, change.raw...)
		case change.kind == kindGone:
			theirs.next()
		case change.kind == kindChange:
			ok = ok && was.kind == kindRecord && depth < maxDepth
			if ok {
				dst = appendSized(appendTag(dst, was.number, kindRecord), func(dst []byte) []byte {
					dst, ok = appendApplied(dst, was.value, change.value, depth+1)
					return dst
				})
			}
			theirs.next()
		default:
			dst = append(dst, change.raw...)
			theirs.next()
		}
		changes.next()
	}
	return dst, ok && changes.Err() == nil && theirs.Err() == nil
}

// walker iterates over the fields of an observation or of a difference.
type walker struct {
	reader
	field
	changes bool
	done    bool
}

func walk(body []byte) *walker        { return newWalker(body, false) }
func walkChanges(body []byte) *walker { return newWalker(body, true) }

func newWalker(body []byte, changes bool) *walker {
	w := &walker{reader: newReader(body), field: field{number: -1}, changes: changes}
	w.next()
	return w
}

// next reads the next field. Fields out of order and kinds that do not belong here end the walk as failed.
func (w *walker) next() {
	if w.done = !w.More(); w.done {
		return
	}
	previous := w.field.number
	w.field = w.reader.field()
	w.require(w.field.number > previous, "fields out of order")
	w.require(w.changes || w.kind != kindGone && w.kind != kindChange, "a difference outside of a difference")
	w.done = w.Err() != nil
}
