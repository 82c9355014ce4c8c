package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/kafka/kafkatest"
	"agentassist-poller/internal/secret"
)

// What the embedded broker and registry cannot show: that the real ones keep what we rely on.
func TestReal(t *testing.T) {
	kafkatest.Require(t)
	broker := kafkatest.Kafka(t, kafkatest.KafkaOptions{
		Users: map[string]string{"poller": "right"},
		// Look for old segments often enough for a test.
		Properties: map[string]string{"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500", "log.segment.delete.delay.ms": "0"},
	})
	registry := kafkatest.SchemaRegistry(t)
	r := &real{broker: broker, registry: registry}
	t.Run("topics", r.topics)
	t.Run("topics that do not fit", r.wrongTopics)
	t.Run("topics are applied", r.topicsApplied)
	t.Run("permissions", r.permissions)
	t.Run("wrong password", r.wrongPassword)
	t.Run("partitions added", r.partitionsAdded)
	t.Run("retention", r.retention)
	t.Run("refused records", r.refused)
	t.Run("incompatible schema", r.incompatible)
	t.Run("lookup only", r.lookupOnly)
	t.Run("delivery", r.delivery)
	t.Run("broker killed", r.killed) // last: they share the broker
	t.Run("registry gone", r.registryGone)
}

type real struct {
	broker   *kafkatest.Broker
	registry *kafkatest.Registry
}

// config gives every test topics of its own.
func (r *real) config(t *testing.T) kafka.Config {
	c := kafka.DefaultConfig()
	c.Brokers = []string{r.broker.Addr}
	c.Delivery = kafka.AtLeastOnce
	c.TopicPrefix = strings.NewReplacer("/", ".", "_", "-").Replace(t.Name())
	c.Topics.Partitions = 3
	return c
}

func (r *real) open(t *testing.T, c kafka.Config) *fixture {
	t.Helper()
	rc := kafka.DefaultRegistryConfig()
	rc.URL = r.registry.URL
	p, err := kafka.Open(t.Context(), kafka.Options{Config: c, Registry: rc, Types: types, Log: quiet})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return &fixture{Publisher: p, delivery: p.AtLeastOnce, config: c, reader: readerOf(c, r.decoder(t))}
}

func (r *real) decoder(t *testing.T) *kafkaread.Decoder {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(r.registry.URL))
	require.NoError(t, err)
	return kafkaread.NewDecoder(client)
}

func (r *real) admin(t *testing.T) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Addr))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// Kafka validates a dry run and changes nothing, then takes each change; a second plan is empty.
func (r *real) topicsApplied(t *testing.T) {
	c := r.config(t)
	c.Delivery = kafka.ExactlyOnce
	admin := r.admin(t)
	value := func(text string) *string { return &text }
	_, err := admin.CreateTopic(t.Context(), 2, 1, map[string]*string{
		"cleanup.policy": value("compact"), "retention.ms": value("3600000"), "max.message.bytes": value("20000"),
	}, c.TopicPrefix+".search")
	require.NoError(t, err)
	_, err = admin.CreateTopic(t.Context(), 3, 1, map[string]*string{"retention.ms": value("-1")}, c.TopicPrefix+".feedback")
	require.NoError(t, err)
	pending := func() (n int) {
		for _, p := range planTopics(t, c, types) {
			n += len(p.Changes)
		}
		return n
	}
	known := func() bool { // by every broker that may answer
		plans := planTopics(t, c, types)
		return plans[0].Exists && plans[1].Exists
	}
	require.Eventually(t, known, time.Minute, 50*time.Millisecond)
	plans := planTopics(t, c, types)
	before := pending()
	require.NoError(t, applyTopics(t, c, plans, true))
	require.Equal(t, before, pending())
	require.NoError(t, applyTopics(t, c, plans, false))
	require.Eventually(t, func() bool { return pending() == 0 }, time.Minute, 50*time.Millisecond)
	c.Topics.Create = false
	topics, err := ensure(t, c, types)
	require.NoError(t, err)
	require.Equal(t, 3, topics.Topic(topics.Event(events.TypeSearch)).Partitions)
	require.Negative(t, topics.Topic(topics.Event(events.TypeFeedback)).Retention, "nothing is lowered")
	require.Equal(t, 64, topics.Topic(topics.Checkpoint()).Partitions)
}

