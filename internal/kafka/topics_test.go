package kafka_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

func ensure(t *testing.T, c kafka.Config, types []events.Type) (*kafka.Topics, error) {
	t.Helper()
	return kafka.EnsureTopics(t.Context(), kafka.Options{Config: c, Types: types, Log: quiet})
}

func TestCreateTopics(t *testing.T) {
	cluster := newCluster(t, kfake.NumBrokers(3))
	c := configFor(cluster)
	c.Latest, c.Delivery = []string{"feedback", "search"}, kafka.ExactlyOnce
	c.Topics.Overrides = map[string]kafka.TopicOverride{
		"feedback":      {Retention: 90 * 24 * time.Hour},
		"search-latest": {Config: map[string]string{"max.compaction.lag.ms": "21600000"}},
		"watermark":     {Config: map[string]string{"segment.ms": "60000"}},
	}
	topics, err := ensure(t, c, events.Types())
	require.NoError(t, err)
	require.Len(t, topics.Created, 12+1+2+4)

	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...))
	require.NoError(t, err)
	defer client.Close()
	for suffix, want := range map[string]struct {
		partitions int
		config     map[string]string
	}{
		"search":            {3, map[string]string{"cleanup.policy": "delete", "retention.ms": "2592000000", "min.insync.replicas": "2"}},
		"feedback":          {3, map[string]string{"cleanup.policy": "delete", "retention.ms": "7776000000"}},
		"feedback-negative": {3, map[string]string{"cleanup.policy": "delete", "retention.ms": "2592000000"}},
		"feedback-latest":   {3, map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "86400000"}},
		"search-latest":     {3, map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "21600000"}},
		"checkpoint":        {64, map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "86400000"}},
		"watermark":         {1, map[string]string{"cleanup.policy": "compact", "segment.ms": "60000"}},
		"control":           {1, map[string]string{"cleanup.policy": "compact"}},
		"dead-letter":       {1, map[string]string{"cleanup.policy": "delete", "retention.ms": "2592000000"}},
	} {
		name := "agentassist." + suffix
		info := cluster.TopicInfo(name)
		require.NotNil(t, info, name)
		require.Equal(t, want.partitions, topics.Partitions(name), name)
		configs, err := kadm.NewClient(client).DescribeTopicConfigs(t.Context(), name)
		require.NoError(t, err)
		for key, value := range want.config {
			i := slices.IndexFunc(configs[0].Configs, func(c kadm.Config) bool { return c.Key == key })
			require.GreaterOrEqual(t, i, 0, "%s %s", name, key)
			require.Equal(t, value, configs[0].Configs[i].MaybeValue(), "%s %s", name, key)
		}
	}

	again, err := ensure(t, c, events.Types())
	require.NoError(t, err)
	require.Empty(t, again.Created)
}

// A type that is switched on later gets a topic that joins with those there are.
func TestNewTopicFollowsTheOthers(t *testing.T) {
	c := configFor(newCluster(t))
	_, err := ensure(t, c, types)
	require.NoError(t, err)
	c.Topics.Partitions = 8
	topics, err := ensure(t, c, append(types, events.TypeMessage))
	require.NoError(t, err)
	require.Equal(t, []string{"agentassist.message"}, topics.Created)
	require.Equal(t, 3, topics.Partitions("agentassist.message"))
}

func TestTopicProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		topics map[string]map[string]string // settings by topic; a key of partitions is their number
		want   []string
	}{
		"partitions differ": {
			map[string]map[string]string{"search": {"partitions": "6"}},
			[]string{"event topics have different numbers of partitions, so that streams cannot be joined: 3 in agentassist.feedback, agentassist.feedback-negative; 6 in agentassist.search; give all the same number"},
		},
		"compacted events": {
			map[string]map[string]string{"search": {"cleanup.policy": "compact"}},
			[]string{"topic agentassist.search has cleanup.policy=compact; want delete: compaction would keep only the last record of each key; set cleanup.policy=delete on it"},
		},
		"watermarks that vanish": {
			map[string]map[string]string{"watermark": {"partitions": "1", "cleanup.policy": "compact,delete"}},
			[]string{"topic agentassist.watermark has cleanup.policy=compact,delete; want compact: what it holds must not vanish with age; set cleanup.policy=compact on it"},
		},
		"small messages": {
			map[string]map[string]string{"feedback": {"max.message.bytes": "10000"}, "watermark": {"partitions": "1", "cleanup.policy": "compact", "max.message.bytes": "100000"}},
			[]string{
				"topic agentassist.feedback has max.message.bytes=10000; want at least 16896; raise it",
				"topic agentassist.watermark has max.message.bytes=100000; want at least 786944; raise it",
			},
		},
		"two at once": {
			map[string]map[string]string{"search": {"cleanup.policy": "compact"}, "feedback": {"cleanup.policy": "compact"}},
			[]string{"topic agentassist.search has cleanup.policy=compact", "topic agentassist.feedback has cleanup.policy=compact"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			for suffix, config := range tt.topics {
				partitions := int32(3)
				switch config["partitions"] {
				case "6":
					partitions = 6
				case "1":
					partitions = 1
				}
				delete(config, "partitions")
				require.NoError(t, cluster.CreateTopic("agentassist."+suffix, partitions, config))
			}
			for _, rest := range []string{"search", "feedback", "feedback-negative"} {
				if tt.topics[rest] == nil {
					require.NoError(t, cluster.CreateTopic("agentassist."+rest, 3, nil))
				}
			}
			_, err := ensure(t, configFor(cluster), types)
			require.Error(t, err)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.Len(t, strings.Split(err.Error(), "\n"), len(tt.want))
		})
	}
}

// Watermarks are in order as long as they are all in one partition, however many the topic has.
func TestWatermarkTopicWithMorePartitions(t *testing.T) {
	cluster := newCluster(t)
	require.NoError(t, cluster.CreateTopic("agentassist.watermark", 3, map[string]string{"cleanup.policy": "compact"}))
	f := open(t, cluster, nil)
	require.Equal(t, 1, f.Topics.Partitions("agentassist.watermark"))
	for range 5 {
		require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(3), Feeds: []kafka.Feed{newFeed()}}))
	}
	marks := f.read(t, "agentassist.watermark")
	require.Len(t, marks, 5)
	for _, m := range marks {
		require.Zero(t, m.Partition)
	}
	last, err := f.LastWatermarks(t.Context())
	require.NoError(t, err)
	require.Len(t, last, 1)
}

func TestMissingTopicsAreNamed(t *testing.T) {
	c := configFor(newCluster(t))
	c.Topics.Create = false
	_, err := ensure(t, c, types)
	require.Equal(t, []string{
		"topic agentassist.search does not exist (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.); create it with 3 partitions and cleanup.policy=delete, or set kafka.topics.create: true",
		"topic agentassist.feedback does not exist (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.); create it with 3 partitions and cleanup.policy=delete, or set kafka.topics.create: true",
		"topic agentassist.feedback-negative does not exist (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.); create it with 3 partitions and cleanup.policy=delete, or set kafka.topics.create: true",
		"topic agentassist.watermark does not exist (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.); create it with 1 partition and cleanup.policy=compact, or set kafka.topics.create: true",
		"topic agentassist.dead-letter does not exist (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.); create it with 1 partition and cleanup.policy=delete, or set kafka.topics.create: true",
		"topic agentassist.control does not exist (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.); create it with 1 partition and cleanup.policy=compact, or set kafka.topics.create: true",
	}, strings.Split(err.Error(), "\n"))
}

// Each missing permission is named as Kafka's tools spell it.
func TestMissingPermissions(t *testing.T) {
	grant := func(ops ...kmsg.ACLOperation) []kfake.ACL {
		var acls []kfake.ACL
		for _, op := range ops {
			acls = append(acls, kfake.ACL{
				Resource: kmsg.ACLResourceTypeTopic, Name: "agentassist.", Pattern: kmsg.ACLResourcePatternTypePrefixed,
				Operation: op, Allow: true,
			})
		}
		return acls
	}
	const (
		describe = kmsg.ACLOperationDescribe
		configs  = kmsg.ACLOperationDescribeConfigs
		write    = kmsg.ACLOperationWrite
		create   = kmsg.ACLOperationCreate
		read     = kmsg.ACLOperationRead
	)
	for name, tt := range map[string]struct {
		acls   []kfake.ACL
		exists bool
		want   string // operation; empty if all is well
	}{
		"all":             {grant(describe, configs, write, create, read), false, ""},
		"all but Create":  {grant(describe, configs, write, read), true, ""},
		"Create":          {grant(describe, configs, write, read), false, "Create"},
		"Write":           {grant(describe, configs, read), true, "Write"},
		"Read":            {grant(describe, configs, write), true, "Read"},
		"DescribeConfigs": {grant(describe, write, read), true, "DescribeConfigs"},
		"Describe":        {grant(configs), true, "Describe"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(),
				kfake.Superuser("PLAIN", "admin", "a"), kfake.User("PLAIN", "poller", "p", tt.acls...))
			c := configFor(cluster)
			if tt.exists {
				c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "admin", Password: secret.New("a")}
				_, err := ensure(t, c, types)
				require.NoError(t, err)
			}
			c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "poller", Password: secret.New("p")}
			_, err := ensure(t, c, types)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "grant the poller's user "+tt.want+" on it")
			problem := &kafka.TopicError{}
			require.ErrorAs(t, err, &problem)
			require.False(t, problem.Retryable())
		})
	}
}

