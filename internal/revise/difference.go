package revise

import "bytes"

// What endpoints say of an entity is much the same. The observations behind the first are therefore stored as what differs from
// the first: fields that it lacks or that have another value, and the numbers of those that only the first has. This needs
// no knowledge of the fields, so that those of a later build go through an earlier one untouched.

// maxDepth bounds how deep records are compared field by field. Those of events lie less deep.
const maxDepth = 4

// appendDifference appends what turns base into body. It reports false if one of them is not an observation.
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

// appendChange appends a field that is not as it was: its difference if that is shorter.
func appendChange(dst []byte, was, is field, depth int) []byte {
	if was.kind == kindRecord && is.kind == kindRecord && depth < maxDepth {
		if difference, ok := appendDifference(nil, was.value, is.value, depth+1); ok && len(difference) < len(is.value) {
			return appendSized(appendTag(dst, is.number, kindChange), func(dst []byte) []byte { return append(dst, difference...) })
		}
	}
	return append(dst, is.raw...)
}

// appendApplied appends what appendDifference was given as body, and reports whether base and difference fit together.
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

// walker goes through the fields of an observation, or of a difference.
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

// next goes to the next field. Numbers that do not ascend, and kinds that do not belong here, end the walk as failed.
func (w *walker) next() {
	if w.done = !w.More(); w.done {
		return
	}
	previous := w.field.number
	w.field = w.reader.field()
	w.require(w.field.number > previous, "fields that do not ascend")
	w.require(w.changes || w.kind != kindGone && w.kind != kindChange, "a difference where there must be none")
	w.done = w.Err() != nil
}
