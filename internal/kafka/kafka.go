// Package kafka brings events to Kafka: client options, topics, the schema registry, the wire form of records, and the
// delivery of batches. It does not decide what is published, nor does it know the checkpoint: a batch carries the
// function that records it.
//
// Where to look: delivery.go says what callers may rely on; atleastonce.go and exactlyonce.go are the order in which it is
// kept; takeover.go is how a process comes to write in transactions; errors.go says which of Kafka's errors may pass.
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
	// Instance names the process in what people read.
	Instance string
	// Command is set where a person's command takes partitions over for a moment, and not a poller that is to stay.
	Command string
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// Client options that come last, for tests.
	Client []kgo.Opt
}

// A Publisher is all that is needed to publish: topics made or verified, schemas known.
type Publisher struct {
	Topics *Topics
	// AtLeastOnce is ready if that is the delivery that is configured. Else partitions are to be taken over.
	AtLeastOnce Delivery

	connect  *connector
	client   *kgo.Client
	registry *Registry // nil: none is configured
	schemas  *Schemas
	encoder  *Encoder
	metrics  *Metrics
	options  Options
}

// Open brings a publisher up. It talks to Kafka and to the schema registry, and gives up on either after a bounded time.
// Its errors say what is wrong and what to do; errors.As finds whether waiting may help, by a method Retryable.
func Open(ctx context.Context, o Options) (_ *Publisher, err error) {
	connect, err := newConnector(o.Config, o.Log, o.Client...)
	if err != nil {
		return nil, err
	}
	client, err := connect.client(o.Metrics)
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
	}
	schemas, err := ResolveSchemas(ctx, registry, topics)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		Topics: topics, connect: connect, client: client, registry: registry, schemas: schemas,
		encoder: newEncoder(o.Config, topics, schemas, connect.limits), metrics: NewMetrics(o.Metrics), options: o,
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

// Close waits for what is on its way, but no longer than ctx, and closes the client. Shards are closed by themselves.
func (p *Publisher) Close(ctx context.Context) error {
	if p.AtLeastOnce != nil {
		return p.AtLeastOnce.Close(ctx)
	}
	p.client.Close()
	return nil
}
