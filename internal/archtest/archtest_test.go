package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "agentassist-poller"

// edges lists which of our packages may import which others of ours, and why. Everything points downward: what is
// further down knows nothing of what uses it.
var edges = []struct{ from, to, why string }{
	{"cmd/poller", "internal/app", "main only parses flags and turns errors into exit codes"},
	{"cmd/poller", "internal/demo", "has the commands that need no account"},

	{"cmd/poller", "internal/kafka", "has the defaults of a configuration for commands that need no more than brokers"},
	{"cmd/poller", "internal/tail", "shows events"},

	{"examples/alerting", "examples/feed", "reads a topic"},
	{"examples/feedback-board", "examples/feed", "reads a topic"},

	{"internal/app", "internal/privacy", "has its section of the configuration"},
	{"internal/app", "internal/revise", "forgets what is stored of entities"},
	{"internal/privacy", "internal/conf", "says what settings may be"},
	{"internal/privacy", "internal/events", "knows which fields hold personal data"},
	{"internal/privacy", "internal/secret", "hashes with a key that never shows itself"},

	{"internal/tail", "internal/events", "names types"},
	{"internal/tail", "internal/kafka", "connects as the poller does"},
	{"internal/tail", "internal/kafka/kafkaread", "reads topics as a consumer does"},

	{"internal/app", "internal/check", "prints what it finds"},
	{"internal/app", "internal/explain", "prints what it finds"},

	{"internal/asyncapi", "internal/events", "names types, and has their schemas"},
	{"internal/asyncapi", "internal/kafka", "describes topics and headers as they are"},
	{"internal/asyncapi/gen", "internal/asyncapi", "writes its document into the tree"},

	{"internal/explain", "internal/checkpoint", "keeps in memory what the file would hold"},
	{"internal/explain", "internal/events", "names types and endpoints, and compares content"},
	{"internal/explain", "internal/extract", "reads pages as the poller does"},
	{"internal/explain", "internal/kafka", "connects as the poller does"},
	{"internal/explain", "internal/kafka/kafkaread", "reads topics as a consumer does"},
	{"internal/explain", "internal/kore", "asks for pages"},
	{"internal/explain", "internal/poll", "knows what is configured to be read"},
	{"internal/explain", "internal/poll/pass", "reads spans as the poller does"},
	{"internal/explain", "internal/poll/plan", "keeps within a budget of its own"},
	{"internal/explain", "internal/poll/timeline", "bounds spans"},
	{"internal/explain", "internal/status", "knows which errors may pass"},
	{"internal/explain", "internal/revise", "makes events of rows as the poller does"},
	{"internal/explain", "internal/tail", "writes texts of others to a terminal"},

	{"internal/check", "internal/checkpoint", "asks whether the file can be written"},
	{"internal/check", "internal/events", "names endpoints"},
	{"internal/check", "internal/extract", "reads pages as the poller does"},
	{"internal/check", "internal/kafka", "asks whether a start would succeed"},
	{"internal/check", "internal/kore", "asks for pages"},
	{"internal/check", "internal/payload", "knows a refusal beside data"},
	{"internal/check", "internal/poll", "asks what the budget attains"},
	{"internal/check", "internal/status", "knows the classes of errors"},

	{"internal/demo", "internal/app", "runs the poller as poller run does"},
	{"internal/demo", "internal/events", "counts them by type"},
	{"internal/demo", "internal/kafka", "names its topics"},
	{"internal/demo", "internal/kafka/kafkaread", "reads its topics back as a consumer would"},
	{"internal/demo", "internal/koresim", "serves it, and compares with its ledger"},
	{"internal/demo", "internal/status", "draws it"},
	{"internal/demo", "internal/tail", "shows events as poller tail does"},

	{"internal/app", "internal/asyncapi", "serves it"},
	{"internal/app", "internal/bound", "bounds ids"},
	{"internal/app", "internal/checkpoint", "wires the store"},
	{"internal/app", "internal/conf", "reads the configuration"},
	{"internal/app", "internal/events", "names endpoints and types"},
	{"internal/app", "internal/extract", "hands the decoder to the readers"},
	{"internal/app", "internal/journal", "wires the content of the checkpoint topic to its transactions and to the store"},
	{"internal/app", "internal/kafka", "wires the delivery, and composes its configuration"},
	{"internal/app", "internal/kore", "wires the client, and composes its configuration"},
	{"internal/app", "internal/memory", "says how much the answers of all accounts may take"},
	{"internal/app", "internal/owner", "asks which accounts are read here, and says what reads them"},
	{"internal/app", "internal/poll", "runs the loop"},
	{"internal/app", "internal/poll/plan", "configures its policy"},
	{"internal/app", "internal/secret", "holds client secrets"},
	{"internal/app", "internal/status", "serves it"},
	{"internal/app", "internal/tlsconf", "has it in its configuration"},
	{"internal/app", "internal/traces", "sends the trace spans of all accounts"},
	{"internal/app", "schemas", "prints them"},
	{"internal/app", "docs", "describes settings in their JSON Schema"},
	{"internal/app/gen", "internal/app", "writes the JSON Schema of the configuration"},

	{"internal/owner", "internal/checkpoint", "opens the file, and brings it up to date"},
	{"internal/owner", "internal/events", "looks for watermarks of a checkpoint that is gone"},
	{"internal/owner", "internal/journal", "replays the topic, and makes its records"},
	{"internal/owner", "internal/kafka", "takes partitions over, alone or as a member of a group"},
	{"internal/owner", "internal/status", "says who reads what"},

	{"internal/poll", "internal/bound", "bounds batches"},
	{"internal/poll", "internal/checkpoint", "says what to remember of a page"},
	{"internal/poll", "internal/events", "publishes them"},
	{"internal/poll", "internal/extract", "reads pages as rows"},
	{"internal/poll", "internal/kafka", "hands batches to a delivery"},
	{"internal/poll", "internal/memory", "shares it among the answers of all accounts"},
	{"internal/poll", "internal/kore", "asks for pages, and owns retries and the budget"},
	{"internal/poll", "internal/poll/pass", "reads one span"},
	{"internal/poll", "internal/payload", "knows a refusal beside data"},
	{"internal/poll", "internal/poll/plan", "asks what to do next, and keeps the budget"},
	{"internal/poll", "internal/poll/timeline", "keeps what was read of each unit"},
	{"internal/poll/pass", "internal/events", "names endpoints"},
	{"internal/poll/pass", "internal/extract", "reads rows"},
	{"internal/poll/pass", "internal/kore", "says what to ask"},
	{"internal/poll/pass", "internal/poll/timeline", "reads spans, and cuts them by density"},
	{"internal/poll/plan", "internal/poll/timeline", "plans over what was read"},
	{"internal/poll/plan", "internal/events", "names endpoints"},
	{"internal/poll", "internal/revise", "asks which observations are new"},
	{"internal/poll", "internal/privacy", "passes the policy on, and keeps to it where records cannot be read"},
	{"internal/poll", "internal/status", "fills it in"},

	{"internal/kafka", "internal/bound", "bounds records"},
	{"internal/kafka", "internal/conf", "says what settings may be"},
	{"internal/kafka", "internal/events", "encodes them"},
	{"internal/kafka", "internal/secret", "holds passwords"},
	{"internal/kafka", "internal/tlsconf", "protects connections"},
	{"internal/traces", "internal/secret", "holds headers"},
	{"internal/traces", "internal/tlsconf", "protects connections"},
	{"internal/kafka/kafkaread", "internal/events", "decodes what consumers see"},

	{"internal/kafka", "internal/faultpoint", "is killed there by tests"},
	{"internal/checkpoint", "internal/faultpoint", "is killed there by tests"},
	{"internal/journal", "internal/faultpoint", "is killed there by tests"},

	{"internal/checkpoint", "internal/binform", "reads what its file is made of"},
	{"internal/journal", "internal/binform", "writes and reads records of the checkpoint topic"},
	{"internal/kafka", "internal/binform", "writes and reads intents"},
	{"internal/poll/timeline", "internal/binform", "writes and reads the forms of its values"},
	{"internal/revise", "internal/binform", "writes and reads what is stored of entities"},

	{"internal/revise", "internal/bound", "bounds what is stored of an entity"},
	{"internal/revise", "internal/events", "compares and merges them"},
	{"internal/revise", "internal/checkpoint", "decides from what is remembered"},
	{"internal/revise", "internal/privacy", "conceals personal data before it decides, and publishes it as configured"},
	{"internal/journal", "internal/bound", "bounds records"},
	{"internal/journal", "internal/checkpoint", "writes out what the store remembers, and brings a store up to date"},
	{"internal/extract", "internal/bound", "bounds what is made of a page"},
	{"internal/extract", "internal/events", "makes observations"},
	{"internal/extract", "internal/payload", "asks what came in place of a page"},
	{"internal/extract", "internal/status", "names the classes of errors"},
	{"internal/kore", "internal/bound", "bounds answers"},
	{"internal/kore", "internal/events", "names endpoints"},
	{"internal/kore", "internal/memory", "reads answers into it"},
	{"internal/kore", "internal/secret", "signs with client secrets"},
	{"internal/kore", "internal/payload", "asks what came in place of a page"},
	{"internal/kore", "internal/status", "names the classes of errors"},
	{"internal/payload", "internal/status", "names the classes of errors"},
	{"internal/koresim", "internal/events", "names types and endpoints, and nothing else: it is the witness"},
	{"internal/conf", "internal/secret", "never shows one"},
	{"internal/events", "schemas", "is generated from them"},
	{"internal/events/gen", "schemas", "generates from them"},
}

