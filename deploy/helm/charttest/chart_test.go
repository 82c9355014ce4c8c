package charttest

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const chartDir = "../agentassist-poller"

var update = flag.Bool("update", false, "write what the chart renders for those who do without it")

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render returns the documents by kind, and the notes.
func render(t *testing.T, values map[string]any) (map[string]string, string, error) {
	t.Helper()
	return renderChart(t, load(t), values)
}

func renderChart(t *testing.T, c *chart.Chart, values map[string]any) (map[string]string, string, error) {
	t.Helper()
	release := chartutil.ReleaseOptions{Name: "poller", Namespace: "contact-center", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, "", err
	}
	docs, notes := map[string]string{}, ""
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes = text
			continue
		}
		if strings.TrimSpace(text) == "" || strings.HasSuffix(name, ".tpl") {
			continue
		}
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(text), &head); err != nil {
			t.Fatalf("%s is not YAML: %v\n%s", name, err, text)
		}
		if strings.HasSuffix(head.Metadata.Name, "-dashboard") {
			head.Kind = "dashboard" // a second ConfigMap
		}
		docs[head.Kind] = text
	}
	return docs, notes, nil
}

// matrix returns the names of all values in testdata.
func matrix(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no values", err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	return names
}

func values(t *testing.T, name string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValuesFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// decode refuses fields that Kubernetes does not know, and fields that are written twice.
func decode[T runtime.Object](t *testing.T, docs map[string]string, kind string) T {
	t.Helper()
	text, ok := docs[kind]
	if !ok {
		t.Fatalf("there is no %s", kind)
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	obj, _, err := strict.Decode([]byte(text), nil, nil)
	if err != nil {
		t.Fatalf("%s: %v\n%s", kind, err, text)
	}
	return obj.(T)
}

// operator are kinds of the Prometheus operator, which Kubernetes itself does not know.
var operator = []string{"ServiceMonitor", "PrometheusRule"}

func TestEveryObjectIsWhatKubernetesKnows(t *testing.T) {
	want := map[string][]string{
		"pinned":    {"ConfigMap", "NetworkPolicy", "Pod", "Service", "StatefulSet"},
		"minimal":   {"ConfigMap", "Pod", "Service", "ServiceAccount", "StatefulSet"},
		"ephemeral": {"ConfigMap", "Pod", "Service", "StatefulSet"},
		"everything": {
			"ConfigMap", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PrometheusRule", "Secret", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet", "dashboard",
		},
	}
	for _, name := range matrix(t) {
		t.Run(name, func(t *testing.T) {
			kinds := want[name]
			docs, _, err := render(t, values(t, name))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for kind, text := range docs {
				got = append(got, kind)
				if slices.Contains(operator, kind) {
					var anything map[string]any
					if err := yaml.UnmarshalStrict([]byte(text), &anything); err != nil {
						t.Errorf("%s: %v", kind, err)
					}
					continue
				}
				decode[runtime.Object](t, docs, kind)
			}
			slices.Sort(got)
			if !slices.Equal(got, kinds) {
				t.Errorf("rendered %v; want %v", got, kinds)
			}
		})
	}
}

func TestPodsAreHardened(t *testing.T) {
	for _, name := range matrix(t) {
		docs, _, err := render(t, values(t, name))
		if err != nil {
			t.Fatal(err)
		}
		set := decode[*appsv1.StatefulSet](t, docs, "StatefulSet")
		if want := map[string]int32{"everything": 3}[name]; *set.Spec.Replicas != max(want, 1) {
			t.Errorf("%s: %d replicas", name, *set.Spec.Replicas)
		}
		pod := set.Spec.Template.Spec
		c := pod.Containers[0]
		if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
			*c.SecurityContext.AllowPrivilegeEscalation || !*c.SecurityContext.ReadOnlyRootFilesystem ||
			!slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) || *pod.AutomountServiceAccountToken || *pod.EnableServiceLinks {
			t.Errorf("%s: the pod is not hardened", name)
		}
		for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if p == nil || p.HTTPGet == nil || p.HTTPGet.Port.StrVal != c.Ports[0].Name {
				t.Errorf("%s: a probe does not ask the pod's port", name)
			}
		}
	}
}

