package asyncapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"agentassist-poller/internal/asyncapi"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/schemas"
)

type node = map[string]any

// full returns the document of everything that there can be, with the schemas in it.
func full(t *testing.T, change func(*asyncapi.Options)) node {
	t.Helper()
	o := asyncapi.Options{Kafka: kafka.DefaultConfig(), Types: events.Types(), Registry: true}
	o.Kafka.Brokers = []string{"broker.internal.example:9092"}
	for _, typ := range o.Types {
		o.Kafka.Latest = append(o.Kafka.Latest, string(typ))
	}
	if change != nil {
		change(&o)
	}
	text, err := asyncapi.Document(o)
	require.NoError(t, err)
	require.NotContains(t, string(text), "internal.example", "it says where the brokers are")
	return parse(t, text)
}

func parse(t *testing.T, text []byte) node {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	require.NoError(t, err)
	return v.(node)
}

// at returns what is at a path of a document, through references.
func at(t *testing.T, document node, path ...string) any {
	t.Helper()
	var v any = document
	for _, name := range path {
		v = v.(node)[name]
		if ref, ok := v.(node); ok && ref["$ref"] != nil {
			to, inside := strings.CutPrefix(ref["$ref"].(string), "#/")
			require.True(t, inside, ref["$ref"])
			v = at(t, document, strings.Split(to, "/")...)
		}
		require.NotNil(t, v, "%v", path)
	}
	return v
}

func compile(t *testing.T, schema any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("schema.json", schema))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}

// docs/asyncapi.yaml is what go generate ./internal/asyncapi writes.
func TestTreeIsGenerated(t *testing.T) {
	want, err := asyncapi.Published()
	require.NoError(t, err)
	got, err := os.ReadFile(asyncapi.Path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run go generate ./internal/asyncapi")
}

// AsyncAPI's own JSON Schema, which knows Kafka's bindings and Avro, takes the document in each of its forms.
func TestDocumentIsAsyncAPI(t *testing.T) {
	text, err := os.ReadFile("testdata/asyncapi-3.0.0.json")
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	schema := compile(t, v)
	published, err := asyncapi.Published()
	require.NoError(t, err)
	for name, document := range map[string]node{
		"published": parse(t, published),
		"in full":   full(t, nil),
		"least": full(t, func(o *asyncapi.Options) {
			o.Kafka.Headers, o.Kafka.Latest, o.Kafka.Delivery, o.Registry = false, nil, kafka.AtLeastOnce, false
			o.Types = []events.Type{events.TypeSearch}
		}),
		"overridden": full(t, func(o *asyncapi.Options) {
			o.Kafka.Topics.Overrides = map[string]kafka.TopicOverride{
				"search": {ReplicationFactor: 2, Config: map[string]string{"retention.ms": "-1", "cleanup.policy": "compact,delete"}},
			}
		}),
	} {
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		require.NotEmpty(t, references(document))
		for _, ref := range references(document) {
			if to, inside := strings.CutPrefix(ref, "#/"); inside {
				require.NotPanics(t, func() { at(t, document, strings.Split(to, "/")...) }, "%s: %s leads nowhere", name, ref)
			} else {
				_, err := fs.Stat(schemas.Files, strings.TrimPrefix(ref, "../schemas/"))
				require.NoError(t, err, "%s: %s leads nowhere", name, ref)
			}
		}
	}
	broken := full(t, nil)
	at(t, broken, "channels", "search", "bindings", "kafka").(node)["partitions"] = "twelve"
	require.Error(t, schema.Validate(broken), "the schema does not look at bindings")
	broken = full(t, nil)
	at(t, broken, "components", "schemas", "search", "schema").(node)["fields"] = "none"
	require.Error(t, schema.Validate(broken), "the schema does not look at Avro")
}

// references returns where a document points to.
func references(v any) (to []string) {
	switch v := v.(type) {
	case node:
		if ref, ok := v["$ref"].(string); ok {
			to = append(to, ref)
		}
		for _, x := range v {
			to = append(to, references(x)...)
		}
	case []any:
		for _, x := range v {
			to = append(to, references(x)...)
		}
	}
	return to
}

// The schemas in the document are those that are registered.
func TestSchemasInFull(t *testing.T) {
	document := full(t, nil)
	for _, typ := range append(events.Types(), events.TypeWatermark, events.TypeDeadLetter) {
		got, err := json.Marshal(at(t, document, "components", "schemas", string(typ), "schema"))
		require.NoError(t, err)
		require.JSONEq(t, events.Schema(typ), string(got), typ)
	}
}

// The document has the configured prefix, and leaves out what is not configured.
func TestDocumentOfAConfiguration(t *testing.T) {
	document := full(t, func(o *asyncapi.Options) {
		o.Kafka.TopicPrefix, o.Kafka.Latest, o.Kafka.Headers, o.Registry = "retail.aa", []string{"feedback"}, false, false
		o.Types = []events.Type{events.TypeSearch, events.TypeFeedback}
	})
	var addresses []string
	for _, c := range document["channels"].(node) {
		addresses = append(addresses, c.(node)["address"].(string))
	}
	require.ElementsMatch(t, []string{
		"retail.aa.search", "retail.aa.feedback", "retail.aa.feedback-negative", "retail.aa.feedback-latest", "retail.aa.watermark",
		"retail.aa.dead-letter", "retail.aa.control", "retail.aa.checkpoint",
	}, addresses)
	message := at(t, document, "channels", "search", "messages", "search").(node)
	require.NotContains(t, message, "headers")
	require.NotContains(t, at(t, message, "bindings", "kafka"), "schemaIdLocation")
	require.Contains(t, document["info"].(node)["description"], "single-object")
}

// Every topic, key, header and value that the poller writes is in the document.
func TestRecordsAreDescribed(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	defer cluster.Close()
	c := kafka.DefaultConfig()
	c.Brokers, c.Topics.Partitions, c.Linger = cluster.ListenAddrs(), 1, 0
	for _, typ := range events.Types() {
		c.Latest = append(c.Latest, string(typ))
	}
	document := full(t, func(o *asyncapi.Options) { o.Kafka, o.Registry = c, false })
	channels := map[string]node{} // by address
	for _, channel := range document["channels"].(node) {
		channels[channel.(node)["address"].(string)] = channel.(node)
	}

	options := kafka.Options{Config: c, Types: events.Types(), Log: slog.New(slog.DiscardHandler)}
	first, err := kafka.Open(t.Context(), options) // with transactions, so that there is a checkpoint topic
	require.NoError(t, err)
	require.ElementsMatch(t, first.Topics.Created, slices.Collect(maps.Keys(channels)))
	require.NoError(t, first.Close(t.Context()))
	options.Config.Delivery, options.Config.DataSchema, options.Config.Traceparent = kafka.AtLeastOnce, "https://schemas.example.com", true
	publisher, err := kafka.Open(t.Context(), options)
	require.NoError(t, err)
	defer func() { require.NoError(t, publisher.Close(context.WithoutCancel(t.Context()))) }()
	topics := written(t, publisher)

	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	missing := map[string]bool{}
	for _, topic := range topics {
		missing[topic] = true
	}
	for len(missing) > 0 {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			delete(missing, r.Topic)
			require.Contains(t, channels, r.Topic)
			described(t, document, channels[r.Topic], r)
		})
	}
}

