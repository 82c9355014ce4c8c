package schemas_test

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"agentassist-poller/schemas"

	"github.com/stretchr/testify/require"
)

// beside are the schemas of records that are not events.
var beside = []string{"watermark.avsc", "dead-letter.avsc"}

// headerEnd is the last field of the header that all events share.
const headerEnd = "superseded_by"

type node = map[string]any

func parse(t *testing.T, text []byte) node {
	t.Helper()
	var v node
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

func current(t *testing.T) map[string]node {
	t.Helper()
	names, err := fs.Glob(schemas.Files, "*.avsc")
	require.NoError(t, err)
	all := map[string]node{}
	for _, name := range names {
		text, err := schemas.Files.ReadFile(name)
		require.NoError(t, err)
		all[name] = parse(t, text)
	}
	return all
}

func fieldsOf(record node) []node {
	var out []node
	for _, f := range record["fields"].([]any) {
		out = append(out, f.(node))
	}
	return out
}

// walk calls f with every type inside typ, typ itself first, and the path that leads to it. Names, not positions, make up
// a path, so that paths of two versions of a schema can be compared.
func walk(path string, typ any, f func(path string, typ any)) {
	f(path, typ)
	switch t := typ.(type) {
	case []any:
		for _, branch := range t {
			if branch != "null" {
				walk(path, branch, f)
			}
		}
	case node:
		switch t["type"] {
		case "record":
			for _, field := range fieldsOf(t) {
				walk(path+"."+field["name"].(string), field["type"], f)
			}
		case "array":
			walk(path+"[]", t["items"], f)
		case "map":
			walk(path+"{}", t["values"], f)
		}
	}
}

// records calls f with every record of a schema.
func records(schema node, f func(path string, record node)) {
	walk("", schema, func(path string, typ any) {
		if r, ok := typ.(node); ok && r["type"] == "record" {
			f(path, r)
		}
	})
}

func TestEveryRecordAndFieldIsDocumentedAndHasADefault(t *testing.T) {
	for name, schema := range current(t) {
		records(schema, func(path string, r node) {
			require.NotEmpty(t, r["doc"], "%s%s: record without doc", name, path)
			for _, f := range fieldsOf(r) {
				where := name + path + "." + f["name"].(string)
				doc, _ := f["doc"].(string)
				require.True(t, strings.HasSuffix(doc, "."), "%s: doc %q is no sentence", where, doc)
				require.Contains(t, f, "default", "%s", where)
				if union, ok := f["type"].([]any); ok {
					require.Len(t, union, 2, "%s", where)
					require.Equal(t, "null", union[0], "%s", where)
					require.Nil(t, f["default"], "%s", where)
				}
			}
		})
	}
}

// Readers cannot all read enums with chosen columns or micros, and no registry lets int become long.
func TestOnlyTypesThatEveryReaderTakes(t *testing.T) {
	for name, schema := range current(t) {
		defined := map[string]bool{}
		walk("", schema, func(path string, typ any) {
			switch typ := typ.(type) {
			case string:
				if !defined[typ] {
					require.Contains(t, []string{"string", "long", "boolean", "double", "bytes"}, typ, "%s%s", name, path)
				}
			case node:
				require.Contains(t, []string{"record", "array", "map", "long"}, typ["type"], "%s%s", name, path)
				if typ["type"] == "long" {
					require.Equal(t, "timestamp-millis", typ["logicalType"], "%s%s", name, path)
				}
				if typ["type"] == "record" {
					require.False(t, defined[typ["name"].(string)], "%s%s: second definition of %s", name, path, typ["name"])
					defined[typ["name"].(string)] = true
				}
			}
		})
	}
}

// Times are told by their type, so that none is mistaken for a number.
func TestTimesAreTimestamps(t *testing.T) {
	for name, schema := range current(t) {
		walk("", schema, func(path string, typ any) {
			field := path[strings.LastIndex(path, ".")+1:]
			if strings.HasSuffix(field, "_at") || (strings.HasSuffix(field, "_time") && field != "used_time") {
				if typ == "string" || typ == "long" {
					t.Errorf("%s%s is a plain %s", name, path, typ)
				}
			}
		})
	}
}

func TestNamesOfRecords(t *testing.T) {
	owner := map[string]string{}
	for name, schema := range current(t) {
		require.Equal(t, "agentassist.v1", schema["namespace"], "%s", name)
		require.Equal(t, name, fileName(schema["name"].(string)))
		records(schema, func(path string, r node) {
			record := r["name"].(string)
			if path != "" && r["namespace"] != nil {
				t.Errorf("%s: %s leaves the namespace of its schema", name, record)
			}
			if record != "Agent" && record != "Queue" {
				require.NotContains(t, owner, record, "defined in %s and %s", owner[record], name)
				owner[record] = name
			}
		})
	}
}

// fileName turns SuggestionUsed into suggestion-used.avsc.
func fileName(record string) string {
	var b strings.Builder
	for i, r := range record {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String()) + ".avsc"
}

func TestEventsShareTheirHeader(t *testing.T) {
	var first []node
	for name, schema := range current(t) {
		if slices.Contains(beside, name) {
			continue
		}
		fields := fieldsOf(schema)
		end := slices.IndexFunc(fields, func(f node) bool { return f["name"] == headerEnd })
		require.Equal(t, 20, end, "%s", name)
		if first == nil {
			first = fields[:end+1]
		}
		require.Equal(t, first, fields[:end+1], "%s", name)
		for _, f := range fields[end+1:] {
			require.Contains(t, f, "since", "%s.%s", name, f["name"])
		}
	}
}

func TestAnnotationsAreKnown(t *testing.T) {
	endpoints := []string{"interactions", "conversations", "interaction-details", "call-details"}
	for name, schema := range current(t) {
		records(schema, func(path string, r node) {
			for key := range r {
				require.Contains(t, []string{"type", "name", "namespace", "doc", "fields", "owner", "hashed_header"}, key, "%s%s", name, path)
			}
			for _, f := range append(fieldsOf(r), r) {
				if owner, ok := f["owner"]; ok {
					require.Contains(t, endpoints, owner, "%s%s.%s", name, path, f["name"])
				}
			}
			for _, f := range fieldsOf(r) {
				for key := range f {
					require.Contains(t, []string{"name", "type", "default", "doc", "personal", "upstream", "since", "owner", "hashed", "unordered", "unit", "hashed_as", "derivable"},
						key, "%s%s.%s", name, path, f["name"])
				}
				if class, ok := f["personal"]; ok {
					require.Contains(t, []string{"name", "contact", "text", "id", "raw"}, class, "%s%s.%s", name, path, f["name"])
				}
				if field := f["name"].(string); strings.HasSuffix(field, "_json") {
					require.Contains(t, []string{"raw", "text"}, f["personal"], "%s%s.%s may hold anything", name, path, field)
				}
			}
		})
	}
}
