package extract

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A reader walks one body from front to back, once. What upstream promises is taken loosely: a value of another type than
// the promised one is converted where that has one meaning, and else left out and counted. Only broken JSON is an error;
// it ends the walk, and every method returns nothing from then on.
//
// Texts are parts of the body itself, and what events point to comes from slabs, so that a page costs few allocations.
// Values of one page are therefore shared between its events: whoever changes an event replaces its pointers and never
// writes through them.
type reader struct {
	dec   *jsontext.Decoder
	page  string
	valid bool // the whole page is UTF-8
	err   error

	path  []string // to the object being read
	name  string   // of the member being read
	drift drift
	buf   []byte // for one text at a time

	earliest *time.Time // of all times read since it was last set to nil

	texts  slab[string]
	ints   slab[int64]
	floats slab[float64]
	bools  slab[bool]
	times  slab[time.Time]
}

// tolerant lets odd but unambiguous input through: a duplicate name and a broken character cost their field at most.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

func newReader(body []byte) *reader {
	return &reader{
		dec:   jsontext.NewDecoder(bytes.NewBuffer(body), tolerant),
		page:  unsafe.String(unsafe.SliceData(body), len(body)), // Decode owns the body, and nothing changes it
		valid: utf8.Valid(body),
		drift: drift{},
	}
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
		if value, err := r.dec.ReadValue(); err != nil {
			r.fail(err)
		} else if len(value) > 2 { // "" is as good as null
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
	r.token()
	found := false
	depth := len(r.path)
	if at != "" {
		r.path = append(r.path, at)
	}
	for r.kind() != '}' && r.err == nil {
		value, err := r.dec.ReadValue()
		if err != nil {
			r.fail(err)
			break
		}
		found = true
		name := r.unquote(value)
		r.name = name
		before := r.dec.InputOffset()
		field(name)
		if r.err == nil && r.dec.InputOffset() == before {
			r.drift.add("", r.path, name)
			r.skip()
		}
	}
	r.path = r.path[:depth]
	r.token()
	return found && r.err == nil
}

// list reads an array and calls elem for each of its elements that is not null. Upstream also sends null for an empty
// array and a single element without its array.
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
	r.token()
	for r.kind() != ']' && r.err == nil {
		if r.kind() == 'n' {
			r.skip()
			continue
		}
		before := r.dec.InputOffset()
		elem()
		if r.err == nil && r.dec.InputOffset() == before {
			r.bad(r.name)
			r.skip()
		}
	}
	r.token()
}

// next is where the value that comes next begins.
func (r *reader) next() int {
	at := int(r.dec.InputOffset())
	for at < len(r.page) {
		switch r.page[at] {
		case ' ', '\t', '\r', '\n', ',', ':':
			at++
		default:
			return at
		}
	}
	return at
}

// kind says what comes next by its first character, '0' for any number; 0 at the end and after an error. It only looks:
// whether what lies between is right is for the decoder to say when it gets there.
func (r *reader) kind() jsontext.Kind {
	at := r.next()
	if r.err != nil || at == len(r.page) {
		return 0
	}
	if c := r.page[at]; c != '-' && (c < '0' || c > '9') {
		return jsontext.Kind(c)
	}
	return '0'
}

func (r *reader) token() {
	if r.err != nil {
		return
	}
	if _, err := r.dec.ReadToken(); err != nil {
		r.fail(err)
	}
}

// skip passes over a value that is known and not wanted.
func (r *reader) skip() {
	if r.err != nil {
		return
	}
	if err := r.dec.SkipValue(); err != nil {
		r.fail(err)
	}
}

func (r *reader) fail(err error) { r.err = err }

// bad counts a value that could not be used.
func (r *reader) bad(name string) { r.drift.add("bad:", r.path, name) }

