// Package asyncapi describes the topics of a configuration as an AsyncAPI 3 document: what their records hold, how they are keyed, and
// how the topics are made. It says nothing of where brokers and registry are.
package asyncapi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
)

// Options say what to describe.
type Options struct {
	Kafka kafka.Config
	// Types are the event types that are published.
	Types []events.Type
	// Registry says that values name their schema by its id in a registry.
	Registry bool
	// AnyPrefix makes the prefix of topics a parameter, with the configured one as its default.
	AnyPrefix bool
	// SchemasAt is the address of the directory of .avsc files to refer to. Empty: the document has the schemas in full.
	SchemasAt string
}

// Document returns the document as YAML.
func Document(o Options) ([]byte, error) {
	text, err := yaml.MarshalWithOptions(document(o), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write the AsyncAPI document: %w", err)
	}
	return text, nil
}

// object is a mapping whose members stay in order.
type object = yaml.MapSlice

func member(name string, value any) yaml.MapItem { return yaml.MapItem{Key: name, Value: value} }

// refer returns a reference to a part of the document.
func refer(to ...string) object { return object{member("$ref", "#/"+strings.Join(to, "/"))} }

const (
	avro           = "application/vnd.apache.avro;version=1.9.0"
	mediaAvro      = "application/avro"
	bindingVersion = "0.5.0"
	prefixName     = "topicPrefix"
	headerSuffix   = "-headers"
	tombstone      = "tombstone"
)

func document(o Options) object {
	topics := kafka.Catalog(o.Kafka, o.Types)
	channels, operations := object{}, object{}
	operation := func(action, topic string) {
		operations = append(operations, member(action+"-"+topic, object{member("action", action), member("channel", refer("channels", topic))}))
	}
	for _, t := range topics {
		channels = append(channels, member(t.Suffix, o.channel(t)))
		operation("send", t.Suffix)
		if t.Type == "" {
			operation("receive", t.Suffix)
		}
	}
	return object{
		member("asyncapi", "3.0.0"),
		member("info", object{
			member("title", "agentassist-poller"),
			member("version", "v1"),
			member("description", o.about()),
			member("license", object{member("name", "Apache-2.0"), member("url", "https://www.apache.org/licenses/LICENSE-2.0")}),
		}),
		member("defaultContentType", mediaAvro),
		member("servers", object{member("kafka", object{
			member("host", "{broker}"),
			member("protocol", "kafka"),
			member("description", "The Kafka cluster. Its addresses, and how to log in, are not part of this document."),
			member("variables", object{member("broker", object{
				member("description", "Host and port of a broker of the cluster."), member("examples", []string{"localhost:9092"}),
			})}),
		})}),
		member("channels", channels),
		member("operations", operations),
		member("components", o.components(topics)),
	}
}

func (o *Options) about() string {
	text := "Events of agent-assist conversations, and what is complete of them. Read committed records only (isolation.level=read_committed). " +
		"The bindings of channels say how the poller creates topics; topics that it finds may differ. " +
		"All topics of events have the same number of partitions, and keys are placed as Java's default partitioner does, so that streams join."
	if o.Registry {
		return text + " Values are in Confluent's wire format: a zero, the id of the schema in four bytes, and the Avro body."
	}
	return text + " Values are in Avro's single-object encoding: C3 01, the fingerprint of the schema in eight bytes, and the Avro body."
}

func (o *Options) channel(t kafka.TopicInfo) object {
	c := object{member("address", t.Name)}
	if o.AnyPrefix {
		c = object{member("address", "{"+prefixName+"}."+t.Suffix), member("parameters", object{member(prefixName, refer("components", "parameters", prefixName))})}
	}
	messages := object{member(messageOf(t), refer("components", "messages", messageOf(t)))}
	if hasTombstones(t) {
		messages = append(messages, member(tombstone, refer("components", "messages", tombstone)))
	}
	kind := "event"
	switch {
	case t.Latest:
		kind = "latest"
	case t.Type == "":
		kind = "internal"
	case !t.Events:
		kind = t.Suffix
	}
	tags := []object{{member("name", kind)}}
	if t.Latest || t.Events && !t.Type.OnByDefault() {
		tags = append(tags, object{member("name", "optional")})
	}
	return append(c,
		member("description", o.aboutTopic(t)),
		member("messages", messages),
		member("tags", tags),
		member("bindings", object{member("kafka", binding(t))}),
	)
}

func (o *Options) aboutTopic(t kafka.TopicInfo) string {
	switch names := kafka.NewNames(o.Kafka.TopicPrefix); {
	case t.Latest:
		return fmt.Sprintf("The last revision of each entity of %s, with a null value once another entity has taken over. Written only where kafka.latest names %[1]s.", t.Type)
	case t.Name == names.Negative():
		return "A copy of every negative feedback, and of every later revision of it, so that an alert also sees the all-clear."
	case t.Name == names.Control():
		return "Jobs, such as backfills, and their progress. The poller's own: it reads the topic itself, and the form may change with any version."
	case t.Name == names.Checkpoint():
		return "What was read and published. The poller's own: it reads the topic itself, and the form may change with any version."
	case t.Events && !t.Type.OnByDefault():
		return events.Doc(t.Type) + fmt.Sprintf(" Written only where events.%s.enabled is true.", t.Type)
	case t.Type == events.TypeWatermark:
		return events.Doc(t.Type) + " The last record of each key holds. A null value: the endpoint is no longer read."
	}
	return events.Doc(t.Type)
}

