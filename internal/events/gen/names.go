package main

import "strings"

var initialisms = map[string]string{
	"id": "ID", "ids": "IDs", "url": "URL", "uri": "URI", "json": "JSON", "csat": "CSAT", "nps": "NPS", "os": "OS",
	"ip": "IP", "faqs": "FAQs", "mb": "MB",
}

// goName turns a snake_case field name into a Go name.
func goName(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if s, ok := initialisms[part]; ok {
			b.WriteString(s)
		} else if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// snake turns the name of a schema file into that of a Go file.
func snake(base string) string { return strings.ReplaceAll(base, "-", "_") }

// endpointConst names the constant of package events for an endpoint.
func endpointConst(endpoint string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(endpoint, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// goType returns the Go type of a field.
func goType(t *typ) string {
	s := map[kind]string{
		kindString: "string", kindLong: "int64", kindBoolean: "bool", kindDouble: "float64", kindBytes: "[]byte",
		kindTime: "time.Time",
	}[t.kind]
	switch t.kind {
	case kindArray:
		return "[]" + goType(t.elem)
	case kindMap:
		return "map[string]" + goType(t.elem)
	case kindRecord:
		s = t.rec.Name
	}
	if t.nullable {
		return "*" + s
	}
	return s
}

// method names what the codec calls a type: long, longPtr, and so on.
func (t *typ) method() string {
	s := map[kind]string{
		kindString: "str", kindLong: "long", kindBoolean: "boolean", kindDouble: "double", kindBytes: "bytes", kindTime: "time",
	}[t.kind]
	if t.nullable {
		return s + "Ptr"
	}
	return s
}
