package conf

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"agentassist-poller/internal/secret"
)

// A Limited section says what its settings may be where their types allow more.
type Limited interface{ Limits() Limits }

// Limits of settings, by their paths below the section; lists and tables have the path of what holds them.
type Limits map[string]Limit

// A Limit says what one setting may be. The zero value allows whatever its type does.
type Limit struct {
	OneOf       []string       // the only values: of a text, of each item of a list, of each name of a table
	Least, Most int64          // of a number, unless both are 0
	Match       *regexp.Regexp // of a text
	Empty       bool           // may only be written empty
}

// A Texter is a value that UnmarshalText reads from texts of a certain form.
type Texter interface {
	// TextPattern returns a regular expression, in the dialect that Go and JavaScript share, which matches every text that is read.
	TextPattern() string
}

// DurationPattern is what ParseDuration reads, without anchors.
const DurationPattern = `-?(?:[0-9]+d)?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)|-?[0-9]+d`

const (
	decimal = `[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)`
	// Text in which every ${ begins a reference to a variable, or is escaped.
	wellFormed = `^(?:[^$]|\$+[^${]|\$\$+\{|\$\{[A-Za-z_][A-Za-z0-9_]*\})*\$*$`
	reference  = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
)

// A Schema is a JSON Schema, as far as configurations need one.
type Schema struct {
	Dialect     string `json:"$schema,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`

	Ref       string    `json:"$ref,omitempty"`
	Type      any       `json:"type,omitempty"`
	Enum      []any     `json:"enum,omitempty"`
	Pattern   string    `json:"pattern,omitempty"`
	Minimum   *int64    `json:"minimum,omitempty"`
	Maximum   *int64    `json:"maximum,omitempty"`
	MaxLength *int      `json:"maxLength,omitempty"`
	MaxItems  *int      `json:"maxItems,omitempty"`
	AnyOf     []*Schema `json:"anyOf,omitempty"`
	AllOf     []*Schema `json:"allOf,omitempty"`
	Not       *Schema   `json:"not,omitempty"`
	Items     *Schema   `json:"items,omitempty"`

	Properties           Properties `json:"properties,omitempty"`
	PropertyNames        *Schema    `json:"propertyNames,omitempty"`
	AdditionalProperties any        `json:"additionalProperties,omitempty"`

	Default any                `json:"default,omitempty"`
	Defs    map[string]*Schema `json:"$defs,omitempty"`
}

// Properties are the settings of a section, in the order of the struct.
type Properties []Property

// A Property is one setting of a section.
type Property struct {
	Name   string
	Schema *Schema
}

