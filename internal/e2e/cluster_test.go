package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"agentassist-poller/internal/kafka/kafkatest"
	"agentassist-poller/internal/status"
)

// Three brokers, min.insync.replicas 2. One is killed during transactions and comes back; leaders move; one stops as with a full disk while
// another is killed, so that nothing can be written until they return. A reader of committed records sees everything once.
func TestKafkaCluster(t *testing.T) {
	t.Parallel()
	registry := apache(t).registry
	brokers := kafkatest.KafkaCluster(t)
	centre := busyCentre(t, 51, 30*time.Second)
	s := newSetup(t, &platform{broker: fmt.Sprintf("%s,%s,%s", brokers[0].Addr, brokers[1].Addr, brokers[2].Addr), registry: registry}, centre.yaml(quickSettings("1h")+shortLateness))
	s.more = "  topics: {partitions: 3, replication_factor: 3}\n" + latest
	c := s.follow(t)
	run := s.startInProcess(t)
	goesOn := func() { // watermarks come for ever
		t.Helper()
		before := c.countOn(c.names.Watermark())
		eventually(t, waitLimit, func() error {
			if c.countOn(c.names.Watermark()) == before {
				return errNotYet
			}
			return nil
		})
	}
	goesOn()

	leader := slices.IndexFunc(brokers, func(b *kafkatest.Broker) bool { return b.Addr == c.leader(t) })
	require.NoError(t, brokers[leader].Kill())
	goesOn()
	require.NoError(t, brokers[leader].Restart(t.Context()))

	c.moveLeaders(t)
	goesOn()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, brokers[0].FillDisk(ctx))
	require.NoError(t, brokers[1].Kill())
	eventually(t, waitLimit, func() error {
		if st := run.status(t); st.State == status.OK {
			return fmt.Errorf("the state is %s with one broker left", st.State)
		}
		return nil
	})
	require.NoError(t, restart(t, brokers[:2]))
	c.settle(t, centre)
	run.stop(t)
	centre.checkRequests(t)
	checkWindows(t, c, 20, centre)
	c.checkLatest(t, s)
}

// restart starts several brokers at once: each waits for the others.
func restart(t *testing.T, brokers []*kafkatest.Broker) error {
	t.Helper()
	done := make(chan error, len(brokers))
	for _, b := range brokers {
		go func() { done <- b.Restart(t.Context()) }()
	}
	for range brokers {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// leader returns the address of the broker that leads the first partition of the watermark topic, which every transaction writes to.
func (c *consumer) leader(t *testing.T) string {
	t.Helper()
	found, err := kadm.NewClient(c.client).Metadata(t.Context(), c.names.Watermark())
	require.NoError(t, err)
	id := found.Topics[c.names.Watermark()].Partitions[0].Leader
	for _, b := range found.Brokers {
		if b.NodeID == id {
			return fmt.Sprintf("%s:%d", b.Host, b.Port)
		}
	}
	require.FailNow(t, "no leader")
	return ""
}

// moveLeaders moves the leader of every partition of our topics to another replica.
func (c *consumer) moveLeaders(t *testing.T) {
	t.Helper()
	admin := kadm.NewClient(c.client)
	topics := append(c.topics(), c.names.Checkpoint())
	found, err := admin.Metadata(t.Context(), topics...)
	require.NoError(t, err)
	var order kadm.AlterPartitionAssignmentsReq
	all := kadm.TopicsSet{}
	found.Topics.EachPartition(func(p kadm.PartitionDetail) {
		order.Assign(p.Topic, p.Partition, append(slices.Clone(p.Replicas[1:]), p.Replicas[0]))
		all.Add(p.Topic, p.Partition)
	})
	_, err = admin.AlterPartitionAssignments(t.Context(), order)
	require.NoError(t, err)
	eventually(t, waitLimit, func() error {
		if _, err := admin.ElectLeaders(t.Context(), kadm.ElectPreferredReplica, all); err != nil {
			return err
		}
		now, err := admin.Metadata(t.Context(), topics...)
		if err != nil {
			return err
		}
		moved := 0
		now.Topics.EachPartition(func(p kadm.PartitionDetail) {
			if p.Leader == p.Replicas[0] {
				moved++
			}
		})
		if moved < len(found.Topics[c.names.Checkpoint()].Partitions) {
			return fmt.Errorf("%d partitions have moved", moved)
		}
		return nil
	})
}
