package composetest

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads compose.yaml as docker compose does: against the schema of the specification.
func load(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(file), ConfigFiles: []types.ConfigFile{{Filename: file}},
	}, func(o *loader.Options) { o.SetProjectName("agentassist-poller", true) })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestEveryFileIsThere(t *testing.T) {
	project := load(t)
	for _, service := range project.Services {
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s is built from %v", service.Name, err)
			}
		} else if name, tag, _ := strings.Cut(service.Image, ":"); tag == "" || tag == "latest" {
			t.Errorf("%s: %s has no version", service.Name, name)
		}
		for _, v := range service.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if info, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s, read-only %v: %v", service.Name, v.Source, v.ReadOnly, err)
			} else if info.Size() < 64 {
				t.Errorf("%s mounts %s, which is hardly more than a link", service.Name, v.Source)
			}
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s listens on %s:%s, where others reach it", service.Name, port.HostIP, port.Published)
			}
		}
	}
}

// What the simulator prints is what the poller takes, with the environment that it has here.
func TestPollerAcceptsTheConfiguration(t *testing.T) {
	project := load(t)
	binary := filepath.Join(t.TempDir(), "poller")
	build := exec.Command("go", "build", "-o", binary, "./cmd/poller")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the poller: %v\n%s", err, out)
	}
	script := project.Services["simulator"].Entrypoint[2]
	args, file, ok := strings.Cut(strings.TrimPrefix(script, "exec /poller "), " > ")
	if want := "/etc/poller/poller.yaml"; !ok || file != want {
		t.Fatalf("the simulator runs %q, which writes no %s", script, want)
	}
	fields := strings.Fields(args)
	listen := slices.Index(fields, "--listen") + 1
	_, port, err := net.SplitHostPort(fields[listen])
	if err != nil {
		t.Fatal(err)
	}
	fields[listen] = "127.0.0.1:0"
	simulate := exec.Command(binary, fields...)
	printed, err := simulate.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := simulate.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = simulate.Process.Signal(os.Interrupt)
		_ = simulate.Wait()
	}()
	config := make([]byte, 64<<10) // it is printed in one write
	n, err := printed.Read(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "poller.yaml")
	if err := os.WriteFile(path, config[:n], 0o600); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(binary, "check", "--offline", "--config", path)
	for name, value := range project.Services["poller"].Environment {
		check.Env = append(check.Env, name+"="+*value)
	}
	var stdout, stderr bytes.Buffer
	check.Stdout, check.Stderr = &stdout, &stderr
	if err := check.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, want := range []string{"http://simulator:" + port, "- kafka:19092", "http://schema-registry:8081"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the configuration in force lacks %s:\n%s", want, stdout.String())
		}
	}
	if !strings.Contains(stdout.String(), `listen: ":8080"`) && !strings.Contains(stderr.String(), "taken") {
		t.Errorf("Prometheus asks port 8080:\n%s", stdout.String())
	}
}

// What Grafana and Prometheus are told names what is there.
func TestServicesNameEachOther(t *testing.T) {
	project := load(t)
	names := project.ServiceNames()
	text, err := json.Marshal(project)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"prometheus.yaml", "grafana-datasource.yaml"} {
		more, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, more...)
	}
	for address, service := range map[string]string{
		"kafka:19092": "kafka", "schema-registry:8081": "schema-registry", "simulator:8090": "simulator", "poller:8080": "poller", "prometheus:9090": "prometheus",
	} {
		if !slices.Contains(names, service) || !bytes.Contains(text, []byte(address)) {
			t.Errorf("nothing asks %s, or there is no %s among %v", address, service, names)
		}
	}
}
