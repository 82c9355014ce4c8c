package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/faultpoint"
)

// transactionTimeout is how long the broker lets a transaction stay open. A dead owner without a successor holds up every
// reader of committed records for as long.
const transactionTimeout = 10 * time.Second

// exactlyOnce is the delivery in transactions: events, watermarks and checkpoint of a batch are all in Kafka, or none.
// What is on disk comes after, and can be made again from the checkpoint topic.
type exactlyOnce struct {
	*sender
	id        string // of the transactions
	partition int32
	topic     string // of the checkpoint
	// busy is held by the transaction under way: a producer has one at a time.
	busy chan struct{}
	lost *LostError // why there will be no other; guarded by busy
	next int64      // the offset after the last record that is known to be this owner's; guarded by busy
	// signed reports whether an owner record exists at or after an offset.
	signed func(ctx context.Context, from int64) (bool, error)
	// confirmed is when the last transaction was ended that Kafka took.
	confirmed atomic.Pointer[time.Time]
}

// A LostError ends a delivery in transactions: what became of the last batch is not known, or the disk does not hold it.
// The partition must be taken over again, which tells, before anything is decided on what was recorded.
type LostError struct {
	Partition int32
	// Fenced: another instance has taken the partition over.
	Fenced bool
	Err    error
}

func (e *LostError) Error() string {
	if e.Fenced {
		return fmt.Sprintf("another instance has taken over partition %d of the checkpoint: %v", e.Partition, e.Err)
	}
	return fmt.Sprintf("partition %d of the checkpoint must be taken over again: %v", e.Partition, e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

// Deliver implements Delivery. Once it has returned a LostError it returns that for ever. Records that Kafka refuses for what they
// are lose nothing: their transaction is aborted, and its outcome known.
func (d *exactlyOnce) Deliver(ctx context.Context, b *Batch) error {
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the transaction before: %w", ctx.Err())
	}
	if d.lost != nil {
		return d.lost
	}
	start := time.Now()
	d.encode(ctx, b)
	defer traceBatch(ctx, b, d.id)
	next, err := d.transact(ctx, b)
	if refused, ok := errors.AsType[*RefusedError](err); ok { // and the transaction was aborted
		d.metrics.failures.WithLabelValues(Refused.String()).Inc()
		return refused
	}
	if err == nil {
		faultpoint.Reach(faultpoint.BeforeDisk)
		if err = b.recording().Commit(next); err != nil {
			err = fmt.Errorf("record on disk what is in Kafka: %w", err)
		}
	}
	if err != nil {
		d.lost = &LostError{Partition: d.partition, Fenced: d.replaced(ctx), Err: err}
		return d.lost
	}
	d.next = max(d.next, next)
	b.outbox.count(d.metrics)
	d.metrics.delivered(start)
	return nil
}

// transact publishes the batch in a transaction, and returns the offset after its last record on the checkpoint topic, 0 if it has
// none there. Records that Kafka refuses are found in transactions that are aborted, and become dead letters in the next one, which
// then has no such records, or finds more of them.
func (d *exactlyOnce) transact(ctx context.Context, b *Batch) (next int64, err error) {
	for {
		faultpoint.Reach(faultpoint.BeforeBegin)
		err := d.within(ctx, func(ctx context.Context) error { return d.fill(ctx, b) })
		if err == nil {
			return d.commit(b)
		}
		refused := b.outbox.refused()
		if len(refused) == 0 {
			return 0, err
		}
		if err := d.abort(); err != nil {
			return 0, err
		}
		traceAborted(ctx, len(refused))
		d.askLimits(ctx, refused)
		culprits, err := d.culprits(ctx, b, refused)
		if err != nil {
			return 0, err
		}
		err = d.replaceAll(b, culprits)
		b.outbox.reset(refused)
		if err != nil {
			return 0, err
		}
	}
}

// replaceAll sees to it that the next transaction has nothing of what was refused. If that cannot be, it returns a *RefusedError.
func (d *exactlyOnce) replaceAll(b *Batch, culprits []*letter) error {
	for _, l := range culprits {
		if l.kind == checkpointLetter && d.encoder.limits.record(d.topic) < b.outbox.recordRoom {
			continue // the records of the checkpoint are made again, and smaller
		}
		if err := d.replace(b, l); err != nil {
			return err
		}
	}
	return nil
}

// within begins a transaction and lets fill put records into it, for as long as it may last.
func (d *exactlyOnce) within(ctx context.Context, fill func(context.Context) error) error {
	if err := d.client.BeginTransaction(); err != nil {
		return &requestError{"begin transaction", err}
	}
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	return fill(ctx)
}

// culprits returns those of the refused letters that are refused by themselves: the broker refuses all that were sent together. There
// may be none, if it was their sum that was too much.
func (d *exactlyOnce) culprits(ctx context.Context, b *Batch, refused []*letter) ([]*letter, error) {
	if len(refused) == 1 {
		return refused, nil
	}
	var culprits []*letter
	for _, l := range refused {
		again := false
		err := d.within(ctx, func(ctx context.Context) (err error) {
			again, err = d.refusedAlone(ctx, b.outbox, l)
			return err
		})
		if err != nil {
			return nil, d.failed(b, err)
		}
		if again {
			culprits = append(culprits, l)
		}
		if err := d.abort(); err != nil {
			return nil, err
		}
	}
	return culprits, nil
}

// fill puts the batch into the transaction.
func (d *exactlyOnce) fill(ctx context.Context, b *Batch) error {
	if err := d.send(ctx, b); err != nil {
		return err
	}
	faultpoint.Reach(faultpoint.AfterProduce)
	after := b.outbox.after(b)
	if err := d.addWatermarks(b, after); err != nil {
		return err
	}
	if err := b.recording().Prepare(after); err != nil {
		return err
	}
	b.outbox.recordRoom = d.encoder.limits.record(d.topic)
	records, err := b.recording().Records(b.outbox.recordRoom)
	if err != nil {
		return err
	}
	for _, r := range records {
		l := &letter{kind: checkpointLetter, record: kgo.Record{
			Topic: d.topic, Partition: d.partition, Key: r.Key, Value: r.Value,
		}}
		l.size = sizeOf(&l.record)
		b.outbox.add(l)
	}
	return d.send(ctx, b)
}

// send hands over what has not been sent and waits for all answers.
func (d *exactlyOnce) send(ctx context.Context, b *Batch) error {
	o := b.outbox
	for next := o.take(); len(next) > 0; next = o.take() {
		if err := errors.Join(d.produce(ctx, o, next), o.firstErr()); err != nil {
			return d.failed(b, ctx.Err())
		}
	}
	return nil
}

// commit ends the transaction, and returns the offset after the last of its records on the checkpoint topic. When that fails, nobody
// knows whether the batch is in Kafka until the partition is taken over; the client refuses to try again for the same reason. It is
// not given up when the caller is stopped.
func (d *exactlyOnce) commit(b *Batch) (next int64, err error) {
	ctx, cancel := context.WithTimeout(d.ctx, transactionTimeout)
	defer cancel()
	faultpoint.Reach(faultpoint.BeforeEnd)
	faultpoint.Near(faultpoint.DuringEnd)
	asked := time.Now()
	if err := endTransaction(ctx, d.client, kgo.TryCommit, "end transaction"); err != nil {
		d.metrics.failures.WithLabelValues(classify(err).String()).Inc()
		return 0, err
	}
	if len(b.outbox.letters) > 0 { // else there was nothing to ask Kafka for
		d.confirmed.Store(&asked)
	}
	for _, l := range b.outbox.letters {
		if l.kind == checkpointLetter {
			next = max(next, l.record.Offset+1)
		}
	}
	return next, nil
}

func (d *exactlyOnce) abort() error {
	ctx, cancel := context.WithTimeout(d.ctx, transactionTimeout)
	defer cancel()
	return endTransaction(ctx, d.client, kgo.TryAbort, "abort transaction")
}

// endTransaction aborts a transaction with what is still on its way, or commits one that has nothing on its way any more. op names it
// in an error.
//
// A commit waits for the client as well: the first record of a topic may be acknowledged before the client has noted the topic's
// partitions. To a client that ends the transaction in between it is empty: kgo 1.22.2 aborts it and returns no error.
// AbortBufferedRecords waits for the lock under which partitions are noted.
func endTransaction(ctx context.Context, client *kgo.Client, how kgo.TransactionEndTry, op string) error {
	if err := client.AbortBufferedRecords(ctx); err != nil {
		return &requestError{op + ": wait for what is on its way", err}
	}
	if err := client.EndTransaction(ctx, how); err != nil {
		return &requestError{op, err}
	}
	return nil
}

// replaced reports whether another instance has taken over, by what it has written. Kafka's error is no proof: it returns the same
// code to an owner whose transaction it has timed out, and at times to one that has just taken over a transaction that it is about to
// time out. If replaced cannot tell, taking over again tells: of two owners, the last to sign has nobody after it.
func (d *exactlyOnce) replaced(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, replacedTimeout)
	defer cancel()
	signed, err := d.signed(ctx, d.next)
	return err == nil && signed
}

const replacedTimeout = 5 * time.Second
