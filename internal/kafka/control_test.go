package kafka_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentassist-poller/internal/kafka"
)

// What is asked for is told from the beginning and as it comes; what an owner says of it comes with its batch, in both deliveries.
func TestControl(t *testing.T) {
	for _, delivery := range []string{kafka.AtLeastOnce, kafka.ExactlyOnce} {
		t.Run(delivery, func(t *testing.T) {
			f := open(t, newCluster(t), nil, func(c *kafka.Config) { c.Delivery = delivery })
			if delivery == kafka.ExactlyOnce {
				f.takeOver(t)
			}
			command, err := kafka.OpenControl(t.Context(), kafka.Options{Config: f.config, Types: types, Log: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			defer command.Close()
			require.NoError(t, command.Write(t.Context(), kafka.Record{Key: []byte("backfill/a"), Value: []byte("job")}))
			before := f.counter(t, "poller_kafka_watermarks_published_total")

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var told []string
			require.NoError(t, f.Control().Tail(ctx, func(key, value []byte) {
				told = append(told, string(key)+"="+string(value))
				switch len(told) {
				case 2:
					require.NoError(t, command.Write(ctx, kafka.Record{Key: []byte("backfill/a")}))
				case 3:
					cancel()
				}
			}, func() {
				require.Equal(t, []string{"backfill/a=job"}, told)
				batch := &kafka.Batch{Account: "retail-us", Control: []kafka.Record{{Key: []byte("progress/a"), Value: []byte("done")}}}
				require.NoError(t, f.Deliver(ctx, batch))
			}))
			require.Equal(t, []string{"backfill/a=job", "progress/a=done", "backfill/a="}, told)
			require.Equal(t, before, f.counter(t, "poller_kafka_watermarks_published_total"))
		})
	}
}
