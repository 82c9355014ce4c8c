package archtest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	foreign  = regexp.MustCompile(`^[a-z0-9]+(\.[a-z]+)+/`) // of third parties: it begins with a host
	filePath = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)+$|^\w+\.(md|go|yaml)$`)
	required = regexp.MustCompile(`(?m)^\s+([a-z0-9.]+/\S+) v`)
)

// A document that names tests and files is right for as long as they exist.
func TestArchitectureNamesWhatExists(t *testing.T) {
	dir := root(t)
	tests := testFuncs(t, dir)
	for _, name := range named(t, dir) {
		switch {
		case testName.MatchString(name):
			if !tests[name] {
				t.Errorf("ARCHITECTURE.md names %s, which is no test", name)
			}
		case foreign.MatchString(name), !filePath.MatchString(name):
		default:
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("ARCHITECTURE.md names %s, which is not there", name)
			}
		}
	}
}

// Every module that our packages import has its reason, and no other.
func TestArchitectureNamesEveryDependency(t *testing.T) {
	dir := root(t)
	modules := directModules(t, dir)
	var reasons []string
	for _, name := range named(t, dir) {
		if foreign.MatchString(name) {
			reasons = append(reasons, name)
		}
	}
	for _, m := range modules {
		if !slices.Contains(reasons, m) {
			t.Errorf("%s is imported, and ARCHITECTURE.md gives no reason", m)
		}
	}
	for _, r := range reasons {
		if !slices.Contains(modules, r) {
			t.Errorf("ARCHITECTURE.md gives a reason for %s, which nothing imports", r)
		}
	}
}

// named returns what ARCHITECTURE.md quotes.
func named(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

// testFuncs are all tests, fuzz targets and benchmarks of the tree, those of other modules in it included.
func testFuncs(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// directModules are the modules of go.mod that some package or test of ours imports.
func directModules(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, m := range required.FindAllStringSubmatch(string(text), -1) {
		known = append(known, m[1])
	}
	cmd := exec.Command("go", "list", "-f", `{{range .Imports}}{{println .}}{{end}}{{range .TestImports}}{{println .}}{{end}}{{range .XTestImports}}{{println .}}{{end}}`, "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var direct []string
	for path := range strings.FieldsSeq(string(out)) {
		owner := ""
		for _, m := range known {
			if len(m) > len(owner) && (path == m || strings.HasPrefix(path, m+"/")) {
				owner = m
			}
		}
		if owner != "" && !slices.Contains(direct, owner) {
			direct = append(direct, owner)
		}
	}
	return direct
}
