package kafka_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
)

// The number of partitions that events were published over stays until another one is named.
func TestPlace(t *testing.T) {
	same := func(n int) map[int][]string { return map[int][]string{n: {"p.feedback", "p.search"}} }
	mixed := map[int][]string{3: {"p.search", "p.feedback"}, 6: {"p.segment"}}
	for name, tt := range map[string]struct {
		counts    map[int][]string
		published int
		chosen    int32
		want      int
		problem   string
	}{
		"first start":             {same(12), 0, 0, 12, ""},
		"first start, by hand":    {same(6), 0, 3, 6, ""},
		"as before":               {same(6), 6, 12, 6, ""},
		"all raised":              {same(6), 3, 0, 3, "event topics have 6 partitions; keys are placed over the first 3 of each, as before, so that revisions stay in order; to use all, set kafka.topics.partitions: 6 and restart every instance: from then on keys are placed over 6, most of them elsewhere"},
		"all raised, old number":  {same(6), 3, 3, 3, "set kafka.topics.partitions: 6 and restart"},
		"all raised, new number":  {same(6), 3, 6, 6, ""},
		"made anew, with fewer":   {same(3), 6, 0, 3, ""},
		"one raised":              {mixed, 3, 3, 3, "event topics have different numbers of partitions, so that streams cannot be joined: 3 in p.feedback, p.search; 6 in p.segment; keys are placed over the first 3 of each, as before, so that revisions stay in order; to use all, give all event topics 6 partitions, set kafka.topics.partitions: 6 and restart every instance: from then on keys are placed over 6, most of them elsewhere"},
		"one raised, new number":  {mixed, 3, 6, 3, "give all event topics 6 partitions"},
		"different at the start":  {mixed, 0, 3, 0, "3 in p.feedback, p.search; 6 in p.segment; give all the same number: add partitions to those that have fewer than 6, or, as long as there are no events on them, delete those that do not fit and start again"},
		"one made anew, too few":  {mixed, 6, 0, 0, "give all the same number: add partitions to those that have fewer than 6"},
		"nothing to place events": {nil, 0, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, problem := kafka.Place(tt.counts, tt.published, kafka.TopicsConfig{Partitions: max(tt.chosen, 12*(1-min(tt.chosen, 1))), PartitionsChosen: tt.chosen > 0})
			require.Equal(t, tt.want, n)
			if tt.problem == "" {
				require.Nil(t, problem)
				return
			}
			require.ErrorContains(t, problem, tt.problem)
		})
	}
}

// Somebody adds partitions: keys stay where they are, also after the client has noticed and after a restart, until the new number is
// configured. Watermarks speak of the partitions that events are in.
func TestPartitionsAdded(t *testing.T) {
	for _, delivery := range []string{kafka.AtLeastOnce, kafka.ExactlyOnce} {
		t.Run(delivery, func(t *testing.T) {
			cluster := newCluster(t)
			with := func(partitions int32) func(*kafka.Config) {
				return func(c *kafka.Config) {
					c.Delivery = delivery
					if partitions > 0 {
						c.Topics.Partitions, c.Topics.PartitionsChosen = partitions, true
					}
				}
			}
			asked := &metadataRequests{}
			notices := []kgo.Opt{kgo.MetadataMaxAge(300 * time.Millisecond), kgo.WithHooks(asked)}
			deliver := func(f *fixture, name string) {
				t.Helper()
				batch := &kafka.Batch{Events: searches(60), Feeds: []kafka.Feed{newFeed()}}
				for i := range batch.Events {
					batch.Events[i].Event.Head().EventID = name
				}
				if delivery == kafka.ExactlyOnce {
					f.takeOver(t)
				}
				require.NoError(t, f.Deliver(t.Context(), batch))
			}
			placedOver := func(f *fixture, name string, n int) {
				t.Helper()
				records := slices.DeleteFunc(f.read(t, topic), func(r kafkaread.Record) bool { return r.Field("event_id") != name })
				require.Len(t, records, 60)
				for _, r := range records {
					require.EqualValues(t, kafka.PartitionOf(r.Key, n), r.Partition, r.Key)
				}
			}
			f := open(t, cluster, notices, with(3))
			require.Empty(t, f.Check(t.Context()))
			deliver(f, "before")

			admin := kadm.NewClient(newPlainClient(t, cluster))
			raise := func(topics ...string) {
				t.Helper()
				raised, err := admin.UpdatePartitions(t.Context(), 6, topics...)
				require.NoError(t, err)
				require.NoError(t, raised.Error())
			}
			raise(topic)
			before := asked.n.Load()
			require.Eventually(t, func() bool { return asked.n.Load() > before+3 }, 5*time.Minute, 10*time.Millisecond, "every client notices")
			deliver(f, "raised")
			placedOver(f, "raised", 3)
			problems := f.Check(t.Context())
			require.Len(t, problems, 1)
			require.ErrorContains(t, problems[0], "3 in agentassist.feedback, agentassist.feedback-negative; 6 in agentassist.search; keys are placed over the first 3 of each")

			f = open(t, cluster, notices, with(3))
			require.Len(t, f.Check(t.Context()), 1)
			deliver(f, "restarted")
			placedOver(f, "restarted", 3)

			raise("agentassist.feedback", "agentassist.feedback-negative")
			f = open(t, cluster, notices, with(0))
			problems = f.Check(t.Context())
			require.Len(t, problems, 1)
			require.ErrorContains(t, problems[0], "set kafka.topics.partitions: 6 and restart every instance")
			deliver(f, "all raised")
			placedOver(f, "all raised", 3)

			f = open(t, cluster, notices, with(6))
			require.Empty(t, f.Check(t.Context()))
			deliver(f, "taken")
			placedOver(f, "taken", 6)
			marks, err := f.LastWatermarks(t.Context())
			require.NoError(t, err)
			for _, w := range marks {
				require.Len(t, w.Offsets, 3*6)
			}
			require.Empty(t, open(t, cluster, notices, with(0)).Check(t.Context()), "it is the number so far")
		})
	}
}

// metadataRequests counts the requests for metadata that were answered.
type metadataRequests struct{ n atomic.Int32 }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (m *metadataRequests) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, _ kgo.BrokerE2E) {
	if kmsg.Key(key) == kmsg.Metadata {
		m.n.Add(1)
	}
}

func newPlainClient(t *testing.T, cluster *kfake.Cluster) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}
