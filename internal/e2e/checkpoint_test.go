package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
	"agentassist-poller/internal/testsize"
)

// quietCentre is a centre in which little happens, and soon nothing more.
func quietCentre(t *testing.T, name string, seed uint64) *centre {
	now := time.Now().UTC().Truncate(time.Second)
	return serve(t, name, koresim.Config{
		Seed: seed, Start: now.Add(-10 * time.Minute), End: now.Add(3 * time.Second), SegmentsPerDay: 4_000, Pace: koresim.Burst,
	})
}

// quietCentreApart serves a world whose account is in another partition of the checkpoint topic. The id of an account follows from the seed
// and from the start of the world, so two accounts sometimes share one of the 64 partitions.
func quietCentreApart(t *testing.T, name string, than *centre) *centre {
	for seed := uint64(32); ; seed++ {
		c := quietCentre(t, name, seed)
		if kafka.CheckpointPartition(c.account().ID) != kafka.CheckpointPartition(than.account().ID) {
			return c
		}
	}
}

// awaitAll waits until the consumer has everything that the centre did, once or several times.
func (c *consumer) awaitAll(t *testing.T, centre *centre) {
	t.Helper()
	eventually(t, waitLimit, func() error {
		_, pending := centre.ledger(centre.Now())
		report, _ := c.compare(t, centre)
		if pending > 0 || report.Found != report.Expected {
			return fmt.Errorf("found %d of %d, %d versions to come", report.Found, report.Expected, pending)
		}
		return nil
	})
}

// awaitRefusal waits until an account is red, and returns its error.
func (p *inProcess) awaitRefusal(t *testing.T, account string) *status.Error {
	t.Helper()
	var said *status.Error
	eventually(t, waitLimit, func() error {
		st := p.status(t)
		for _, a := range st.Accounts {
			if a.Name == account && a.Owner != nil && a.Owner.LastError != nil && a.Owner.State.Red() && strings.Contains(a.Owner.LastError.Hint, "checkpoint") {
				said = a.Owner.LastError
				require.True(t, st.State.Red())
				return nil
			}
		}
		return errNotYet
	})
	return said
}

// awaitReading waits until an account is read.
func (p *inProcess) awaitReading(t *testing.T, account string) {
	t.Helper()
	eventually(t, waitLimit, func() error {
		for _, a := range p.status(t).Accounts {
			if a.Name == account && a.Owner != nil && a.Owner.State == status.OK && a.Read {
				return nil
			}
		}
		return errNotYet
	})
}

// The checkpoint topic is deleted or truncated, or an account's records are gone from it. The poller finds it and names the command that
// helps, other accounts go on, and after the command the account is read on with nothing lost, with and without its file.
func TestSmallCheckpointTopicLost(t *testing.T) {
	testsize.Slow(t)
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(t *testing.T, admin *kadm.Client, topic string, partition int32)
		other  bool // the other account goes on
		said   string
	}{
		"deleted": {func(t *testing.T, admin *kadm.Client, topic string, _ int32) {
			deleted, err := admin.DeleteTopics(t.Context(), topic)
			require.NoError(t, err)
			require.NoError(t, deleted.Error())
		}, false, "it was deleted and made anew|has no manifest of it"},
		"cut to its end": {func(t *testing.T, admin *kadm.Client, topic string, partition int32) {
			cut(t, admin, topic, partition, 0)
		}, true, "has no manifest of it"},
		"all but the manifest": {func(t *testing.T, admin *kadm.Client, topic string, partition int32) {
			cut(t, admin, topic, partition, 2)
		}, true, "it is incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := quietCentre(t, "live", 31)
			other := quietCentreApart(t, "other", live)
			s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")), other.yaml(quickSettings("1h")))
			c := s.follow(t)
			run := s.startInProcess(t)
			c.awaitAll(t, live)
			run.stop(t)

			client, err := kgo.NewClient(kgo.SeedBrokers(s.platform.broker))
			require.NoError(t, err)
			defer client.Close()
			topic := kafka.NewNames(s.prefix).Checkpoint()
			partition := kafka.CheckpointPartition(live.account().ID)
			test.damage(t, kadm.NewClient(client), topic, partition)

			run = s.startInProcess(t)
			said := run.awaitRefusal(t, "live")
			require.Regexp(t, test.said, said.Text)
			require.Contains(t, said.Text, "poller checkpoint recover --config "+s.config()+" --account live")
			if test.other {
				run.awaitReading(t, "other")
			}
			poller := binary(t, "")
			code, shown, errs := s.run(t, poller, "checkpoint", "show")
			require.Zero(t, code, errs)
			require.Regexp(t, `live +`+live.account().ID+fmt.Sprintf(" +%d +", partition), shown)
			code, verified, errs := s.run(t, poller, "checkpoint", "verify")
			require.Equal(t, 1, code, errs)
			require.Regexp(t, `(?m)^live +.*; run: poller checkpoint recover --account live$`, verified)
			code, told, errs := s.run(t, poller, "checkpoint", "recover", "--all")
			require.Zero(t, code, errs)
			require.Contains(t, told, "live: recovered.")
			if test.other {
				require.Contains(t, told, "other: its checkpoint is whole; nothing is done")
			}
			t.Logf("%s\n%s%s", said.Text, shown, told)
			run.awaitReading(t, "live")
			run.awaitReading(t, "other")
			code, verified, errs = s.run(t, poller, "checkpoint", "verify")
			require.Zero(t, code, errs)
			require.Regexp(t, `(?m)^live +whole: [1-9]`, verified)
			c.awaitAll(t, live)
			c.awaitAll(t, other)
			run.stop(t)
		})
	}
}

