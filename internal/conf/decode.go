package conf

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Defaulter fills in its own defaults. Elements of lists get them when the list grows; the struct given to Decode is
// the caller's to fill.
type Defaulter interface{ SetDefaults() }

var (
	durationType    = reflect.TypeFor[time.Duration]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (d *Doc) decode(into any) {
	root := reflect.ValueOf(into).Elem()
	d.value(d.root, root, "", reflect.StructField{})
}

// value decodes n into v. The field is the struct field that v is, or is an element of.
func (d *Doc) value(n *node, v reflect.Value, path string, field reflect.StructField) {
	if d.bad[path] {
		return
	}
	if isScalar(v.Type()) {
		d.scalar(n, v, path, field)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.kind != null {
			v.Set(newDefault(v.Type().Elem()))
			d.value(n, v.Elem(), path, field)
		}
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, field)
	case reflect.Map:
		d.table(n, v, path, field)
	default:
		panic(fmt.Sprintf("conf: %s: settings of type %s are not supported", path, v.Type()))
	}
}

func (d *Doc) structure(n *node, v reflect.Value, path string) {
	if n.kind == null {
		return // a section with nothing below keeps its defaults
	}
	if n.kind != mapping {
		d.problem(n.pos, path, "is %s; want a section with keys such as %s", n.kind, strings.Join(firstKeys(v.Type()), ", "))
		return
	}
	known := keys(v.Type())
	for _, f := range n.fields {
		i := slices.IndexFunc(known, func(k key) bool { return k.name == f.key })
		if i < 0 {
			meant, hint := suggest(f.key, known)
			d.problem(f.pos, join(path, f.key), "there is no such setting%s", hint)
			if meant != "" && n.field(meant) == nil {
				d.bad[join(path, meant)] = true // not missing, only misspelt
			}
			continue
		}
		d.value(f.value, v.FieldByIndex(known[i].field.Index), join(path, f.key), known[i].field)
	}
}

func (d *Doc) list(n *node, v reflect.Value, path string, field reflect.StructField) {
	elem := v.Type().Elem()
	switch {
	case n.kind == null:
		return
	case n.kind == scalar && isScalar(elem) && n.pos.Line == 0:
		// A variable holds a list as a,b,c.
		n = &node{kind: sequence, pos: n.pos, items: splitList(n)}
	case n.kind != sequence:
		d.problem(n.pos, path, "is %s; want a list", n.kind)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.items)))
	for i, item := range n.items {
		e := newDefault(elem).Elem()
		d.value(item, e, fmt.Sprintf("%s[%d]", path, i), field)
		v.Set(reflect.Append(v, e))
	}
}

func splitList(n *node) []*node {
	var items []*node
	for part := range strings.SplitSeq(n.text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			items = append(items, &node{kind: scalar, pos: n.pos, text: part, shown: part})
		}
	}
	return items
}

func splitTable(n *node) *node {
	out := &node{kind: mapping, pos: n.pos}
	for _, item := range splitList(n) {
		name, value, ok := strings.Cut(item.text, "=")
		if !ok {
			return n
		}
		item.text, item.shown = value, value
		out.fields = append(out.fields, field{key: name, pos: n.pos, value: item})
	}
	return out
}

func (d *Doc) table(n *node, v reflect.Value, path string, field reflect.StructField) {
	if n.kind == null {
		return
	}
	if n.kind == scalar && n.pos.Line == 0 {
		n = splitTable(n) // a variable holds a table as a=1,b=2
	}
	if n.kind != mapping {
		d.problem(n.pos, path, "is %s; want a section of names and values", n.kind)
		return
	}
	if v.IsNil() && len(n.fields) > 0 {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, f := range n.fields {
		e := newDefault(v.Type().Elem()).Elem()
		d.value(f.value, e, join(path, f.key), field)
		v.SetMapIndex(reflect.ValueOf(f.key).Convert(v.Type().Key()), e)
	}
}

func (d *Doc) scalar(n *node, v reflect.Value, path string, field reflect.StructField) {
	switch n.kind {
	case scalar:
	case null:
		d.problem(n.pos, path, "has no value; write one or remove the line")
		return
	default:
		d.problem(n.pos, path, "is %s; want %s", n.kind, wanted(v.Type()))
		return
	}
	if err := setScalar(v, n.text); err != nil {
		shown := strconv.Quote(n.shown) + ": "
		if isSecret(field, v.Type()) {
			shown = ""
		}
		d.problem(n.pos, path, "%s%v", shown, err)
	}
}

// setScalar returns an error that says what would be right, and does not repeat the text: it may be a secret.
func setScalar(v reflect.Value, text string) error {
	if v.Type() == durationType {
		duration, err := ParseDuration(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(duration))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		if text == "true" || text == "false" {
			v.SetBool(text == "true")
			return nil
		}
	case reflect.Float32, reflect.Float64:
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			v.SetFloat(f)
			return nil
		}
	default:
		if i, ok := parseInt(text); ok && !v.OverflowInt(i) {
			v.SetInt(i)
			return nil
		}
	}
	return fmt.Errorf("want %s", wanted(v.Type()))
}

// parseInt also reads 1e+06, which is how Helm writes a million.
func parseInt(text string) (int64, bool) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 || !strings.ContainsAny(text, "eE") {
		return 0, false
	}
	return int64(f), true
}

// isScalar reports whether settings of the type are written as one value.
func isScalar(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(textUnmarshaler) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 15s, 5m, 36h or 7d"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.String || t.Kind() == reflect.Struct:
		return "a single value"
	}
	return "a whole number"
}

func newDefault(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return v
}

// ParseDuration reads Go's durations and, beyond them, days: 7d, 1d12h.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("want %s", wanted(durationType))
	rest := strings.TrimPrefix(s, "-")
	var total time.Duration
	if days, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, bad
		}
		total, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			rest = "0"
		}
	}
	if strings.ContainsAny(rest, "+-") {
		return 0, bad
	}
	part, err := time.ParseDuration(rest)
	if err != nil || total > math.MaxInt64-part {
		return 0, bad
	}
	if strings.HasPrefix(s, "-") {
		return -(total + part), nil
	}
	return total + part, nil
}

// FormatDuration is the shortest spelling that ParseDuration reads: 7d, 36h, 1h30m, 15s.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d != 0 && d%day == 0 && d > 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// A key is one setting that a struct knows.
type key struct {
	name  string
	field reflect.StructField
}

// keys returns the settings of a struct in the order of its fields, with those of embedded structs among them.
func keys(t reflect.Type) []key {
	var out []key
	for field := range t.Fields() {
		name, opts, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case opts == "inline":
			for _, k := range keys(field.Type) {
				k.field.Index = append(slices.Clone(field.Index), k.field.Index...)
				out = append(out, k)
			}
		case name != "" && name != "-":
			out = append(out, key{name, field})
		}
	}
	return out
}

func firstKeys(t reflect.Type) []string {
	var names []string
	for _, k := range keys(t) {
		if len(names) < 3 {
			names = append(names, k.name)
		}
	}
	return names
}