func TestCheckRetention(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 30, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		config map[string]string // of the search topic
		change func(*kafka.Config)
		oldest time.Time
		want   string
	}{
		"young enough": {nil, nil, now.Add(-29 * day), ""},
		"too old": {
			nil, nil, now.Add(-31 * day),
			"topic agentassist.search would drop events of 2026-10-21T12:30:00Z at once: its retention.ms is 30 days; start at 2026-10-22T14:00:00Z or later, raise retention.ms, or set kafka.timestamp: observed to give records the time of reading",
		},
		"real setting": {map[string]string{"retention.ms": "604800000"}, nil, now.Add(-8 * day), "its retention.ms is 7 days"},
		"kept for ever": {
			map[string]string{"retention.ms": "-1"},
			func(c *kafka.Config) { c.Topics.Overrides = keepForEver("feedback", "feedback-negative") },
			now.Add(-4000 * day), "",
		},
		"refused": {
			map[string]string{"retention.ms": "-1", "message.timestamp.before.max.ms": "3600000"}, nil, now.Add(-2 * time.Hour),
			"its message.timestamp.before.max.ms is 1h0m0s; start at 2026-11-21T12:00:00Z or later",
		},
		"time of reading": {nil, func(c *kafka.Config) { c.Timestamp = kafka.TimestampObserved }, now.Add(-4000 * day), ""},
		"broker's own time": {
			map[string]string{"message.timestamp.type": "LogAppendTime"},
			func(c *kafka.Config) { c.Topics.Overrides = keepForEver("feedback", "feedback-negative") },
			now.Add(-4000 * day), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			c := configFor(cluster)
			if tt.config != nil {
				require.NoError(t, cluster.CreateTopic("agentassist.search", 3, tt.config))
			}
			if tt.change != nil {
				tt.change(&c)
			}
			topics, err := ensure(t, c, types)
			require.NoError(t, err)
			err = topics.CheckRetention(tt.oldest, now)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			problem := &kafka.RetentionError{}
			require.ErrorAs(t, err, &problem)
		})
	}
}

func keepForEver(topics ...string) map[string]kafka.TopicOverride {
	overrides := map[string]kafka.TopicOverride{}
	for _, name := range topics {
		overrides[name] = kafka.TopicOverride{Config: map[string]string{"retention.ms": "-1"}}
	}
	return overrides
}

func TestCreateIsRefused(t *testing.T) {
	cluster := newCluster(t)
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "agentassist.search", Err: kerr.PolicyViolation})
	_, err := ensure(t, configFor(cluster), types)
	require.ErrorContains(t, err, "topic agentassist.search could not be created")
	require.ErrorContains(t, err, "a policy of the cluster refuses this")
	require.ErrorIs(t, err, kerr.PolicyViolation)
}

// A cluster that is not ready yet is waited for; one that says no is not asked again.
func TestTopicErrorsThatPass(t *testing.T) {
	for name, tt := range map[string]struct {
		faults []kfake.Fault
		retry  bool
	}{
		"quota":       {[]kfake.Fault{{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: topic, Err: kerr.ThrottlingQuotaExceeded}}, true},
		"not allowed": {[]kfake.Fault{{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: topic, Err: kerr.TopicAuthorizationFailed}}, false},
		"both": {[]kfake.Fault{
			{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: topic, Err: kerr.ThrottlingQuotaExceeded},
			{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "agentassist.feedback", Err: kerr.PolicyViolation},
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.Fault(tt.faults...)
			_, err := ensure(t, configFor(cluster), types)
			problem := &kafka.TopicsError{}
			require.ErrorAs(t, err, &problem)
			require.Equal(t, tt.retry, problem.Retryable(), err)
		})
	}
}
