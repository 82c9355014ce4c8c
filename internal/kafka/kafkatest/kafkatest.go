// Package kafkatest runs Apache Kafka and a schema registry for tests: the real ones, on 127.0.0.1, each a process that can
// be killed and started again.
//
// They are installed by Maven into a cache on first use, which needs Java 17, mvn and a minute. Tests that want them call
// Require, and run only where POLLER_KAFKA_TEST is set; there, anything missing is a failure.
package kafkatest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const (
	// Env switches the tests on.
	Env = "POLLER_KAFKA_TEST"
	// CacheEnv names the directory to install into, in place of .cache/kafka beside go.mod.
	CacheEnv = "POLLER_KAFKA_CACHE"

	installTimeout = 10 * time.Minute
)

//go:embed testdata/pom.xml
var pom []byte

// Require skips the test unless the tests against the real parts are switched on.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv(Env) == "" {
		t.Skipf("needs Apache Kafka: set %s=1, or run make kafka-test", Env)
	}
}

// Kafka starts a broker for one test and stops it at its end. It fails the test if that does not work.
func Kafka(t testing.TB, o KafkaOptions) *Broker {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	b, err := StartKafka(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// SchemaRegistry starts a registry for one test and stops it at its end. It fails the test if that does not work.
func SchemaRegistry(t testing.TB) *Registry {
	t.Helper()
	r, err := StartRegistry(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// FreeAddress returns an address for a server in Go to listen on, now and whenever it is started again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return local(ports[0])
}

// Install makes sure that Kafka and the registry are there and returns where. Several processes may call it at once.
func Install(ctx context.Context) (dir string, err error) {
	return install(ctx, pom, "dependency:copy-dependencies@kafka", "dependency:unpack-dependencies@registry")
}

// install lets Maven run the goals of a project, once, and returns the directory with what they made.
func install(ctx context.Context, pom []byte, goals ...string) (dir string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(pom)
	dir = filepath.Join(cache, hex.EncodeToString(sum[:6]))
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("install Java parts: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", fmt.Errorf("install Java parts: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(done); err == nil { // somebody else was faster
		return dir, nil
	}
	file := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return "", fmt.Errorf("install Java parts: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mvn", append([]string{"-q", "-B", "-f", file, "-Dinto=" + dir}, goals...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install Java parts with mvn: %w\n%s", err, out)
	}
	return dir, os.WriteFile(done, nil, 0o644)
}

// cacheDir is below the module, wherever in it the test runs.
func cacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "kafka"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find a place to install Java parts: no go.mod above; set " + CacheEnv)
		}
		dir = parent
	}
}

// lock waits until no other process holds the file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
