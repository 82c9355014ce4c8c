package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaOptions say how a broker is set up.
type KafkaOptions struct {
	// Dir holds its data. It must exist.
	Dir string
	// Properties of the server, which win over ours.
	Properties map[string]string
	// Users with their passwords may log in on SASLAddr, by SASL PLAIN. They may do only what ACLs say; whoever comes
	// through Addr may do anything.
	Users map[string]string
}

// A Broker is a node of a Kafka cluster, by default the only one.
type Broker struct {
	Addr     string
	SASLAddr string // empty without users
	process
}

// Kill ends the broker as a power cut would, and waits until it is gone. What it has written stays.
func (b *Broker) Kill() error { return b.end(syscall.SIGKILL) }

// Stop ends the broker in order. It may be called when it is down.
func (b *Broker) Stop() error { return b.end(syscall.SIGTERM) }

// Restart starts a broker that is down, with its data, at its address.
func (b *Broker) Restart(ctx context.Context) error { return b.start(ctx) }

// StartKafka installs Kafka where needed, starts a broker and waits until it serves. The caller stops it.
func StartKafka(ctx context.Context, o KafkaOptions) (*Broker, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	b, err := prepare(ctx, o, ports)
	if err != nil {
		return nil, err
	}
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// prepare makes a broker that is yet to be started. Its ports are for clients, for controllers, and for users.
func prepare(ctx context.Context, o KafkaOptions, ports []int) (*Broker, error) {
	installed, err := Install(ctx)
	if err != nil {
		return nil, err
	}
	b := &Broker{Addr: local(ports[0])}
	if len(o.Users) > 0 {
		b.SASLAddr = local(ports[2])
	}
	props := filepath.Join(o.Dir, "server.properties")
	if err := os.WriteFile(props, properties(b, o, local(ports[1])), 0o600); err != nil {
		return nil, fmt.Errorf("configure Kafka: %w", err)
	}
	classpath := filepath.Join(installed, "kafka", "*")
	java := func(args ...string) *exec.Cmd {
		// The short-lived server gains nothing from the second compiler.
		fixed := []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath}
		cmd := exec.Command("java", append(fixed, args...)...)
		cmd.Dir = o.Dir
		return cmd
	}
	format := java("kafka.tools.StorageTool", "format", "-t", clusterID, "-c", props)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	b.process = process{
		name:  "Kafka",
		build: func() *exec.Cmd { return java("kafka.Kafka", props) },
		ready: func(ctx context.Context) error { return ping(ctx, b.Addr) },
	}
	return b, nil
}

const clusterID = "agentassist-poller-test"

func local(port int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) }

func properties(b *Broker, o KafkaOptions, controller string) []byte {
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       "1@" + controller,
		"controller.listener.names":      "CONTROLLER",
		"listeners":                      "PLAINTEXT://" + b.Addr + ",CONTROLLER://" + controller,
		"advertised.listeners":           "PLAINTEXT://" + b.Addr,
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
		"inter.broker.listener.name":     "PLAINTEXT",
		"log.dirs":                       filepath.Join(o.Dir, "data"),
		"auto.create.topics.enable":      "false",

		"offsets.topic.replication.factor":         "1",
		"offsets.topic.num.partitions":             "4",
		"transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr":            "1",
		"transaction.state.log.num.partitions":     "4",
		"group.initial.rebalance.delay.ms":         "0",
	}
	if len(o.Users) > 0 {
		p["listeners"] += ",SASL://" + b.SASLAddr
		p["advertised.listeners"] += ",SASL://" + b.SASLAddr
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		p["super.users"] = "User:ANONYMOUS"
		p["sasl.enabled.mechanisms"] = "PLAIN"
		jaas := "org.apache.kafka.common.security.plain.PlainLoginModule required"
		for _, user := range slices.Sorted(maps.Keys(o.Users)) {
			jaas += fmt.Sprintf(" user_%s=%q", user, o.Users[user])
		}
		p["listener.name.sasl.plain.sasl.jaas.config"] = jaas + ";"
	}
	maps.Copy(p, o.Properties)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", key, p[key])
	}
	return []byte(text.String())
}

func ping(ctx context.Context, addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}
