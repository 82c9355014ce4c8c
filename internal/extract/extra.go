package extract

import (
	"cmp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"agentassist-poller/internal/bound"
)

// extra collects the members of an object that are not known, so that an event can carry them as they are.
type extra struct{ members []member }

type member struct{ name, value string }

// objectAndRest reads an object as object does, and collects the members that are not known in rest.
func (r *reader) objectAndRest(at string, rest *extra, field func(name string)) bool {
	if r.kind() == '{' {
		r.extra = rest
	}
	return r.object(at, field)
}

// json returns the members as an object, nil if there are none. Members that would make it longer than bound.Extra are left out, by their
// names, so that the order in which they are listed does not count.
func (x *extra) json(r *reader) *string {
	if len(x.members) == 0 || r.err != nil {
		return nil
	}
	slices.SortStableFunc(x.members, func(a, b member) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value)) })
	var b []byte
	for _, m := range x.members {
		if len(b)+len(m.name)+len(m.value) > bound.Extra {
			continue
		}
		b, _ = jsontext.AppendQuote(append(b, ','), strings.ToValidUTF8(m.name, "\uFFFD")) // valid text cannot fail
		b = append(append(b, ':'), m.value...)
	}
	if len(b) == 0 {
		return nil
	}
	b[0] = '{'
	return r.texts.put(canonicalJSON(string(append(b, '}'))))
}
