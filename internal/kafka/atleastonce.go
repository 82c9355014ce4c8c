package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/faultpoint"
)

// phase is how far a batch has come that is delivered without transactions. A batch without events and dead letters has no intent.
//
//	unsent --intent on disk--> intended --events acknowledged, recorded on disk--> recorded --watermarks acknowledged--> delivered
//	   \___________________________ no events, recorded on disk ______________________/
type phase uint8

const (
	unsent phase = iota
	intended
	recorded
)

// atLeastOnce is the delivery without transactions.
type atLeastOnce struct {
	*sender
}

// NewAtLeastOnce returns the delivery without transactions: written down, acknowledged by Kafka, then recorded. A crash in
// between publishes at most one batch a second time, with the same event ids; nothing is lost. It closes the client with itself.
func NewAtLeastOnce(client *kgo.Client, encoder *Encoder, c Config, metrics *Metrics) Delivery {
	return &atLeastOnce{newSender(client, encoder, c.DeliveryTimeout, metrics)}
}

// Deliver implements Delivery. The order is the promise: intent, events, all acks, commit with the offsets from those acks, and
// only then the watermarks that hold them: one that is lost in a crash comes again, one that was not recorded would go back.
func (d *atLeastOnce) Deliver(ctx context.Context, b *Batch) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	d.encode(ctx, b)
	defer traceBatch(ctx, b, "")
	if err := ctx.Err(); err != nil {
		return d.failed(b, err)
	}
	recording := b.recording()
	if len(b.Events)+len(b.Dead) > 0 && b.outbox.phase == unsent {
		if err := recording.Intend(d.encoder.intent(b.outbox)); err != nil {
			return err
		}
		b.outbox.phase = intended
		faultpoint.Reach(faultpoint.BeforeBegin)
	}
	if err := d.drain(ctx, b); err != nil {
		return err
	}
	if b.outbox.phase == intended {
		faultpoint.Reach(faultpoint.AfterProduce)
	}
	if b.outbox.phase != recorded {
		after := b.outbox.after(b)
		if err := recording.Prepare(after); err != nil {
			return err
		}
		if err := recording.Commit(0); err != nil {
			return err
		}
		if err := d.addWatermarks(b, after); err != nil {
			return err
		}
		b.outbox.phase = recorded
	}
	faultpoint.Reach(faultpoint.BeforeEnd)
	if err := d.drain(ctx, b); err != nil {
		return err
	}
	d.metrics.delivered(start)
	return nil
}

// drain sends what has not been sent and waits for all answers.
func (d *atLeastOnce) drain(ctx context.Context, b *Batch) error {
	o := b.outbox
	for {
		waitErr := d.produce(ctx, o, o.take())
		if refused := o.refused(); waitErr == nil && len(refused) > 0 {
			// The broker refuses whole batches of records: one by one, only the culprits are refused.
			d.askLimits(ctx, refused)
			if err := d.sendAlone(ctx, b, refused); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(waitErr, o.firstErr()); err != nil {
			return d.failed(b, waitErr)
		}
		if o.more() {
			continue
		}
		o.count(d.metrics)
		return nil
	}
}

// sendAlone sends records that were refused together with others, each by itself. One that is refused again becomes a dead
// letter, which is left for the next round.
func (d *atLeastOnce) sendAlone(ctx context.Context, b *Batch, refused []*letter) error {
	for _, l := range refused {
		again, err := d.refusedAlone(ctx, b.outbox, l)
		if err != nil {
			return d.failed(b, err) // what follows must not overtake it
		}
		if !again {
			continue
		}
		if err := d.replace(b, l); err != nil {
			d.metrics.failures.WithLabelValues(Refused.String()).Inc()
			return err
		}
	}
	return nil
}