func (r *real) topics(t *testing.T) {
	c := r.config(t)
	c.Latest = []string{"feedback"}
	topics, err := ensure(t, c, events.Types())
	require.NoError(t, err)
	require.Len(t, topics.Created, 12+1+1+3)
	require.Equal(t, 3, topics.Partitions(topics.Event(events.TypeMessage)))
	require.Equal(t, 1, topics.Partitions(topics.Watermark()))
	search := topics.Topic(topics.Event(events.TypeSearch))
	require.Equal(t, 30*24*time.Hour, search.Retention)
	require.False(t, search.Compacted)
	require.True(t, topics.Topic(topics.Watermark()).Compacted)
	require.Equal(t, time.Hour, search.After, "Kafka 4 refuses what lies further ahead")

	again, err := ensure(t, c, events.Types())
	require.NoError(t, err)
	require.Empty(t, again.Created)
}

func (r *real) wrongTopics(t *testing.T) {
	c := r.config(t)
	admin := r.admin(t)
	compact := "compact"
	_, err := admin.CreateTopic(t.Context(), 5, 1, map[string]*string{"cleanup.policy": &compact}, c.TopicPrefix+".search")
	require.NoError(t, err)
	_, err = admin.CreateTopic(t.Context(), 3, 1, nil, c.TopicPrefix+".feedback")
	require.NoError(t, err)
	_, err = admin.CreateTopic(t.Context(), 2, 1, nil, c.TopicPrefix+".watermark")
	require.NoError(t, err)
	c.Topics.Create = false
	try := func() error {
		_, err := ensure(t, c, types)
		return err
	}
	for _, want := range []string{
		"event topics have different numbers of partitions",
		"search has cleanup.policy=compact; want delete",
		"watermark has cleanup.policy=delete; want compact",
		"feedback-negative does not exist",
	} {
		eventually(t, want, try) // what was just made is known a moment later
	}
}

// eventually repeats until the error says what is wanted, or until there is none where nothing is.
func eventually(t *testing.T, want string, do func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		err := do()
		if (err == nil) == (want == "") && (err == nil || strings.Contains(err.Error(), want)) {
			return
		}
		if time.Now().After(deadline) {
			require.FailNow(t, "never came", "want %q, got %v", want, err)
		}
	}
}

// The permissions that a user needs are those that are named one after the other until all is well; nothing else is needed to
// publish, to take a partition over, and to share the work out.
func (r *real) permissions(t *testing.T) {
	for _, delivery := range []string{kafka.AtLeastOnce, kafka.ExactlyOnce} {
		t.Run(delivery, func(t *testing.T) { r.permissionsOf(t, delivery) })
	}
}

func (r *real) permissionsOf(t *testing.T, delivery string) {
	admin := r.admin(t)
	c := r.config(t)
	c.Brokers, c.Delivery, c.Group = []string{r.broker.SASLAddr}, delivery, c.TopicPrefix
	c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "poller", Password: secret.New("right")}
	grant := func(acl *kadm.ACLBuilder) {
		results, err := admin.CreateACLs(t.Context(), acl.Allow("User:poller").AllowHosts())
		require.NoError(t, err)
		require.NotEmpty(t, results)
		for _, result := range results {
			require.NoError(t, result.Err)
		}
	}
	topics := func(op kmsg.ACLOperation) *kadm.ACLBuilder {
		return kadm.NewACLs().Topics(c.TopicPrefix + ".").ResourcePatternType(kmsg.ACLResourcePatternTypePrefixed).Operations(op)
	}
	read := func(topic string) *kadm.ACLBuilder {
		return kadm.NewACLs().Topics(topic).ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral).Operations(kmsg.ACLOperationRead)
	}
	names := kafka.NewNames(c.TopicPrefix)
	steps := []struct {
		want string
		acl  *kadm.ACLBuilder
	}{
		{"grant the poller's user Describe on it", topics(kmsg.ACLOperationDescribe)},
		{"grant the poller's user Create on it", topics(kmsg.ACLOperationCreate)},
		{"grant the poller's user Write on it", topics(kmsg.ACLOperationWrite)},
		{"grant the poller's user DescribeConfigs on it", topics(kmsg.ACLOperationDescribeConfigs)},
		{"topic " + names.Watermark() + " may not be used: Read is not allowed", read(names.Watermark())},
		{"topic " + names.Control() + " may not be used: Read is not allowed", read(names.Control())},
	}
	if delivery == kafka.ExactlyOnce {
		ids := kadm.NewACLs().TransactionalIDs(c.Group+".").ResourcePatternType(kmsg.ACLResourcePatternTypePrefixed).
			Operations(kmsg.ACLOperationDescribe, kmsg.ACLOperationWrite)
		group := func(name string) *kadm.ACLBuilder {
			return kadm.NewACLs().Groups(name).ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral).Operations(kmsg.ACLOperationRead)
		}
		steps = append(steps, []struct {
			want string
			acl  *kadm.ACLBuilder
		}{
			{"topic " + names.Checkpoint() + " may not be used: Read is not allowed", read(names.Checkpoint())},
			{"group " + c.Group + " may not be used: Read is not allowed", group(c.Group)},
			{"group " + c.WitnessGroup() + " may not be used: Read is not allowed", group(c.WitnessGroup())},
			{"grant the poller's user Describe and Write on the transactional ids of kafka.group", ids},
		}...)
	}
	for _, step := range steps {
		eventually(t, step.want, func() error { return r.begin(t, c) })
		eventually(t, step.want, func() error { return r.inspect(t, c) })
		grant(step.acl)
	}
	eventually(t, "", func() error { return r.inspect(t, c) })
	eventually(t, "", func() error { return r.begin(t, c) })
	f := r.open(t, c)
	marks, err := f.LastWatermarks(t.Context())
	require.NoError(t, err)
	want := 0
	if delivery == kafka.ExactlyOnce {
		shard := f.takeOver(t)
		require.NoError(t, f.Witness().Note(t.Context(), shardPartition, shard.End+1))
		want = 1
	}
	require.Len(t, marks, want)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(3)}))
	require.Empty(t, f.Check(t.Context()))
	require.NoError(t, r.inspect(t, c))
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(3)}), "who looks takes nothing over")
	if delivery == kafka.ExactlyOnce {
		taken, err := admin.DeleteACLs(t.Context(), kadm.NewACLs().Groups(c.WitnessGroup()).ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral).
			Operations(kmsg.ACLOperationRead).Allow("User:poller").AllowHosts())
		require.NoError(t, err)
		require.NotEmpty(t, taken)
		eventually(t, "group "+c.WitnessGroup()+" may not be used: Read is not allowed", func() error { return errors.Join(f.Check(t.Context())...) })
	}
}

