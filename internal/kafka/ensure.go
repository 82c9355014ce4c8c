package kafka

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/events"
)

// A Topic describes one topic of the cluster.
type Topic struct {
	Name       string
	ID         [16]byte // a topic that is deleted and made anew has another
	Partitions int
	Compacted  bool
	Deleted    bool // by age
	// Retention is how old a record may get. Negative: any age.
	Retention time.Duration
	// Before and After bound a record's timestamp relative to the broker's clock.
	Before, After time.Duration
	// LogAppendTime: the broker replaces timestamps by the time of its own clock.
	LogAppendTime   bool
	MaxMessageBytes int
}

// Topics are the topics that the poller writes to, as they were found at start. They are safe for concurrent use.
type Topics struct {
	Names
	Created []string // by this start; after Inspect, those that a start would create
	// Cluster and CheckpointID identify the cluster and the checkpoint topic: another topic may have had the same name.
	Cluster, CheckpointID string
	byName                map[string]Topic
	specs                 []topicSpec
	// placed is the number of partitions of each event topic that keys are placed over, misplaced why that is not the number that
	// the topics have; nil if it is.
	placed    int
	misplaced *PartitionsError
	// latest is byName as it was found last.
	latest atomic.Pointer[map[string]Topic]
	// timestamps is what records carry: event or observed.
	timestamps string
}

// Topic returns what was found of a topic at start; the zero value for one that is not ours.
func (t *Topics) Topic(name string) Topic { return t.byName[name] }

// Partitions returns over how many partitions of a topic keys are placed; 0 for one that is not ours. A topic may have more.
func (t *Topics) Partitions(name string) int {
	i := slices.IndexFunc(t.specs, func(s topicSpec) bool { return s.name == name })
	switch {
	case i < 0 || t.byName[name].Partitions == 0:
		return 0
	case t.specs[i].kind.shared():
		return t.placed
	case t.specs[i].kind == kindLog:
		return t.byName[name].Partitions
	}
	return int(t.specs[i].partitions)
}

// Feeds returns the topics that events of these types go to, feedback-negative among them, without the compacted ones.
func (t *Topics) Feeds(types []events.Type) []string {
	var feeds []string
	for _, typ := range types {
		if name := t.Event(typ); t.byName[name].Partitions > 0 {
			feeds = append(feeds, name)
		}
	}
	if slices.Contains(types, events.TypeFeedback) {
		feeds = append(feeds, t.Negative())
	}
	return feeds
}

// EnsureTopics makes the topics that are missing, where the configuration allows it, and checks all of them. Everything wrong
// with the topics is returned at once, as a *TopicsError. It changes no topic that exists.
func EnsureTopics(ctx context.Context, o Options) (*Topics, error) {
	connect, err := newConnector(o.Config, o.Log, o.Client...)
	if err != nil {
		return nil, err
	}
	client, err := connect.client(nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return ensureTopics(ctx, connect, client, o.Types)
}

// ensureTopics is EnsureTopics with a client. Types are the event types that are switched on.
func ensureTopics(ctx context.Context, connect *connector, client *kgo.Client, types []events.Type) (*Topics, error) {
	c := connect.config
	if err := connect.reach(ctx, client, reachTimeout); err != nil {
		return nil, err
	}
	t := newTopics(c, types)
	found, err := describe(ctx, client, t.specs)
	if err != nil {
		return nil, err
	}
	missing, started := t.missing(found), !found.topics[t.Watermark()].missing()
	if len(missing) > 0 && c.Topics.Create {
		if t.Created, err = create(ctx, client, t.wanted(missing, found, c), false); err != nil {
			return nil, err
		}
		if found, err = describeCreated(ctx, client, t.specs, missing); err != nil {
			return nil, err
		}
	}
	published, problems, err := t.survey(ctx, connect, client, found, started)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, &TopicsError{problems}
	}
	if published > 0 && published != t.placed {
		connect.log.Warn("keys are placed over another number of partitions from now on", "partitions", t.placed, "before", published)
	}
	connect.topics.Store(t)
	return t, nil
}

// newTopics returns the topics that a configuration needs. Their partitions and settings are not known yet.
func newTopics(c Config, types []events.Type) *Topics {
	return &Topics{Names: NewNames(c.TopicPrefix), byName: map[string]Topic{}, specs: specs(c, types), timestamps: c.Timestamp}
}

