package kafkaread_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkaread"
)

func value(t testing.TB, id string) []byte {
	t.Helper()
	print := events.Fingerprint(events.TypeSearch)
	value, err := events.AppendAvro(append([]byte{0xC3, 0x01}, print[:]...), &events.Search{
		Header: events.Header{EventID: id, EventTime: time.UnixMilli(1), EntityID: "e"},
	})
	require.NoError(t, err)
	return value
}

// What a transaction has not committed is not read, and an end that is a marker is reached.
func TestReadsWhatIsCommitted(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t", "empty"))
	require.NoError(t, err)
	defer cluster.Close()
	seeds := kgo.SeedBrokers(cluster.ListenAddrs()...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(seeds, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer client.Close()
	send := func(end kgo.TransactionEndTry, ids ...string) {
		require.NoError(t, client.BeginTransaction())
		for _, id := range ids {
			require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Key: []byte(id), Value: value(t, id)}).FirstErr())
		}
		require.NoError(t, client.EndTransaction(ctx, end))
	}
	send(kgo.TryCommit, "a", "b")
	send(kgo.TryAbort, "c")
	send(kgo.TryCommit, "d")
	send(kgo.TryAbort, "e")
	require.NoError(t, client.BeginTransaction())
	require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Value: value(t, "open")}).FirstErr())

	records, err := kafkaread.NewReader(kafkaread.NewDecoder(nil), seeds).All(ctx, "t", "empty")
	require.NoError(t, err)
	var ids []string
	for _, r := range records {
		ids = append(ids, r.Field("event_id"))
		require.Equal(t, r.Field("event_id"), r.Key)
	}
	require.Equal(t, []string{"a", "b", "d"}, ids)
	require.NoError(t, client.AbortBufferedRecords(ctx))
	require.NoError(t, client.EndTransaction(ctx, kgo.TryAbort))
}

// Retention may delete what was there when the ends were listed.
func TestPassesOverWhatIsDeleted(t *testing.T) {
	for name, tt := range map[string]struct {
		before int64 // what is deleted before it is read
		want   []string
	}{
		"nothing": {0, []string{"a", "b", "c", "d"}},
		"some":    {3, []string{"d"}},
		"all":     {4, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "other"))
			require.NoError(t, err)
			defer cluster.Close()
			seeds := kgo.SeedBrokers(cluster.ListenAddrs()...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			client, err := kgo.NewClient(seeds)
			require.NoError(t, err)
			defer client.Close()
			for _, id := range []string{"a", "b", "c", "d"} {
				for _, topic := range []string{"t", "other"} {
					require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(id), Value: value(t, id)}).FirstErr())
				}
			}
			var offsets kadm.Offsets
			offsets.Add(kadm.Offset{Topic: "t", At: tt.before})
			listed := afterListOffsets(func() error {
				deleted, err := kadm.NewClient(client).DeleteRecords(ctx, offsets)
				return errors.Join(err, deleted.Error())
			})
			records, err := kafkaread.NewReader(kafkaread.NewDecoder(nil), seeds, kgo.WithHooks(listed)).All(ctx, "t", "other")
			require.NoError(t, err)
			got := map[string][]string{}
			for _, r := range records {
				got[r.Topic] = append(got[r.Topic], r.Key)
			}
			require.Equal(t, tt.want, got["t"])
			require.Equal(t, []string{"a", "b", "c", "d"}, got["other"])
		})
	}
}

// afterListOffsets is called when a client has its answer to ListOffsets.
type afterListOffsets func() error

func (f afterListOffsets) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == kmsg.ListOffsets.Int16() && err == nil {
		if err := f(); err != nil {
			panic(err)
		}
	}
}

func TestUnreadableValues(t *testing.T) {
	good := value(t, "a")
	for name, tt := range map[string]struct {
		value []byte
		want  string
	}{
		"empty":         {[]byte{}, "neither in Confluent's wire format nor in single-object encoding"},
		"text":          {[]byte("hello world"), "neither in Confluent's wire format"},
		"no registry":   {[]byte{0, 0, 0, 0, 7, 1}, "it names schema 7, and there is no registry to ask"},
		"other schema":  {append([]byte{0xC3, 0x01}, make([]byte, 20)...), "no schema has fingerprint 0000000000000000"},
		"cut short":     {good[:len(good)-1], "decode value"},
		"trailing byte": {append(append([]byte(nil), good...), 0), "1 bytes left over"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kafkaread.NewDecoder(nil).Decode(t.Context(), tt.value)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestMissingTopic(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = kafkaread.NewReader(kafkaread.NewDecoder(nil), kgo.SeedBrokers(cluster.ListenAddrs()...)).All(ctx, "missing")
	require.Error(t, err)
}

func FuzzDecode(f *testing.F) {
	f.Add(value(f, "a"))
	f.Add([]byte{0, 0, 0, 0, 1, 2})
	decoder := kafkaread.NewDecoder(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := decoder.Decode(t.Context(), b)
		if err == nil && fields == nil {
			t.Fatalf("no fields and no error for %x", b)
		}
	})
}
