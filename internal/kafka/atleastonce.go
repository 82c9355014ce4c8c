package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// atLeastOnce is the delivery without transactions.
type atLeastOnce struct {
	*sender
}

// NewAtLeastOnce returns the delivery without transactions: acknowledged by Kafka, then recorded. A crash between the two
// publishes at most one batch a second time, with the same event ids; nothing is lost. It closes the client with itself.
func NewAtLeastOnce(client *kgo.Client, encoder *Encoder, c Config, metrics *Metrics) Delivery {
	return &atLeastOnce{newSender(client, encoder, c.DeliveryTimeout, metrics)}
}

// Deliver implements Delivery. The order is the promise: events, all acks, watermarks with the offsets from those acks, their
// acks, commit.
func (d *atLeastOnce) Deliver(ctx context.Context, b *Batch) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.publish(ctx, b); err != nil {
		return err
	}
	if _, err := b.checkpoint(); err != nil {
		return err
	}
	if err := b.commit(); err != nil {
		return err
	}
	d.metrics.delivered(start)
	return nil
}
