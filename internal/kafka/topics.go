package kafka

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
)

// maxMessageBytes is the setting of a topic that bounds a batch of records.
const maxMessageBytes = "max.message.bytes"

// maxCompactionLag is the setting of a compacted topic that bounds for how long Kafka keeps a record that another one has replaced. Without
// it, that depends on how much else is written.
const maxCompactionLag = "max.compaction.lag.ms"

// Topics beside those named after event types.
const (
	suffixNegative   = "feedback-negative"
	suffixWatermark  = "watermark"
	suffixDeadLetter = "dead-letter"
	suffixControl    = "control"
	suffixCheckpoint = "checkpoint"
	suffixLatest     = "-latest"
)

// checkpointPartitions is part of the format: the partition of an account follows from it.
const checkpointPartitions = 64

// CheckpointPartition returns the partition of the checkpoint topic that an account belongs to.
func CheckpointPartition(account string) int32 {
	return int32(PartitionOf(account, checkpointPartitions))
}

// minMessageBytes is about Kafka's own default.
const minMessageBytes = 1 << 20

// maxBatch returns how large a batch of records for a topic may get, in bytes.
func (c *Config) maxBatch(topic string) int {
	switch names := NewNames(c.TopicPrefix); topic {
	case names.Checkpoint():
		return minMessageBytes
	case names.Watermark(), names.Control(): // theirs are as large as they are, whatever events may have
		return max(c.MaxRecordBytes, bound.Record) + batchOverhead
	}
	return c.MaxRecordBytes + batchOverhead
}

// needs is the least max.message.bytes with which a topic can be used. Events that are too large are left out, and dead letters are
// made to fit; what says how far reading has come can be neither.
func (s *topicSpec) needs(c Config) int {
	switch s.suffix {
	case suffixCheckpoint:
		return bound.Record + batchOverhead
	case suffixWatermark, suffixControl:
		return min(bound.Record, c.MaxRecordBytes) + batchOverhead
	}
	return leastMessageBytes
}

// suffixes returns every topic there can be, without the prefix.
func suffixes() []string {
	var all []string
	for _, t := range events.Types() {
		all = append(all, string(t))
	}
	all = append(all, suffixNegative, suffixWatermark, suffixDeadLetter, suffixControl, suffixCheckpoint)
	for _, t := range events.Types() {
		all = append(all, string(t)+suffixLatest)
	}
	return all
}

// Names are the names of topics under a prefix.
type Names struct{ prefix string }

// NewNames returns the names under a prefix.
func NewNames(prefix string) Names { return Names{prefix} }

// Event returns the topic of an event type.
func (n Names) Event(t events.Type) string { return n.of(string(t)) }

// Latest returns the compacted topic of an event type.
func (n Names) Latest(t events.Type) string { return n.of(string(t) + suffixLatest) }

// Negative returns the topic of feedback that is or was negative.
func (n Names) Negative() string { return n.of(suffixNegative) }

// Watermark returns the topic of watermarks.
func (n Names) Watermark() string { return n.of(suffixWatermark) }

// DeadLetter returns the topic of dead letters.
func (n Names) DeadLetter() string { return n.of(suffixDeadLetter) }

// Checkpoint returns the topic of checkpoints.
func (n Names) Checkpoint() string { return n.of(suffixCheckpoint) }

// Control returns the topic of jobs.
func (n Names) Control() string { return n.of(suffixControl) }

func (n Names) of(suffix string) string { return n.prefix + "." + suffix }

// A kind of topic decides on its cleanup policy and its partitions.
type kind int

const (
	kindEvents  kind = iota // deleted by age; as many partitions as all event topics
	kindLatest              // compacted; as many partitions as all event topics
	kindLog                 // deleted by age; one partition when the poller creates it
	kindState               // compacted; records in one partition, so that they are in order
	kindSharded             // compacted; records in a fixed number of partitions
)

func (k kind) compacted() bool { return k == kindLatest || k == kindState || k == kindSharded }

// personal reports whether the topic is compacted and may have something about persons, who may ask to be forgotten.
func (k kind) personal() bool { return k == kindLatest || k == kindSharded }

// shared reports whether the topic is keyed like events and must have as many partitions as all such topics.
func (k kind) shared() bool { return k == kindEvents || k == kindLatest }

// reread reports whether the poller reads the topic itself.
func (k kind) reread() bool { return k == kindState || k == kindSharded }

// A topicSpec says what a topic should be like.
type topicSpec struct {
	suffix     string
	name       string
	kind       kind
	partitions int32
	replicas   int16 // 0: by the number of brokers
	config     map[string]string
}

// specs returns the topics that a configuration needs for the enabled event types, in the order of the documentation.
func specs(c Config, types []events.Type) []topicSpec {
	var all []topicSpec
	add := func(suffix string, k kind, partitions int32) {
		all = append(all, newSpec(c, suffix, k, partitions))
	}
	for _, t := range types {
		add(string(t), kindEvents, c.Topics.Partitions)
	}
	if slices.Contains(types, events.TypeFeedback) {
		add(suffixNegative, kindEvents, c.Topics.Partitions)
	}
	for _, t := range types {
		if slices.Contains(c.Latest, string(t)) {
			add(string(t)+suffixLatest, kindLatest, c.Topics.Partitions)
		}
	}
	add(suffixWatermark, kindState, 1)
	add(suffixDeadLetter, kindLog, 1)
	add(suffixControl, kindState, 1)
	if c.Delivery == ExactlyOnce {
		add(suffixCheckpoint, kindSharded, checkpointPartitions)
	}
	return all
}

func newSpec(c Config, suffix string, k kind, partitions int32) topicSpec {
	override := c.Topics.Overrides[suffix]
	s := topicSpec{
		suffix: suffix, name: NewNames(c.TopicPrefix).of(suffix), kind: k,
		partitions: partitions, replicas: c.Topics.ReplicationFactor,
		config: map[string]string{maxMessageBytes: strconv.Itoa(max(minMessageBytes, c.maxBatch(NewNames(c.TopicPrefix).of(suffix))))},
	}
	if k.compacted() {
		s.config["cleanup.policy"] = "compact"
		// Only closed segments are compacted: with the default of a week, a reader from the start would have to go
		// through a week of updates.
		s.config["segment.ms"] = millis(time.Hour)
		if k.personal() {
			s.config[maxCompactionLag] = millis(24 * time.Hour)
		}
	} else {
		retention := c.Topics.Retention
		if override.Retention != 0 {
			retention = override.Retention
		}
		s.config["cleanup.policy"] = "delete"
		s.config["retention.ms"] = millis(retention)
	}
	if override.ReplicationFactor != 0 {
		s.replicas = override.ReplicationFactor
	}
	maps.Copy(s.config, override.Config)
	return s
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
