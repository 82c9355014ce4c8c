package events

import (
	"bytes"
	"cmp"
	"reflect"
	"time"
)

// Newer compares two observations of one entity that cannot both be right, for example in two copies of a row on a page. It returns a
// number above 0 if a is the newer one, below 0 if b is, and 0 if they are equal. Newer is feedback than none; then what has progressed
// further; then negative feedback, because nobody should miss it; then the larger bytes of content, or of the whole event if the content is the same. The order
// is total, so that the outcome does not depend on which is read first.
func Newer(a, b Event) int {
	if Withdrawn(a) != Withdrawn(b) {
		if Withdrawn(b) {
			return 1
		}
		return -1
	}
	if c := ProgressOf(a).Compare(ProgressOf(b)); c != 0 {
		return c
	}
	if Negative(a) != Negative(b) {
		if Negative(a) {
			return 1
		}
		return -1
	}
	if c := bytes.Compare(a.AppendContent(nil, Recipe()), b.AppendContent(nil, Recipe())); c != 0 {
		return c
	}
	x, errX := appendRecord(nil, a.(record))
	y, errY := appendRecord(nil, b.(record))
	if errX != nil || errY != nil {
		return 0
	}
	return bytes.Compare(x, y)
}

// Progress is how far things had gone when they were observed: the latest time that they mention, such as an end, and how much they count,
// such as clicks and elements of lists.
type Progress struct {
	latest time.Time
	count  int64
}

// ProgressOf returns the progress of several things together. Their headers say nothing about it.
func ProgressOf(all ...Event) (p Progress) {
	for _, e := range all {
		p.add(reflect.ValueOf(e).Elem())
	}
	return p
}

// Compare returns a number above 0 if p has gone further than other, below 0 if other has, and 0 if neither has.
func (p Progress) Compare(other Progress) int {
	return cmp.Or(p.latest.Compare(other.latest), cmp.Compare(p.count, other.count))
}

// maxCount bounds what one number adds, so that sums do not overflow.
const maxCount = 1 << 40

func (p *Progress) add(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			p.add(v.Elem())
		}
	case reflect.Slice:
		p.count += int64(v.Len())
		for i := range v.Len() {
			p.add(v.Index(i))
		}
	case reflect.Map:
		for _, n := range v.Seq2() {
			p.add(n)
		}
	case reflect.Int64:
		p.count += min(max(v.Int(), -maxCount), maxCount)
	case reflect.Bool:
		if v.Bool() {
			p.count++
		}
	case reflect.Struct:
		switch s := v.Interface().(type) {
		case time.Time:
			if s.After(p.latest) {
				p.latest = s
			}
		case Header: // the row's, not the entity's
		default:
			for i := range v.NumField() {
				p.add(v.Field(i))
			}
		}
	}
}
