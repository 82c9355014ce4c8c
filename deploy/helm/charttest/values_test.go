package charttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart/loader"
	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// A leaf is a value of values.yaml that people set as a whole: a scalar, a list, a map in one line or without comments in it.
type leaf struct {
	path []string
	node *yaml.Node
	text string // its comment
}

func (l leaf) name() string { return strings.Join(l.path, ".") }

// leaves returns the leaves of values.yaml, in its order.
func leaves(t *testing.T) (all []leaf) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(path []string, n *yaml.Node)
	walk = func(path []string, n *yaml.Node) {
		for i := 0; i < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			at := append(slices.Clone(path), key.Value)
			if value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0 && commented(value) {
				walk(at, value)
				continue
			}
			comment := value.LineComment
			for _, other := range []string{key.LineComment, key.HeadComment} {
				if comment == "" {
					comment = other
				}
			}
			lines := strings.Split(comment, "\n")
			for i, line := range lines {
				lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "#"))
			}
			all = append(all, leaf{at, value, strings.Join(lines, " ")})
		}
	}
	walk(nil, doc.Content[0])
	return all
}

// commented reports whether a child of a map has a comment.
func commented(n *yaml.Node) bool {
	for _, child := range n.Content {
		if child.LineComment != "" || commented(child) {
			return true
		}
	}
	return false
}

