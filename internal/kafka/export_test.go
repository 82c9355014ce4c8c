package kafka

import "github.com/twmb/franz-go/pkg/sasl"

// Mechanism is what the client authenticates with.
func Mechanism(c *SASLConfig) (sasl.Mechanism, error) { return c.build() }
