package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkatest"
	"agentassist-poller/internal/koresim"
	"agentassist-poller/internal/status"
)

// busyCentre serves a centre with traffic for a duration.
func busyCentre(t *testing.T, seed uint64, length time.Duration) *centre {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	return serve(t, "busy", koresim.Config{
		Seed: seed, Start: now.Add(-time.Minute), End: now.Add(length), SegmentsPerDay: 100_000, Pace: koresim.Burst,
	})
}

// The broker is killed and comes back later. The poller holds its batch, status says so meanwhile, and nothing is lost or published twice:
// the producer is idempotent.
func TestKafkaBrokerKilled(t *testing.T) {
	t.Parallel()
	p := apache(t)
	broker := kafkatest.Kafka(t, kafkatest.KafkaOptions{})
	centre := busyCentre(t, 41, 20*time.Second)
	s := newSetup(t, &platform{broker: broker.Addr, registry: p.registry}, centre.yaml(quickSettings("1h")))
	s.more = "  topics: {partitions: 3, replication_factor: 1}\n  delivery_timeout: 2s\n"
	c := s.follow(t)
	run := s.startInProcess(t)
	eventually(t, waitLimit, func() error { return anyEvent(c) })

	require.NoError(t, broker.Kill())
	eventually(t, waitLimit, func() error {
		if d := run.status(t).Delivery; d.State != status.Failing || d.LastError == nil {
			return fmt.Errorf("delivery is %s: %+v", d.State, d.LastError)
		}
		return nil
	})
	require.NoError(t, broker.Restart(t.Context()))
	c.settle(t, centre)
	eventually(t, waitLimit, func() error { // it is well again once it has gone well for a while
		if d := run.status(t).Delivery; d.State != status.OK {
			return fmt.Errorf("delivery is %s: %+v", d.State, d.LastError)
		}
		return nil
	})
	run.stop(t)
	centre.checkRequests(t)
}

// Without the registry, events whose schemas are known are published.
func TestKafkaRegistryGone(t *testing.T) {
	t.Parallel()
	p := apache(t)
	registry := kafkatest.SchemaRegistry(t)
	centre := busyCentre(t, 42, 20*time.Second)
	later := serve(t, "later", koresim.Config{Seed: 45, Start: centre.start, End: centre.start.Add(2 * time.Minute), SegmentsPerDay: 100_000, Pace: koresim.Burst})
	later.SetFaults(down)
	s := newSetup(t, &platform{broker: p.broker, registry: registry.URL}, centre.yaml(quickSettings("1h")), later.yaml(quickSettings("1h")))
	c := s.follow(t)
	run := s.startInProcess(t)
	eventually(t, waitLimit, func() error { // the consumer, too, must know all schemas by then
		for _, topic := range append(c.eventTopics(), c.names.Watermark()) {
			if c.countOn(topic) == 0 {
				return fmt.Errorf("nothing is on %s yet", topic)
			}
		}
		return nil
	})
	require.NoError(t, registry.Kill())
	later.SetFaults(koresim.Faults{})
	c.settle(t, centre, later)
	run.stop(t)
}

// down makes every request fail, until other faults are set.
var down = koresim.Faults{Rate: 1, Kinds: []koresim.Fault{koresim.FaultUnavailable}}

// Topics that the poller may not create are named in its error.
func TestKafkaTopicsMissing(t *testing.T) {
	t.Parallel()
	centre := busyCentre(t, 43, time.Second)
	s := newSetup(t, apache(t), centre.yaml(quickSettings("1h")))
	s.more = "  topics: {create: false}\n"
	run := s.startProcess(t, binary(t, ""))
	select {
	case <-run.done:
	case <-time.After(waitLimit):
		require.FailNow(t, "it should not wait for topics that nobody makes")
	}
	require.Equal(t, 1, run.cmd.ProcessState.ExitCode())
	require.Contains(t, run.tail(100), s.prefix+".search does not exist")
	require.Contains(t, run.tail(100), "kafka.topics.create")
	for _, n := range centre.Stats().Requests {
		require.Zero(t, n, "nothing is read that could not be published")
	}
}

// Each record that a topic refuses becomes a dead letter; all others arrive.
func TestKafkaRecordsTooLarge(t *testing.T) {
	t.Parallel()
	p := apache(t)
	centre := busyCentre(t, 44, 10*time.Second)
	centre.SetFaults(down) // until the limit holds
	s := newSetup(t, p, centre.yaml(quickSettings("1h")))
	c := s.follow(t)
	run := s.startInProcess(t)
	limit := "500"
	segments := c.names.Event(events.TypeSegment)
	admin := kadm.NewClient(c.client)
	eventually(t, waitLimit, func() error { // the topic must be there, and the limit hold
		change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}
		if _, err := admin.AlterTopicConfigs(t.Context(), change, segments); err != nil {
			return err
		}
		configs, err := admin.DescribeTopicConfigs(t.Context(), segments)
		if err != nil {
			return err
		}
		for _, config := range configs[0].Configs {
			if config.Key == "max.message.bytes" && config.MaybeValue() == limit {
				return nil
			}
		}
		return errNotYet
	})
	centre.SetFaults(koresim.Faults{})
	letters := map[string]bool{}
	eventually(t, waitLimit, func() error {
		entries, pending := centre.ledger(centre.Now())
		records := c.read(t)
		for _, r := range records {
			if r.Topic == c.names.DeadLetter() {
				require.Equal(t, "segment", r.Field("event_type"))
				require.Contains(t, r.Field("reason"), segments)
				letters[r.Field("entity_id")] = true
			}
		}
		if pending > 0 || len(letters) == 0 {
			return errNotYet
		}
		now := centre.Now()
		report := koresim.Compare(slices.Values(entries), observed(records, centre.account().ID), koresim.Scope{
			From: centre.start, To: now.Add(time.Hour), Settled: now, Now: now,
		})
		for _, lost := range report.Lost {
			if !strings.HasPrefix(lost, "segment ") {
				return errors.New(report.String())
			}
		}
		if len(report.Repeated) > 0 {
			return errors.New(report.String())
		}
		return nil
	})
	run.stop(t)
}

// anyEvent reports whether any event has come.
func anyEvent(c *consumer) error {
	if c.count() == 0 {
		return errNotYet
	}
	return nil
}