// survey takes in the topics that metadata has found, looks up their settings, and decides over how many partitions keys are placed. It
// returns everything that is wrong with them. If started, events may have been published before; published is over how many
// partitions they were, 0 if there are none. It changes nothing on the cluster.
func (t *Topics) survey(ctx context.Context, connect *connector, client *kgo.Client, found *metadata, started bool) (published int, problems []error, err error) {
	c := connect.config
	t.Cluster = found.cluster
	if id := found.topics[t.Checkpoint()].id; id != [16]byte{} {
		t.CheckpointID = hex.EncodeToString(id[:])
	}
	problems = t.check(found)
	unread, err := readConfigs(ctx, client, t.byName)
	if err != nil {
		return 0, nil, err
	}
	problems = append(problems, unread...)
	for _, s := range t.specs {
		if topic := t.byName[s.name]; topic.Partitions > 0 {
			problems = append(problems, checkConfig(s, topic, c)...)
		}
	}
	if started && len(problems) == 0 {
		if published, err = publishedOver(ctx, connect, client, t); err != nil {
			return 0, nil, err
		}
	}
	if t.placed, t.misplaced = place(t.eventCounts(), published, c.Topics); t.misplaced != nil && t.placed == 0 {
		problems = append(problems, t.misplaced)
	}
	t.latest.Store(&t.byName)
	return published, problems, nil
}

// eventCounts returns the topics that are keyed like events by their number of partitions.
func (t *Topics) eventCounts() map[int][]string {
	counts := map[int][]string{}
	for _, s := range t.specs {
		if n := t.byName[s.name].Partitions; n > 0 && s.kind.shared() {
			counts[n] = append(counts[n], s.name)
		}
	}
	return counts
}

const (
	// reachTimeout is how long a start waits for the answer of any broker.
	reachTimeout = 15 * time.Second
	// visibleTimeout is how long a start waits until the brokers know a topic that one of them has created, which takes a moment.
	visibleTimeout = time.Minute
	visiblePoll    = 100 * time.Millisecond
)

// metadata describes a cluster and some topics.
type metadata struct {
	cluster string
	brokers int
	topics  map[string]described
}

// described is the part of the metadata that is about one topic.
type described struct {
	id         [16]byte
	err        error
	partitions int
	replicas   int                 // of the partition that has the fewest
	allowed    []kadm.ACLOperation // empty where the broker does not say
}

// allows reports whether an operation is allowed. It is, if the broker does not say.
func (d described) allows(op kmsg.ACLOperation) bool {
	return len(d.allowed) == 0 || slices.Contains(d.allowed, op) || slices.Contains(d.allowed, kmsg.ACLOperationAll)
}

func (d described) missing() bool {
	return errors.Is(d.err, kerr.UnknownTopicOrPartition)
}

// describe asks for metadata in a request of its own: the metadata that the client caches does not say which operations are allowed, and
// the broker must not create topics that it is asked about.
func describe(ctx context.Context, client *kgo.Client, specs []topicSpec) (*metadata, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	req.IncludeTopicAuthorizedOperations = true
	for _, s := range specs {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(s.name)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, &requestError{"describe topics", err}
	}
	found := &metadata{brokers: len(resp.Brokers), topics: map[string]described{}}
	if resp.ClusterID != nil {
		found.cluster = *resp.ClusterID
	}
	for _, topic := range resp.Topics {
		if topic.Topic == nil {
			continue
		}
		d := described{
			id:         topic.TopicID,
			err:        kerr.ErrorForCode(topic.ErrorCode),
			partitions: len(topic.Partitions),
			allowed:    kadm.DecodeACLOperations(topic.AuthorizedOperations),
		}
		for i, p := range topic.Partitions {
			if n := len(p.Replicas); i == 0 || n < d.replicas {
				d.replicas = n
			}
		}
		found.topics[*topic.Topic] = d
	}
	return found, nil
}

// describeCreated waits until the broker that answers knows the topics that were just created.
func describeCreated(ctx context.Context, client *kgo.Client, specs, created []topicSpec) (*metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, visibleTimeout)
	defer cancel()
	tick := time.NewTicker(visiblePoll)
	defer tick.Stop()
	for {
		found, err := describe(ctx, client, specs)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(created, func(s topicSpec) bool { return found.topics[s.name].missing() }) {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return found, nil // the check says which ones are missing
		case <-tick.C:
		}
	}
}