// The README's table has every value, its default and its description, as values.yaml has them.
func TestReadmeHasEveryValue(t *testing.T) {
	var table strings.Builder
	table.WriteString("## Values\n\n| Key | Type | Default | Description |\n| --- | --- | --- | --- |\n")
	types := map[string]string{"!!str": "string", "!!int": "int", "!!bool": "bool", "!!map": "object", "!!seq": "list"}
	for _, l := range leaves(t) {
		if l.text == "" {
			t.Errorf("values.yaml does not say what %s is", l.name())
		}
		var value any
		if err := l.node.Decode(&value); err != nil {
			t.Fatal(err)
		}
		text, err := k8syaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = k8syaml.YAMLToJSON(text); err != nil {
			t.Fatal(err)
		}
		comment := strings.ReplaceAll(l.text, "|", "\\|")
		fmt.Fprintf(&table, "| %s | %s | `%s` | %s |\n", l.name(), types[l.node.Tag], strings.TrimSpace(string(text)), comment)
	}
	path := filepath.Join(chartDir, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, got, _ := strings.Cut(string(readme), "## Values\n")
	if want := table.String(); *update {
		if err := os.WriteFile(path, []byte(before+want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if "## Values\n"+got != want {
		t.Error("the table in the chart's README is not that of values.yaml: cd deploy/helm/charttest && go test -run TestReadme -update")
	}
}

// Every value is rendered and decoded at least once away from its default: in the values of testdata, which the other tests go through.
func TestEveryValueIsTried(t *testing.T) {
	for _, l := range leaves(t) {
		var is any
		if err := l.node.Decode(&is); err != nil {
			t.Fatal(err)
		}
		tried := false
		for _, name := range matrix(t) {
			value, found := lookup(values(t, name), l.path)
			tried = tried || found && fmt.Sprint(value) != fmt.Sprint(is)
		}
		if !tried {
			t.Errorf("no values in testdata set %s to something else than its default", l.name())
		}
	}
}

func lookup(v map[string]any, path []string) (any, bool) {
	value, found := v[path[0]]
	if len(path) == 1 || !found {
		return value, found
	}
	inner, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookup(inner, path[1:])
}

// What the configuration may take from a file is a secret: in plain text it must not get into a ConfigMap, wherever it stands.
func TestSecretsAreRefusedInTheConfiguration(t *testing.T) {
	type schema struct {
		Ref        string `json:"$ref"`
		Properties map[string]*schema
		Items      *schema
		AnyOf      []*schema
	}
	var s struct {
		Definitions map[string]*schema
	}
	c := load(t)
	if err := k8syaml.Unmarshal(c.Schema, &s); err != nil {
		t.Fatal(err)
	}
	c.Schema = nil // it would miss what else belongs to a secret
	var tried []string
	var in func(n *schema, at string, wrap func(any) any)
	in = func(n *schema, at string, wrap func(any) any) {
		if n.Ref != "" {
			in(s.Definitions[strings.TrimPrefix(n.Ref, "#/definitions/")], at, wrap)
			return
		}
		for _, one := range n.AnyOf {
			in(one, at, wrap)
		}
		if n.Items != nil {
			in(n.Items, at+"[0]", func(v any) any { return wrap([]any{v}) })
		}
		for name, p := range n.Properties {
			wrap := func(v any) any { return wrap(map[string]any{name: v}) }
			if n.Properties[name+"_file"] == nil {
				in(p, at+"."+name, wrap)
				continue
			}
			config := wrap("hunter2").(map[string]any)
			if config["accounts"] == nil {
				config["accounts"] = []any{map[string]any{"name": "retail-us"}}
			}
			_, _, err := renderChart(t, c, map[string]any{"config": config})
			if err == nil || !strings.Contains(err.Error(), "plain text: config"+at+"."+name+". Put") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("config%s.%s: %v", at, name, err)
			}
			tried = append(tried, at+"."+name)
		}
	}
	in(s.Definitions["config"], "", func(v any) any { return v })
	if slices.Sort(tried); len(slices.Compact(tried)) < 8 {
		t.Errorf("the schema has only %v", tried)
	}
}

func TestPinnedImage(t *testing.T) {
	image := func(v map[string]any) (string, string) {
		docs, _, err := render(t, v)
		if err != nil {
			t.Fatal(err)
		}
		set := decode[*appsv1.StatefulSet](t, docs, "StatefulSet")
		return set.Spec.Template.Spec.Containers[0].Image, set.Labels["app.kubernetes.io/version"]
	}
	if got, _ := image(values(t, "pinned")); got != "mirror.example.com/poller@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" {
		t.Errorf("image %s", got)
	}
	c := load(t)
	if got, version := image(values(t, "minimal")); got != "agentassist-poller:"+c.Metadata.AppVersion || version != c.Metadata.AppVersion {
		t.Errorf("image %s, version %s", got, version)
	}
	v := values(t, "minimal")
	v["image"] = map[string]any{"tag": "2.0.0-rc.1_" + strings.Repeat("x", 50) + "."}
	if _, version := image(v); version != "2.0.0-rc.1_"+strings.Repeat("x", 50) {
		t.Errorf("version %s", version)
	}
}

// Name servers are added to the rules for egress that somebody sets. Without rules, everything is open.
func TestEgress(t *testing.T) {
	v := values(t, "everything")
	v["podDisruptionBudget"] = map[string]any{"enabled": true, "maxUnavailable": "50%"}
	v["networkPolicy"] = map[string]any{"enabled": true}
	docs, _, err := render(t, v)
	if err != nil {
		t.Fatal(err)
	}
	if text := docs["NetworkPolicy"]; strings.Contains(text, "Egress") {
		t.Errorf("something is closed that nobody has named:\n%s", text)
	}
	if got := decode[*policyv1.PodDisruptionBudget](t, docs, "PodDisruptionBudget").Spec; got.MaxUnavailable.StrVal != "50%" ||
		*got.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
		t.Errorf("budget %+v", got)
	}
	if docs, _, err = render(t, values(t, "pinned")); err != nil {
		t.Fatal(err)
	}
	if text := docs["NetworkPolicy"]; strings.Contains(text, "port: 53") || !strings.Contains(text, "10.0.0.0/8") {
		t.Errorf("want no more than what was named:\n%s", text)
	}
}

// The chart says to a catalogue what it is, and which image it installs.
func TestMetadata(t *testing.T) {
	m := load(t).Metadata
	var images []struct{ Image string }
	var changes []struct{ Kind, Description string }
	for key, into := range map[string]any{"artifacthub.io/images": &images, "artifacthub.io/changes": &changes} {
		if err := k8syaml.UnmarshalStrict([]byte(m.Annotations[key]), into); err != nil && !strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if len(images) != 1 || images[0].Image != fmt.Sprintf("agentassist-poller:%s", m.AppVersion) {
		t.Errorf("the annotation names %v; the chart installs agentassist-poller:%s", images, m.AppVersion)
	}
	kinds := []string{"added", "changed", "deprecated", "removed", "fixed", "security"}
	for _, c := range changes {
		if !slices.Contains(kinds, c.Kind) || c.Description == "" {
			t.Errorf("change %+v", c)
		}
	}
	if len(changes) == 0 || len(m.Maintainers) == 0 || len(m.Keywords) == 0 {
		t.Errorf("metadata %+v", m)
	}
}

// The released chart is this one, but for the image, which is the one of the same release.
func TestReleasedChart(t *testing.T) {
	dir := t.TempDir()
	image, digest, address := "registry.example.com/o/agentassist-poller", "sha256:"+strings.Repeat("0", 64), "https://git.example.com/o/r"
	if out, err := exec.Command("../../../.ci/release-chart", dir, image, digest, address).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	released, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	docs, _, err := renderChart(t, released, values(t, "minimal"))
	if err != nil {
		t.Fatal(err)
	}
	if got := decode[*appsv1.StatefulSet](t, docs, "StatefulSet").Spec.Template.Spec.Containers[0].Image; got != image+"@"+digest {
		t.Errorf("image %s", got)
	}
	if m := released.Metadata; m.Home != address || !slices.Equal(m.Sources, []string{address}) ||
		!strings.Contains(m.Annotations["artifacthub.io/images"], image+":"+m.AppVersion) {
		t.Errorf("metadata %+v", m)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !strings.Contains(string(readme), "| image.repository | string | `\""+image+"\"` |") ||
		!strings.Contains(string(readme), "`\""+digest+"\"`") {
		t.Errorf("the README has other defaults, %v", err)
	}
	here := load(t)
	here.Metadata.Home, here.Metadata.Sources = address, []string{address}
	here.Metadata.Annotations["artifacthub.io/images"] = released.Metadata.Annotations["artifacthub.io/images"]
	here.Values["image"] = released.Values["image"]
	if !reflect.DeepEqual(here.Metadata, released.Metadata) || !reflect.DeepEqual(here.Values, released.Values) ||
		!reflect.DeepEqual(here.Templates, released.Templates) {
		t.Error("something else is released")
	}
}
