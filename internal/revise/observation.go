package revise

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"agentassist-poller/internal/events"
)

// The stored form of an observation is a record: the fields of its event that are stored and not empty, in the order of their numbers.
//
//	+-----+-------+-----+-------+----
//	| tag | value | tag | value | ...
//	+-----+-------+-----+-------+----
//	uvarint
//
// A tag is the number of the field times 8, plus the kind of its value:
//
//	0  gone     no value; only in a difference
//	1  number   varint: a long, a boolean (0 or 1), a time in milliseconds since 1970
//	2  double   IEEE 754, 8 bytes, big-endian
//	3  text     length as uvarint, and the bytes
//	4  code     a text in a shorter form (see text.go)
//	5  record   length as uvarint, and a record
//	6  list     length as uvarint, and values as fields with the number 0; a map is a list of its keys and values in turn, by key
//	7  change   length as uvarint, and a difference; only in a difference (see difference.go)
//
// Numbers ascend, so that an observation has one encoding. The number of a field is its tag stored, for good: events only get new
// fields. Therefore a build with more fields can read what a build with fewer has written, and a build with fewer skips fields that it
// does not know. The form has no version of its own; it belongs to the version of the state.

// kind is the form of a field's value.
type kind byte

const (
	kindGone kind = iota
	kindNumber
	kindDouble
	kindText
	kindCode
	kindRecord
	kindList
	kindChange

	kindBits = 3
)

var timeType = reflect.TypeFor[time.Time]()

// encodeObservation returns the stored form of e.
func encodeObservation(e events.Event) []byte { return appendFields(nil, reflect.ValueOf(e).Elem()) }

// decodeObservation reads the stored form of an observation. It takes the ids that identify the entity from h, the header of another
// observation of the same entity. Fields that the poller fills in when it publishes an event stay empty.
func decodeObservation(t events.Type, h *events.Header, body []byte) (events.Event, error) {
	e := events.New(t)
	r := newReader(body)
	r.fields(reflect.ValueOf(e).Elem())
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("read stored observation of type %s: %w: %d bytes: %w", t, errState, len(body), err)
	}
	e.Head().EntityID, e.Head().AccountID, e.Head().BotID = h.EntityID, h.AccountID, h.BotID
	return e, nil
}

// numbered is a stored field of a record: its number in the stored form, and its index in the struct.
type numbered struct{ number, place int }

// storedFields returns the stored fields of each struct that events consist of, ascending by number. The tag stored of a field is its
// number, or - if the field is not stored.
var storedFields = sync.OnceValue(func() map[reflect.Type][]numbered {
	all := make(map[reflect.Type][]numbered)
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		switch {
		case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice:
			add(t.Elem())
		case t.Kind() == reflect.Struct && t != timeType && all[t] == nil:
			for place := range t.NumField() {
				tag := t.Field(place).Tag.Get("stored")
				if tag == "-" {
					continue
				}
				number, err := strconv.Atoi(tag)
				if err != nil || number < 0 || len(all[t]) > 0 && number <= all[t][len(all[t])-1].number {
					panic(fmt.Sprintf("revise: field %s.%s has the tag stored:%q; want a number above those before it, or -",
						t.Name(), t.Field(place).Name, tag)) // every test meets it
				}
				all[t] = append(all[t], numbered{number, place})
				add(t.Field(place).Type)
			}
		}
	}
	for _, t := range events.Types() {
		add(reflect.TypeOf(events.New(t)))
	}
	return all
})

func appendTag(dst []byte, number int, k kind) []byte {
	return binary.AppendUvarint(dst, uint64(number)<<kindBits|uint64(k))
}

func appendFields(dst []byte, record reflect.Value) []byte {
	for _, f := range storedFields()[record.Type()] {
		if v := record.Field(f.place); !empty(v) {
			dst = appendField(dst, f.number, v)
		}
	}
	return dst
}

func empty(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return v.Len() == 0
	case v.Kind() == reflect.Struct && v.Type() != timeType:
		filled := func(f numbered) bool { return !empty(v.Field(f.place)) }
		return !slices.ContainsFunc(storedFields()[v.Type()], filled)
	}
	return v.IsZero()
}

