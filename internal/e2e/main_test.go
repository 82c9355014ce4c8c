package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/kafka/kafkatest"
)

// Scenarios mostly wait, so more of them run at once than there are processors. Those on Apache Kafka take hundreds of megabytes each. An
// explicit -parallel wins.
const (
	atOnce       = "8"
	atOnceOnReal = "6"
)

func TestMain(m *testing.M) {
	most := atOnce
	if os.Getenv(kafkatest.Env) != "" {
		most = atOnceOnReal
	}
	if err := flag.Set("test.parallel", most); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "poller-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.dir = dir
	code := m.Run()
	sharedStop()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// platform is a Kafka cluster and a schema registry.
type platform struct {
	broker   string // several: with commas between them
	registry string // empty: none
	full     bool   // the real ones: scenarios are played in full
}

// scaled returns small on the embedded platform, and full on Apache Kafka.
func scaled[T any](p *platform, small, full T) T {
	if p.full {
		return full
	}
	return small
}

// seeds returns the brokers as a list in YAML.
func (p *platform) seeds() string { return `"` + strings.Join(p.list(), `", "`) + `"` }

func (p *platform) list() []string { return strings.Split(p.broker, ",") }

// shared is what the suite starts at most once.
var shared struct {
	dir      string
	kafka    sync.Once
	broker   *kafkatest.Broker
	registry *kafkatest.Registry
	err      error

	build  sync.Mutex
	builds map[string]string
}

// embedded returns a platform inside the test process.
func embedded(t *testing.T) *platform {
	t.Helper()
	p := withoutRegistry(t)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	p.registry = registry.URL()
	return p
}

// withoutRegistry returns a platform without a schema registry: under the race detector the registry makes every start slow.
func withoutRegistry(t *testing.T) *platform {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return &platform{broker: cluster.ListenAddrs()[0]}
}

// decoder reads what is published on the platform.
func (p *platform) decoder(t *testing.T) *kafkaread.Decoder {
	t.Helper()
	if p.registry == "" {
		return kafkaread.NewDecoder(nil)
	}
	registry, err := sr.NewClient(sr.URLs(p.registry))
	if err != nil {
		t.Fatal(err)
	}
	return kafkaread.NewDecoder(registry)
}

// apache returns the Apache Kafka platform that all tests share. It skips the test unless POLLER_KAFKA_TEST is set.
func apache(t *testing.T) *platform {
	t.Helper()
	kafkatest.Require(t)
	shared.kafka.Do(func() {
		dir := filepath.Join(shared.dir, "kafka")
		if shared.err = os.MkdirAll(dir, 0o755); shared.err != nil {
			return
		}
		if shared.broker, shared.err = kafkatest.StartKafka(context.Background(), kafkatest.KafkaOptions{
			Dir: dir, Properties: map[string]string{"log.cleaner.backoff.ms": "500"}, // compaction is not to wait for a long test
		}); shared.err == nil {
			shared.registry, shared.err = kafkatest.StartRegistry(context.Background(), shared.dir)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return &platform{broker: shared.broker.Addr, registry: shared.registry.URL, full: true}
}

func sharedStop() {
	if shared.registry != nil {
		_ = shared.registry.Stop()
	}
	if shared.broker != nil {
		_ = shared.broker.Kill() // nobody reads it any more
	}
}

// binary returns the path of the poller, built once for each set of linker flags.
func binary(t *testing.T, ldflags string) string { return build(t, "-ldflags", ldflags) }

// build returns the path of the poller, built once for each set of flags.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	key := strings.Join(flags, " ")
	shared.build.Lock()
	defer shared.build.Unlock()
	if path, ok := shared.builds[key]; ok {
		return path
	}
	path := filepath.Join(shared.dir, fmt.Sprintf("poller-%d", len(shared.builds)))
	cmd := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-o", path, "agentassist-poller/cmd/poller"})...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the poller: %v\n%s", err, out)
	}
	if shared.builds == nil {
		shared.builds = map[string]string{}
	}
	shared.builds[key] = path
	return path
}
