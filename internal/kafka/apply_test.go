package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

func planTopics(t *testing.T, c kafka.Config, types []events.Type) []kafka.TopicPlan {
	t.Helper()
	plans, err := kafka.PlanTopics(t.Context(), kafka.Options{Config: c, Types: types, Log: quiet})
	require.NoError(t, err)
	return plans
}

func applyTopics(t *testing.T, c kafka.Config, plans []kafka.TopicPlan, dry bool) error {
	t.Helper()
	return kafka.ApplyTopics(t.Context(), kafka.Options{Config: c, Types: types, Log: quiet}, plans, dry)
}

func planOf(t *testing.T, plans []kafka.TopicPlan, suffix string) kafka.TopicPlan {
	t.Helper()
	for _, p := range plans {
		if p.Name == "agentassist."+suffix {
			return p
		}
	}
	require.FailNow(t, "no such topic", suffix)
	return kafka.TopicPlan{}
}

// requireApplied makes sure that nothing is left to do, and that a poller would start.
func requireApplied(t *testing.T, c kafka.Config, types []events.Type) {
	t.Helper()
	for _, p := range planTopics(t, c, types) {
		require.True(t, p.Exists, p.Name)
		require.Empty(t, p.Changes, p.Name)
		require.NotEmpty(t, p.Purpose, p.Name)
		require.NotEmpty(t, p.Key, p.Name)
	}
	c.Topics.Create = false
	_, err := ensure(t, c, types)
	require.NoError(t, err)
}

// On a cluster with nothing on it all topics are created as a start would, and a dry run creates none.
func TestApplyCreatesTopics(t *testing.T) {
	cluster := newCluster(t)
	c := configFor(cluster)
	c.Delivery, c.Latest = kafka.ExactlyOnce, []string{"feedback"}
	plans := planTopics(t, c, types)
	require.Len(t, plans, 2+1+1+4)
	require.Contains(t, planOf(t, plans, "checkpoint").Changes, kafka.TopicChange{Setting: "partitions", Want: "64"})
	require.Contains(t, planOf(t, plans, "search").Changes, kafka.TopicChange{Setting: "retention.ms", Want: "2592000000"})
	require.NoError(t, applyTopics(t, c, plans, true))
	require.Nil(t, cluster.TopicInfo("agentassist.search"))
	require.NoError(t, applyTopics(t, c, plans, false))
	requireApplied(t, c, types)
	search := planOf(t, planTopics(t, c, types), "search")
	require.Equal(t, "3 partitions, records kept for 30 days, 1 replica each, batches of at most 1048576 bytes", search.Describe())
}

// What differs grows, and what is larger than configured stays: nothing that a topic holds may go.
func TestApplyChangesTopics(t *testing.T) {
	cluster := newCluster(t)
	for suffix, config := range map[string]map[string]string{
		"search":            {"retention.ms": "3600000", "max.message.bytes": "20000"},
		"feedback":          {"retention.ms": "-1", "max.message.bytes": "20000000"},
		"feedback-negative": {"cleanup.policy": "compact", "retention.ms": "7776000000"},
		"watermark":         {"cleanup.policy": "compact,delete"},
		"control":           {"cleanup.policy": "compact", "segment.ms": "3600000"},
		"feedback-latest":   {"cleanup.policy": "compact", "segment.ms": "3600000", "max.compaction.lag.ms": "604800000"},
	} {
		n := int32(3)
		if suffix == "search" {
			n = 2
		}
		require.NoError(t, cluster.CreateTopic("agentassist."+suffix, n, config))
	}
	c := configFor(cluster)
	c.Topics.Partitions = 2 // not chosen: what is there counts
	c.Latest = []string{"feedback"}
	plans := planTopics(t, c, types)
	change := func(setting, is, want string) kafka.TopicChange {
		return kafka.TopicChange{Setting: setting, Is: is, Want: want}
	}
	require.Equal(t, []kafka.TopicChange{
		change("partitions", "2", "3"), change("max.message.bytes", "20000", "1048576"), change("retention.ms", "3600000", "2592000000"),
	}, planOf(t, plans, "search").Changes)
	require.Empty(t, planOf(t, plans, "feedback").Changes)
	require.Contains(t, planOf(t, plans, "feedback").Kept[0], "retention.ms is -1, more than the configured 2592000000")
	require.Equal(t, []kafka.TopicChange{change("cleanup.policy", "compact", "delete")}, planOf(t, plans, "feedback-negative").Changes)
	require.Len(t, planOf(t, plans, "feedback-negative").Kept, 1)
	require.Contains(t, planOf(t, plans, "watermark").Changes, change("cleanup.policy", "compact,delete", "compact"))
	require.Empty(t, planOf(t, plans, "control").Changes)
	require.Equal(t, []kafka.TopicChange{change("max.compaction.lag.ms", "604800000", "86400000")}, planOf(t, plans, "feedback-latest").Changes)
	require.False(t, planOf(t, plans, "dead-letter").Exists)

	require.NoError(t, applyTopics(t, c, plans, true))
	require.Equal(t, plans, planTopics(t, c, types), "a dry run changes nothing")
	require.NoError(t, applyTopics(t, c, plans, false))
	requireApplied(t, c, types)
	require.Equal(t, "-1", planOf(t, planTopics(t, c, types), "feedback").Settings["retention.ms"])

	c.Topics.Partitions, c.Topics.PartitionsChosen = 5, true
	plans = planTopics(t, c, types)
	require.Equal(t, []kafka.TopicChange{change("partitions", "3", "5")}, planOf(t, plans, "feedback").Changes)
	require.NoError(t, applyTopics(t, c, plans, false))
	requireApplied(t, c, types)
	c.Topics.Partitions = 3
	plans = planTopics(t, c, types)
	require.Empty(t, planOf(t, plans, "search").Changes)
	require.Contains(t, planOf(t, plans, "search").Kept, "has 5 partitions, and kafka.topics.partitions is 3: Kafka takes none away")
	c.Topics.ReplicationFactor = 3
	require.Contains(t, planOf(t, planTopics(t, c, types), "search").Kept, "has 1 replica, and 3 are configured: kafka-reassign-partitions adds them")
}