// written publishes a record of every kind, and returns the topics of records that are Avro.
func written(t *testing.T, p *kafka.Publisher) []string {
	t.Helper()
	now := time.Now()
	batch := &kafka.Batch{
		Account: "retail-us", Ended: []string{"retail-us/-/call-details"},
		Dead: []events.DeadLetter{{Stage: "decode", Reason: "no id", Source: "retail-us", RawBytes: []byte("{}"), ObservedTime: now}},
		Feeds: []kafka.Feed{{
			Types:     events.Types(),
			Watermark: &events.Watermark{Source: "retail-us", Endpoint: "interaction-details", AccountID: "acc1", PublishedTime: now},
		}},
	}
	topics := []string{p.Topics.Negative(), p.Topics.Watermark(), p.Topics.DeadLetter()}
	for _, typ := range events.Types() {
		e := events.New(typ)
		*e.Head() = events.Header{
			EventID: "ev-" + string(typ), EntityID: "en-" + string(typ), Revision: 1, EventTime: now, ChangedBefore: now, ObservedTime: now,
			AccountID: "a b", BotID: new("st-1"), Source: "retail-us",
		}
		if f, ok := e.(*events.Feedback); ok {
			f.Sentiment = events.SentimentNegative
		}
		batch.Events = append(batch.Events, kafka.Outgoing{Event: e, Key: "c-1", Negative: events.Negative(e)})
		topics = append(topics, p.Topics.Event(typ), p.Topics.Latest(typ))
	}
	gone := &events.Search{Header: *batch.Events[0].Event.Head()}
	gone.EventID, gone.Revision, gone.SupersededBy, gone.BotID = "ev-gone", 2, new("en-other"), nil
	batch.Events = append(batch.Events, kafka.Outgoing{Event: gone, Key: "c-1"})
	traced := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	require.NoError(t, p.AtLeastOnce.Deliver(trace.ContextWithSpanContext(t.Context(), traced), batch))
	return topics
}

// described fails the test unless the channel describes a record.
func described(t *testing.T, document, channel node, r *kgo.Record) {
	t.Helper()
	messages := channel["messages"].(node)
	if r.Value == nil {
		require.Contains(t, messages, "tombstone", r.Topic)
		return
	}
	names := slices.DeleteFunc(slices.Collect(maps.Keys(messages)), func(name string) bool { return name == "tombstone" })
	require.Len(t, names, 1)
	message := at(t, document, "components", "messages", names[0]).(node)

	require.Equal(t, "string", at(t, message, "bindings", "kafka", "key", "type"))
	headers := node{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	if message["headers"] == nil {
		require.Empty(t, headers, r.Topic)
	} else {
		schema := at(t, document, "components", "messages", names[0], "headers").(node)
		require.NoError(t, compile(t, schema).Validate(headers), r.Topic)
		require.ElementsMatch(t, slices.Collect(maps.Keys(schema["properties"].(node))), slices.Collect(maps.Keys(headers)), r.Topic)
		require.Equal(t, headers["content-type"], message["contentType"])
	}

	payload := at(t, document, "components", "messages", names[0], "payload").(node)
	require.Equal(t, "application/vnd.apache.avro;version=1.9.0", payload["schemaFormat"])
	text, err := json.Marshal(payload["schema"])
	require.NoError(t, err)
	schema, err := avro.Parse(string(text))
	require.NoError(t, err)
	_, body, err := avro.SingleObjectFingerprint(r.Value)
	require.NoError(t, err)
	var value node
	rest, err := schema.Decode(body, &value)
	require.NoError(t, err, r.Topic)
	require.Empty(t, rest, r.Topic)
	if key := at(t, message, "bindings", "kafka", "key", "description").(string); strings.HasPrefix(key, "entity_id") {
		require.EqualValues(t, value["entity_id"], r.Key, r.Topic)
	}
}
