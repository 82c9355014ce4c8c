package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (p *printer) schema(s *schema) {
	p.begin(imports(s)...)
	for _, r := range s.records {
		if r.Name == "Agent" || r.Name == "Queue" {
			continue
		}
		p.structType(s, r)
	}
	for _, r := range s.records {
		if r.Name == "Agent" || r.Name == "Queue" {
			continue
		}
		if r == s.root && s.isEvent() {
			p.eventMethods(s)
		}
		p.codec(s, r)
		if s.isEvent() {
			p.content(s, r)
		}
	}
	if s.isEvent() {
		p.merge(s)
	}
}

func imports(s *schema) []string {
	uses := map[string]bool{}
	for _, r := range s.records {
		for _, f := range s.body(r) {
			if f.typ.kind == kindTime {
				uses["time"] = true
			}
			if s.isEvent() && r == s.root && f.typ.kind == kindString && !f.typ.nullable && f.Unit == "" {
				uses["cmp"] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(uses))
}

func (p *printer) structType(s *schema, r *record) {
	p.f("// %s: %s", r.Name, r.Doc)
	p.f("type %s struct {", r.Name)
	number := 0 // in the checkpoint: see package revise
	if r == s.root && s.isEvent() {
		p.f("Header `stored:\"0\"`\n")
		number++
	}
	for _, f := range s.body(r) {
		omit, stored, personal := "", "", ""
		if f.typ.nullable || f.typ.kind == kindArray || f.typ.kind == kindMap {
			omit = ",omitempty"
		}
		p.f("// %s", f.Doc)
		if s.isEvent() {
			stored = fmt.Sprintf(" stored:\"%d\"", number)
		}
		if f.Personal != "" {
			personal = fmt.Sprintf(" personal:%q", f.Personal)
		}
		p.f("%s %s `avro:%q json:\"%s%s\"%s%s`", goName(f.Name), goType(f.typ), f.Name, f.Name, omit, stored, personal)
		number++
	}
	p.f("}\n")
}

func (p *printer) eventMethods(s *schema) {
	name := s.root.Name
	p.f("// EventType implements Event.")
	p.f("func (*%s) EventType() Type { return Type%s }\n", name, name)
	p.f("// Head implements Event.")
	p.f("func (e *%s) Head() *Header { return &e.Header }\n", name)
}

// codec writes the methods that put a record into its Avro form and read it back, field by field in schema order.
func (p *printer) codec(s *schema, r *record) {
	p.f("func (e *%s) encode(w *encoder) {", r.Name)
	if r == s.root && s.isEvent() {
		p.f("e.Header.encode(w)")
	}
	for _, f := range s.body(r) {
		p.encodeField(f)
	}
	p.f("}\n")
	p.f("func (e *%s) decode(r *decoder) {", r.Name)
	p.f("*e = %s{}", r.Name)
	if r == s.root && s.isEvent() {
		p.f("e.Header.decode(r)")
	}
	for _, f := range s.body(r) {
		p.decodeField(f)
	}
	p.f("}\n")
}

func (p *printer) encodeField(f *field) {
	name := "e." + goName(f.Name)
	switch t := f.typ; {
	case t.kind == kindArray && t.elem.kind == kindRecord:
		p.f("w.open(len(%s))", name)
		p.f("for i := range %s { %s[i].encode(w) }", name, name)
		p.f("w.close()")
	case t.kind == kindArray:
		p.f("w.%ss(%s)", t.elem.method(), name)
	case t.kind == kindMap:
		p.f("w.%sMap(%s)", t.elem.method(), name)
	case t.kind == kindRecord && t.nullable:
		p.f("if w.present(%s != nil) { %s.encode(w) }", name, name)
	case t.kind == kindRecord:
		p.f("%s.encode(w)", name)
	default:
		p.f("w.%s(%s)", t.method(), name)
	}
}

func (p *printer) decodeField(f *field) {
	name := "e." + goName(f.Name)
	switch t := f.typ; {
	case t.kind == kindArray && t.elem.kind == kindRecord:
		p.f("for n := r.block(); n > 0; n = r.block() {")
		p.f("for ; n > 0 && r.ok(); n-- {")
		p.f("var x %s\nx.decode(r)\n%s = append(%s, x)\n}\n}", t.elem.rec.Name, name, name)
	case t.kind == kindArray:
		p.f("%s = r.%ss()", name, t.elem.method())
	case t.kind == kindMap:
		p.f("%s = r.%sMap()", name, t.elem.method())
	case t.kind == kindRecord && t.nullable:
		p.f("if r.present() { %s = new(%s); %s.decode(r) }", name, t.rec.Name, name)
	case t.kind == kindRecord:
		p.f("%s.decode(r)", name)
	default:
		p.f("%s = r.%s()", name, t.method())
	}
}

// content writes AppendContent for events and appendContent for the records inside them.
func (p *printer) content(s *schema, r *record) {
	if r == s.root {
		p.f("// AppendContent implements Event.")
		p.f("func (e *%s) AppendContent(dst []byte, recipe int) []byte {", r.Name)
		for _, path := range r.HashedHeader {
			p.headerContent(path)
		}
	} else {
		p.f("func (e *%s) appendContent(dst []byte, recipe int) []byte {", r.Name)
	}
	for _, f := range s.body(r) {
		if !f.counts() {
			continue
		}
		if f.Since > 1 {
			p.f("if recipe >= %d {", f.Since)
		}
		if f.Derivable {
			p.f("if !e.derives(%q) {", f.Name)
		}
		p.contentField(f)
		if f.Derivable {
			p.f("}")
		}
		if f.Since > 1 {
			p.f("}")
		}
	}
	p.f("return dst\n}\n")
}

func (p *printer) headerContent(path string) {
	outer, inner, nested := strings.Cut(path, ".")
	if nested {
		p.f("if e.%s != nil { dst = contentStr(dst, %q, e.%s.%s) }", goName(outer), path, goName(outer), goName(inner))
		return
	}
	p.f("dst = contentStr(dst, %q, e.%s)", path, goName(path))
}

func (p *printer) contentField(f *field) {
	name := "e." + goName(f.Name)
	switch t := f.typ; {
	case t.kind == kindArray && t.elem.kind == kindRecord:
		p.f("dst = contentList(dst, %q, len(%s), %t, func(dst []byte, i int) []byte { return %s[i].appendContent(dst, recipe) })",
			f.hashedAs(), name, f.Unordered, name)
	case t.kind == kindArray:
		p.f("dst = contentList(dst, %q, len(%s), %t, func(dst []byte, i int) []byte { return append(dst, %s[i]...) })",
			f.hashedAs(), name, f.Unordered, name)
	case t.kind == kindMap:
		p.f("dst = contentMap(dst, %q, %s)", f.hashedAs(), name)
	case t.kind == kindRecord:
		p.f("if %s != nil { dst = contentList(dst, %q, 1, false, func(dst []byte, _ int) []byte { return %s.appendContent(dst, recipe) }) }",
			name, f.hashedAs(), name)
	default:
		m := strings.TrimSuffix(t.method(), "Ptr")
		p.f("dst = content%s(dst, %q, %s%s)", strings.ToUpper(m[:1])+m[1:], f.hashedAs(), ref(t), name)
	}
}

// ref takes the address of what is no pointer.
func ref(t *typ) string {
	if t.nullable {
		return ""
	}
	return "&"
}

// merge writes how two observations of one entity are merged: for each owner, the observation that comes first, its empty fields filled from
// the other.
func (p *printer) merge(s *schema) {
	name := s.root.Name
	p.f("func (e *%s) merge(other Event, by order) Event {", name)
	p.f("o, out := other.(*%s), new(%s)", name, name)
	var owners []string
	byOwner := map[string][]*field{}
	fallback := s.root.Owner
	if fallback == "" {
		fallback = "interactions"
	}
	owners = append(owners, fallback)
	for _, f := range s.body(s.root) {
		owner := f.Owner
		if owner == "" {
			owner = fallback
		}
		if byOwner[owner] == nil && owner != fallback {
			owners = append(owners, owner)
		}
		byOwner[owner] = append(byOwner[owner], f)
	}
	for i, owner := range owners {
		assign := "="
		if i == 0 {
			assign = ":="
		}
		p.f("\n// Fields that belong to %s.", owner)
		p.f("hi, lo %s e, o", assign)
		p.f("if by.swap(%s) { hi, lo = o, e }", endpointConst(owner))
		if i == 0 {
			p.f("out.Header = mergeHeader(&hi.Header, &lo.Header)")
		}
		for _, f := range byOwner[owner] {
			if f.Unit == "" {
				p.f("out.%s = %s", goName(f.Name), mergeExpr(f))
			}
		}
		if i == 0 && len(s.unit()) > 0 {
			p.f("if hi.says() { out.take(hi) } else { out.take(lo) }")
		}
	}
	p.f("return out\n}\n")
	if unit := s.unit(); len(unit) > 0 {
		p.unit(name, unit)
	}
}

// unit writes what tells whether an event says anything in the fields that are one statement, and what takes them from another event.
func (p *printer) unit(name string, unit []*field) {
	var says []string
	for _, f := range unit {
		if n := "e." + goName(f.Name); f.typ.kind == kindArray {
			says = append(says, "len("+n+") > 0")
		} else if f.typ.nullable && f.typ.kind == kindString {
			says = append(says, "!blank("+n+")")
		} else if f.typ.nullable {
			says = append(says, n+" != nil")
		}
	}
	p.f("func (e *%s) says() bool { return %s }\n", name, strings.Join(says, " || "))
	p.f("func (e *%s) take(from *%s) {", name, name)
	for _, f := range unit {
		p.f("e.%s = from.%s", goName(f.Name), goName(f.Name))
	}
	p.f("}\n")
}

func mergeExpr(f *field) string {
	n := goName(f.Name)
	switch t := f.typ; {
	case t.kind == kindArray:
		return fmt.Sprintf("eitherList(hi.%s, lo.%s)", n, n)
	case t.kind == kindMap:
		return fmt.Sprintf("eitherMap(hi.%s, lo.%s)", n, n)
	case t.kind == kindString && t.nullable:
		return fmt.Sprintf("eitherStr(hi.%s, lo.%s)", n, n)
	case t.nullable:
		return fmt.Sprintf("eitherPtr(hi.%s, lo.%s)", n, n)
	case t.kind == kindString:
		return fmt.Sprintf("cmp.Or(hi.%s, lo.%s)", n, n)
	default:
		return "hi." + n
	}
}

func (p *printer) headerFile(s *schema) {
	p.begin()
	for _, r := range []*record{{Name: "Header", Fields: s.root.Fields[:headerLen]}, named(s, "Agent"), named(s, "Queue")} {
		p.codec(&schema{root: r}, r)
	}
}

func named(s *schema, name string) *record {
	for _, r := range s.records {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func (p *printer) newFile(all []*schema) {
	p.begin()
	events := 0
	for _, s := range all {
		if s.isEvent() {
			events++
		}
	}
	p.f("// eventSchemas is how many schemas are those of events.\nconst eventSchemas = %d\n", events)
	p.f("// New returns an empty event of type t, nil if there is no such type.")
	p.f("func New(t Type) Event {\nswitch t {")
	for _, s := range all {
		if s.isEvent() {
			p.f("case Type%s: return new(%s)", s.root.Name, s.root.Name)
		}
	}
	p.f("}\nreturn nil\n}")
}
