package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// skips lists the functions that skip a test, and where what they skip is run.
var skips = map[string]string{
	"internal/testsize.Slow":                        "under the race detector: the second run of make test",
	"internal/events.TestRecipeCanBeLinkedIn":       "with -short: make seeds",
	"internal/poll.TestAccountFirstRead":            "three profiles of four with -short: make full",
	"internal/poll.TestAccountWithRequestsInFlight": "all profiles but two with -short: make full",
	"internal/kafka/kafkatest.Require":              "without Apache Kafka: make kafka-test",
	"internal/bench.TestCost":                       "make bench",
	"internal/bench.TestYear":                       "on request",
	"internal/checkpoint.BenchmarkDedupe":           "with -short: go test -bench",
	"internal/checkpoint.BenchmarkElsewhere":        "with -short: go test -bench",
	"internal/journal.BenchmarkReplay":              "with -short: go test -bench",
	"internal/app.newBrowser":                       "without Chromium: wherever it is installed",
	"internal/app.TestPictures":                     "without -pictures: make pictures",
	"internal/archtest.committed":                   "outside of a clone: in every clone",
	"internal/archtest.TestSlowTestsRunOnce":        "without make: wherever make test is",
}

// A test that marks itself as slow is skipped by the first run of make test, and its second one runs it. That one runs no other, and
// in neither is a test left out by its name.
func TestSlowTestsRunOnce(t *testing.T) {
	var slow, in []string
	eachTestFile(t, func(dir string, file *ast.File, fset *token.FileSet) {
		marks := 0
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && testName.MatchString(f.Name.Name) && f.Recv == nil && len(f.Body.List) > 0 && marksSlow(f.Body.List[0]) {
				slow, in = append(slow, f.Name.Name), append(in, "./"+dir)
				marks++
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && calls(call, "testsize", "Slow") {
				marks--
			}
			return true
		})
		if marks != 0 {
			t.Errorf("%s: testsize.Slow(t) must be the first statement of a test, as .ci/slow finds it there only", fset.File(file.Pos()).Name())
		}
	})
	if len(slow) == 0 {
		t.Fatal("no test is slow")
	}
	found := strings.Fields(command(t, "../../.ci/slow"))
	if len(found) < 3 {
		t.Fatalf(".ci/slow prints %q", found)
	}
	slices.Sort(slow)
	slices.Sort(in)
	if want := "^(" + strings.Join(slow, "|") + ")$"; found[0] != "-run" || found[1] != want {
		t.Errorf(".ci/slow finds %s; the tests that call testsize.Slow are %s", found[1], want)
	}
	if want := slices.Compact(in); !slices.Equal(found[2:], want) {
		t.Errorf(".ci/slow finds them in %v; they are in %v", found[2:], want)
	}
	for race, want := range map[string][]string{
		"-race": {"go test -race -short ./...", "go test -short $(.ci/slow)"},
		"":      {"go test -short ./..."},
	} {
		if _, err := exec.LookPath("make"); err != nil {
			t.Skip("there is no make")
		}
		var runs []string
		for line := range strings.Lines(command(t, "make", "-C", "../..", "--no-print-directory", "-n", "test", "RACE="+race)) {
			if line = timeout.ReplaceAllString(line, ""); strings.HasPrefix(line, "go test") {
				runs = append(runs, strings.Join(strings.Fields(line), " "))
			}
		}
		if !slices.Equal(runs, want) {
			t.Errorf("make test RACE=%s runs %q; want %q", race, runs, want)
		}
	}
}

var timeout = regexp.MustCompile(` -timeout \S+`)

// A test that is skipped is one that somebody must have meant to skip.
func TestEverySkipIsAccountedFor(t *testing.T) {
	found := map[string]bool{}
	check := func(dir string, file *ast.File, fset *token.FileSet) {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if ok && (calls(call, "", "Skip") || calls(call, "", "Skipf") || calls(call, "", "SkipNow")) {
					name := dir + "." + f.Name.Name
					found[name] = true
					if skips[name] == "" {
						t.Errorf("%s skips a test: add %s to skips, with where it is run instead", fset.Position(n.Pos()), name)
					}
				}
				return true
			})
		}
	}
	eachTestFile(t, check)
	eachFile(t, func(p pkg, _ string, file *ast.File, fset *token.FileSet) { check(p.name(), file, fset) })
	for name := range skips {
		if !found[name] {
			t.Errorf("%s skips nothing any more: delete it from skips", name)
		}
	}
}

// What a test waits for may take its time: others run on the machine. An end is put to it only so that somebody looks.
func TestNothingIsExpectedSoon(t *testing.T) {
	eachTestFile(t, func(_ string, file *ast.File, fset *token.FileSet) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !calls(call, "require", "Eventually") && !calls(call, "assert", "Eventually") {
				return true
			}
			minutes := false
			ast.Inspect(call.Args[2], func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				minutes = minutes || ok && (s.Sel.Name == "Minute" || s.Sel.Name == "Hour")
				return true
			})
			if !minutes {
				t.Errorf("%s waits for less than minutes: a busy machine takes longer", fset.Position(n.Pos()))
			}
			return true
		})
	})
}

func marksSlow(s ast.Stmt) bool {
	e, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := e.X.(*ast.CallExpr)
	return ok && calls(call, "testsize", "Slow")
}

// calls reports whether a call is of a function of a package, or of a method that any value has.
func calls(call *ast.CallExpr, of, name string) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return of == "" || ok && x.Name == of
}

// eachTestFile calls f with every file of tests, and its directory.
func eachTestFile(t *testing.T, f func(dir string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != top && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		f(filepath.ToSlash(dir), file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a command with nothing of the make that may have started the test.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, errs.String())
	}
	return string(out)
}
