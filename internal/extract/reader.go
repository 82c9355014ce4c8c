package extract

import (
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"agentassist-poller/internal/bound"
)

// A reader walks one body from front to back, once. What upstream promises is taken loosely: a value of another type than
// the promised one is converted where that has one meaning, and else left out and counted. Only broken JSON is an error;
// it ends the walk, and every method returns nothing from then on.
//
// Texts are parts of the body itself, and what events point to comes from slabs, so that a page costs few allocations.
// Values of one page are therefore shared between its events: whoever changes an event replaces its pointers and never
// writes through them.
type reader struct {
	scanner
	valid bool // the whole page is UTF-8

	path  []string // to the object being read
	name  string   // of the member being read
	extra *extra   // collects what is not known of the next object; nil if nothing does
	drift drift
	buf   []byte // for one text at a time

	listed int // elements of lists since it was last set to 0
	wrong  int // values that could not be used

	earliest *time.Time // of all times read since it was last set to nil

	texts  slab[string]
	ints   slab[int64]
	floats slab[float64]
	bools  slab[bool]
	times  slab[time.Time]
}

// tolerant is what the scanner lets through: a duplicate name and a broken character cost their field at most.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

func newReader(body []byte) *reader {
	page := unsafe.String(unsafe.SliceData(body), len(body)) // Decode owns the body, and nothing changes it
	return &reader{scanner: scanner{body: page}, valid: utf8.ValidString(page), drift: drift{}}
}

// object reads an object and calls field with the name of each member. A member that field leaves unread is unknown:
// it is skipped and counted. Upstream also sends null, [] or {} for no object, and the object as the only element of an
// array. The result says whether there was an object.
func (r *reader) object(at string, field func(name string)) bool {
	switch r.kind() {
	case '{':
		return r.members(at, field)
	case '[':
		found := false
		r.list(func() {
			if r.kind() == '{' && !found {
				found = r.members(at, field)
			} else {
				r.bad(at)
				r.skip()
			}
		})
		return found
	case 'n':
	case '"':
		if r.value() != `""` { // which is as good as null
			r.bad(at)
		}
		return false
	default:
		r.bad(at)
	}
	r.skip()
	return false
}

func (r *reader) members(at string, field func(name string)) bool {
	found := false
	keep := r.extra
	r.extra = nil
	depth := len(r.path)
	if at != "" {
		r.path = append(r.path, at)
	}
	for more := r.enter('}'); more; more = r.more('}') {
		found = true
		name := r.unquote(r.scanner.name())
		before := r.next()
		r.name = name
		field(name)
		if r.pos == before && r.err == nil {
			r.drift.add("", r.path, name)
			if keep == nil || r.kind() == 'n' {
				r.skip()
				continue
			}
			name = strings.Clone(name)
			keep.members = append(keep.members, member{name, r.value()})
		}
	}
	r.path = r.path[:depth]
	return found && r.err == nil
}

// list reads an array and calls elem for each of its elements that is not null. Upstream also sends null for an empty
// array and a single element without its array. Elements beyond bound.RecordElements are counted, not read.
func (r *reader) list(elem func()) {
	switch r.kind() {
	case '[':
	case 'n':
		r.skip()
		return
	default:
		elem()
		return
	}
	for more := r.enter(']'); more; more = r.more(']') {
		if r.listed++; r.kind() == 'n' || r.listed > bound.RecordElements {
			r.skip()
			continue
		}
		before := r.pos
		elem()
		if r.pos == before && r.err == nil {
			r.bad(r.name)
			r.skip()
		}
	}
}

// bad counts a value that could not be used.
func (r *reader) bad(name string) {
	r.wrong++
	r.drift.add("bad:", r.path, name)
}

// scalar reads a string, number or boolean as text; not ok for anything that means nothing: null, "", [] and {}. The only
// element of an array stands for itself.
func (r *reader) scalar() (text string, ok bool) {
	switch r.kind() {
	case '"':
		text = r.unquote(r.quoted())
		return text, text != ""
	case '[', '{':
		return r.only(r.value())
	case 'n':
		r.skip()
		return "", false
	default:
		text = r.value()
		return text, r.err == nil
	}
}

