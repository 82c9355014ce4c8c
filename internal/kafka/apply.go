package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/events"
)

// A TopicPlan says how a topic is, and what must be done so that it is as configured.
type TopicPlan struct {
	Name    string `json:"topic"`
	Purpose string `json:"purpose"`
	Key     string `json:"key"` // what its records are keyed by
	// Exists, Partitions, Replicas and Settings are how the topic is. Those of one that does not exist are empty.
	Exists     bool              `json:"exists"`
	Partitions int               `json:"partitions"`
	Replicas   int               `json:"replicas"`
	Settings   map[string]string `json:"settings"`
	// Changes are what ApplyTopics does. Those of a topic that does not exist are how it is created.
	Changes []TopicChange `json:"changes"`
	// Kept are differences that ApplyTopics leaves as they are, because records or guarantees would go with them.
	Kept []string `json:"kept"`

	spec topicSpec // as it is to be created
}

// A TopicChange is one thing about a topic that is not as configured.
type TopicChange struct {
	Setting string `json:"setting"` // partitions, replicas, or the name of a setting of Kafka
	Is      string `json:"is"`      // empty for a topic that does not exist
	Want    string `json:"want"`
}

const (
	changePartitions = "partitions"
	changeReplicas   = "replicas"
)

// Describe says in words how the topic is.
func (p *TopicPlan) Describe() string {
	if !p.Exists {
		return "does not exist"
	}
	topic := p.topic()
	text := fmt.Sprintf("%s, %s each", topic.describe(), count(p.Replicas, "replica"))
	if topic.MaxMessageBytes > 0 {
		text += fmt.Sprintf(", batches of at most %d bytes", topic.MaxMessageBytes)
	}
	return text
}

// topic returns the topic as it is.
func (p *TopicPlan) topic() Topic { return newTopic(p.Name, [16]byte{}, p.Partitions, p.Settings) }

// Keeps returns for how long the topic keeps records of events; negative if that is for ever, or if it has no events.
func (p *TopicPlan) Keeps() time.Duration {
	topic := p.topic()
	if p.spec.kind != kindEvents || !topic.Deleted {
		return -1
	}
	return topic.Retention
}

