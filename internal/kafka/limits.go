package kafka

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
)

const (
	// leastMessageBytes is the smallest max.message.bytes of a topic of events, and of dead letters, that can be lived with.
	leastMessageBytes = minRecordBytes + batchOverhead
	// limitsTimeout bounds the question what a topic takes.
	limitsTimeout = 5 * time.Second
)

// limits are how many bytes a batch of records may have on each topic: as many as we would send, or as many as the topic takes by its
// max.message.bytes if that is less. The broker counts them after compression and we before, so that what fits by our count fits.
// A limits is safe for concurrent use.
type limits struct {
	own   map[string]int // what we would send to the topics with a limit of their own
	other int            // and to all others

	mu   sync.Mutex
	less map[string]int // max.message.bytes of topics that take less
}

func newLimits(c Config) *limits {
	l := &limits{own: map[string]int{}, less: map[string]int{}}
	names := NewNames(c.TopicPrefix)
	for _, topic := range []string{names.Checkpoint(), names.Watermark(), names.Control()} {
		l.own[topic] = c.maxBatch(topic)
	}
	l.other = c.maxBatch("")
	return l
}

// ours returns how many bytes a batch for a topic would have if the topic takes them.
func (l *limits) ours(topic string) int {
	if most, ok := l.own[topic]; ok {
		return most
	}
	return l.other
}

// batch returns how many bytes a batch of records for a topic may have.
func (l *limits) batch(topic string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := l.ours(topic)
	if less, ok := l.less[topic]; ok {
		most = min(most, less)
	}
	return most
}

// checkOffsets returns an error if the watermark of an endpoint would be too large: it holds an offset for each partition of each topic
// that the endpoint feeds.
func checkOffsets(t *Topics) error {
	for _, e := range events.Endpoints() {
		const partition = 16 // and offset, and the length of the name
		size, partitions := 0, 0
		for _, topic := range t.Feeds(e.Spec().Feeds) {
			size += t.Partitions(topic) * (len(topic) + partition)
			partitions += t.Partitions(topic)
		}
		if size > bound.Offsets {
			return fmt.Errorf("the topics that %s feeds have %d partitions: the offsets of each take %d bytes in every watermark, and %d are possible; "+
				"use fewer partitions, or a shorter kafka.topic_prefix", e, partitions, size, bound.Offsets)
		}
	}
	return nil
}

// batchBytes is batch as the client wants it. The client asks once for each partition that it sends to.
func (l *limits) batchBytes(topic string) int32 { return int32(l.batch(topic)) }

// record returns how many bytes a record for a topic may have, as sizeOf counts them.
func (l *limits) record(topic string) int { return l.batch(topic) - batchOverhead }

// taken returns the max.message.bytes of a topic that takes less than we would send; 0 for others.
func (l *limits) taken(topic string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.less[topic]
}

// note takes in the max.message.bytes of a topic; 0 says nothing.
func (l *limits) note(topic string, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case bytes <= 0:
	case bytes < l.ours(topic):
		l.less[topic] = bytes
	default:
		delete(l.less, topic)
	}
}

// ask looks up what topics take. If the broker does not say, what was known stays.
func (l *limits) ask(ctx context.Context, client *kgo.Client, topics ...string) {
	ctx, cancel := context.WithTimeout(ctx, limitsTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, topic := range topics {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
		resource.ConfigNames = []string{maxMessageBytes}
		req.Resources = append(req.Resources, resource)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return
	}
	for _, resource := range resp.Resources {
		if kerr.ErrorForCode(resource.ErrorCode) != nil {
			continue
		}
		for _, entry := range resource.Configs {
			if entry.Name == maxMessageBytes && entry.Value != nil {
				bytes, _ := strconv.Atoi(*entry.Value)
				l.note(resource.ResourceName, bytes)
			}
		}
	}
}