// only returns the one scalar in an array.
func (r *reader) only(array string) (text string, ok bool) {
	if r.err != nil {
		return "", false
	}
	inner := strings.TrimSpace(array[1 : len(array)-1])
	switch {
	case inner == "":
		return "", false
	case array[0] == '{' || inner[0] == '[' || inner[0] == '{' || !jsontext.Value(inner).IsValid(tolerant):
		r.bad(r.name)
		return "", false
	case inner[0] == '"':
		text = r.unquote(inner, strings.IndexByte(inner, '\\') < 0)
		return text, text != ""
	}
	return inner, inner != "null"
}

// unquote returns the text of a string, without a copy where it is plain.
func (r *reader) unquote(quoted string, plain bool) string {
	if plain && r.valid {
		return quoted[1 : len(quoted)-1]
	}
	r.buf, _ = jsontext.AppendUnquote(r.buf[:0], quoted) // an error only says that characters were replaced
	return string(r.buf)
}

// text reads a string. Numbers and booleans become their literals.
func (r *reader) text() *string {
	text, ok := r.scalar()
	if !ok {
		return nil
	}
	return r.texts.put(text)
}

// strings reads an array of strings.
func (r *reader) strings() []string {
	var list []string
	r.list(func() {
		if text, ok := r.scalar(); ok {
			list = append(list, text)
		}
	})
	return list
}

// integer reads a whole number, also from a string or from 3.0.
func (r *reader) integer() *int64 {
	text, ok := r.scalar()
	if !ok {
		return nil
	}
	n, ok := parseInteger(strings.TrimSpace(text))
	if !ok {
		r.bad(r.name)
		return nil
	}
	return r.ints.put(n)
}

// number reads a number, also from a string.
func (r *reader) number() *float64 {
	text, ok := r.scalar()
	if !ok {
		return nil
	}
	f, ok := parseNumber(strings.TrimSpace(text))
	if !ok {
		r.bad(r.name)
		return nil
	}
	return r.floats.put(f)
}

// boolean reads true or false, also from a string, a number, yes and no.
func (r *reader) boolean() *bool {
	text, ok := r.scalar()
	if !ok {
		return nil
	}
	b, ok := parseBoolean(strings.TrimSpace(text))
	if !ok {
		r.bad(r.name)
		return nil
	}
	return r.bools.put(b)
}

// time reads a point in time in any of the forms that upstream uses; nil for "".
func (r *reader) time() *time.Time {
	text, ok := r.scalar()
	if !ok {
		return nil
	}
	t, ok := parseTime(strings.TrimSpace(text))
	if !ok {
		r.bad(r.name)
		return nil
	}
	p := r.times.put(t)
	if r.earliest == nil || t.Before(*r.earliest) {
		r.earliest = p
	}
	return p
}

// raw reads any value but null, {} and [] as compact JSON whose members are sorted, so that it is the same text each time.
func (r *reader) raw() *string {
	value := r.value()
	if r.err != nil {
		return nil
	}
	switch value[0] {
	case 'n':
		return nil
	case '"':
		if len(value) == 2 {
			return nil
		}
	case '{', '[':
		if strings.TrimSpace(value[1:len(value)-1]) == "" {
			return nil
		}
	}
	return r.texts.put(canonicalJSON(value))
}

// canonical returns the value that was just read, from where it began, as raw does.
func (r *reader) canonical(start int) *string {
	if r.err != nil {
		return nil
	}
	return r.texts.put(canonicalJSON(r.body[start:r.pos]))
}

func canonicalJSON(valid string) string {
	value := jsontext.Value(valid)
	_ = value.Format(tolerant, jsontext.ReorderRawObjects(true)) // valid input cannot fail
	return strings.ToValidUTF8(string(value), "\uFFFD")
}

// textOrJSON reads a scalar as text does, and anything else as raw does.
func (r *reader) textOrJSON() *string {
	if k := r.kind(); k == '{' || k == '[' {
		return r.raw()
	}
	return r.text()
}

// textsOrJSON reads an array of which each element may be anything.
func (r *reader) textsOrJSON() []string {
	var list []string
	r.list(func() {
		if p := r.textOrJSON(); p != nil {
			list = append(list, *p)
		}
	})
	return list
}

// A slab hands out pointers to values that lie side by side. A value keeps its neighbours alive.
type slab[T any] struct{ free []T }

func (s *slab[T]) put(v T) *T {
	if len(s.free) == 0 {
		s.free = make([]T, 256)
	}
	p := &s.free[0]
	s.free = s.free[1:]
	*p = v
	return p
}