// Somebody adds partitions, and later does so for all event topics: keys stay, and the next start says how to take the new number.
func (r *real) partitionsAdded(t *testing.T) {
	c := r.config(t)
	f := r.open(t, c)
	deliver := func(f *fixture) {
		require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(60), Feeds: []kafka.Feed{newFeed()}}))
	}
	search := f.Topics.Event(events.TypeSearch)
	deliver(f)
	require.Empty(t, f.Check(t.Context()))
	raise := func(topics ...string) {
		raised, err := r.admin(t).UpdatePartitions(t.Context(), 6, topics...)
		require.NoError(t, err)
		require.NoError(t, raised.Error())
	}
	raise(search)
	eventually(t, "6 in "+search+"; keys are placed over the first 3 of each", func() error { return errors.Join(f.Check(t.Context())...) })
	f = r.open(t, c)
	deliver(f)
	raise(f.Topics.Event(events.TypeFeedback), f.Topics.Negative())
	eventually(t, "event topics have 6 partitions; keys are placed over the first 3 of each", func() error { return errors.Join(f.Check(t.Context())...) })
	f = r.open(t, c)
	deliver(f)
	for _, record := range f.read(t, search) {
		require.EqualValues(t, kafka.PartitionOf(record.Key, 3), record.Partition)
	}
	c.Topics.Partitions, c.Topics.PartitionsChosen = 6, true
	f = r.open(t, c)
	require.Equal(t, 6, f.Topics.Partitions(search))
	require.Empty(t, f.Check(t.Context()))
}

// inspect asks whether a start would succeed.
func (r *real) inspect(t *testing.T, c kafka.Config) error {
	o := kafka.Options{Config: c, Registry: kafka.DefaultRegistryConfig(), Types: types, Log: quiet}
	o.Registry.URL = r.registry.URL
	found, _ := kafka.Inspect(t.Context(), o, []int32{shardPartition})
	var all []error
	for _, f := range append(found, kafka.InspectRegistry(t.Context(), o)...) {
		all = append(all, f.Err)
	}
	return errors.Join(all...)
}

// begin does what a start does, up to a first transaction.
func (r *real) begin(t *testing.T, c kafka.Config) error {
	rc := kafka.DefaultRegistryConfig()
	rc.URL = r.registry.URL
	p, err := kafka.Open(t.Context(), kafka.Options{Config: c, Registry: rc, Types: types, Log: quiet, Instance: "one"})
	if err != nil {
		return err
	}
	defer p.Close(t.Context())
	if _, err := p.LastWatermarks(t.Context()); err != nil || c.Delivery == kafka.AtLeastOnce {
		return err
	}
	shard, err := p.TakeOver(t.Context(), shardPartition)
	if err != nil {
		return err
	}
	defer shard.Close(t.Context())
	if err := shard.Replay(t.Context(), shard.Start, func([]byte, []byte, int64) error { return nil }); err != nil {
		return err
	}
	feed := newFeed()
	if err := shard.Deliver(t.Context(), journaled(feed, "1", searches(3))); err != nil {
		return err
	}
	joining := make(joining, 100)
	member, err := p.Join(joining, map[string]string{"acc1": "retail-us"})
	if err != nil {
		return err
	}
	defer func() { _ = member.Leave(t.Context()) }()
	return <-joining
}

