package conf

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxNodes bounds what aliases can multiply a small file to.
const maxNodes = 100_000

type kind int

const (
	null kind = iota
	scalar
	mapping
	sequence
)

func (k kind) String() string {
	return [...]string{"nothing", "a single value", "a section", "a list"}[k]
}

// A node is one value of the document, wherever it came from.
type node struct {
	kind   kind
	pos    Pos
	text   string // of a scalar, with ${NAME} replaced
	shown  string // of a scalar, as it was written: what a message may quote
	fields []field
	items  []*node
}

type field struct {
	key   string
	pos   Pos
	value *node
}

func (n *node) field(key string) *field {
	for i := range n.fields {
		if n.fields[i].key == key {
			return &n.fields[i]
		}
	}
	return nil
}

// lookup follows a path such as a.b[2].c as far as it exists and says whether it exists to its end.
func (n *node) lookup(path string) (*node, bool) {
	for path != "" {
		var next *node
		if rest, ok := strings.CutPrefix(path, "["); ok {
			index, rest, _ := strings.Cut(rest, "]")
			if i, err := strconv.Atoi(index); err == nil && i < len(n.items) {
				next = n.items[i]
			}
			path = strings.TrimPrefix(rest, ".")
		} else {
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			if f := n.field(path[:end]); f != nil {
				next = f.value
			}
			path = strings.TrimPrefix(path[end:], ".")
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

func (n *node) clone() *node {
	c := *n
	c.fields = slices.Clone(n.fields)
	for i := range c.fields {
		c.fields[i].value = c.fields[i].value.clone()
	}
	c.items = slices.Clone(n.items)
	for i := range c.items {
		c.items[i] = c.items[i].clone()
	}
	return &c
}

func (n *node) size() int {
	total := 1
	for _, f := range n.fields {
		total += f.value.size()
	}
	for _, item := range n.items {
		total += item.size()
	}
	return total
}

// parse turns YAML into nodes. What cannot be read is a problem, and an empty mapping.
func (d *Doc) parse(src []byte) *node {
	empty := &node{kind: mapping}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.problem(d.syntaxError(err))
		return empty
	}
	b := &builder{doc: d, anchors: map[string]*node{}}
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			d.problem(b.pos(doc.Body), "", "a second document begins here; write everything in one")
			break
		}
		root := b.build(doc.Body, "")
		switch root.kind {
		case mapping:
			empty = root
		case null:
		default:
			d.problem(root.pos, "", "the file holds %s; want keys such as accounts: and kafka:", root.kind)
		}
	}
	return empty
}

// syntaxError leaves out the excerpt of the source that the parser would show: it may hold a secret.
func (d *Doc) syntaxError(err error) (pos Pos, path, text string) {
	pos = Pos{Name: d.name}
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return pos, "", "the file is not valid YAML"
	}
	if token := e.GetToken(); token != nil && token.Position != nil {
		pos.Line, pos.Col = token.Position.Line, token.Position.Column
	}
	return pos, "", "the file is not valid YAML: " + syntaxText(e.GetMessage())
}

// syntaxText says what to do where the parser's message does not.
func syntaxText(message string) string {
	switch {
	case strings.Contains(message, "found character '\t'"):
		return "a tab begins a value or indents a line; indent with spaces"
	case strings.HasPrefix(message, "mapping value is not allowed"):
		return message + "; check the indentation of this line and the next, and quote values that have a colon"
	case strings.HasPrefix(message, "value is not allowed"):
		return message + "; check the indentation"
	}
	return message
}

type builder struct {
	doc     *Doc
	anchors map[string]*node
	nodes   int
}

func (b *builder) pos(n ast.Node) Pos {
	pos := Pos{Name: b.doc.name}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // the token of a block mapping is its first colon
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	if token := n.GetToken(); token != nil && token.Position != nil {
		pos.Line, pos.Col = token.Position.Line, token.Position.Column
	}
	return pos
}

func (b *builder) build(n ast.Node, path string) *node {
	out := &node{pos: b.pos(n)}
	if b.nodes++; b.nodes > maxNodes {
		if b.nodes == maxNodes+1 {
			b.doc.problem(out.pos, "", "the file has more than %d values; aliases multiply them", maxNodes)
		}
		return out
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		b.mapping(out, n.Values, path)
	case *ast.MappingValueNode:
		b.mapping(out, []*ast.MappingValueNode{n}, path)
	case *ast.SequenceNode:
		out.kind = sequence
		for i, item := range n.Values {
			out.items = append(out.items, b.build(item, path+"["+strconv.Itoa(i)+"]"))
		}
	case *ast.AnchorNode:
		out = b.build(n.Value, path)
		b.anchors[n.Name.GetToken().Value] = out
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target := b.anchors[name]
		if target == nil {
			b.doc.problem(out.pos, path, "*%s: no anchor &%s stands before it", name, name)
			return out
		}
		if b.nodes += target.size(); b.nodes > maxNodes {
			b.doc.problem(out.pos, path, "*%s: the file has more than %d values with its aliases", name, maxNodes)
			return out
		}
		return target.clone()
	case *ast.TagNode:
		b.doc.problem(out.pos, path, "tags such as %s are not read; write the value alone", n.Start.Value)
	case *ast.LiteralNode:
		b.scalar(out, n.Value.Value, path)
	case *ast.StringNode:
		b.scalar(out, n.Value, path)
	default: // numbers and booleans, as they were spelt: 007 may be a name
		b.scalar(out, n.GetToken().Value, path)
	}
	return out
}

func (b *builder) mapping(out *node, values []*ast.MappingValueNode, path string) {
	out.kind = mapping
	var merged []*node
	for _, kv := range values {
		key := kv.Key.GetToken().Value
		pos := b.pos(kv.Key)
		if kv.Key.IsMergeKey() {
			from := b.build(kv.Value, path)
			if from.kind == sequence {
				merged = append(merged, from.items...)
			} else {
				merged = append(merged, from)
			}
			continue
		}
		if first := out.field(key); first != nil {
			b.doc.problem(pos, join(path, key), "written twice; the first is on line %d", first.pos.Line)
			continue
		}
		value := b.build(kv.Value, join(path, key))
		if value.kind == null {
			value.pos = pos
		}
		out.fields = append(out.fields, field{key: key, pos: pos, value: value})
	}
	for _, from := range merged {
		if from.kind != mapping {
			b.doc.problem(from.pos, path, "<<: takes a section, not %s", from.kind)
		}
		for _, f := range from.fields {
			if out.field(f.key) == nil {
				out.fields = append(out.fields, f)
			}
		}
	}
}

var variable = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)

// scalar replaces ${NAME} by the environment's value, which is never read as YAML again. $${ is a plain ${.
func (b *builder) scalar(out *node, text, path string) {
	out.kind, out.shown = scalar, text
	out.text = variable.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$${" {
			return "${"
		}
		name := strings.TrimSuffix(strings.TrimPrefix(match, "${"), "}")
		if !strings.HasSuffix(match, "}") || !isName(name) {
			b.doc.problem(out.pos, path, "%s is no reference to a variable; want ${NAME}, or $${ for a plain ${", match)
			return ""
		}
		value, ok := b.doc.env[name]
		if !ok {
			hint := ""
			if near := Nearest(name, slices.Sorted(maps.Keys(b.doc.env))); near != "" {
				hint = "; did you mean ${" + near + "}?"
			}
			b.doc.problem(out.pos, path, "${%s} is not set in the environment%s", name, hint)
		}
		return value
	})
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" &&
		(s[0] < '0' || s[0] > '9')
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