func hasTombstones(t kafka.TopicInfo) bool { return t.Latest || t.Type == events.TypeWatermark }

// messageOf returns the name of the message of a topic: topics with the same records share it.
func messageOf(t kafka.TopicInfo) string {
	if t.Type == "" || t.Latest {
		return t.Suffix
	}
	return string(t.Type)
}

func binding(t kafka.TopicInfo) object {
	b := object{member("partitions", t.Partitions)}
	if t.Replicas > 0 {
		b = append(b, member("replicas", t.Replicas))
	}
	settings := object{}
	if policy := t.Config["cleanup.policy"]; policy != "" {
		settings = append(settings, member("cleanup.policy", strings.Split(policy, ",")))
	}
	for _, name := range []string{"retention.ms", "max.message.bytes"} {
		if n, err := strconv.ParseInt(t.Config[name], 10, 64); err == nil {
			settings = append(settings, member(name, n))
		}
	}
	return append(b, member("topicConfiguration", settings), member("bindingVersion", bindingVersion))
}

func (o *Options) components(topics []kafka.TopicInfo) object {
	messages, schemas, done := object{}, object{}, map[string]bool{}
	once := func(name string) bool {
		first := !done[name]
		done[name] = true
		return first
	}
	for _, t := range topics {
		if name := messageOf(t); once("message " + name) {
			messages = append(messages, member(name, o.message(t)))
		}
		if hasTombstones(t) && once(tombstone) {
			messages = append(messages, member(tombstone, object{
				member("name", tombstone), member("summary", "A null value. What the key names has ended."),
				member("payload", object{member("type", "null")}),
			}))
		}
		if t.Type != "" && once("schema "+string(t.Type)) {
			schemas = append(schemas, member(string(t.Type), object{member("schemaFormat", avro), member("schema", o.schema(t.Type))}))
			if t.Events && o.Kafka.Headers {
				schemas = append(schemas, member(string(t.Type)+headerSuffix, headers(t.Type)))
			}
		}
	}
	c := object{}
	if o.AnyPrefix {
		c = append(c, member("parameters", object{member(prefixName, object{
			member("default", o.Kafka.TopicPrefix), member("description", "kafka.topic_prefix: what the names of all topics begin with."),
		})}))
	}
	return append(c, member("messages", messages), member("schemas", schemas))
}

func (o *Options) message(t kafka.TopicInfo) object {
	switch names := kafka.NewNames(o.Kafka.TopicPrefix); t.Name {
	case names.Control():
		return object{member("name", t.Suffix), member("contentType", "application/json"), member("payload", object{member("type", "object")})}
	case names.Checkpoint():
		return object{member("name", t.Suffix), member("contentType", "application/octet-stream")}
	}
	kafkaBinding := object{member("key", object{member("type", "string"), member("description", aboutKey(t))})}
	if o.Registry {
		kafkaBinding = append(kafkaBinding, member("schemaIdLocation", "payload"), member("schemaIdPayloadEncoding", "confluent"),
			member("schemaLookupStrategy", "TopicNameStrategy"))
	}
	m := object{
		member("name", messageOf(t)),
		member("summary", events.Doc(t.Type)),
		member("contentType", mediaAvro),
	}
	if t.Events && o.Kafka.Headers {
		m = append(m, member("headers", refer("components", "schemas", string(t.Type)+headerSuffix)))
	}
	return append(m,
		member("payload", refer("components", "schemas", string(t.Type))),
		member("bindings", object{member("kafka", append(kafkaBinding, member("bindingVersion", bindingVersion)))}),
	)
}

func aboutKey(t kafka.TopicInfo) string {
	switch {
	case t.Latest:
		return "entity_id, as UTF-8."
	case t.Type == events.TypeWatermark:
		return "source/bot/endpoint, as UTF-8, with - in place of the bot where the endpoint is read for the whole account."
	case t.Type == events.TypeDeadLetter:
		return "conversation_id, else raw_hash, as UTF-8."
	}
	return "conversation_id, else session_id, else segment_id, as UTF-8. All revisions of an entity have the same key."
}

// headers returns what the headers of events of a type are, as a schema.
func headers(t events.Type) object {
	var required []string
	properties := object{}
	for _, h := range kafka.EventHeaders(t) {
		s := object{member("type", "string"), member("description", h.Doc)}
		switch {
		case len(h.Values) == 1:
			s = append(s, member("const", h.Values[0]))
		case len(h.Values) > 1:
			s = append(s, member("enum", h.Values))
		case h.Format != "":
			s = append(s, member("format", h.Format))
		case h.Pattern != "":
			s = append(s, member("pattern", h.Pattern))
		}
		properties = append(properties, member(h.Name, s))
		if !h.Optional {
			required = append(required, h.Name)
		}
	}
	return object{member("type", "object"), member("required", required), member("properties", properties)}
}

// schema returns the Avro schema of a type as its file has it, or a reference to the file.
func (o *Options) schema(t events.Type) (schema object) {
	if o.SchemasAt != "" {
		return object{member("$ref", o.SchemasAt+"/"+string(t)+".avsc")}
	}
	if err := yaml.UnmarshalWithOptions([]byte(events.Schema(t)), &schema, yaml.UseOrderedMap()); err != nil {
		panic(fmt.Sprintf("asyncapi: schema of %s: %v", t, err)) // it is part of the binary, and of every test
	}
	return schema
}
