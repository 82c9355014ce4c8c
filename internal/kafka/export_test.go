package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"
)

// Mechanism is what the client authenticates with.
func Mechanism(c *SASLConfig) (sasl.Mechanism, error) { return c.build() }

// Encode does what Deliver does before anything is sent.
func Encode(e *Encoder, b *Batch) int { return len(e.batch(b).letters) }

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
