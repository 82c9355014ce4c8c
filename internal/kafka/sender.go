package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// sender publishes batches. It is what both kinds of delivery have in common: they differ in what they put around it.
type sender struct {
	client    *kgo.Client
	encoder   *Encoder
	timeout   time.Duration
	metrics   *Metrics
	exclusive bool // no other batch shares this client, so flush instead of lingering

	// What is handed to the client lives as long as the sender, not as long as the call that handed it over:
	// cancelling one batch would fail those of others that share a partition with it.
	ctx    context.Context
	cancel context.CancelFunc
}

func newSender(client *kgo.Client, encoder *Encoder, timeout time.Duration, metrics *Metrics) *sender {
	s := &sender{client: client, encoder: encoder, timeout: timeout, metrics: metrics}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// encode makes the records of a batch, but for those of the watermarks and of the checkpoint, which hold offsets.
func (s *sender) encode(ctx context.Context, b *Batch) {
	if b.outbox == nil {
		b.outbox = s.encoder.batch(b, traceparent(ctx))
		b.outbox.limits = s.encoder.limits
	}
}

// produce hands the letters to the client and waits for all answers, or for ctx.
func (s *sender) produce(ctx context.Context, o *outbox, letters []*letter) error {
	for _, l := range letters {
		s.client.Produce(s.ctx, &l.record, func(_ *kgo.Record, err error) { o.answered(l, err) })
	}
	if s.exclusive {
		_ = s.client.Flush(ctx) // it ends as ctx does
	}
	return o.wait(ctx)
}

// refusedAlone sends a letter that was refused together with others by itself, and reports whether it is refused again.
func (s *sender) refusedAlone(ctx context.Context, o *outbox, l *letter) (bool, error) {
	o.retake(l)
	if err := s.produce(ctx, o, []*letter{l}); err != nil {
		return false, err
	}
	if l.err != nil && classify(l.err) != Refused {
		return false, l.err
	}
	return l.err != nil, nil
}

// addWatermarks adds the watermarks. They hold the offsets of their feeds, of which the first has those after the batch.
func (s *sender) addWatermarks(b *Batch, after Offsets) error {
	for i, f := range b.Feeds {
		if f.Watermark == nil {
			continue
		}
		offsets := f.Offsets
		if i == 0 {
			offsets = after
		}
		mark, err := s.encoder.watermark(f.watermark(s.encoder.topics, offsets))
		if err != nil {
			return err
		}
		b.outbox.add(mark)
	}
	for _, key := range b.Ended {
		b.outbox.add(&letter{kind: endedLetter, record: kgo.Record{Topic: s.encoder.marks.topic, Key: []byte(key)}})
	}
	return nil
}

// askLimits finds out what the topics take that have refused letters.
func (s *sender) askLimits(ctx context.Context, refused []*letter) {
	var topics []string
	for _, l := range refused {
		if !slices.Contains(topics, l.record.Topic) {
			topics = append(topics, l.record.Topic)
		}
	}
	s.encoder.limits.ask(ctx, s.client, topics...)
}

// replace puts something in the place of a record that Kafka has refused by itself: a dead letter, or a smaller one. If there is
// nothing, it returns a *RefusedError.
func (s *sender) replace(b *Batch, refused *letter) error {
	instead := s.encoder.instead(refused)
	if instead == nil {
		return &RefusedError{
			Account: b.Account, Topic: refused.record.Topic, Record: string(refused.record.Key), Bytes: refused.size,
			Taken: s.encoder.limits.taken(refused.record.Topic), Err: refused.err,
		}
	}
	b.outbox.replace(refused, instead)
	return nil
}

// failed makes the error that Deliver returns out of what the outbox knows.
func (s *sender) failed(b *Batch, err error) error {
	e := b.outbox.report()
	e.Account = b.Account
	if e.Err == nil {
		e.Err = err
	}
	s.metrics.failures.WithLabelValues(e.Class.String()).Inc()
	return e
}

// Close implements Delivery.
func (s *sender) Close(ctx context.Context) error {
	err := s.client.Flush(ctx)
	s.cancel()
	s.client.Close()
	if err != nil {
		return fmt.Errorf("wait for records on their way to Kafka: %w", err)
	}
	return nil
}

// state of a letter.
type state uint8

const (
	idle    state = iota // not handed to the client, or given back by it
	waiting              // with the client
	acked
)

// letterKind says what a letter carries.
type letterKind uint8

const (
	otherLetter      letterKind = iota // a job, or a record of an intent that is not an event
	eventLetter                        // an event, on the topic of its type
	copyLetter                         // an event, on another topic
	deadLetter                         // a dead letter
	watermarkLetter                    // a watermark
	endedLetter                        // the tombstone of a watermark
	checkpointLetter                   // a record of the checkpoint topic
)

// derived reports whether letters of this kind hold the offsets of the letters before them. They are made again for every attempt.
func (k letterKind) derived() bool { return k >= watermarkLetter }

// A letter is one record and what became of it.
type letter struct {
	kind   letterKind
	record kgo.Record
	size   int  // an upper bound, in bytes
	feed   bool // it moves the offsets of the first feed
	state  state
	err    error // why it is idle again

	event *Outgoing          // of eventLetter and copyLetter
	dead  *events.DeadLetter // of deadLetter
	// instead is set for the dead letter of an event of the batch that could not be published.
	instead bool
}

// An outbox holds the letters of one batch in order. The client's callbacks write to it while Deliver waits, or after it gave
// up waiting.
type outbox struct {
	mu       sync.Mutex
	letters  []*letter
	pending  int
	settled  chan struct{}   // closed when pending is 0
	single   map[string]bool // transactions: topics whose letters are sent one by one, as one was refused
	limits   *limits         // of what is sent together; nil for none
	counted  int             // letters that the metrics know of
	refusals []*Outgoing     // events that became dead letters because they were refused

	// Transactions: how many bytes the records of the checkpoint could have when they were last made.
	recordRoom int
	// At-least-once: how far the delivery has come.
	phase phase
}

func (o *outbox) add(l *letter) { o.letters = append(o.letters, l) }

// take marks idle letters as waiting and returns them: of each topic as many as may be sent together. That is all of them, but as many
// as a batch may have where the topic takes less than the client knows of, and one where a letter was refused.
func (o *outbox) take() []*letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	var together []*letter
	taken := map[string]int{} // bytes of topics that take less
	for _, l := range o.letters {
		topic := l.record.Topic
		if l.state != idle {
			continue
		}
		if less := o.together(topic); less >= 0 {
			before, some := taken[topic]
			if some && before+l.size > less {
				taken[topic] = less + 1 // what follows must not overtake it
				continue
			}
			taken[topic] = before + l.size
		}
		o.begin(l)
		together = append(together, l)
	}
	return together
}

