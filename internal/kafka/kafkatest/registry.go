package kafkatest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A Registry is an Apicurio Registry that speaks Confluent's API and checks compatibility. It keeps schemas in memory: they
// are gone when it is started again.
type Registry struct {
	URL string // of Confluent's API
	process
}

// Kill ends the registry at once and waits until it is gone.
func (r *Registry) Kill() error { return r.end(syscall.SIGKILL) }

// Stop ends the registry in order. It may be called when it is down.
func (r *Registry) Stop() error { return r.end(syscall.SIGTERM) }

// Restart starts a registry that is down, empty, at its address.
func (r *Registry) Restart(ctx context.Context) error { return r.start(ctx) }

// StartRegistry installs the registry where needed, starts it and waits until it serves. The caller stops it.
func StartRegistry(ctx context.Context, dir string) (*Registry, error) {
	installed, err := Install(ctx)
	if err != nil {
		return nil, err
	}
	jars, err := filepath.Glob(filepath.Join(installed, "registry", "*-runner.jar"))
	if err != nil || len(jars) != 1 {
		return nil, fmt.Errorf("find the registry: %d runner jars in %s", len(jars), installed)
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	addr := local(ports[0])
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	r := &Registry{URL: "http://" + addr + "/apis/ccompat/v7"}
	r.process = process{
		name: "the schema registry",
		build: func() *exec.Cmd {
			cmd := exec.Command("java", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", jars[0])
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "QUARKUS_HTTP_HOST="+host, "QUARKUS_HTTP_PORT="+port)
			return cmd
		},
		ready: func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/subjects", nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", resp.StatusCode)
			}
			return nil
		},
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	return r, nil
}