func (t *Topics) missing(found *metadata) []topicSpec {
	var missing []topicSpec
	for _, s := range t.specs {
		if found.topics[s.name].missing() {
			missing = append(missing, s)
		}
	}
	return missing
}

// wanted returns missing topics as they are to be created: event topics with as many partitions as one that exists, so that they join
// with it, and all with replicas by the number of brokers where none is configured.
func (t *Topics) wanted(missing []topicSpec, found *metadata, c Config) []topicSpec {
	shared := c.Topics.Partitions
	for _, s := range t.specs {
		if n := found.topics[s.name].partitions; n > 0 && s.kind.shared() {
			shared = int32(n)
			break
		}
	}
	wanted := slices.Clone(missing)
	for i := range wanted {
		s := &wanted[i]
		if s.kind.shared() {
			s.partitions = shared
		}
		if s.replicas == 0 {
			s.replicas = int16(min(3, max(1, found.brokers)))
		}
		if _, own := s.config["min.insync.replicas"]; !own && s.replicas > 2 {
			s.config = maps.Clone(s.config)
			s.config["min.insync.replicas"] = strconv.Itoa(int(s.replicas) - 1)
		}
	}
	return wanted
}

// create creates topics and returns the names of those that no other instance has created meanwhile. With dry, Kafka says only whether
// it would create them.
func create(ctx context.Context, client *kgo.Client, wanted []topicSpec, dry bool) (made []string, err error) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.ValidateOnly = 30_000, dry
	for _, s := range wanted {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = s.name, s.partitions, s.replicas
		for _, key := range sortedKeys(s.config) {
			entry := kmsg.NewCreateTopicsRequestTopicConfig()
			entry.Name, entry.Value = key, kmsg.StringPtr(s.config[key])
			topic.Configs = append(topic.Configs, entry)
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, &requestError{"create topics", err}
	}
	var failed TopicsError
	for _, topic := range resp.Topics {
		err := kerr.ErrorForCode(topic.ErrorCode)
		switch {
		case err == nil:
			made = append(made, topic.Topic)
			continue
		case errors.Is(err, kerr.TopicAlreadyExists):
			continue
		}
		failed.Problems = append(failed.Problems, refusal(topic.Topic, "could not be created", err, topic.ErrorMessage,
			"grant the poller's user Create on it, or create it by hand and set kafka.topics.create: false"))
	}
	return made, failed.orNil()
}

// refusal returns what Kafka says of one topic that it does not create or change, and grant as the hint if a right is missing.
func refusal(topic, text string, err error, message *string, grant string) *TopicError {
	e := &TopicError{Topic: topic, Err: err, Text: text, hint: hintFor(err)}
	if message != nil && *message != "" {
		e.Text += ": " + *message
	}
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
		e.hint = grant
	}
	return e
}

// check checks the metadata: do the topics exist, may they be used, and do they have enough partitions.
func (t *Topics) check(found *metadata) []error {
	var problems []error
	for _, s := range t.specs {
		d := found.topics[s.name]
		if d.missing() {
			problems = append(problems, &TopicError{
				Topic: s.name, Err: d.err, Text: "does not exist",
				hint: fmt.Sprintf("create it with %s, or set kafka.topics.create: true", s.describe()),
			})
			continue
		}
		problems = append(problems, s.usable(d)...)
		if d.err != nil {
			continue
		}
		t.byName[s.name] = Topic{Name: s.name, ID: d.id, Partitions: d.partitions}
		// One of these that has more is used up to the number that it should have.
		if !s.kind.shared() && s.kind != kindLog && d.partitions < int(s.partitions) {
			problems = append(problems, &TopicError{
				Topic: s.name, Text: fmt.Sprintf("has %d partitions; want %d", d.partitions, s.partitions), hint: "add partitions to it",
			})
		}
	}
	return problems
}

// usable returns why a topic that exists may not be used.
func (s topicSpec) usable(d described) (problems []error) {
	switch {
	case errors.Is(d.err, kerr.TopicAuthorizationFailed):
		return []error{denied(s.name, d.err, "Describe")}
	case d.err != nil:
		return []error{&TopicError{Topic: s.name, Err: d.err, Text: "cannot be described", hint: hintFor(d.err)}}
	}
	if !d.allows(kmsg.ACLOperationWrite) {
		problems = append(problems, denied(s.name, kerr.TopicAuthorizationFailed, "Write"))
	}
	if s.kind.reread() && !d.allows(kmsg.ACLOperationRead) {
		problems = append(problems, denied(s.name, kerr.TopicAuthorizationFailed, "Read"))
	}
	return problems
}

