package kafkatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// clusterProperties are those of a cluster that survives the loss of one broker of three, and notices it soon.
var clusterProperties = map[string]string{
	"offsets.topic.replication.factor":         "3",
	"transaction.state.log.replication.factor": "3",
	"transaction.state.log.min.isr":            "2",
	"broker.heartbeat.interval.ms":             "300",
	"broker.session.timeout.ms":                "2000",
	"replica.lag.time.max.ms":                  "3000",
}

// KafkaCluster starts a cluster of three brokers for one test and stops it at its end. It fails the test if that does not work.
func KafkaCluster(t testing.TB) []*Broker {
	t.Helper()
	brokers, err := startCluster(t.Context(), t.TempDir(), 3)
	t.Cleanup(func() {
		for _, b := range brokers {
			_ = b.Kill() // nobody reads it any more
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return brokers
}

func startCluster(ctx context.Context, dir string, n int) ([]*Broker, error) {
	const each = 2
	ports, err := freePorts(each * n)
	if err != nil {
		return nil, err
	}
	var voters, addrs []string
	for i := range n {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, local(ports[each*i+1])))
		addrs = append(addrs, local(ports[each*i]))
	}
	brokers := make([]*Broker, n)
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			o := KafkaOptions{Dir: filepath.Join(dir, fmt.Sprint(i+1)), Properties: map[string]string{
				"node.id": fmt.Sprint(i + 1), "controller.quorum.voters": strings.Join(voters, ","),
			}}
			for key, value := range clusterProperties {
				o.Properties[key] = value
			}
			if err := os.Mkdir(o.Dir, 0o755); err != nil {
				return err
			}
			b, err := prepare(ctx, o, ports[each*i:each*(i+1)])
			if err != nil {
				return err
			}
			brokers[i] = b
			return b.start(ctx)
		})
	}
	err = g.Wait()
	if err == nil {
		err = joined(ctx, addrs)
	}
	return brokers, err
}

// joined waits until all brokers know each other.
func joined(ctx context.Context, addrs []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		found, err := kadm.NewClient(client).BrokerMetadata(ctx)
		if err == nil && len(found.Brokers) == len(addrs) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d brokers, found %d: %w", len(addrs), len(found.Brokers), ctx.Err())
		case <-tick.C:
		}
	}
}

// FillDisk has every further write of the broker fail, as on a disk that is full, and waits until it has given up. Restart it to
// have room again. It stands in for a small file system, which cannot be mounted without privileges: no file of the process may
// grow any more.
func (b *Broker) FillDisk(ctx context.Context) error {
	b.mu.Lock()
	pid, exited := b.cmd.Process.Pid, b.exited
	b.mu.Unlock()
	if out, err := exec.CommandContext(ctx, "prlimit", "--pid", fmt.Sprint(pid), "--fsize=0").CombinedOutput(); err != nil {
		return fmt.Errorf("limit the files of Kafka: %w: %s", err, out)
	}
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("Kafka goes on with a full disk: %w", ctx.Err())
	}
}
