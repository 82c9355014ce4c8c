package kafka

import (
	"testing"

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