// joining tells what came of it: nil once partitions are assigned.
type joining chan error

func (j joining) Assigned(*kafka.Member, []int32) { j <- nil }
func (j joining) Revoked([]int32)                 {}
func (j joining) Trouble(err error)               { j <- err }

func (r *real) wrongPassword(t *testing.T) {
	c := r.config(t)
	c.Brokers = []string{r.broker.SASLAddr}
	c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "poller", Password: secret.New("wrong")}
	_, err := ensure(t, c, types)
	require.ErrorContains(t, err, "check kafka.sasl: mechanism, user name and password")
	unreachable := &kafka.UnreachableError{}
	require.ErrorAs(t, err, &unreachable)
	require.False(t, unreachable.Retryable())
}

// Records older than retention are gone at once, which is why CheckRetention refuses them first.
func (r *real) retention(t *testing.T) {
	c := r.config(t)
	c.Topics.Overrides = map[string]kafka.TopicOverride{"search": {Retention: time.Hour, Config: map[string]string{"segment.ms": "1000"}}}
	f := r.open(t, c)
	old := time.Now().Add(-2 * time.Hour)
	err := f.Topics.CheckRetention(old, time.Now())
	require.ErrorContains(t, err, "search would drop events of")
	require.ErrorContains(t, err, "kafka.timestamp: observed")

	batch := searches(10)
	for _, o := range batch {
		o.Event.Head().EventTime = old
	}
	name := f.Topics.Event(events.TypeSearch)
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: batch}))
	eventually(t, "", func() error {
		if n := len(f.read(t, name)); n > 0 {
			return fmt.Errorf("%d records were acknowledged, and are not gone", n)
		}
		return nil
	})

	c.Timestamp = kafka.TimestampObserved
	f = r.open(t, c)
	require.NoError(t, f.Topics.CheckRetention(old, time.Now()))
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, o := range batch {
		o.Event.Head().ObservedTime = now
	}
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: batch}))
	for again, checked := time.Tick(time.Second), 0; checked < 3; checked++ {
		<-again // Kafka looks twice a second
		require.Len(t, f.read(t, name), 10)
	}
}

// One record that the broker refuses does not hold up the others.
func (r *real) refused(t *testing.T) {
	c := r.config(t)
	f := r.open(t, c)
	batch := searches(50)
	for _, o := range batch {
		o.Event.Head().EventTime = time.Now().Add(-time.Hour)
	}
	batch[20].Event.Head().EventTime = time.Now().Add(100 * time.Hour) // Kafka 4 refuses what lies an hour ahead
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: batch}))
	require.Len(t, eventIDs(f.read(t, f.Topics.Event(events.TypeSearch))), 49)
	dead := f.read(t, f.Topics.DeadLetter())
	require.Len(t, dead, 1)
	require.Contains(t, dead[0].Field("reason"), kerr.InvalidTimestamp.Message)
	require.Equal(t, batch[20].Event.Head().EntityID, dead[0].Field("entity_id"))

	// The broker's limit was lowered after the start.
	small := "20000"
	_, err := r.admin(t).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &small}}, f.Topics.Event(events.TypeFeedback))
	require.NoError(t, err)
	var comment strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&comment, "%x", i*7919) // does not compress well
	}
	large := &events.Feedback{Header: header("large"), CommentText: ptr(comment.String())}
	fits := &events.Feedback{Header: header("fits")}
	large.EventTime, fits.EventTime = time.Now(), time.Now()
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: []kafka.Outgoing{{Event: large, Key: "same"}, {Event: fits, Key: "same"}}}))
	require.Equal(t, map[string]int{"ev-fits": 1}, eventIDs(f.read(t, f.Topics.Event(events.TypeFeedback))))
	require.Len(t, f.read(t, f.Topics.DeadLetter()), 2)
}