// MarshalJSON writes an object that keeps the order.
func (p Properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, property := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encoder.Encode(property.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encoder.Encode(property.Schema); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// NewSchema returns a JSON Schema (draft 2020-12) of the documents that Decode reads into a struct. It refuses none that Decode accepts
// within the limits that sections state. The struct holds the defaults; descriptions are by path, as Paths has them.
func NewSchema(of any, descriptions map[string]string) *Schema {
	m := &schemaMaker{descriptions: descriptions, limits: Limits{}, defs: map[string]*Schema{}}
	s := m.schema(reflect.Indirect(reflect.ValueOf(of)), "", true)
	s.Dialect, s.Defs = "https://json-schema.org/draft/2020-12/schema", m.defs
	return s
}

type schemaMaker struct {
	descriptions map[string]string
	limits       Limits // by whole path
	defs         map[string]*Schema
}

// schema describes what may be written for v, and says that v is the default if it is one.
func (m *schemaMaker) schema(v reflect.Value, path string, isDefault bool) *Schema {
	s := m.value(v, path, isDefault)
	s.Description = m.descriptions[path]
	if isDefault && !isEmpty(v) {
		s.Default = plainValue(v)
	}
	return s
}

func (m *schemaMaker) value(v reflect.Value, path string, isDefault bool) *Schema {
	t, limit := v.Type(), m.limits[path]
	switch {
	case isScalar(t):
		return m.scalar(t, limit)
	case t.Kind() == reflect.Pointer:
		return m.element(t, path)
	case t.Kind() == reflect.Map:
		delete(m.limits, path) // of the names, not of the values
		s := &Schema{Type: []string{"object", "null"}, AdditionalProperties: m.element(t, path)}
		if limit.OneOf != nil {
			s.PropertyNames = &Schema{Enum: anys(limit.OneOf)}
		}
		return s
	case t.Kind() == reflect.Slice && limit.Empty:
		return &Schema{Type: []string{"array", "null"}, MaxItems: new(int)}
	case t.Kind() == reflect.Slice:
		return &Schema{Type: []string{"array", "null"}, Items: m.element(t, path)}
	}
	if limited, ok := reflect.New(t).Interface().(Limited); ok {
		for below, limit := range limited.Limits() {
			m.limits[join(path, below)] = limit
		}
	}
	s := &Schema{Type: []string{"object", "null"}, AdditionalProperties: false}
	for _, k := range keys(t) {
		s.Properties = append(s.Properties, Property{k.name, m.schema(v.FieldByIndex(k.field.Index), join(path, k.name), isDefault)})
	}
	return s
}

// element describes what a list, a table or a pointer holds. What is said about these is not said again.
func (m *schemaMaker) element(t reflect.Type, path string) *Schema {
	v := newDefault(t.Elem())
	_, hasDefaults := v.Interface().(Defaulter)
	return m.value(v.Elem(), path, hasDefaults)
}

// scalar describes a single value. YAML makes numbers and booleans of texts without quotes, and ${NAME} may stand for anything.
func (m *schemaMaker) scalar(t reflect.Type, limit Limit) *Schema {
	text := func(pattern string) *Schema { return &Schema{Type: "string", Pattern: pattern} }
	texter, isTexter := reflect.New(t).Interface().(Texter)
	switch {
	case limit.Empty:
		return m.or(&Schema{Type: "string", MaxLength: new(int)})
	case limit.OneOf != nil:
		return m.or(&Schema{Enum: anys(limit.OneOf)})
	case limit.Match != nil:
		return m.or(text(limit.Match.String()), &Schema{Type: []string{"number", "boolean"}})
	case t == durationType:
		return m.named("duration", func() *Schema { return m.or(text("^(?:"+DurationPattern+")$"), &Schema{Enum: []any{0}}) })
	case isTexter:
		return m.named(strings.ToLower(t.Name()), func() *Schema {
			s := m.or(text(texter.TextPattern()))
			if regexp.MustCompile(texter.TextPattern()).MatchString("0") {
				s.AnyOf = append(s.AnyOf, &Schema{Enum: []any{0}})
			}
			return s
		})
	case t == reflect.TypeFor[secret.Secret]():
		return m.named("secret", func() *Schema {
			return &Schema{AllOf: []*Schema{m.text()}, Not: &Schema{Enum: []any{secret.Redacted}}}
		})
	case t.Kind() == reflect.Bool:
		return m.named("boolean", func() *Schema { return m.or(&Schema{Type: "boolean"}, text("^(?:true|false)$")) })
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		written := m.named("decimal", func() *Schema { return text("^" + decimal + "(?:[eE][+-]?[0-9]+)?$") })
		return m.or(limit.bound(&Schema{Type: "number"}), written)
	case t.Kind() == reflect.String || t.Kind() == reflect.Struct:
		return m.text()
	}
	return m.or(limit.bound(&Schema{Type: "integer"}), m.named("integer", func() *Schema { return text("^(?:[+-]?[0-9]+|" + decimal + "[eE][+-]?[0-9]+)$") }))
}

// bound adds the limits of a number.
func (l Limit) bound(number *Schema) *Schema {
	if l.Least != 0 || l.Most != 0 {
		number.Minimum, number.Maximum = &l.Least, &l.Most
	}
	return number
}

// text is any single value.
func (m *schemaMaker) text() *Schema {
	return m.named("text", func() *Schema { return &Schema{Type: []string{"string", "number", "boolean"}, Pattern: wellFormed} })
}

// or is one of the forms, or a text with a reference to a variable.
func (m *schemaMaker) or(forms ...*Schema) *Schema {
	return &Schema{AnyOf: append(forms, m.named("variable", func() *Schema {
		return &Schema{Description: "${NAME} stands for an environment variable", Type: "string", Pattern: reference, AllOf: []*Schema{m.text()}}
	}))}
}

// named returns a reference to a schema that is made once.
func (m *schemaMaker) named(name string, make func() *Schema) *Schema {
	if m.defs[name] == nil {
		m.defs[name] = make()
	}
	return &Schema{Ref: "#/$defs/" + name}
}

// isEmpty reports whether v has no default worth showing: sections have those of their settings.
func isEmpty(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.String:
		return v.Len() == 0
	case v.Type() == reflect.TypeFor[secret.Secret]():
		return true
	}
	return !isScalar(v.Type())
}

// plainValue is what JSON shows of a value.
func plainValue(v reflect.Value) any {
	switch {
	case v.Type() == durationType:
		return FormatDuration(time.Duration(v.Int()))
	case isScalar(v.Type()):
		return v.Interface()
	case v.Kind() == reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plainValue(v.Index(i))
		}
		return out
	}
	out := map[string]any{}
	for _, k := range keys(v.Type()) {
		out[k.name] = plainValue(v.FieldByIndex(k.field.Index))
	}
	return out
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, text := range texts {
		out[i] = text
	}
	return out
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// Comments returns what a document says about its settings, by path as Paths has them: comments on the same line, or right above. What
// begins the document is about the whole of it, and left out.
func Comments(src []byte) (map[string]string, error) {
	if head, rest, ok := bytes.Cut(src, []byte("\n\n")); ok && bytes.HasPrefix(head, []byte("#")) {
		src = rest
	}
	found := yaml.CommentMap{}
	var document any
	if err := yaml.UnmarshalWithOptions(src, &document, yaml.CommentToMap(found)); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		for _, comment := range found[path] {
			if comment.Position == yaml.CommentFootPosition {
				continue
			}
			setting := strings.TrimPrefix(index.ReplaceAllString(path, ""), "$.")
			var lines []string
			for _, line := range append([]string{out[setting]}, comment.Texts...) {
				if line = strings.TrimSpace(line); line != "" {
					lines = append(lines, line)
				}
			}
			out[setting] = strings.Join(lines, " ")
		}
	}
	return out, nil
}
