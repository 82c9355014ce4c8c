package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Every go.mod is kept up to date, and the Go that builds the image and runs CI is new enough for all of them.
func TestEveryModuleIsKeptUpToDate(t *testing.T) {
	dir := root(t)
	var dependabot struct {
		Updates []struct {
			Ecosystem   string   `yaml:"package-ecosystem"`
			Directories []string `yaml:"directories"`
		} `yaml:"updates"`
	}
	unmarshal(t, filepath.Join(dir, ".github/dependabot.yml"), &dependabot)
	var kept []string
	for _, u := range dependabot.Updates {
		if u.Ecosystem == "gomod" {
			kept = append(kept, u.Directories...)
		}
	}
	image := capture(t, filepath.Join(dir, "deploy/Dockerfile"), `(?m)^FROM --platform=\$BUILDPLATFORM golang:(1\.\d+\.\d+) AS build$`)
	var modules []string
	for _, path := range find(t, dir, "go.mod") {
		at, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		modules = append(modules, filepath.ToSlash(filepath.Join("/", at)))
		if needs := capture(t, path, `(?m)^go (1\.\d+\.\d+)$`); padded(needs) > padded(image) {
			t.Errorf("%s needs Go %s, and deploy/Dockerfile has %s", path, needs, image)
		}
	}
	slices.Sort(kept)
	slices.Sort(modules)
	if !slices.Equal(kept, modules) {
		t.Errorf(".github/dependabot.yml has the modules in %v; there are %v", kept, modules)
	}
}

// padded makes versions of one major version comparable as texts.
func padded(version string) string {
	return regexp.MustCompile(`\b\d\b`).ReplaceAllString(version, "0$0")
}

// The program in an archive and the one in an image are built alike, so that they are the same.
func TestReleasesAreBuiltAlike(t *testing.T) {
	dir := root(t)
	var release struct {
		Builds []struct{ Env, Flags, Ldflags []string }
	}
	unmarshal(t, filepath.Join(dir, ".goreleaser.yaml"), &release)
	if len(release.Builds) != 1 {
		t.Fatalf(".goreleaser.yaml has %d builds", len(release.Builds))
	}
	b := release.Builds[0]
	want := strings.ReplaceAll(strings.Join(b.Flags, " ")+` -ldflags "`+strings.Join(b.Ldflags, " ")+`"`, "{{ .Version }}", "$RELEASE")
	if got := capture(t, filepath.Join(dir, "deploy/Dockerfile"), `(?m)^\s+go build (.*) -o /poller ./cmd/poller$`); got != want {
		t.Errorf("deploy/Dockerfile builds with %s, and .goreleaser.yaml with %s", got, want)
	}
	env := capture(t, filepath.Join(dir, "deploy/Dockerfile"), `(?m)^\s+(.*) GOOS=\$TARGETOS GOARCH=\$TARGETARCH`)
	if got := strings.Join(b.Env, " "); got != env {
		t.Errorf("deploy/Dockerfile builds with %s, and .goreleaser.yaml with %s", env, got)
	}
}

// A workflow runs what was looked at, and may do no more than a job of it says.
func TestWorkflowsArePinned(t *testing.T) {
	dir := root(t)
	files, err := filepath.Glob(filepath.Join(dir, ".github/workflows/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("there are no workflows", err)
	}
	pinned := regexp.MustCompile(`^([\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/[\w.]+)$`)
	uses := regexp.MustCompile(`(?m)^\s*-?\s*uses: (.*)$`)
	var all []string
	for _, file := range files {
		var workflow struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Timeout int `yaml:"timeout-minutes"`
				Uses    string
			}
		}
		unmarshal(t, file, &workflow)
		if len(workflow.Permissions) != 1 || workflow.Permissions["contents"] != "read" {
			t.Errorf("%s gives every job %v; want contents: read", file, workflow.Permissions)
		}
		for name, job := range workflow.Jobs {
			if job.Uses == "" && job.Timeout == 0 {
				t.Errorf("%s: job %s may run for ever", file, name)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range uses.FindAllStringSubmatch(string(text), -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s uses %s; want a commit, with its version as a comment", file, m[1])
			}
			all = append(all, m[1])
		}
	}
	versions := map[string]string{}
	for _, u := range all {
		name, version, _ := strings.Cut(u, "@")
		if was, ok := versions[name]; ok && was != version {
			t.Errorf("workflows use %s as %s and as %s", name, was, version)
		}
		versions[name] = version
	}
	capture(t, filepath.Join(dir, ".github/workflows/ci.yaml"), `(?m)^ +- (run: make ci)$`)
}

func unmarshal(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// capture returns the first group of the only match in a file.
func capture(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1)
	if len(found) != 1 {
		t.Fatalf("%s has %d lines like %s", file, len(found), pattern)
	}
	return found[0][1]
}

// find returns the files of a name in the tree.
func find(t *testing.T, dir, name string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.Name() == name:
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