// owned lists which packages outside the standard library only one place may import.
var owned = []struct{ pkg, only, why string }{
	{"github.com/hamba/avro/", "internal/events/codec.go", "it gets no releases any more and has known faults: one file works around them"},
	{"go.etcd.io/bbolt", "internal/checkpoint", "the store speaks verbs of the domain, not transactions"},
	{"github.com/twmb/franz-go", "internal/kafka", "Kafka is behind the delivery; the demo's broker is the exception below"},
	{"github.com/golang-jwt/", "internal/kore", "tokens are made where they are sent"},
	{"github.com/goccy/go-yaml", "internal/conf", "settings are read in one place"},
	{"go.opentelemetry.io/otel/sdk", "internal/traces", "who makes trace spans does not know where they go"},
	{"go.opentelemetry.io/otel/exporters/", "internal/traces", "who makes trace spans does not know where they go"},
	{"go.opentelemetry.io/proto/", "internal/traces", "who makes trace spans does not know where they go"},
	{"github.com/spf13/", "cmd/poller", "nothing below knows of flags"},
}

// exceptions to owned, by package of ours and package imported.
var exceptions = map[string]string{
	"examples/feed github.com/twmb/franz-go":     "it consumes as a program of somebody else does, with nothing of ours",
	"internal/asyncapi github.com/goccy/go-yaml": "it writes a document, and reads no settings",
	"internal/app github.com/twmb/franz-go":      "tests hand its Kafka clients options",
	"internal/check github.com/twmb/franz-go":    "its tests run kfake and srfake",
	"internal/demo github.com/twmb/franz-go":     "it runs kfake and srfake, and reads the topics back as a consumer would",
	"internal/koresim github.com/golang-jwt/":    "the simulated API verifies tokens independently of who makes them",
}

