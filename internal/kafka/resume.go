package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
)

// resumeTimeout bounds the reading of the watermark topic, which holds a few records for each endpoint once it is compacted.
const resumeTimeout = time.Minute

// LastWatermarks returns the last watermark of every endpoint that ever had one, by WatermarkKey. They say where reading
// goes on when the checkpoint is lost.
func LastWatermarks(ctx context.Context, c Config, log *slog.Logger, extra ...kgo.Opt) (map[string]*events.Watermark, error) {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	topic := NewNames(c.TopicPrefix).Watermark()
	client, err := NewClient(c, log, nil, append(extra,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("look up the end of %s: %w", topic, err)
	}
	end, _ := ends.Lookup(topic, 0)
	last := map[string]*events.Watermark{}
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("read %s up to offset %d of %d: %w", topic, next, end.Offset, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if w := watermarkOf(r); w != nil {
				last[string(r.Key)] = w
			}
		})
	}
	return last, nil
}

// watermarkOf decodes a record, whichever framing it has. It returns nil for what is none: a control record, a tombstone,
// or a watermark of a release that wrote another schema, which the caller does without.
func watermarkOf(r *kgo.Record) *events.Watermark {
	const confluent, singleObject = 5, 10
	if r.Attrs.IsControl() || len(r.Value) < singleObject {
		return nil
	}
	body := r.Value[confluent:]
	if r.Value[0] == 0xc3 {
		body = r.Value[singleObject:]
	}
	w := new(events.Watermark)
	if w.DecodeAvro(body) != nil {
		return nil
	}
	return w
}
