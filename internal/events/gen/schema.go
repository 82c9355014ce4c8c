package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
)

// record is an Avro record with the annotations that this repository gives it. See package schemas for their meaning.
type record struct {
	Name         string   `json:"name"`
	Doc          string   `json:"doc"`
	Owner        string   `json:"owner"`
	HashedHeader []string `json:"hashed_header"`
	Fields       []*field `json:"fields"`
}

type field struct {
	Name      string          `json:"name"`
	Doc       string          `json:"doc"`
	RawType   json.RawMessage `json:"type"`
	Since     int             `json:"since"`
	Owner     string          `json:"owner"`
	Hashed    *bool           `json:"hashed"`
	Unordered bool            `json:"unordered"`
	Unit      string          `json:"unit"`
	HashedAs  string          `json:"hashed_as"`
	Derivable bool            `json:"derivable"`
	Personal  string          `json:"personal"`
	Upstream  string          `json:"upstream"`

	typ *typ // what RawType says; RawType is let go once it is known
}

// hashedAs returns the name under which the field enters the content: the one that it had first.
func (f *field) hashedAs() string { return cmp.Or(f.HashedAs, f.Name) }

func (f *field) counts() bool { return f.Hashed == nil || *f.Hashed }

// typ is a type as this repository allows it: no enums, no ints, no unions but those with null.
type typ struct {
	kind     kind
	nullable bool
	elem     *typ    // of an array or map
	rec      *record // of a record
}

type kind string

const (
	kindString  kind = "string"
	kindLong    kind = "long"
	kindBoolean kind = "boolean"
	kindDouble  kind = "double"
	kindBytes   kind = "bytes"
	kindTime    kind = "timestamp-millis"
	kindArray   kind = "array"
	kindMap     kind = "map"
	kindRecord  kind = "record"
)

// schema is one .avsc file.
type schema struct {
	base    string    // file name without extension
	root    *record   // the record of the file
	records []*record // all its records, root first, in the order in which they are defined
	header  int       // how many of the root's fields are the header, 0 where it is no event
}

func (s *schema) isEvent() bool { return s.header > 0 }

// body returns the fields that the struct of r declares itself.
func (s *schema) body(r *record) []*field {
	if r == s.root {
		return r.Fields[s.header:]
	}
	return r.Fields
}

// unit returns the fields of an event that are one statement.
func (s *schema) unit() (fields []*field) {
	for _, f := range s.body(s.root) {
		if f.Unit != "" {
			fields = append(fields, f)
		}
	}
	return fields
}

// headerLen is the number of fields that every event begins with; superseded_by is the last of them.
const headerLen = 21

func loadSchema(fsys fs.FS, name string) (*schema, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	s := &schema{base: strings.TrimSuffix(name, ".avsc"), root: new(record)}
	if err := json.Unmarshal(text, s.root); err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	if err := s.resolve(s.root); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(s.root.Fields) > headerLen && s.root.Fields[headerLen-1].Name == "superseded_by" {
		s.header = headerLen
	}
	return s, nil
}

func (s *schema) resolve(r *record) error {
	s.records = append(s.records, r)
	for _, f := range r.Fields {
		t, err := s.resolveType(f.RawType)
		if err != nil {
			return fmt.Errorf("field %s.%s: %w", r.Name, f.Name, err)
		}
		f.typ, f.RawType = t, nil
	}
	return nil
}

func (s *schema) resolveType(raw json.RawMessage) (*typ, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		for _, r := range s.records {
			if r.Name == v {
				return &typ{kind: kindRecord, rec: r}, nil
			}
		}
		switch k := kind(v); k {
		case kindString, kindLong, kindBoolean, kindDouble, kindBytes:
			return &typ{kind: k}, nil
		}
	case []any:
		var branches []json.RawMessage
		if err := json.Unmarshal(raw, &branches); err != nil {
			return nil, err
		}
		if len(v) != 2 || v[0] != "null" {
			return nil, fmt.Errorf("union %s is not null and one type", raw)
		}
		t, err := s.resolveType(branches[1])
		if err != nil {
			return nil, err
		}
		t.nullable = true
		return t, nil
	case map[string]any:
		return s.resolveComplex(raw)
	}
	return nil, fmt.Errorf("type %s is not allowed", raw)
}

func (s *schema) resolveComplex(raw json.RawMessage) (*typ, error) {
	var c struct {
		Type        kind            `json:"type"`
		LogicalType kind            `json:"logicalType"`
		Items       json.RawMessage `json:"items"`
		Values      json.RawMessage `json:"values"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	switch {
	case c.Type == kindLong && c.LogicalType == kindTime:
		return &typ{kind: kindTime}, nil
	case c.Type == kindArray:
		elem, err := s.resolveType(c.Items)
		return &typ{kind: kindArray, elem: elem}, err
	case c.Type == kindMap:
		elem, err := s.resolveType(c.Values)
		return &typ{kind: kindMap, elem: elem}, err
	case c.Type == kindRecord:
		r := new(record)
		if err := json.Unmarshal(raw, r); err != nil {
			return nil, err
		}
		return &typ{kind: kindRecord, rec: r}, s.resolve(r)
	}
	return nil, fmt.Errorf("type %s is not allowed", raw)
}

// sameHeader reports an error unless all events begin with the same fields.
func sameHeader(schemas []*schema) error {
	var first *schema
	for _, s := range schemas {
		switch {
		case !s.isEvent():
		case first == nil:
			first = s
		case !reflect.DeepEqual(first.root.Fields[:headerLen], s.root.Fields[:headerLen]):
			return fmt.Errorf("the headers of %s.avsc and %s.avsc differ", first.base, s.base)
		}
	}
	return nil
}