// pkg is what go list says about a package of ours.
type pkg struct {
	ImportPath, Dir, Doc string
	GoFiles              []string
	Imports              []string
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var listOnce = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Doc,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var pkgs []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		if len(p.GoFiles) > 0 {
			pkgs = append(pkgs, p)
		}
	}
})

func list(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := listOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list found %d packages only", len(pkgs))
	}
	return pkgs
}

// isTestSupport tells packages that only tests import; they may import what they support.
func isTestSupport(name string) bool {
	return strings.HasSuffix(name, "test") || name == "internal/testsize"
}

// Every import of one of our packages by another is in edges, and every edge is an import that is there.
func TestImportsPointDownward(t *testing.T) {
	allowed, used := map[string]bool{}, map[string]bool{}
	for _, e := range edges {
		allowed[e.from+" "+e.to] = true
	}
	for _, p := range list(t) {
		for _, to := range p.Imports {
			to, ours := strings.CutPrefix(to, module+"/")
			if !ours || isTestSupport(p.name()) {
				continue
			}
			if isTestSupport(to) {
				t.Errorf("%s imports %s: test support is for tests", p.name(), to)
			} else if !allowed[p.name()+" "+to] {
				t.Errorf("%s imports %s: add the edge to edges with its reason, if it points downward", p.name(), to)
			}
			used[p.name()+" "+to] = true
		}
	}
	for edge := range allowed {
		if !used[edge] {
			from, to, _ := strings.Cut(edge, " ")
			t.Errorf("%s does not import %s any more: delete the edge", from, to)
		}
	}
}