func TestEverythingArrives(t *testing.T) {
	docs, _, err := render(t, values(t, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	set := decode[*appsv1.StatefulSet](t, docs, "StatefulSet")
	pod := set.Spec.Template.Spec
	if got := *pod.TerminationGracePeriodSeconds; got != 60 {
		t.Errorf("the pod has %d seconds to stop; want drain and 15 more", got)
	}
	if got := pod.Containers[0].Image; got != "registry.example.com/agentassist-poller:1.2.3" {
		t.Errorf("image %s", got)
	}
	mounts := map[string]string{}
	for _, m := range pod.Containers[0].VolumeMounts {
		mounts[m.MountPath] = m.Name
	}
	volumes := []string{set.Spec.VolumeClaimTemplates[0].Name}
	for _, v := range pod.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, path := range []string{"/etc/poller", "/var/lib/poller", "/run/secrets/poller", "/etc/kafka"} {
		if !slices.Contains(volumes, mounts[path]) {
			t.Errorf("nothing is mounted at %s", path)
		}
	}
	if len(pod.InitContainers) != 2 || pod.InitContainers[0].Name != "fetch" ||
		!slices.Equal(pod.InitContainers[1].Args, []string{"check", "--config", "/etc/poller/poller.yaml"}) {
		t.Fatalf("want a container of one's own, and then a check: %+v", pod.InitContainers)
	}
	if len(pod.Containers) != 2 || pod.Containers[1].Name != "ship-logs" || pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds != 5 {
		t.Errorf("containers %+v", pod.Containers)
	}
	if got := decode[*corev1.Pod](t, docs, "Pod").Spec.InitContainers; len(got) != 1 || got[0].Name != "fetch" {
		t.Errorf("helm test prepares nothing: %+v", got)
	}
	check, run := pod.InitContainers[1], pod.Containers[0]
	run.Lifecycle = nil
	check.Name, check.Args = run.Name, run.Args
	run.Ports, run.StartupProbe, run.LivenessProbe, run.ReadinessProbe = nil, nil, nil, nil
	if !equality.Semantic.DeepEqual(check, run) {
		t.Errorf("the check sees something else than the poller: %+v and %+v", check, run)
	}
	if got := decode[*corev1.Secret](t, docs, "Secret").StringData["retail-us"]; got != "s3cret" {
		t.Errorf("secret %q", got)
	}
	if got := decode[*policyv1.PodDisruptionBudget](t, docs, "PodDisruptionBudget").Spec.MaxUnavailable.IntVal; got != 0 {
		t.Errorf("maxUnavailable %d", got)
	}
	got := decode[*networkingv1.NetworkPolicy](t, docs, "NetworkPolicy").Spec
	if len(got.PolicyTypes) != 2 || len(got.Egress) != 2 || len(got.Egress[1].Ports) != 2 {
		t.Errorf("network policy %+v", got)
	}
	selector := set.Spec.Selector.MatchLabels
	for key, value := range selector {
		if decode[*corev1.Service](t, docs, "Service").Spec.Selector[key] != value || set.Spec.Template.Labels[key] != value {
			t.Errorf("label %s differs between pod, service and selector", key)
		}
	}
}

// The pod of helm test asks what the poller would ask, is as hardened, and is no pod that the Service or the StatefulSet takes for its own.
func TestHelmTest(t *testing.T) {
	for _, name := range matrix(t) {
		docs, _, err := render(t, values(t, name))
		if err != nil {
			t.Fatal(err)
		}
		check := decode[*corev1.Pod](t, docs, "Pod")
		set := decode[*appsv1.StatefulSet](t, docs, "StatefulSet")
		if check.Annotations["helm.sh/hook"] != "test" || check.Spec.RestartPolicy != corev1.RestartPolicyNever {
			t.Errorf("%s: the pod is no test: %v %s", name, check.Annotations, check.Spec.RestartPolicy)
		}
		for key := range set.Spec.Selector.MatchLabels {
			if _, ok := check.Labels[key]; ok {
				t.Errorf("%s: the test has label %s, by which the Service selects", name, key)
			}
		}
		asks, run := check.Spec.Containers[0], set.Spec.Template.Spec.Containers[0]
		if !slices.Equal(asks.Args, []string{"check", "--config", "/etc/poller/poller.yaml"}) {
			t.Errorf("%s: the test runs %v", name, asks.Args)
		}
		asks.Name, asks.Args, run.Lifecycle = run.Name, run.Args, nil
		run.Ports, run.StartupProbe, run.LivenessProbe, run.ReadinessProbe = nil, nil, nil, nil
		if !equality.Semantic.DeepEqual(asks, run) || !equality.Semantic.DeepEqual(check.Spec.SecurityContext, set.Spec.Template.Spec.SecurityContext) {
			t.Errorf("%s: the test sees something else than the poller: %+v and %+v", name, asks, run)
		}
		volumes := map[string]bool{}
		for _, v := range check.Spec.Volumes {
			volumes[v.Name] = true
		}
		for _, m := range asks.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: the test has no volume %s", name, m.Name)
			}
		}
	}
}