// scalar reads a string, number or boolean; empty for anything that means nothing: null, "", [] and {}. The only element of
// an array stands for itself.
func (r *reader) scalar() jsontext.Value {
	if r.err != nil {
		return nil
	}
	value, err := r.dec.ReadValue()
	if err != nil {
		r.fail(err)
		return nil
	}
	switch value[0] {
	case 'n':
		return nil
	case '"':
		if len(value) == 2 {
			return nil
		}
		return value
	case '{', '[':
		inner := jsontext.Value(bytes.TrimSpace(value[1 : len(value)-1]))
		if len(inner) == 0 {
			return nil
		}
		if value[0] == '[' && inner[0] != '[' && inner[0] != '{' && inner.IsValid(tolerant) {
			if k := inner.Kind(); k != 'n' && len(inner) > 2 || k == '0' {
				return inner
			}
			return nil
		}
		r.bad(r.name)
		return nil
	default:
		return value
	}
}

// unquote returns the text of a string that was just read, without a copy where it has no escapes.
func (r *reader) unquote(value jsontext.Value) string {
	inner := value[1 : len(value)-1]
	if r.valid && bytes.IndexByte(inner, '\\') < 0 {
		if end := int(r.dec.InputOffset()); end <= len(r.page) && r.page[end-1] == '"' {
			return r.page[end-len(value)+1 : end-1]
		}
		return string(inner)
	}
	r.buf, _ = jsontext.AppendUnquote(r.buf[:0], value) // an error only says that characters were replaced
	return string(r.buf)
}

// literal returns a scalar as text: the text of a string, the digits of a number.
func (r *reader) literal(value jsontext.Value) string {
	if value[0] == '"' {
		return r.unquote(value)
	}
	return string(value)
}

// text reads a string. Numbers and booleans become their literals.
func (r *reader) text() *string {
	value := r.scalar()
	if value == nil {
		return nil
	}
	return r.texts.put(r.literal(value))
}

// strings reads an array of strings.
func (r *reader) strings() []string {
	var list []string
	r.list(func() {
		if value := r.scalar(); value != nil {
			list = append(list, r.literal(value))
		}
	})
	return list
}

// integer reads a whole number, also from a string or from 3.0.
func (r *reader) integer() *int64 {
	value := r.scalar()
	if value == nil {
		return nil
	}
	n, ok := parseInteger(strings.TrimSpace(r.literal(value)))
	if !ok {
		r.bad(r.name)
		return nil
	}
	return r.ints.put(n)
}

// number reads a number, also from a string.
func (r *reader) number() *float64 {
	value := r.scalar()
	if value == nil {
		return nil
	}
	f, ok := parseNumber(strings.TrimSpace(r.literal(value)))
	if !ok {
		r.bad(r.name)
		return nil
	}
	return r.floats.put(f)
}

// boolean reads true or false, also from a string, a number, yes and no.
func (r *reader) boolean() *bool {
	value := r.scalar()
	if value == nil {
		return nil
	}
	b, ok := parseBoolean(strings.TrimSpace(r.literal(value)))
	if !ok {
		r.bad(r.name)
		return nil
	}
	return r.bools.put(b)
}

// time reads a point in time in any of the forms that upstream uses; nil for "".
func (r *reader) time() *time.Time {
	value := r.scalar()
	if value == nil {
		return nil
	}
	t, ok := parseTime(strings.TrimSpace(r.literal(value)))
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
	if r.err != nil {
		return nil
	}
	value, err := r.dec.ReadValue()
	if err != nil {
		r.fail(err)
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
		if len(bytes.TrimSpace(value[1:len(value)-1])) == 0 {
			return nil
		}
	}
	return r.texts.put(canonicalJSON(value.Clone()))
}

// canonical returns the value that was just read, from where it began, as raw does.
func (r *reader) canonical(start int) *string {
	if r.err != nil {
		return nil
	}
	return r.texts.put(canonicalJSON(jsontext.Value(r.page[start:r.dec.InputOffset()])))
}

// canonicalJSON changes value, which must be valid.
func canonicalJSON(value jsontext.Value) string {
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

// whole returns a number as an integer, nil if it is none.
func (r *reader) whole(f *float64) *int64 {
	if f == nil {
		return nil
	}
	n := int64(*f)
	if float64(n) != *f {
		r.bad(r.name)
		return nil
	}
	return r.ints.put(n)
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