func (r *real) incompatible(t *testing.T) {
	schema := events.Schema(events.TypeSearch)
	reg := newRegistry(t, r.registry.URL)
	id, err := reg.Resolve(t.Context(), t.Name(), schema)
	require.NoError(t, err)
	again, err := reg.Resolve(t.Context(), t.Name(), schema)
	require.NoError(t, err)
	require.Equal(t, id, again)

	client, err := sr.NewClient(sr.URLs(r.registry.URL))
	require.NoError(t, err)
	level := client.Compatibility(t.Context(), kafka.Subject(t.Name()))[0]
	require.NoError(t, level.Err)
	require.Equal(t, sr.CompatFullTransitive, level.Level)

	changed := strings.Replace(schema, `{"name": "revision", "type": "long"`, `{"name": "revision", "type": "string"`, 1)
	changed = strings.Replace(changed, `"type": "string", "default": 0`, `"type": "string", "default": ""`, 1)
	require.NotEqual(t, schema, changed)
	_, err = reg.Resolve(t.Context(), t.Name(), changed)
	require.ErrorContains(t, err, "not compatible with: use another kafka.topic_prefix")
	problem := &kafka.RegistryError{}
	require.ErrorAs(t, err, &problem)
	require.False(t, problem.Retryable())
}

func (r *real) lookupOnly(t *testing.T) {
	schema := events.Schema(events.TypeFeedback)
	_, err := newRegistry(t, r.registry.URL, lookupOnly).Resolve(t.Context(), t.Name(), schema)
	require.ErrorContains(t, err, "or set schema_registry.register: true")
	id, err := newRegistry(t, r.registry.URL).Resolve(t.Context(), t.Name(), schema)
	require.NoError(t, err)
	found, err := newRegistry(t, r.registry.URL, lookupOnly).Resolve(t.Context(), t.Name(), schema)
	require.NoError(t, err)
	require.Equal(t, id, found)
}

func (r *real) delivery(t *testing.T) {
	f := r.open(t, r.config(t))
	feed := newFeed()
	negative := &events.Feedback{Header: header("n"), Sentiment: "NEGATIVE"}
	batch := append(searches(200), kafka.Outgoing{Event: negative, Key: "conv-n", Negative: true})
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: batch, Feeds: []kafka.Feed{feed}}))
	records := f.read(t, f.Topics.Event(events.TypeSearch))
	require.Len(t, eventIDs(records), 200)
	for _, rec := range records {
		require.EqualValues(t, kafka.PartitionOf(rec.Key, 3), rec.Partition)
		require.Equal(t, rec.Field("event_id"), rec.Headers["ce_id"])
		require.Equal(t, eventTime, rec.Value["event_time"])
	}
	require.Len(t, f.read(t, f.Topics.Negative()), 1)
	mark := f.read(t, f.Topics.Watermark())[0]
	ends, err := r.admin(t).ListEndOffsets(t.Context(), f.Topics.Feeds(types)...)
	require.NoError(t, err)
	for _, o := range mark.Value["offsets"].([]any) {
		o := o.(map[string]any)
		end, ok := ends.Lookup(o["topic"].(string), int32(o["partition"].(int64)))
		require.True(t, ok)
		require.Equal(t, end.Offset, o["offset"], "%v", o)
	}
}

// The broker dies in the middle of deliveries and comes back: everything arrives once.
func (r *real) killed(t *testing.T) {
	c := r.config(t)
	c.DeliveryTimeout = 2 * time.Second
	f := r.open(t, c)
	feed := newFeed()
	var want []string
	for round := range 2 {
		batch := &kafka.Batch{Events: searches(500), Feeds: []kafka.Feed{feed}}
		for i, o := range batch.Events {
			o.Event.Head().EventID = fmt.Sprintf("ev-%d-%d", round, i)
			o.Event.Head().EventTime = time.Now()
			want = append(want, o.Event.Head().EventID)
		}
		done := make(chan error, 1)
		go func() {
			for {
				err := f.Deliver(t.Context(), batch)
				if problem, ok := errors.AsType[*kafka.DeliveryError](err); ok && problem.Retryable() && t.Context().Err() == nil {
					continue
				}
				done <- err
				return
			}
		}()
		require.NoError(t, r.broker.Kill())
		require.NoError(t, r.broker.Restart(t.Context()))
		require.NoError(t, <-done)
	}
	ids := eventIDs(f.read(t, f.Topics.Event(events.TypeSearch)))
	require.Len(t, ids, len(want))
	for _, id := range slices.Sorted(slices.Values(want)) {
		require.Equal(t, 1, ids[id], id)
	}
	require.Len(t, f.read(t, f.Topics.Watermark()), 2)
}

func (r *real) registryGone(t *testing.T) {
	f := r.open(t, r.config(t))
	require.NoError(t, r.registry.Kill())
	require.NoError(t, f.Deliver(t.Context(), &kafka.Batch{Events: searches(5)}))
	require.NoError(t, r.registry.Restart(t.Context())) // empty
}
