package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// resumeTimeout bounds the reading of the watermark topic. Kafka compacts it to a few records for each unit.
const resumeTimeout = time.Minute

// LastWatermarks returns the last watermark of every unit that is read, by WatermarkKey. They say where reading continues when the
// checkpoint is lost.
func (p *Publisher) LastWatermarks(ctx context.Context) (map[string]*events.Watermark, error) {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	topic := p.Topics.Watermark()
	end, err := offsetOf(ctx, kadm.NewClient(p.client).ListEndOffsets, topic, 0)
	if err != nil {
		return nil, &requestError{"look up the end of " + topic, err}
	}
	last := map[string]*events.Watermark{}
	err = readTo(ctx, p.connect, partitionRange{topic: topic, to: end}, func(r *kgo.Record) {
		switch w := watermarkOf(r); {
		case w != nil:
			last[string(r.Key)] = w
		case r.Value == nil:
			delete(last, string(r.Key)) // the unit is not read any more
		}
	})
	return last, err
}

// watermarkOf decodes a record in either framing. It returns nil if the record is not a watermark: a control record, a tombstone, or a
// watermark that another release wrote with another schema.
func watermarkOf(r *kgo.Record) *events.Watermark {
	w := new(events.Watermark)
	if r.Attrs.IsControl() || w.DecodeAvro(body(r.Value)) != nil {
		return nil
	}
	return w
}

// EventEnds returns the end offset of every partition of the event topics. All events published so far lie before.
func (p *Publisher) EventEnds(ctx context.Context) (Offsets, error) {
	var names []string
	for _, s := range p.Topics.specs {
		if s.kind == kindEvents {
			names = append(names, s.name)
		}
	}
	ends, err := kadm.NewClient(p.client).ListEndOffsets(ctx, names...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, &requestError{"look up the ends of the event topics", err}
	}
	out := Offsets{}
	ends.Each(func(o kadm.ListedOffset) { out.Raise(o.Topic, o.Partition, o.Offset) })
	return out, nil
}
