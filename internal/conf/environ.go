package conf

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// overlay puts the variables that are settings into the tree. A name that only looks like a setting is a problem if it
// is spelt nearly like one, and a warning otherwise: Kubernetes adds variables of its own, with any spelling.
func (d *Doc) overlay(prefix string, into any) {
	t := reflect.TypeOf(into).Elem()
	for _, name := range slices.SortedFunc(maps.Keys(d.env), byIndex) {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		pos := Pos{Name: "$" + name}
		path, ok := resolve(t, rest)
		if !ok {
			if isServiceLink(name, d.env[name]) {
				d.warnings = append(d.warnings, Problem{Pos: pos, Text: "is set by Kubernetes for a service of that name, is not a setting, and is ignored"})
			} else if near := Nearest(masked(rest), variables(t, "")); near != "" {
				d.problems = append(d.problems, Problem{Pos: pos, Text: "sets nothing; did you mean " + prefix + unmask(near, rest) + "?"})
			} else {
				d.warnings = append(d.warnings, Problem{Pos: pos, Text: "is not a setting and is ignored"})
			}
			continue
		}
		d.set(pos, path, d.env[name])
	}
}

// serviceLink matches the names that Kubernetes gives to the variables of a service, and serviceAddress the values of some of them.
var (
	serviceLink    = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	serviceAddress = regexp.MustCompile(`^(tcp|udp|sctp)://.+:[0-9]+$`)
)

// isServiceLink reports whether Kubernetes has set a variable because there is a service whose name begins like our settings.
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && serviceAddress.MatchString(value)
}

// byIndex orders names so that ACCOUNTS_2 comes before ACCOUNTS_10.
func byIndex(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "_"), strings.Split(b, "_"), func(a, b string) int {
		if len(a) != len(b) && isNumber(a) && isNumber(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// step is one part of a path: a key, or an index if the key is empty.
type step struct {
	key   string
	index int
}

// resolve finds the setting that a name such as ACCOUNTS_0_BOTS_1_BOT_ID stands for.
func resolve(t reflect.Type, name string) ([]step, bool) {
	if t.Kind() == reflect.Pointer {
		return resolve(t.Elem(), name)
	}
	if name == "" {
		return nil, inOneLine(t)
	}
	if isScalar(t) {
		return nil, false
	}
	switch t.Kind() {
	case reflect.Struct:
		for _, k := range keys(t) {
			rest, ok := cutPart(name, upper(k.name))
			if !ok {
				continue
			}
			if below, ok := resolve(k.field.Type, rest); ok {
				return append([]step{{key: k.name}}, below...), true
			}
		}
	case reflect.Slice:
		digits, rest, _ := strings.Cut(name, "_")
		if index, err := strconv.ParseUint(digits, 10, 16); err == nil {
			if below, ok := resolve(t.Elem(), rest); ok {
				return append([]step{{index: int(index)}}, below...), true
			}
		}
	case reflect.Map:
		for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '_') {
			below, ok := resolve(t.Elem(), strings.TrimPrefix(name[end:], "_"))
			if ok && !isScalar(t.Elem()) {
				return append([]step{{key: strings.ToLower(strings.ReplaceAll(name[:end], "_", "-"))}}, below...), true
			}
		}
	}
	return nil, false
}

// inOneLine reports whether one variable can hold all of a setting: a value, a list as a,b,c or names as a=1,b=2.
func inOneLine(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return isScalar(t.Elem())
	}
	return isScalar(t)
}

// cutPart removes a whole part from the front of a name: KAFKA from KAFKA_BROKERS.
func cutPart(name, part string) (string, bool) {
	rest, ok := strings.CutPrefix(name, part)
	if !ok || rest == "" {
		return "", ok
	}
	return strings.CutPrefix(rest, "_")
}

func upper(key string) string { return strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }

// set writes a value into the tree, and the sections around it where they are missing.
func (d *Doc) set(pos Pos, path []step, text string) {
	n, at := d.root, ""
	for _, s := range path {
		switch {
		case s.key != "":
			if n.kind != mapping {
				*n = node{kind: mapping, pos: pos}
			}
			at = join(at, s.key)
			f := n.field(s.key)
			if f == nil {
				n.fields = append(n.fields, field{key: s.key, pos: pos, value: &node{pos: pos}})
				f = &n.fields[len(n.fields)-1]
			}
			n = f.value
		default:
			if n.kind != sequence {
				*n = node{kind: sequence, pos: pos}
			}
			at = fmt.Sprintf("%s[%d]", at, s.index)
			if s.index > len(n.items) {
				d.problem(pos, at, "leaves a gap in the list; the next index is %d", len(n.items))
				return
			}
			if s.index == len(n.items) {
				n.items = append(n.items, &node{pos: pos})
			}
			n = n.items[s.index]
		}
	}
	*n = node{kind: scalar, pos: pos, text: text, shown: text}
}

// variables lists the names of all settings below t, with # for an index.
func variables(t reflect.Type, prefix string) []string {
	switch {
	case inOneLine(t):
		return []string{prefix}
	case t.Kind() == reflect.Pointer:
		return variables(t.Elem(), prefix)
	case t.Kind() == reflect.Slice:
		return variables(t.Elem(), prefix+"_#")
	}
	var names []string
	if t.Kind() == reflect.Struct {
		for _, k := range keys(t) {
			names = append(names, variables(k.field.Type, strings.TrimPrefix(prefix+"_"+upper(k.name), "_"))...)
		}
	}
	return names
}

// masked replaces each index of a name by #, so that it can be compared with what variables lists.
func masked(name string) string {
	parts := strings.Split(name, "_")
	for i, part := range parts {
		if isNumber(part) {
			parts[i] = "#"
		}
	}
	return strings.Join(parts, "_")
}

// unmask puts the indices of the name that was written into a suggestion.
func unmask(suggestion, name string) string {
	for part := range strings.SplitSeq(name, "_") {
		if isNumber(part) {
			suggestion = strings.Replace(suggestion, "#", part, 1)
		}
	}
	return suggestion
}
