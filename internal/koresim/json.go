package koresim

import (
	"encoding/binary"
	"strconv"
	"time"
	"unicode/utf8"
)

// jsonWriter appends JSON in the order of the calls. Inside an array the key is "".
type jsonWriter struct {
	b     []byte
	stack []byte
	more  bool
}

func newJSONWriter(rows int) *jsonWriter {
	return &jsonWriter{b: make([]byte, 0, 1024+2048*rows), stack: make([]byte, 0, 16)}
}

func (w *jsonWriter) key(k string) {
	if w.more {
		w.b = append(w.b, ',')
	}
	w.more = true
	if n := len(w.stack); n > 0 && w.stack[n-1] == '}' {
		w.b = appendString(w.b, k)
		w.b = append(w.b, ':')
	}
}

func (w *jsonWriter) obj(k string) *jsonWriter { return w.open(k, '{', '}') }
func (w *jsonWriter) arr(k string) *jsonWriter { return w.open(k, '[', ']') }

func (w *jsonWriter) open(k string, open, end byte) *jsonWriter {
	w.key(k)
	w.b = append(w.b, open)
	w.stack = append(w.stack, end)
	w.more = false
	return w
}

// end closes the innermost object or array.
func (w *jsonWriter) end() {
	n := len(w.stack) - 1
	w.b = append(w.b, w.stack[n])
	w.stack = w.stack[:n]
	w.more = true
}

func (w *jsonWriter) str(k, v string) { w.key(k); w.b = appendString(w.b, v) }
func (w *jsonWriter) num(k string, v int64) {
	w.key(k)
	w.b = strconv.AppendInt(w.b, v, 10)
}
func (w *jsonWriter) float(k string, v float64) {
	w.key(k)
	w.b = strconv.AppendFloat(w.b, v, 'f', -1, 64)
}
func (w *jsonWriter) flag(k string, v bool) { w.key(k); w.b = strconv.AppendBool(w.b, v) }
func (w *jsonWriter) null(k string)         { w.raw(k, "null") }
func (w *jsonWriter) raw(k, v string)       { w.key(k); w.b = append(w.b, v...) }
func (w *jsonWriter) time(k string, m moment) {
	w.key(k)
	w.b = append(w.b, '"')
	w.b = m.Time().AppendFormat(w.b, isoMillis)
	w.b = append(w.b, '"')
}

// local writes m as the analytics endpoints do: without a zone, in whole seconds.
func (w *jsonWriter) local(k string, m moment, zone time.Duration) {
	w.str(k, m.Time().Add(zone).Format(zoneless))
}

func (w *jsonWriter) strs(k string, vs []string) {
	w.arr(k)
	for _, v := range vs {
		w.str("", v)
	}
	w.end()
}

const hexDigits = "0123456789abcdef"

// plain returns how many bytes at the beginning of a text stand in JSON as they are. It looks at eight bytes at a time, as texts of
// megabytes are shown over and over.
func plain(s string) (n int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; n+8 <= len(s); n += 8 {
		x := binary.LittleEndian.Uint64([]byte(s[n : n+8]))
		control, quote, backslash := x-ones*0x20, (x^ones*'"')-ones, (x^ones*'\\')-ones // a byte that it is about becomes negative
		if (x|control|quote|backslash)&high != 0 {
			break
		}
	}
	for n < len(s) && s[n] >= 0x20 && s[n] != '"' && s[n] != '\\' && s[n] < utf8.RuneSelf {
		n++
	}
	return n
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		n := plain(s)
		b, s = append(b, s[:n]...), s[n:]
		if s == "" {
			break
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
