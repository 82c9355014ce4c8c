package events

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"agentassist-poller/schemas"
)

//go:generate go run ./gen

// What is published beside the events. Neither is an Event nor among Types; both have a schema.
const (
	TypeWatermark  Type = "watermark"
	TypeDeadLetter Type = "dead-letter"
)

// Schema returns the Avro schema of a type as its file has it, empty if there is no such type.
func Schema(t Type) string {
	text, err := schemas.Files.ReadFile(string(t) + ".avsc")
	if err != nil {
		return ""
	}
	return string(text)
}

// Doc returns what the schema of a type says that it is, empty if there is no such type.
func Doc(t Type) string {
	var schema struct {
		Doc string `json:"doc"`
	}
	_ = json.Unmarshal([]byte(Schema(t)), &schema) // empty if there is none
	return schema.Doc
}

// Fingerprint returns the CRC-64-AVRO of the schema of a type, in the byte order of single-object encoding. It is the
// specification's: taken over the canonical form, which has no logical types.
func Fingerprint(t Type) [8]byte { return fingerprints()[t] }

var fingerprints = sync.OnceValue(func() map[Type][8]byte {
	m := map[Type][8]byte{}
	for _, t := range append(Types(), TypeWatermark, TypeDeadLetter) {
		form, err := canonicalForm(Schema(t))
		if err != nil {
			panic(fmt.Sprintf("events: schema of %s: %v", t, err)) // it is part of the binary, and of every test
		}
		m[t] = [8]byte(binary.LittleEndian.AppendUint64(nil, rabin(form)))
	}
	return m
})

// canonicalForm returns the parsing canonical form of the Avro specification, for the kinds of types that the schemas use.
func canonicalForm(schema string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		return "", err
	}
	var b strings.Builder
	err := writeCanonical(&b, v, "")
	return b.String(), err
}

func writeCanonical(b *strings.Builder, v any, namespace string) error {
	switch v := v.(type) {
	case string:
		b.WriteString(strconv.Quote(fullName(v, namespace)))
	case []any:
		b.WriteByte('[')
		for i, branch := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeCanonical(b, branch, namespace); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case map[string]any:
		return writeCanonicalType(b, v, namespace)
	default:
		return fmt.Errorf("unexpected %T in schema", v)
	}
	return nil
}

func writeCanonicalType(b *strings.Builder, v map[string]any, namespace string) error {
	switch kind := v["type"]; kind {
	case "record":
		if ns, ok := v["namespace"].(string); ok {
			namespace = ns
		}
		name, _ := v["name"].(string)
		fields, _ := v["fields"].([]any)
		fmt.Fprintf(b, `{"name":%q,"type":"record","fields":[`, fullName(name, namespace))
		for i, f := range fields {
			field, ok := f.(map[string]any)
			if !ok {
				return fmt.Errorf("unexpected %T for a field of %s", f, name)
			}
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, `{"name":%q,"type":`, field["name"])
			if err := writeCanonical(b, field["type"], namespace); err != nil {
				return err
			}
			b.WriteByte('}')
		}
		b.WriteString("]}")
	case "array", "map":
		content := map[any]string{"array": "items", "map": "values"}[kind]
		fmt.Fprintf(b, `{"type":%q,%q:`, kind, content)
		if err := writeCanonical(b, v[content], namespace); err != nil {
			return err
		}
		b.WriteByte('}')
	default: // a primitive with a logical type or other attributes
		return writeCanonical(b, kind, namespace)
	}
	return nil
}

// fullName puts a name into its namespace; primitive types have none.
func fullName(name, namespace string) string {
	switch name {
	case "null", "boolean", "int", "long", "float", "double", "bytes", "string":
		return name
	}
	if strings.Contains(name, ".") || namespace == "" {
		return name
	}
	return namespace + "." + name
}

const rabinEmpty = 0xc15d213aa4d7a795

var rabinTable = func() (table [256]uint64) {
	for i := range table {
		fp := uint64(i)
		for range 8 {
			fp = fp>>1 ^ rabinEmpty&-(fp&1)
		}
		table[i] = fp
	}
	return table
}()

// rabin is CRC-64-AVRO.
func rabin(s string) uint64 {
	fp := uint64(rabinEmpty)
	for i := range len(s) {
		fp = fp>>8 ^ rabinTable[byte(fp)^s[i]]
	}
	return fp
}
