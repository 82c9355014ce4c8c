package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// resumeTimeout bounds the reading of the watermark topic, which holds a few records for each endpoint once it is compacted.
const resumeTimeout = time.Minute

// LastWatermarks returns the last watermark of every endpoint that ever had one, by WatermarkKey. They say where reading
// goes on when the checkpoint is lost.
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
			delete(last, string(r.Key)) // it is not read any more
		}
	})
	return last, err
}

// watermarkOf decodes a record, whichever framing it has. It returns nil for what is none: a control record, a tombstone,
// or a watermark of a release that wrote another schema, which the caller does without.
func watermarkOf(r *kgo.Record) *events.Watermark {
	w := new(events.Watermark)
	if r.Attrs.IsControl() || w.DecodeAvro(body(r.Value)) != nil {
		return nil
	}
	return w
}
