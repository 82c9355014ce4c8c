package kafka

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"agentassist-poller/internal/events"
)

// Login is what clients authenticate with.
func Login(c *SASLConfig) (*login, error) { return newLogin(c) }

// Reach asks the brokers of a configuration for a sign of life.
func Reach(ctx context.Context, c Config, log *slog.Logger, within time.Duration) error {
	return ReachAfter(ctx, c, log, within, silentFor)
}

// ReachAfter is Reach with brokers that are asked whether they are any after a silence of their own.
func ReachAfter(ctx context.Context, c Config, log *slog.Logger, within, silence time.Duration) error {
	connect, err := newConnector(c, log)
	if err != nil {
		return err
	}
	connect.silentFor = silence
	client, err := connect.client(nil)
	if err != nil {
		return err
	}
	defer client.Close()
	return connect.reach(ctx, client, within)
}

// Encode does what Deliver does before anything is sent.
func Encode(e *Encoder, b *Batch) int { return len(e.batch(b, nil).letters) }

// SchemasFor are those of a poller without registry.
func SchemasFor(t testing.TB, topics *Topics) *Schemas {
	s, err := ResolveSchemas(t.Context(), nil, topics)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ClassOf is what an error code asks for.
func ClassOf(err *kerr.Error) Class { return classify(err) }

// Pulse is what a member knows of whether the group counts on it.
type Pulse struct{ pulse }

func (p *Pulse) Beat(sent time.Time)      { p.beat(sent) }
func (p *Pulse) Alive(now time.Time) bool { return p.alive(now) }

// Share is how members share partitions out.
var Share = share

// Place is how it is decided over how many partitions keys are placed.
var Place = place

// CheckOffsets checks all topics there can be, with so many partitions each.
func CheckOffsets(prefix string, partitions int) error {
	c := DefaultConfig()
	c.TopicPrefix = prefix
	t := &Topics{Names: NewNames(prefix), byName: map[string]Topic{}, specs: specs(c, events.Types()), placed: partitions}
	for _, s := range t.specs {
		t.byName[s.name] = Topic{Name: s.name, Partitions: partitions}
	}
	return checkOffsets(t)
}