// readConfigs fills in what DescribeConfigs says of topics, and returns what it does not say.
func readConfigs(ctx context.Context, client *kgo.Client, topics map[string]Topic) (problems []error, err error) {
	settings, problems, err := describeConfigs(ctx, client, sortedKeys(topics))
	for name, all := range settings {
		known := topics[name]
		topics[name] = newTopic(name, known.ID, known.Partitions, all)
	}
	return problems, err
}

// describeConfigs returns the settings of topics by their names, and what is in the way of reading some of them.
func describeConfigs(ctx context.Context, client *kgo.Client, names []string) (settings map[string]map[string]string, problems []error, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range names {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
		req.Resources = append(req.Resources, resource)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, nil, &requestError{"describe the configuration of topics", err}
	}
	settings = map[string]map[string]string{}
	for _, resource := range resp.Resources {
		name := resource.ResourceName
		switch err := kerr.ErrorForCode(resource.ErrorCode); {
		case errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed):
			problems = append(problems, denied(name, err, "DescribeConfigs"))
			continue
		case err != nil:
			problems = append(problems, &TopicError{Topic: name, Err: err, Text: "has a configuration that cannot be read", hint: hintFor(err)})
			continue
		}
		settings[name] = map[string]string{}
		for _, entry := range resource.Configs {
			if entry.Value != nil {
				settings[name][entry.Name] = *entry.Value
			}
		}
	}
	return settings, problems, nil
}

// newTopic returns a topic with some settings, by their names. It has no bound that they do not set.
func newTopic(name string, id [16]byte, partitions int, settings map[string]string) Topic {
	t := Topic{Name: name, ID: id, Partitions: partitions, Retention: -1, Before: -1, After: -1}
	for key, value := range settings {
		t.set(key, value)
	}
	return t
}

func (t *Topic) set(key, value string) {
	switch key {
	case "cleanup.policy":
		for policy := range strings.SplitSeq(value, ",") {
			t.Compacted = t.Compacted || strings.TrimSpace(policy) == "compact"
			t.Deleted = t.Deleted || strings.TrimSpace(policy) == "delete"
		}
	case "retention.ms":
		t.Retention = parseMillis(value)
	case "message.timestamp.before.max.ms":
		t.Before = parseMillis(value)
	case "message.timestamp.after.max.ms":
		t.After = parseMillis(value)
	case "message.timestamp.type":
		t.LogAppendTime = value == "LogAppendTime"
	case maxMessageBytes:
		t.MaxMessageBytes, _ = strconv.Atoi(value)
	}
}

// parseMillis returns a negative duration for no limit, which Kafka writes as -1 or as a number that exceeds a duration.
func parseMillis(s string) time.Duration {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil || ms < 0 || ms > int64(1<<63-1)/int64(time.Millisecond) {
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}

func checkConfig(s topicSpec, topic Topic, c Config) []error {
	var problems []error
	if topic.Compacted || topic.Deleted { // else the broker did not say
		have := "delete"
		switch {
		case topic.Compacted && topic.Deleted:
			have = "compact,delete"
		case topic.Compacted:
			have = "compact"
		}
		want, why := "delete", "compaction would keep only the last record of each key"
		if s.kind.compacted() {
			want, why = "compact", "what it holds must not vanish with age"
		}
		if have != want {
			problems = append(problems, &TopicError{
				Topic: s.name, Text: fmt.Sprintf("has cleanup.policy=%s; want %s: %s", have, want, why),
				hint: "set cleanup.policy=" + want + " on it",
			})
		}
	}
	if need := s.needs(c); topic.MaxMessageBytes > 0 && topic.MaxMessageBytes < need {
		problems = append(problems, &TopicError{
			Topic: s.name, Text: fmt.Sprintf("has %s=%d; want at least %d", maxMessageBytes, topic.MaxMessageBytes, need), hint: "raise it",
		})
	}
	return problems
}

// describe says in words what the topic should be like.
func (s topicSpec) describe() string {
	return count(int(s.partitions), "partition") + " and cleanup.policy=" + s.config["cleanup.policy"]
}
