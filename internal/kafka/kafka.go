// Package kafka brings events to Kafka: client options, topics, the schema registry, the wire form of records, and the
// delivery of batches. It does not decide what is published, and it does not know what the records of a checkpoint say: a batch
// carries what is to be recorded with it.
//
// Where to look: delivery.go says what callers may rely on; atleastonce.go and exactlyonce.go keep that, by the order of their steps.
// takeover.go, group.go and witness.go are about owning a partition of the checkpoint topic. connect.go makes clients, with sasl.go and
// iam.go. ensure.go makes and checks topics at start, placement.go decides over how many partitions keys are placed, check.go
// compares all that with what is there later, and inspect.go asks beforehand and makes nothing. apply.go brings topics
// that exist to what is configured, when a person asks for it. errors.go says which of Kafka's errors may pass.
package kafka

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// Options for Open.
type Options struct {
	Config   Config
	Registry RegistryConfig
	// Types are the event types that are switched on.
	Types []events.Type
	Log   *slog.Logger
	// Instance names the process for people.
	Instance string
	// Command names the command if a person's command takes partitions over for a moment. It is empty for poller run.
	Command string
	// Metrics count what is delivered. Nil: nobody wants to know.
	Metrics *Metrics
	// ClientMetrics is where the client registers its own metrics, poller_kafka_client_*. It may be nil.
	ClientMetrics prometheus.Registerer
	// Waiting, if it is set, is told what Open is still waiting for. Several goroutines may call it at once.
	Waiting func(err error)
	// Client are options that win over all others, for tests.
	Client []kgo.Opt
}

// A Publisher has what publishing needs: a client, topics that exist and fit, and the ids of schemas.
type Publisher struct {
	Topics *Topics
	// AtLeastOnce is nil unless the configured delivery is at-least-once. In transactions, TakeOver returns a delivery.
	AtLeastOnce Delivery

	connect  *connector
	client   *kgo.Client
	registry *Registry // nil: none is configured
	schemas  *Schemas
	encoder  *Encoder
	metrics  *Metrics
	options  Options
}

// Open returns a publisher. It asks Kafka and the schema registry, and waits for either for a bounded time. Its errors say what is wrong
// and what to do, and have a method Retryable that says whether waiting may help.
func Open(ctx context.Context, o Options) (_ *Publisher, err error) {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	connect, err := newConnector(o.Config, o.Log, o.Client...)
	if err != nil {
		return nil, err
	}
	connect.report(o.Waiting)
	defer connect.report(nil)
	client, err := connect.client(o.ClientMetrics)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			client.Close()
		}
	}()
	topics, err := ensureTopics(ctx, connect, client, o.Types)
	if err != nil {
		return nil, err
	}
	if err := checkOffsets(topics); err != nil {
		return nil, &TopicsError{[]error{err}}
	}
	if len(topics.Created) > 0 {
		o.Log.Info("created topics", "topics", topics.Created)
	}
	if err := openGroups(ctx, client, o.Config.groups()); err != nil {
		return nil, err
	}
	var registry *Registry
	if o.Registry.URL != "" {
		if registry, err = NewRegistry(o.Registry, o.Log); err != nil {
			return nil, err
		}
		registry.waiting = o.Waiting
	}
	schemas, err := ResolveSchemas(ctx, registry, topics)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		Topics: topics, connect: connect, client: client, registry: registry, schemas: schemas,
		encoder: newEncoder(o.Config, topics, schemas, connect.limits), metrics: o.Metrics, options: o,
	}
	for _, s := range topics.specs {
		if taken := connect.limits.taken(s.name); taken > 0 {
			o.Log.Warn("a topic takes smaller records than the poller may have for it: larger events become dead letters; raise max.message.bytes of the topic",
				"topic", s.name, "max.message.bytes", taken, "wanted", connect.limits.ours(s.name))
		}
	}
	if o.Config.Delivery == AtLeastOnce {
		p.AtLeastOnce = NewAtLeastOnce(client, p.encoder, o.Config, p.metrics)
	}
	return p, nil
}

// openGroups returns an error that names every group that may not be used.
func openGroups(ctx context.Context, client *kgo.Client, groups []string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return errors.Join(groupRights(ctx, client, groups)...)
}

// TooLarge returns why an event is too large to be published, empty if it is not.
func (p *Publisher) TooLarge(o Outgoing) string { return p.encoder.TooLarge(o) }

// Close waits for records on their way, but no longer than ctx, and closes the client. The caller closes Shards itself.
func (p *Publisher) Close(ctx context.Context) error {
	if p.AtLeastOnce != nil {
		return p.AtLeastOnce.Close(ctx)
	}
	p.client.Close()
	return nil
}
