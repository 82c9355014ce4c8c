package kafka_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/secret"
)

// What somebody changes while the poller runs is found, named with the numbers of now and of the start, and gone once it is undone.
func TestCheckFindsChanges(t *testing.T) {
	set := func(name, value string) func(*testing.T, *kadm.Client) {
		return func(t *testing.T, admin *kadm.Client) {
			changed, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
			require.NoError(t, err)
			require.NoError(t, changed[0].Err)
		}
	}
	remove := func(t *testing.T, admin *kadm.Client) {
		deleted, err := admin.DeleteTopics(t.Context(), topic)
		require.NoError(t, err)
		require.NoError(t, deleted.Error())
	}
	make3 := func(t *testing.T, admin *kadm.Client) {
		policy, month := "delete", "2592000000"
		_, err := admin.CreateTopic(t.Context(), 3, 1, map[string]*string{"cleanup.policy": &policy, "retention.ms": &month}, topic)
		require.NoError(t, err)
	}
	for name, tt := range map[string]struct {
		change, undo func(*testing.T, *kadm.Client)
		want         string // empty: nobody has to know
	}{
		"smaller records": {
			set("max.message.bytes", "20000"), set("max.message.bytes", "1048576"),
			"topic agentassist.search has max.message.bytes=20000; want at least 1000512 as at start: larger events become dead letters; " +
				"raise it again",
		},
		"larger records": {set("max.message.bytes", "20000000"), nil, ""},
		"compacted": {
			set("cleanup.policy", "compact"), set("cleanup.policy", "delete"),
			"topic agentassist.search has cleanup.policy=compact; want delete",
		},
		"kept for less time": {
			set("retention.ms", "3600000"), set("retention.ms", "2592000000"),
			"topic agentassist.search has retention.ms=3600000 (1h0m0s), and had 30 days at start: Kafka drops or refuses what is older, late edits " +
				"among it; raise it again, or restart the poller to go on with it",
		},
		"kept for longer": {set("retention.ms", "-1"), nil, ""},
		"old times refused": {
			set("message.timestamp.before.max.ms", "86400000"), nil,
			"topic agentassist.search has message.timestamp.before.max.ms=86400000 (24h0m0s), and had no limit at start",
		},
		"deleted": {
			remove, nil,
			"topic agentassist.search was deleted; it had 3 partitions (UNKNOWN_TOPIC_OR_PARTITION: This server does not host this " +
				"topic-partition.); create it again with as many, or restart the poller with kafka.topics.create: true",
		},
		"made anew": {
			func(t *testing.T, admin *kadm.Client) { remove(t, admin); make3(t, admin) }, nil,
			"topic agentassist.search was deleted and made anew while the poller runs",
		},
		"more partitions of a log": {
			func(t *testing.T, admin *kadm.Client) {
				_, err := admin.UpdatePartitions(t.Context(), 4, "agentassist.dead-letter")
				require.NoError(t, err)
			}, nil,
			"topic agentassist.dead-letter has 4 partitions, and had 1 at start; nothing is lost: its records stay in the first 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t)
			f := open(t, cluster, nil)
			admin := kadm.NewClient(newPlainClient(t, cluster))
			require.Empty(t, f.Check(t.Context()))
			tt.change(t, admin)
			problems := f.Check(t.Context())
			if tt.want == "" {
				require.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			require.ErrorContains(t, problems[0], tt.want)
			may, known := kafka.Retryable(problems[0])
			require.True(t, known)
			require.False(t, may)
			if tt.undo != nil {
				tt.undo(t, admin)
				require.Empty(t, f.Check(t.Context()))
			}
		})
	}
}

// A backfill is judged by the retention of now, not of the start.
func TestCheckRetentionAfterAChange(t *testing.T) {
	cluster := newCluster(t)
	f := open(t, cluster, nil)
	now := time.Now()
	require.NoError(t, f.Topics.CheckRetention(now.AddDate(0, 0, -20), now))
	day := "86400000"
	_, err := kadm.NewClient(newPlainClient(t, cluster)).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &day}}, topic)
	require.NoError(t, err)
	require.Len(t, f.Check(t.Context()), 1)
	require.ErrorAs(t, f.Topics.CheckRetention(now.AddDate(0, 0, -20), now), new(*kafka.RetentionError))
}

// A right that is taken away is named, whether or not anything needs it just now.
func TestCheckFindsMissingRights(t *testing.T) {
	rights := func(ops ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, op := range ops {
			acls = append(acls, kfake.ACL{
				Resource: kmsg.ACLResourceTypeTopic, Name: "agentassist.", Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: op, Allow: true,
			})
		}
		return acls
	}
	cluster := newCluster(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "a"),
		kfake.User("PLAIN", "poller", "p", rights(kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationRead)...))
	f := open(t, cluster, nil, func(c *kafka.Config) {
		c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "poller", Password: secret.New("p")}
	})
	require.Empty(t, f.Check(t.Context()))
	c := configFor(cluster)
	c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "admin", Password: secret.New("a")}
	client, err := kafka.NewClient(c, quiet, nil)
	require.NoError(t, err)
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteACLs(t.Context(), kadm.NewACLs().Topics("agentassist.").ResourcePatternType(kmsg.ACLResourcePatternTypePrefixed).
		Operations(kmsg.ACLOperationWrite).Allow("User:poller").AllowHosts())
	require.NoError(t, err)
	problems := f.Check(t.Context())
	require.Len(t, problems, 6)
	require.ErrorContains(t, problems[0], "topic agentassist.search may not be used: Write is not allowed")
	require.ErrorContains(t, problems[0], "grant the poller's user Write on it")
}

// A registry that has lost schemas is a problem, one that does not answer is none: what is known holds.
func TestCheckFindsLostSchemas(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	rc := kafka.DefaultRegistryConfig()
	rc.URL = fake.URL()
	p, err := kafka.Open(t.Context(), kafka.Options{Config: configFor(newCluster(t)), Registry: rc, Types: types, Log: quiet})
	require.NoError(t, err)
	defer p.Close(t.Context())
	require.Empty(t, p.Check(t.Context()))
	fake.Reset()
	problems := p.Check(t.Context())
	require.Len(t, problems, 5, "every topic with values in Avro")
	require.ErrorContains(t, problems[0], "subject agentassist.search-value: the schema that events are written with, id 1, is gone; restore the registry")
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "away")
		return true
	})
	require.Empty(t, p.Check(t.Context()))
}

// While no broker answers, the check says why: the request itself only knows that time has passed.
func TestCheckWithoutBrokers(t *testing.T) {
	cluster := newCluster(t)
	f := open(t, cluster, []kgo.Opt{kgo.RetryTimeout(time.Second)})
	cluster.Close()
	problems := f.Check(t.Context())
	require.Len(t, problems, 1)
	require.ErrorContains(t, problems[0], "reach Kafka at "+strings.Join(f.config.Brokers, ", "))
	require.ErrorContains(t, problems[0], "connection refused; check kafka.brokers and that the brokers run")
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.Empty(t, f.Check(stopped), "a stop is no problem")
}
