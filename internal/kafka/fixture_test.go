package kafka_test

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
)

// fixture is a publisher over a broker in memory.
type fixture struct {
	*kafka.Publisher
	t        testing.TB
	network  *virtualNetwork // of openVirtual
	delivery kafka.Delivery
	cluster  *kfake.Cluster
	config   kafka.Config
	metrics  *prometheus.Registry
	reader   *kafkaread.Reader
	client   []kgo.Opt // of every client
}

// types are enough to tell topics apart.
var types = []events.Type{events.TypeSearch, events.TypeFeedback}

func newCluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster
}

func configFor(cluster *kfake.Cluster) kafka.Config {
	c := kafka.DefaultConfig()
	c.Brokers = cluster.ListenAddrs()
	c.Topics.Partitions = 3
	c.Delivery = kafka.AtLeastOnce
	c.Linger = 0
	return c
}

// open brings up a publisher over a cluster. Changes apply to the configuration.
func open(t testing.TB, cluster *kfake.Cluster, client []kgo.Opt, changes ...func(*kafka.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, cluster: cluster, config: configFor(cluster), metrics: prometheus.NewRegistry(), client: client}
	for _, change := range changes {
		change(&f.config)
	}
	require.Empty(t, f.config.Validate())
	p, err := kafka.Open(t.Context(), kafka.Options{
		Config: f.config, Types: types, Log: slog.New(slog.DiscardHandler), Metrics: kafka.NewMetrics(f.metrics), ClientMetrics: f.metrics, Client: client,
	})
	require.NoError(t, err)
	f.Publisher, f.delivery = p, p.AtLeastOnce
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	f.reader = readerOf(f.config, kafkaread.NewDecoder(nil), client...)
	return f
}

func (f *fixture) Deliver(ctx context.Context, b *kafka.Batch) error {
	return f.delivery.Deliver(ctx, b)
}

func readerOf(c kafka.Config, decoder *kafkaread.Decoder, client ...kgo.Opt) *kafkaread.Reader {
	return kafkaread.NewReader(decoder, append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...)}, client...)...)
}

func (f *fixture) read(t testing.TB, topics ...string) []kafkaread.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, err := f.reader.All(ctx, topics...)
	require.NoError(t, err)
	slices.SortFunc(all, func(a, b kafkaread.Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return all
}

// counter returns the sum over all labels of a metric.
func (f *fixture) counter(t testing.TB, name string) (sum float64) {
	t.Helper()
	families, err := f.metrics.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func ptr[T any](v T) *T { return &v }

var eventTime = time.Date(2026, 11, 20, 12, 0, 0, 123e6, time.UTC)

func header(id string) events.Header {
	return events.Header{
		EventID: "ev-" + id, EntityID: "en-" + id, Revision: 1, EventTime: eventTime, EventTimeBasis: "executionStartTime",
		ObservedTime: eventTime.Add(5 * time.Second), ChangedBefore: eventTime.Add(5 * time.Second),
		Endpoint: string(events.Interactions), Source: "retail-us", AccountID: "acc1", BotID: ptr("st-1"),
		ConversationID: ptr("conv-" + id),
	}
}

// searches returns n events, each of a conversation of its own.
func searches(n int) []kafka.Outgoing {
	var out []kafka.Outgoing
	for i := range n {
		id := string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		e := events.New(events.TypeSearch)
		*e.Head() = header(id)
		out = append(out, kafka.Outgoing{Event: e, Key: *e.Head().ConversationID})
	}
	return out
}

func newFeed() kafka.Feed {
	return kafka.Feed{
		Types:     types,
		Watermark: &events.Watermark{Endpoint: string(events.Interactions), Source: "retail-us", AccountID: "acc1", BotID: ptr("st-1")},
	}
}

func eventIDs(records []kafkaread.Record) map[string]int {
	ids := map[string]int{}
	for _, r := range records {
		ids[r.Field("event_id")]++
	}
	return ids
}

// deliver delivers a batch and returns the offsets of its first feed after it.
func (f *fixture) deliver(t *testing.T, b *kafka.Batch) kafka.Offsets {
	t.Helper()
	r := &recording{}
	b.Recording = r
	require.NoError(t, f.Deliver(t.Context(), b))
	return r.after
}

// recording is what is recorded with a batch: it does what a test says, and keeps what it is told.
type recording struct {
	intend  func(kafka.Intent) error
	records func() ([]kafka.Record, error)
	commit  func() error

	after     kafka.Offsets // as last prepared
	committed int
	next      int64
}

// recordingOf returns the recording of a batch that has one of a test.
func recordingOf(b *kafka.Batch) *recording { return b.Recording.(*recording) }

func (r *recording) Intend(i kafka.Intent) error {
	if r.intend == nil {
		return nil
	}
	return r.intend(i)
}

func (r *recording) Prepare(after kafka.Offsets) error {
	r.after = after
	return nil
}

func (r *recording) Records(int) ([]kafka.Record, error) {
	if r.records == nil {
		return nil, nil
	}
	return r.records()
}

func (r *recording) Commit(next int64) error {
	r.next = next
	if r.commit != nil {
		if err := r.commit(); err != nil {
			return err
		}
	}
	r.committed++
	return nil
}