func appendField(dst []byte, number int, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Pointer:
		return appendField(dst, number, v.Elem())
	case reflect.String:
		return appendText(dst, number, v.String())
	case reflect.Int64:
		return binary.AppendVarint(appendTag(dst, number, kindNumber), v.Int())
	case reflect.Bool:
		var n int64
		if v.Bool() {
			n = 1
		}
		return binary.AppendVarint(appendTag(dst, number, kindNumber), n)
	case reflect.Float64:
		return binary.BigEndian.AppendUint64(appendTag(dst, number, kindDouble), math.Float64bits(v.Float()))
	case reflect.Slice:
		return appendSized(appendTag(dst, number, kindList), func(dst []byte) []byte {
			for i := range v.Len() {
				dst = appendField(dst, 0, v.Index(i))
			}
			return dst
		})
	case reflect.Map:
		return appendSized(appendTag(dst, number, kindList), func(dst []byte) []byte {
			m := v.Interface().(map[string]int64)
			for _, k := range slices.Sorted(maps.Keys(m)) {
				dst = binary.AppendVarint(appendTag(appendText(dst, 0, k), 0, kindNumber), m[k])
			}
			return dst
		})
	case reflect.Struct:
		if v.Type() == timeType {
			return binary.AppendVarint(appendTag(dst, number, kindNumber), v.Interface().(time.Time).UnixMilli())
		}
		return appendSized(appendTag(dst, number, kindRecord), func(dst []byte) []byte { return appendFields(dst, v) })
	default:
		panic("revise: an event has a field of type " + v.Type().String()) // tests of observations have every type
	}
}

// appendSized appends a length and then what write appends, which has that length.
func appendSized(dst []byte, write func([]byte) []byte) []byte {
	start := len(dst)
	dst = write(dst)
	var size [binary.MaxVarintLen64]byte
	return slices.Insert(dst, start, size[:binary.PutUvarint(size[:], uint64(len(dst)-start))]...)
}

// fields reads a record to the end of the input. It skips unknown fields.
func (r *reader) fields(record reflect.Value) {
	known := storedFields()[record.Type()]
	previous := -1
	for r.More() {
		f := r.field()
		r.require(f.number > previous, "fields out of order")
		r.require(f.kind != kindGone && f.kind != kindChange, "a difference outside of a difference")
		previous = f.number
		byNumber := func(known numbered, number int) int { return known.number - number }
		if i, ok := slices.BinarySearchFunc(known, f.number, byNumber); ok && r.Err() == nil {
			r.set(record.Field(known[i].place), f)
		}
	}
}

// field is a field in its stored form.
type field struct {
	number int
	kind   kind
	value  []byte // without the length, if the kind has one
	raw    []byte // tag, length and value
}

// field reads the next field, and checks only where its value ends.
func (r *reader) field() field {
	start := r.Peek()
	tag := r.number()
	f := field{number: int(tag >> kindBits), kind: kind(tag & (1<<kindBits - 1))}
	value := r.Peek()
	switch f.kind {
	case kindGone:
	case kindNumber:
		r.Varint()
	case kindDouble:
		r.Uint64()
	case kindCode:
		r.code()
	default:
		f.value = r.Bytes()
		f.raw = start[:len(start)-r.Len()]
		return f
	}
	f.value, f.raw = value[:len(value)-r.Len()], start[:len(start)-r.Len()]
	return f
}

// set reads the value of f into v.
func (r *reader) set(v reflect.Value, f field) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.set(v.Elem(), f)
	case reflect.String:
		v.SetString(r.text(f))
	case reflect.Int64:
		v.SetInt(r.long(f))
	case reflect.Bool:
		n := r.long(f)
		r.require(n == 0 || n == 1, "a boolean that is neither 0 nor 1")
		v.SetBool(n == 1)
	case reflect.Float64:
		if f.kind == kindNumber { // earlier builds knew whole numbers only
			v.SetFloat(float64(r.long(f)))
			return
		}
		value := r.enter(f, kindDouble)
		v.SetFloat(math.Float64frombits(value.Uint64()))
		r.leave(&value)
	case reflect.Slice:
		value := r.enter(f, kindList)
		for value.More() {
			v.Grow(1)
			v.SetLen(v.Len() + 1)
			value.set(v.Index(v.Len()-1), value.item())
		}
		r.leave(&value)
	case reflect.Map:
		value := r.enter(f, kindList)
		m := make(map[string]int64)
		for value.More() {
			key := value.text(value.item())
			m[key] = value.long(value.item())
		}
		r.leave(&value)
		v.Set(reflect.ValueOf(m))
	default:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(time.UnixMilli(r.long(f)).UTC()))
			return
		}
		value := r.enter(f, kindRecord)
		value.fields(v)
		r.leave(&value)
	}
}

// enter returns a reader of the value of f, which must be of kind k.
func (r *reader) enter(f field, k kind) reader {
	r.require(f.kind == k, "a field of the wrong kind")
	return newReader(f.value)
}

// leave makes r fail if the reader of a value has failed or has left bytes over.
func (r *reader) leave(value *reader) {
	if err := value.Done(); err != nil {
		r.Fail(err)
	}
}

func (r *reader) item() field {
	f := r.field()
	r.require(f.number == 0, "an item of a list with a number")
	return f
}

// long returns the value of a number.
func (r *reader) long(f field) int64 {
	value := r.enter(f, kindNumber)
	n := value.Varint()
	r.leave(&value)
	return n
}