// cut deletes all records of a partition but the last ones.
func cut(t *testing.T, admin *kadm.Client, topic string, partition int32, left int64) {
	t.Helper()
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	end, ok := ends.Lookup(topic, partition)
	require.True(t, ok)
	var upTo kadm.Offsets
	upTo.Add(kadm.Offset{Topic: topic, Partition: partition, At: end.Offset - left})
	deleted, err := admin.DeleteRecords(t.Context(), upTo)
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
}

// The topics are mirrored to another cluster, with some events missing. The poller does not trust the checkpoint there until an operator
// says how far to go back. It then reads again everything since.
func TestSmallCheckpointAdopted(t *testing.T) {
	t.Parallel()
	live := quietCentre(t, "live", 33)
	s := newSetup(t, withoutRegistry(t), live.yaml(quickSettings("1h")))
	c := s.follow(t)
	run := s.startInProcess(t)
	c.awaitAll(t, live)
	run.stop(t)

	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("mirror"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	mirror := newSetup(t, &platform{broker: cluster.ListenAddrs()[0], registry: s.platform.registry}, live.yaml(quickSettings("1h")))
	mirror.prefix = s.prefix
	names := kafka.NewNames(s.prefix)
	copyTopic(t, s.platform.broker, mirror.platform.broker, names.Checkpoint(), 64)
	copyTopic(t, s.platform.broker, mirror.platform.broker, names.Watermark(), 1)

	c = mirror.follow(t)
	run = mirror.startInProcess(t)
	said := run.awaitRefusal(t, "live")
	require.Contains(t, said.Text, "was written for Kafka cluster")
	require.Contains(t, said.Text, "and this is cluster mirror; run: poller checkpoint adopt --rewind 24h --config "+mirror.config()+" --account live")
	poller := binary(t, "")
	// The poller takes the partition back during the command.
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, Count: 1})
	code, told, errs := mirror.run(t, poller, "checkpoint", "adopt", "--rewind", "24h", "--account", "live")
	require.Zero(t, code, errs)
	require.Contains(t, told, `for "mirror", rewound to`)
	t.Logf("%s\n%s", said.Text, told)
	run.awaitReading(t, "live")
	c.settle(t, live) // all of it, each once: nothing had come along
	code, told, errs = mirror.run(t, poller, "checkpoint", "adopt", "--all")
	require.Zero(t, code, errs)
	require.Contains(t, told, "nothing is done")
	run.stop(t)
}

// copyTopic copies a compacted topic as a consumer sees it.
func copyTopic(t *testing.T, from, to, topic string, partitions int32) {
	t.Helper()
	compact := "compact"
	target, err := kgo.NewClient(kgo.SeedBrokers(to), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer target.Close()
	_, err = kadm.NewClient(target).CreateTopic(t.Context(), partitions, 1, map[string]*string{"cleanup.policy": &compact}, topic)
	require.NoError(t, err)
	source, err := kgo.NewClient(kgo.SeedBrokers(from), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	require.NoError(t, err)
	defer source.Close()
	ends, err := kadm.NewClient(source).ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	for len(left) > 0 {
		fetches := source.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		for _, r := range fetches.Records() {
			if r.Offset+1 == left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				require.NoError(t, target.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value}).FirstErr())
			}
		}
	}
}
