package conf

import (
	"encoding"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentassist-poller/internal/secret"
)

// Format writes a configuration as YAML that Decode reads, secrets hidden. Every setting is there, also those that
// have their defaults.
func Format(from any) string {
	var b strings.Builder
	formatStruct(&b, reflect.Indirect(reflect.ValueOf(from)), "")
	return b.String()
}

// Paths lists every setting below a struct, lists without their indices: accounts.bots.bot_id.
func Paths(of any) []string { return paths(reflect.Indirect(reflect.ValueOf(of)).Type(), "") }

func paths(t reflect.Type, prefix string) []string {
	t2 := section(t)
	if t2 == nil {
		return []string{prefix}
	}
	var out []string
	for _, k := range keys(t2) {
		out = append(out, paths(k.field.Type, join(prefix, k.name))...)
	}
	return out
}

// Strings yields the path and the value of every setting that is a plain string.
func Strings(of any) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		eachString(reflect.Indirect(reflect.ValueOf(of)), "", yield)
	}
}

func eachString(v reflect.Value, path string, yield func(string, string) bool) bool {
	switch v.Kind() {
	case reflect.String:
		return yield(path, v.String())
	case reflect.Pointer:
		return v.IsNil() || eachString(v.Elem(), path, yield)
	case reflect.Slice:
		for i := range v.Len() {
			if !eachString(v.Index(i), fmt.Sprintf("%s[%d]", path, i), yield) {
				return false
			}
		}
	case reflect.Map:
		for _, k := range slices.SortedFunc(maps.Keys(mapOf(v)), strings.Compare) {
			if !eachString(mapOf(v)[k], join(path, k), yield) {
				return false
			}
		}
	case reflect.Struct:
		for _, k := range keys(v.Type()) {
			if !eachString(v.FieldByIndex(k.field.Index), join(path, k.name), yield) {
				return false
			}
		}
	}
	return true
}

func formatStruct(b *strings.Builder, v reflect.Value, indent string) {
	for _, k := range keys(v.Type()) {
		formatKey(b, k.name, v.FieldByIndex(k.field.Index), k.field, indent)
	}
}

func formatKey(b *strings.Builder, name string, v reflect.Value, field reflect.StructField, indent string) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if !plain.MatchString(name) {
		name = strconv.Quote(name)
	}
	fmt.Fprintf(b, "%s%s:", indent, name)
	switch {
	case isScalar(v.Type()):
		fmt.Fprintf(b, " %s\n", formatScalar(v, field))
	case v.Kind() == reflect.Struct:
		b.WriteString("\n")
		formatStruct(b, v, indent+"  ")
	case v.Len() == 0 && v.Kind() == reflect.Slice:
		b.WriteString(" []\n")
	case v.Len() == 0:
		b.WriteString(" {}\n")
	case v.Kind() == reflect.Map:
		b.WriteString("\n")
		for _, k := range slices.SortedFunc(maps.Keys(mapOf(v)), strings.Compare) {
			formatKey(b, k, mapOf(v)[k], field, indent+"  ")
		}
	default:
		b.WriteString("\n")
		formatList(b, v, field, indent+"  ")
	}
}

func mapOf(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		out[k.String()] = v.MapIndex(k)
	}
	return out
}

func formatList(b *strings.Builder, v reflect.Value, field reflect.StructField, indent string) {
	for i := range v.Len() {
		item := reflect.Indirect(v.Index(i))
		if isScalar(item.Type()) {
			fmt.Fprintf(b, "%s- %s\n", indent, formatScalar(item, field))
			continue
		}
		var inner strings.Builder
		formatStruct(&inner, item, indent+"  ")
		fmt.Fprintf(b, "%s- %s", indent, strings.TrimPrefix(inner.String(), indent+"  "))
	}
}

// plain text needs no quotes in YAML and cannot be taken for something else.
var plain = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*$`)

func formatScalar(v reflect.Value, field reflect.StructField) string {
	var text string
	switch i := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(i)
	case encoding.TextMarshaler:
		marshaled, err := i.MarshalText()
		if err != nil {
			return "null"
		}
		text = string(marshaled)
	default:
		if v.Kind() != reflect.String {
			return fmt.Sprint(i)
		}
		text = v.String()
	}
	if isSecret(field, v.Type()) && text != "" {
		text = secret.Redacted
	}
	switch text {
	case "true", "false", "null":
	default:
		if plain.MatchString(text) {
			return text
		}
	}
	return strconv.Quote(text)
}

// isSecret reports whether a setting must not be shown: it is a Secret, or its field is tagged secret:"true".
func isSecret(field reflect.StructField, t reflect.Type) bool {
	return t == reflect.TypeFor[secret.Secret]() || field.Tag.Get("secret") == "true"
}
