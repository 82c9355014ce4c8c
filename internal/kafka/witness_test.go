package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/kafka"
)

// The witness knows a checkpoint that ends too early, and one that was made anew.
func TestWitness(t *testing.T) {
	cluster := newCluster(t)
	f := open(t, cluster, nil, transactional)
	shard := f.takeOver(t)
	w := f.Witness()
	require.NoError(t, w.Check(t.Context(), shardPartition, 0), "nothing was ever said")
	require.NoError(t, w.Note(t.Context(), shardPartition, shard.End+1))
	require.NoError(t, w.Check(t.Context(), shardPartition, shard.End+1))
	require.NoError(t, w.Check(t.Context(), shardPartition+1, 0), "nor of another partition")

	err := w.Check(t.Context(), shardPartition, shard.End)
	var lost *kafka.LostRecordsError
	require.ErrorAs(t, err, &lost)
	require.EqualError(t, err, "partition 7 of agentassist.checkpoint ends at offset 0 and had come to 1: records of it are lost")

	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopics(t.Context(), "agentassist.checkpoint")
	require.NoError(t, err)
	again := open(t, cluster, nil, transactional)
	err = again.Witness().Check(t.Context(), shardPartition, 100)
	if err != nil { // else the broker forgets the offsets with the topic, as Kafka does
		require.ErrorAs(t, err, &lost)
		require.True(t, lost.Recreated)
		require.EqualError(t, err, "topic agentassist.checkpoint is not the one that was written to: it was deleted and made anew")
	}
}

// A partition is looked at without taking it over, and whoever lost it learns that a command has it.
func TestInspect(t *testing.T) {
	cluster := newCluster(t)
	f := open(t, cluster, nil, transactional)
	shard := f.takeOver(t)
	require.NoError(t, f.Deliver(t.Context(), journaled(newFeed(), "acc1/1", searches(2))))
	info, err := f.Inspect(t.Context(), shardPartition, 0, func(key, _ []byte, next int64) error {
		require.Contains(t, []string{"d/acc1/1", "m/acc1"}, string(key))
		require.Positive(t, next)
		return nil
	})
	require.NoError(t, err)
	require.Zero(t, info.Start)
	require.Greater(t, info.End, shard.End)
	require.False(t, info.Owner.Since.IsZero())
	successor, err := shard.Successor(t.Context(), 0)
	require.NoError(t, err)
	require.Nil(t, successor)
	f.takeOver(t)
	successor, err = shard.Successor(t.Context(), 0)
	require.NoError(t, err)
	require.NotNil(t, successor)

	ends, err := f.EventEnds(t.Context())
	require.NoError(t, err)
	sum := int64(0)
	for _, n := range ends["agentassist.search"] {
		sum += n
	}
	require.Positive(t, sum)
}