// PlanTopics compares the topics of the cluster with those that the configuration needs, and returns a plan for each. It changes
// nothing, and needs the rights Describe and DescribeConfigs.
func PlanTopics(ctx context.Context, o Options) ([]TopicPlan, error) {
	connect, client, err := reachable(ctx, o)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	t := newTopics(connect.config, o.Types)
	found, err := describe(ctx, client, t.specs)
	if err != nil {
		return nil, err
	}
	var existing []string
	var problems []error
	for _, s := range t.specs {
		switch d := found.topics[s.name]; {
		case d.missing():
		case d.err != nil:
			problems = append(problems, s.usable(d)...)
		default:
			existing = append(existing, s.name)
		}
	}
	settings, unread, err := describeConfigs(ctx, client, existing)
	if err != nil {
		return nil, err
	}
	if problems = append(problems, unread...); len(problems) > 0 {
		return nil, &TopicsError{problems}
	}
	shared := t.sharedPartitions(found, connect.config.Topics)
	plans := make([]TopicPlan, 0, len(t.specs))
	for _, s := range t.wanted(t.specs, found, connect.config) {
		if s.kind.shared() {
			s.partitions = shared
		}
		d := found.topics[s.name]
		p := TopicPlan{
			Name: s.name, Purpose: s.purpose(), Key: s.key(), Exists: !d.missing(), Partitions: d.partitions, Replicas: d.replicas,
			Settings: settings[s.name], Changes: []TopicChange{}, Kept: []string{}, spec: s,
		}
		if p.Exists {
			p.compare(&connect.config)
		} else {
			p.Changes = s.creation()
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// reachable returns a client of a cluster that has answered. The caller closes it.
func reachable(ctx context.Context, o Options) (*connector, *kgo.Client, error) {
	connect, err := newConnector(o.Config, o.Log, o.Client...)
	if err != nil {
		return nil, nil, err
	}
	client, err := connect.client(nil)
	if err != nil {
		return nil, nil, err
	}
	if err := connect.reach(ctx, client, reachTimeout); err != nil {
		client.Close()
		return nil, nil, err
	}
	return connect, client, nil
}

// sharedPartitions returns how many partitions all event topics should have: as many as the one that has the most, so that streams can
// be joined without taking any away, or more if a person has chosen more.
func (t *Topics) sharedPartitions(found *metadata, c TopicsConfig) int32 {
	most := int32(0)
	for _, s := range t.specs {
		if s.kind.shared() {
			most = max(most, int32(found.topics[s.name].partitions))
		}
	}
	if most == 0 || c.PartitionsChosen {
		most = max(most, c.Partitions)
	}
	return most
}

// creation returns how a topic is created.
func (s topicSpec) creation() []TopicChange {
	changes := []TopicChange{
		{Setting: changePartitions, Want: strconv.Itoa(int(s.partitions))},
		{Setting: changeReplicas, Want: strconv.Itoa(int(s.replicas))},
	}
	for _, key := range sortedKeys(s.config) {
		changes = append(changes, TopicChange{Setting: key, Want: s.config[key]})
	}
	return changes
}

// compare fills in what differs of a topic that exists.
func (p *TopicPlan) compare(c *Config) {
	s := &p.spec
	change := func(setting, is, want string) { p.Changes = append(p.Changes, TopicChange{setting, is, want}) }
	keep := func(format string, args ...any) { p.Kept = append(p.Kept, fmt.Sprintf(format, args...)) }
	chosen := s.kind.shared() && c.Topics.PartitionsChosen
	switch want := int(s.partitions); {
	case p.Partitions < want && s.kind != kindLog:
		change(changePartitions, strconv.Itoa(p.Partitions), strconv.Itoa(want))
	case chosen && p.Partitions > int(c.Topics.Partitions):
		keep("has %d partitions, and kafka.topics.partitions is %d: Kafka takes none away", p.Partitions, c.Topics.Partitions)
	}
	override := c.Topics.Overrides[s.suffix].ReplicationFactor
	if want := int(cmp.Or(override, c.Topics.ReplicationFactor)); want > p.Replicas {
		keep("has %s, and %d are configured: kafka-reassign-partitions adds them", count(p.Replicas, "replica"), want)
	}
	for _, key := range sortedKeys(s.config) {
		is, want := p.Settings[key], s.config[key]
		if key == "min.insync.replicas" && c.Topics.Overrides[s.suffix].Config[key] == "" {
			continue // what the poller chooses for a topic that it creates is no rule for others
		}
		switch more := growth(key, is, want); {
		case samePolicy(is, want), more == 0:
		case more > 0:
			change(key, is, want)
		case key != maxMessageBytes: // what takes larger records does no harm
			keep("%s is %s, more than the configured %s; lower it by hand, and records that only it keeps or takes are gone", key, is, want)
		}
	}
}

// samePolicy reports whether two values, which may be lists, say the same.
func samePolicy(a, b string) bool {
	list := func(text string) []string {
		var all []string
		for item := range strings.SplitSeq(text, ",") {
			all = append(all, strings.TrimSpace(item))
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(list(a), list(b))
}

// growth says whether a setting must change: above 0 it must, below 0 it must not, because records would be lost or refused. The
// settings that bound what a topic keeps and takes only grow; every other one is set as it is configured.
func growth(key, is, want string) int {
	switch key {
	case "retention.ms", "retention.bytes", maxMessageBytes, "message.timestamp.before.max.ms", "message.timestamp.after.max.ms":
		bound := func(text string) uint64 { // -1, which is no bound, is the largest
			n, _ := strconv.ParseInt(text, 10, 64)
			return uint64(n)
		}
		return cmp.Compare(bound(want), bound(is))
	}
	return 1
}

// ApplyTopics does what plans say: it creates topics, adds partitions and changes settings. It deletes no topic, takes no partition away,
// and lowers nothing that bounds what a topic keeps or takes. With dry, Kafka only says whether it would do so. Each refusal is returned,
// in a *TopicsError; what else the plans say is done all the same.
func ApplyTopics(ctx context.Context, o Options, plans []TopicPlan, dry bool) error {
	_, client, err := reachable(ctx, o)
	if err != nil {
		return err
	}
	defer client.Close()
	var failed TopicsError
	var missing []topicSpec
	for _, p := range plans {
		if !p.Exists {
			missing = append(missing, p.spec)
		}
	}
	if len(missing) > 0 {
		_, err := create(ctx, client, missing, dry)
		if refused, ok := errors.AsType[*TopicsError](err); ok {
			failed.Problems = append(failed.Problems, refused.Problems...)
		} else if err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context, *kgo.Client, []TopicPlan, bool) ([]error, error){addPartitions, alterConfigs} {
		refused, err := step(ctx, client, plans, dry)
		if err != nil {
			return err
		}
		failed.Problems = append(failed.Problems, refused...)
	}
	if len(missing) > 0 && !dry { // so that the next command finds them
		if _, err := describeCreated(ctx, client, missing, missing); err != nil {
			return err
		}
	}
	return failed.orNil()
}

// addPartitions adds partitions to topics that exist.
func addPartitions(ctx context.Context, client *kgo.Client, plans []TopicPlan, dry bool) (refused []error, err error) {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis, req.ValidateOnly = int32((30 * time.Second).Milliseconds()), dry
	for _, p := range plans {
		if p.Exists && p.Partitions < int(p.spec.partitions) && slices.ContainsFunc(p.Changes, TopicChange.addsPartitions) {
			topic := kmsg.NewCreatePartitionsRequestTopic()
			topic.Topic, topic.Count = p.Name, p.spec.partitions
			req.Topics = append(req.Topics, topic)
		}
	}
	if len(req.Topics) == 0 {
		return nil, nil
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, &requestError{"add partitions to topics", err}
	}
	for _, topic := range resp.Topics {
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
			refused = append(refused, refusal(topic.Topic, "could not be given partitions", err, topic.ErrorMessage,
				"grant the user of this command Alter on it, or change it by hand"))
		}
	}
	return refused, nil
}

func (c TopicChange) addsPartitions() bool { return c.Setting == changePartitions }

// alterConfigs changes the settings of topics that exist.
func alterConfigs(ctx context.Context, client *kgo.Client, plans []TopicPlan, dry bool) (refused []error, err error) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = dry
	for _, p := range plans {
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, p.Name
		for _, c := range p.Changes {
			if p.Exists && !c.addsPartitions() {
				config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
				config.Name, config.Op, config.Value = c.Setting, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(c.Want)
				resource.Configs = append(resource.Configs, config)
			}
		}
		if len(resource.Configs) > 0 {
			req.Resources = append(req.Resources, resource)
		}
	}
	if len(req.Resources) == 0 {
		return nil, nil
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, &requestError{"change the settings of topics", err}
	}
	for _, resource := range resp.Resources {
		if err := kerr.ErrorForCode(resource.ErrorCode); err != nil {
			refused = append(refused, refusal(resource.ResourceName, "could not be given its settings", err, resource.ErrorMessage,
				"grant the user of this command AlterConfigs on it, or change it by hand"))
		}
	}
	return refused, nil
}

// purpose says what a topic is for.
func (s topicSpec) purpose() string {
	switch s.suffix {
	case suffixNegative:
		return "A copy of negative feedback, and of each later revision of it, the all-clear included: for alerts."
	case suffixControl:
		return "Backfills that somebody asked for, and how far they are."
	case suffixCheckpoint:
		return "What was read and published, for the poller alone: the next owner of an account goes on from it."
	}
	if s.kind == kindLatest {
		return "The last revision of each " + string(s.valueType()) + ", as a table."
	}
	return events.Doc(s.valueType())
}

// key says what the records of a topic are keyed by.
func (s topicSpec) key() string {
	switch s.suffix {
	case suffixWatermark:
		return "source/bot_id/endpoint"
	case suffixDeadLetter:
		return "conversation_id, or the hash of the bytes"
	case suffixControl:
		return "backfill/ID and progress/ID"
	case suffixCheckpoint:
		return "the poller's own"
	}
	if s.kind == kindLatest {
		return "entity_id"
	}
	return "conversation_id, or session_id, or segment_id"
}

// count writes a number of things.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