// more reports whether letters are left that take returns.
func (o *outbox) more() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.letters, func(l *letter) bool { return l.state == idle })
}

// together returns how many bytes for a topic may be sent together, -1 for any number.
func (o *outbox) together(topic string) int {
	if o.single[topic] {
		return 0
	}
	if o.limits != nil {
		if less := o.limits.taken(topic); less > 0 {
			return less - batchOverhead
		}
	}
	return -1
}

// reset makes all letters of an aborted transaction idle. From now on those of the topics of the refused ones go one by one.
func (o *outbox) reset(refused []*letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.single == nil {
		o.single = map[string]bool{}
	}
	for _, l := range refused {
		o.single[l.record.Topic] = true
	}
	o.letters = slices.DeleteFunc(o.letters, func(l *letter) bool { return l.kind.derived() })
	for _, l := range o.letters {
		l.state, l.err = idle, nil
	}
}

func (o *outbox) retake(l *letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin(l)
}

func (o *outbox) begin(l *letter) {
	if o.pending == 0 {
		o.settled = make(chan struct{})
	}
	o.pending++
	l.state, l.err = waiting, nil
}

// answered is the client's callback.
func (o *outbox) answered(l *letter, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.state, l.err = acked, err
	if err != nil {
		l.state = idle
	}
	if o.pending--; o.pending == 0 {
		close(o.settled)
	}
}

// wait returns when no letter is on its way, or when ctx ends.
func (o *outbox) wait(ctx context.Context) error {
	o.mu.Lock()
	pending, settled := o.pending, o.settled
	o.mu.Unlock()
	if pending == 0 {
		return nil
	}
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refused returns the letters that the broker will never take the way they were sent, if all were answered and nothing worse has
// happened.
func (o *outbox) refused() []*letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending > 0 {
		return nil
	}
	var refused []*letter
	for _, l := range o.letters {
		if l.err == nil {
			continue
		}
		if classify(l.err) != Refused {
			return nil
		}
		refused = append(refused, l)
	}
	return refused
}

// replace puts a dead letter in the place of a letter. An event that was refused on two topics gets one dead letter.
func (o *outbox) replace(old, dead *letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.letters, old)
	if old.event != nil && slices.Contains(o.refusals, old.event) {
		o.letters = slices.Delete(o.letters, i, i+1)
		return
	}
	o.letters[i] = dead
	if old.event != nil {
		o.refusals = append(o.refusals, old.event)
	}
}

func (o *outbox) firstErr() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.letters {
		if l.err != nil {
			return l.err
		}
	}
	return nil
}

// report sums up. An error that only a person can mend outweighs one that may pass.
func (o *outbox) report() *DeliveryError {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := &DeliveryError{}
	for _, l := range o.letters {
		switch {
		case l.state == acked:
			e.Delivered++
		case l.state == waiting:
			e.Waiting++
		case l.err != nil:
			e.Failed++
			if class := classify(l.err); e.Err == nil || class == Fatal && e.Class != Fatal {
				e.Topic, e.Class, e.Err = l.record.Topic, class, l.err
			}
		}
	}
	return e
}

// after returns the offsets of the batch's first feed after what was acknowledged.
func (o *outbox) after(b *Batch) Offsets {
	var after Offsets
	if len(b.Feeds) > 0 {
		after = b.Feeds[0].Offsets.clone()
	}
	for _, l := range o.letters {
		if after != nil && l.feed {
			after.Raise(l.record.Topic, l.record.Partition, l.record.Offset+1)
		}
	}
	return after
}

func (o *outbox) count(m *Metrics) {
	for _, l := range o.letters[o.counted:] {
		m.bytes.Add(float64(l.size))
		switch l.kind {
		case deadLetter:
			m.dead.WithLabelValues(l.dead.Source, l.dead.Stage).Inc()
		case eventLetter:
			published := l.event.Event
			m.events.WithLabelValues(string(published.EventType())).Inc()
			if published.Head().Revision > 1 {
				m.revisions.WithLabelValues(string(published.EventType())).Inc()
			}
		case copyLetter:
			if strings.HasSuffix(l.record.Topic, "."+suffixNegative) {
				m.negative.Inc()
			}
		case watermarkLetter:
			m.watermarks.Inc()
		}
	}
	o.counted = len(o.letters)
}