// The list itself must not hide a cycle.
func TestEdgesHaveNoCycle(t *testing.T) {
	below := map[string][]string{}
	for _, e := range edges {
		below[e.from] = append(below[e.from], e.to)
	}
	var visit func(at string, path []string)
	visit = func(at string, path []string) {
		if slices.Contains(path, at) {
			t.Fatalf("the edges allow a cycle: %s", strings.Join(append(path, at), " -> "))
		}
		for _, to := range below[at] {
			visit(to, append(slices.Clone(path), at))
		}
	}
	for from := range below {
		visit(from, nil)
	}
}

func TestOwnedDependencies(t *testing.T) {
	eachFile(t, func(p pkg, name string, file *ast.File, _ *token.FileSet) {
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			for _, o := range owned {
				if !strings.HasPrefix(path, o.pkg) || isTestSupport(p.name()) || exceptions[p.name()+" "+o.pkg] != "" {
					continue
				}
				if at := p.name() + "/" + name; at != o.only && p.name() != o.only && !strings.HasPrefix(p.name(), o.only+"/") {
					t.Errorf("%s imports %s, which only %s may: %s", at, path, o.only, o.why)
				}
			}
		}
	})
}

// Waiting is done on a channel, a context or a timer that a test can replace.
func TestNothingSleeps(t *testing.T) {
	eachFile(t, func(p pkg, name string, file *ast.File, fset *token.FileSet) {
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s/%s:%d calls time.Sleep: wait for what it is waiting for", p.name(), name, fset.Position(n.Pos()).Line)
				}
			}
			return true
		})
	})
}

func TestOnePackageDocEach(t *testing.T) {
	docs := map[string][]string{}
	eachFile(t, func(p pkg, name string, file *ast.File, _ *token.FileSet) {
		if file.Doc != nil {
			docs[p.name()] = append(docs[p.name()], name)
		}
	})
	for _, p := range list(t) {
		if len(docs[p.name()]) != 1 {
			t.Errorf("%s has %d package comments %v; want exactly one", p.name(), len(docs[p.name()]), docs[p.name()])
		}
	}
}

func TestNoVagueFileNames(t *testing.T) {
	eachFile(t, func(p pkg, name string, _ *ast.File, _ *token.FileSet) {
		switch name {
		case "utils.go", "util.go", "helpers.go", "types.go", "common.go", "misc.go":
			t.Errorf("%s/%s: name the file after what is in it", p.name(), name)
		}
	})
}

// eachFile calls f with every file that is built into the program.
func eachFile(t *testing.T, f func(p pkg, name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	for _, p := range list(t) {
		for _, name := range p.GoFiles {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			f(p, name, file, fset)
		}
	}
}

// The tree must work elsewhere: it names no machine's paths and no host that packages are fetched from.
func TestTreeNamesNoMachine(t *testing.T) {
	paths := regexp.MustCompile(`(?m)(^|[\s"'=(:])/(work|root)/[a-z]`)
	hosts := []string{"proxy." + "golang.org", "repo1." + "maven.org", "repo." + "maven.apache.org", "pypi." + "org", "registry." + "npmjs.org", "crates." + "io"}
	dir := root(t)
	for _, name := range committed(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, not yet committed
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if bytes.ContainsRune(text, 0) {
			continue
		}
		for _, host := range hosts {
			if bytes.Contains(text, []byte(host)) {
				t.Errorf("%s names %s", name, host)
			}
		}
		if !bytes.Contains(text, []byte("/work/")) && !bytes.Contains(text, []byte("/root/")) {
			continue // which is found out much faster
		}
		for _, m := range paths.FindAll(text, -1) {
			t.Errorf("%s names %q", name, bytes.TrimSpace(m))
		}
	}
}

func committed(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Skip("not a git clone")
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}
