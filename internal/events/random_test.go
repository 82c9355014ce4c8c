package events_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentassist-poller/internal/events"

	"github.com/stretchr/testify/require"
)

// random is a source of values; text is made of the alphabet.
type random struct {
	*rand.Rand
	alphabet []rune
}

var (
	anyText   = []rune("abcXYZ019 -\"\\\x00\nàß中😀\uFFFD")
	plainText = []rune("abcdefghij klmnopqrst uvwxyz 0123456789.,-")
)

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, seed)), anyText} }

// randomEvent returns an event of type t in which every field is empty or holds any value it may hold.
func randomEvent(r random, t events.Type) events.Event {
	e := events.New(t)
	randomize(r, reflect.ValueOf(e).Elem())
	e.Head().EventTime = randomTime(r)
	if used, ok := e.(*events.SuggestionUsed); ok {
		used.SetUsage(r.IntN(2) == 0)
	}
	return e
}

func randomize(r random, v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(randomTime(r)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() * 1000)
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			randomize(r, v.Elem())
		}
	case reflect.Slice:
		for range r.IntN(4) {
			x := reflect.New(v.Type().Elem()).Elem()
			if x.Kind() == reflect.Uint8 {
				x.SetUint(uint64(r.IntN(256)))
			} else {
				randomize(r, x)
			}
			v.Set(reflect.Append(v, x))
		}
	case reflect.Map:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				v.SetMapIndex(reflect.ValueOf(randomText(r)), reflect.ValueOf(int64(r.Uint64())))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			randomize(r, v.Field(i))
		}
	default:
		panic("no random " + v.Type().String())
	}
}

// randomTime is never the zero of the wire.
func randomTime(r random) time.Time {
	return time.UnixMilli(1 + r.Int64N(4_000_000_000_000)).UTC()
}

func randomText(r random) string {
	n := r.IntN(12)
	if r.IntN(50) == 0 {
		n = 3000
	}
	var b strings.Builder
	for range n {
		b.WriteRune(r.alphabet[r.IntN(len(r.alphabet))])
	}
	return b.String()
}

// tidy makes what decoders may spell in two ways the same: empty lists and the zone of a time.
func tidy(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			tidy(v.Elem())
		}
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			v.SetZero()
		}
		for i := 0; v.Kind() == reflect.Slice && i < v.Len(); i++ {
			tidy(v.Index(i))
		}
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			v.Set(reflect.ValueOf(t.UTC()))
			return
		}
		for i := range v.NumField() {
			tidy(v.Field(i))
		}
	}
}

// forTypes runs f for random events of every type.
func forTypes(t *testing.T, f func(t *testing.T, r random, typ events.Type)) {
	t.Helper()
	for _, typ := range events.Types() {
		t.Run(string(typ), func(t *testing.T) {
			r := newRandom(uint64(len(typ)))
			for range 20 {
				f(t, r, typ)
			}
		})
	}
}

func encode(t testing.TB, e events.Event) []byte {
	t.Helper()
	b, err := events.AppendAvro(nil, e)
	require.NoError(t, err)
	return b
}
