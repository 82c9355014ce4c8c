package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/events/eventstest"
)

// What users read names every endpoint and every event type.
func TestDocumentsKnowEveryEndpointAndType(t *testing.T) {
	dir := root(t)
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	readme := read("README.md")
	eventstest.Endpoints(t, map[string]func(e events.Endpoint) error{
		"README.md": func(e events.Endpoint) error {
			return eventstest.Want(strings.Contains(readme, "      "+string(e)+": {"), "its configuration does not name it")
		},
	})

	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (.*)$")
	var named []events.Type
	about := map[events.Type]string{}
	for _, m := range row.FindAllStringSubmatch(readme, -1) {
		named = append(named, events.Type(m[1]))
		about[events.Type(m[1])] = m[2]
	}
	eventstest.Types(t, map[string]func(typ events.Type) error{
		"the table in README.md": func(typ events.Type) error {
			return eventstest.Want(slices.Contains(named, typ), "it has no row")
		},
		"what README.md says of its default": func(typ events.Type) error {
			return eventstest.Want(about[typ] != "" && strings.Contains(about[typ], "off by default") != typ.OnByDefault(), about[typ])
		},
	})
	if !slices.Equal(named, events.Types()) {
		t.Errorf("the table in README.md has the types in the order %v, package events in the order %v", named, events.Types())
	}
}

// A package that has something to say of single endpoints says it for each of them: with events.ForEach, or where a test of its
// own sees to it. A switch over endpoints takes a new one for whichever its default is meant for.
func TestCodeKnowsEveryEndpoint(t *testing.T) {
	constants := map[string]bool{"ForEach": true}
	for _, e := range events.Endpoints() {
		constants[constantOf(e)] = true
	}
	named := map[string]bool{} // packages
	eachFile(t, func(p pkg, name string, file *ast.File, fset *token.FileSet) {
		if p.name() == "internal/events" || isTestSupport(p.name()) {
			return
		}
		isEndpoint := func(n ast.Expr) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return false
			}
			x, ok := s.X.(*ast.Ident)
			return ok && x.Name == "events" && constants[s.Sel.Name]
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if isEndpoint(n) {
					named[p.name()] = true
				}
			case *ast.CaseClause:
				if slices.ContainsFunc(n.List, isEndpoint) {
					t.Errorf("%s/%s:%d: a switch over endpoints: use events.ForEach, which does not compile until it knows a new one",
						p.name(), name, fset.Position(n.Pos()).Line)
				}
			}
			return true
		})
	})
	if !named["internal/kore"] || !named["internal/koresim"] {
		t.Fatalf("only %v name endpoints: the test does not see them", named)
	}
	delete(named, "internal/poll/pass") // a pass is for one endpoint, and internal/poll chooses it
	for name := range named {
		if !tested(t, name, "eventstest.Endpoints(") {
			t.Errorf("%s names endpoints, and no test of its calls eventstest.Endpoints", name)
		}
	}
}

// constantOf returns the name of the constant of an endpoint in package events.
func constantOf(e events.Endpoint) string {
	var b strings.Builder
	for word := range strings.SplitSeq(string(e), "-") {
		fmt.Fprint(&b, strings.ToUpper(word[:1])+word[1:])
	}
	return b.String()
}

// tested reports whether a test file of a package holds text.
func tested(t *testing.T, name, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), name, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		src, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(src), text)
	})
}