// Pods are spread over nodes unless somebody says otherwise, and count those of their release unless somebody says which.
func TestPodsAreSpread(t *testing.T) {
	spread := func(constraints any) []corev1.TopologySpreadConstraint {
		v := values(t, "everything")
		if constraints != nil {
			v["topologySpreadConstraints"] = constraints
		}
		docs, _, err := render(t, v)
		if err != nil {
			t.Fatal(err)
		}
		set := decode[*appsv1.StatefulSet](t, docs, "StatefulSet")
		all := set.Spec.Template.Spec.TopologySpreadConstraints
		for _, c := range all {
			if constraints == nil && !equality.Semantic.DeepEqual(c.LabelSelector, set.Spec.Selector) {
				t.Errorf("counts %v; want %v", c.LabelSelector, set.Spec.Selector)
			}
		}
		return all
	}
	if got := spread(nil); len(got) != 1 || got[0].TopologyKey != "kubernetes.io/hostname" || got[0].WhenUnsatisfiable != corev1.ScheduleAnyway {
		t.Errorf("by default: %+v", got)
	}
	if got := spread([]any{}); len(got) != 0 {
		t.Errorf("nothing was asked for: %+v", got)
	}
	own := map[string]any{
		"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
		"labelSelector": map[string]any{"matchLabels": map[string]any{"a": "b"}},
	}
	if got := spread([]any{own}); len(got) != 1 || got[0].MaxSkew != 2 || got[0].LabelSelector.MatchLabels["a"] != "b" {
		t.Errorf("one of one's own: %+v", got)
	}
}

// Go is told of the memory that the container may use, unless somebody says otherwise.
func TestMemoryLimit(t *testing.T) {
	for _, test := range []struct {
		resources, env any
		want           string
	}{
		{nil, nil, "483183820"}, // of the default, 512Mi
		{map[string]any{"limits": map[string]any{"memory": "1.5Gi"}}, nil, "1449551462"},
		{map[string]any{"limits": map[string]any{"memory": "1G", "cpu": 2}}, nil, "900000000"},
		{map[string]any{"limits": map[string]any{"memory": "1e9"}}, nil, ""},
		{map[string]any{"limits": map[string]any{"memory": nil}}, nil, ""},
		{nil, []any{map[string]any{"name": "GOMEMLIMIT", "value": "100MiB"}}, "100MiB"},
		{nil, []any{map[string]any{"name": "OTHER", "value": "1"}}, "483183820"},
	} {
		v := values(t, "minimal")
		if test.resources != nil {
			v["resources"] = test.resources
		}
		if test.env != nil {
			v["env"] = test.env
		}
		docs, _, err := render(t, v)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range decode[*appsv1.StatefulSet](t, docs, "StatefulSet").Spec.Template.Spec.Containers[0].Env {
			if e.Name == "GOMEMLIMIT" {
				got += e.Value
			}
		}
		if got != test.want {
			t.Errorf("%v %v: GOMEMLIMIT %q; want %q", test.resources, test.env, got, test.want)
		}
	}
}

func TestChangedConfigurationRestartsThePod(t *testing.T) {
	annotations := func(v map[string]any) map[string]string {
		docs, _, err := render(t, v)
		if err != nil {
			t.Fatal(err)
		}
		return decode[*appsv1.StatefulSet](t, docs, "StatefulSet").Spec.Template.Annotations
	}
	before, after := values(t, "everything"), values(t, "everything")
	after["config"].(map[string]any)["retention"] = "50d"
	if annotations(before)["checksum/config"] == annotations(after)["checksum/config"] {
		t.Error("a changed configuration leaves the pod as it is")
	}
	after["secrets"] = map[string]any{"values": map[string]any{"retail-us": "other"}}
	if annotations(before)["checksum/secrets"] == annotations(after)["checksum/secrets"] {
		t.Error("a changed secret leaves the pod as it is")
	}
}