// What Kafka refuses is named with the right that is missing, and the rest is done.
func TestApplyWithoutRights(t *testing.T) {
	cluster := newCluster(t)
	c := configFor(cluster)
	c.Topics.Retention = time.Hour
	_, err := ensure(t, c, types)
	require.NoError(t, err)
	require.NoError(t, cluster.CreateTopic("agentassist.message", 1, map[string]string{"retention.ms": "3600000"}))
	c.Topics.Retention = 2 * time.Hour
	withMessage := append([]events.Type{events.TypeMessage}, types...)
	plans := planTopics(t, c, withMessage)
	for key, refuse := range map[int16]func(kmsg.Request) kmsg.Response{
		int16(kmsg.CreatePartitions): func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.CreatePartitionsResponse)
			topic := kmsg.NewCreatePartitionsResponseTopic()
			topic.Topic, topic.ErrorCode = "agentassist.message", kerr.TopicAuthorizationFailed.Code
			resp.Topics = append(resp.Topics, topic)
			return resp
		},
		int16(kmsg.IncrementalAlterConfigs): func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
			resource := kmsg.NewIncrementalAlterConfigsResponseResource()
			resource.ResourceName, resource.ErrorCode = "agentassist.search", kerr.PolicyViolation.Code
			resource.ErrorMessage = kmsg.StringPtr("an hour is enough")
			resp.Resources = append(resp.Resources, resource)
			return resp
		},
	} {
		cluster.ControlKey(key, func(r kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			return refuse(r), nil, true
		})
	}
	err = applyTopics(t, c, plans, false)
	require.ErrorContains(t, err, "topic agentassist.message could not be given partitions (TOPIC_AUTHORIZATION_FAILED")
	require.ErrorContains(t, err, "grant the user of this command Alter on it, or change it by hand")
	require.ErrorContains(t, err, "topic agentassist.search could not be given its settings: an hour is enough")

	denied := newCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "right"))
	c = configFor(denied)
	c.SASL.Mechanism, c.SASL.Username = "PLAIN", "admin"
	_, err = kafka.PlanTopics(t.Context(), kafka.Options{Config: c, Types: types, Log: quiet})
	require.Error(t, err, "a login that is refused is no plan")
}

func TestRegisterSchemas(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	rc := kafka.DefaultRegistryConfig()
	rc.URL, rc.Register = fake.URL(), false
	o := kafka.Options{Config: kafka.DefaultConfig(), Registry: rc, Types: types, Log: quiet}
	for _, want := range []string{"registered with id", "has id"} {
		found := kafka.RegisterSchemas(t.Context(), o)
		require.Len(t, found, 5)
		for _, f := range found {
			require.NoError(t, f.Err)
			require.Contains(t, f.Found, want, f.Name)
		}
	}
	require.True(t, fake.SubjectExists("agentassist.feedback-negative-value"))
	for _, f := range kafka.InspectRegistry(t.Context(), o) {
		require.NoError(t, f.Err)
	}
	fake.Close()
	o.Registry.RetryFor = 0
	found := kafka.RegisterSchemas(t.Context(), o)
	require.ErrorContains(t, found[0].Err, "check schema_registry.url and that the registry runs")
	require.NotEmpty(t, found[1].Skipped, "one answer is enough")
}