// What the chart renders is what the poller takes: its own loader reads it.
func TestPollerAcceptsTheConfiguration(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "poller")
	build := exec.Command("go", "build", "-o", binary, "./cmd/poller")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the poller: %v\n%s", err, out)
	}
	for _, name := range matrix(t) {
		t.Run(name, func(t *testing.T) {
			docs, _, err := render(t, values(t, name))
			if err != nil {
				t.Fatal(err)
			}
			set := decode[*appsv1.StatefulSet](t, docs, "StatefulSet")
			file := filepath.Join(t.TempDir(), "poller.yaml")
			text := decode[*corev1.ConfigMap](t, docs, "ConfigMap").Data["poller.yaml"]
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			check := exec.Command(binary, "check", "--offline", "--skip-files", "--config", file)
			check.Env = append(os.Environ(), "KORE_CLIENT=cs-1", "KORE_SECRET=s3cret", "COLLECTOR_TOKEN=t")
			var stdout, stderr bytes.Buffer
			check.Stdout, check.Stderr = &stdout, &stderr
			if err := check.Run(); err != nil {
				t.Fatalf("%v\n%s\n%s", err, stderr.String(), text)
			}
			if stderr.Len() > 0 {
				t.Errorf("the poller warns: %s", stderr.String())
			}
			for _, want := range []string{"path: /var/lib/poller/poller.db", ":" + string(portOf(set)) + `"`} {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("the configuration in force lacks %s:\n%s", want, stdout.String())
				}
			}
		})
	}
}

// The pod takes changes at run time where only kubectl exec and port-forward reach it, or where the values say, or not at all.
func TestAdminServer(t *testing.T) {
	for want, server := range map[string]map[string]any{
		"127.0.0.1:8079": nil,
		"":               {"admin": map[string]any{"listen": ""}},
		":9000":          {"admin": map[string]any{"listen": ":9000", "token_file": "/run/secrets/poller/admin"}},
	} {
		v := values(t, "minimal")
		if server != nil {
			v["config"].(map[string]any)["server"] = server
		}
		docs, _, err := render(t, v)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Server struct {
				Listen string
				Admin  struct{ Listen string }
			}
		}
		if err := yaml.Unmarshal([]byte(decode[*corev1.ConfigMap](t, docs, "ConfigMap").Data["poller.yaml"]), &config); err != nil {
			t.Fatal(err)
		}
		if got := config.Server; got.Admin.Listen != want || got.Listen != ":8080" {
			t.Errorf("the poller listens on %q, and on %q for changes; want %q", got.Listen, got.Admin.Listen, want)
		}
	}
}

func portOf(set *appsv1.StatefulSet) []byte {
	text, _ := yaml.Marshal(set.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort)
	return bytes.TrimSpace(text)
}

func TestWrongValuesAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(v map[string]any)
		want   string
	}{
		{"no accounts", func(v map[string]any) { v["config"] = map[string]any{"accounts": []any{}} }, "config.accounts is empty: name at least one account"},
		{"unknown key", func(v map[string]any) { v["replica"] = 3 }, "replica"},
		{"replicas without transactions", func(v map[string]any) {
			v["replicas"] = 3
			v["config"].(map[string]any)["kafka"].(map[string]any)["delivery"] = "at-least-once"
		}, "budget twice"},
		{"replicas without a group", func(v map[string]any) {
			v["replicas"] = 3
			v["config"].(map[string]any)["kafka"].(map[string]any)["group"] = ""
		}, "config.kafka.group is empty"},
		{"number as id", func(v map[string]any) {
			v["config"].(map[string]any)["accounts"].([]any)[0].(map[string]any)["account_id"] = 1e9
		}, "account_id"},
		{"typo in the configuration", func(v map[string]any) {
			v["config"].(map[string]any)["kafka"].(map[string]any)["topicPrefix"] = "x"
		}, "at '/config/kafka': additional properties 'topicPrefix' not allowed"},
		{"section that is misspelt", func(v map[string]any) { v["config"].(map[string]any)["kafak"] = map[string]any{} }, "additional properties 'kafak' not allowed"},
		{"duration without a unit", func(v map[string]any) { v["config"].(map[string]any)["retention"] = 35 }, "/config/retention"},
		{"port as text", func(v map[string]any) { v["port"] = "8080" }, "port"},
		{"secret that is left over", func(v map[string]any) {
			v["config"].(map[string]any)["kafka"].(map[string]any)["sasl"] = map[string]any{"mechanism": "PLAIN", "username": "u", "password": "$${PASSWORD}"}
		}, "has secrets in plain text: config.kafka.sasl.password. Put them into a Secret of yours (secrets.existingSecret) or into secrets.values"},
		{"secret in a header", func(v map[string]any) {
			headers := map[string]any{"Authorization": "Bearer x", "tenant": "a"}
			v["config"].(map[string]any)["traces"] = map[string]any{"endpoint": "http://otel:4318", "headers": headers}
		}, "plain text: config.traces.headers.Authorization. Put"},
		{"short digest", func(v map[string]any) { v["image"] = map[string]any{"digest": "sha256:1"} }, "digest"},
		{"container without a name", func(v map[string]any) { v["extraContainers"] = []any{map[string]any{"image": "x"}} }, "extraContainers"},
		{"budget in words", func(v map[string]any) { v["podDisruptionBudget"] = map[string]any{"maxUnavailable": "half"} }, "maxUnavailable"},
		{"two sources of secrets", func(v map[string]any) {
			v["secrets"].(map[string]any)["values"] = map[string]any{"a": "b"}
		}, "exclude each other"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := values(t, "minimal")
			test.change(v)
			_, _, err := render(t, v)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v; want something about %s", err, test.want)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	_, notes, err := render(t, values(t, "ephemeral"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"reads 1 account.", "poller tail", "Nobody is alerted", "statefulset/poller-agentassist-poller 8080",
		"helm test poller", "persistence is off", "No secret is mounted",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
}

func TestLint(t *testing.T) {
	for _, name := range matrix(t) {
		for _, m := range lint.AllWithKubeVersion(chartDir, values(t, name), "contact-center", nil).Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// Every value that a template uses is in values.yaml with its default, and the schema knows it.
func TestSchemaKnowsEveryDefault(t *testing.T) {
	c := load(t)
	var s struct {
		Properties map[string]any `json:"properties"`
	}
	if err := yaml.Unmarshal(c.Schema, &s); err != nil {
		t.Fatal(err)
	}
	for key := range c.Values {
		if s.Properties[key] == nil {
			t.Errorf("values.schema.json does not know %s", key)
		}
	}
	for key := range s.Properties {
		if _, ok := c.Values[key]; !ok && key != "global" {
			t.Errorf("values.yaml does not show %s", key)
		}
	}
}

// The ConfigMap of the dashboard holds the file, with the label that Grafana's sidecar looks for.
func TestDashboard(t *testing.T) {
	docs, _, err := render(t, values(t, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../grafana/agentassist-poller.json")
	if err != nil {
		t.Fatal(err)
	}
	dashboard := decode[*corev1.ConfigMap](t, docs, "dashboard")
	if got := dashboard.Data["agentassist-poller.json"]; got+"\n" != string(want) {
		t.Errorf("the ConfigMap holds another dashboard: %.200s", got)
	}
	if dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Annotations["grafana_folder"] != "Contact center" {
		t.Errorf("labels %v, annotations %v", dashboard.Labels, dashboard.Annotations)
	}
}

// deploy/prometheus has the same alerts as the chart, for a Prometheus without its operator.
func TestAlertsForPrometheusWithoutItsOperator(t *testing.T) {
	v := values(t, "minimal")
	v["fullnameOverride"], v["prometheusRule"] = "agentassist-poller", map[string]any{"enabled": true}
	docs, _, err := render(t, v)
	if err != nil {
		t.Fatal(err)
	}
	_, spec, _ := strings.Cut(docs["PrometheusRule"], "\nspec:\n")
	want := "# Alerts for Prometheus: name this file under rule_files, and the job that scrapes the poller agentassist-poller.\n" +
		"# Rendered by the chart's prometheusrule.yaml: cd deploy/helm/charttest && go test -run TestAlertsFor -update\n" +
		strings.ReplaceAll("\n"+spec, "\n  ", "\n")[1:]
	const path = "../../prometheus/alerts.yaml"
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is not what the chart renders, %v: run go test -update", path, err)
	}
}

// An alert that waits must not start over whenever what it watches is right for a moment: it looks back, for less than it waits, so that
// a single moment does not fire it.
func TestAlertsFireForWhatComesAndGoes(t *testing.T) {
	docs, _, err := render(t, values(t, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr, For string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(docs["PrometheusRule"]), &rule); err != nil {
		t.Fatal(err)
	}
	// What these compare grows until it is put right.
	grows := []string{"PollerDown", "PollerBehind", "PollerGap", "PollerSweepLate"}
	looksBack := regexp.MustCompile(`_over_time\(.*\[(\w+):?\]`)
	for _, r := range rule.Spec.Groups[0].Rules {
		if r.For == "" || slices.Contains(grows, r.Alert) {
			continue
		}
		found := looksBack.FindStringSubmatch(r.Expr)
		if found == nil {
			t.Errorf("%s does not look back: %s", r.Alert, r.Expr)
			continue
		}
		back, err := time.ParseDuration(found[1])
		if err != nil {
			t.Error(err)
		}
		if waits, err := time.ParseDuration(r.For); err != nil || back >= waits {
			t.Errorf("%s looks back %v and waits %v, %v", r.Alert, back, waits, err)
		}
	}
}
