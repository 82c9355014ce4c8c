package kafka

import "agentassist-poller/internal/events"

// A TopicInfo says what a topic is, for documents.
type TopicInfo struct {
	Suffix string // its name without the prefix
	Name   string
	// Type is the one whose schema the values have; empty for topics that are the poller's own.
	Type events.Type
	// Events says that the records are events, with the headers of EventHeaders.
	Events bool
	// Latest says that the topic keeps the last revision of each entity, and that the key is the entity.
	Latest bool
	// Partitions, Replicas and Config are those with which the poller creates the topic. Replicas of 0 follow from the number of brokers.
	Partitions int32
	Replicas   int16
	Config     map[string]string
}

// Catalog returns the topics that a configuration needs for the enabled event types, in the order of the documentation.
func Catalog(c Config, types []events.Type) []TopicInfo {
	var all []TopicInfo
	for _, s := range specs(c, types) {
		all = append(all, TopicInfo{
			Suffix: s.suffix, Name: s.name, Type: s.valueType(), Events: s.kind.shared(), Latest: s.kind == kindLatest,
			Partitions: s.partitions, Replicas: s.replicas, Config: s.config,
		})
	}
	return all
}

// A HeaderInfo says what a header of events is, for documents.
type HeaderInfo struct {
	Name, Doc string
	Format    string   // in JSON Schema's words: date-time, uri or uri-reference; empty for plain text
	Pattern   string   // empty: any text
	Values    []string // all that it may be; empty: any text
	Optional  bool     // not every event of the type has it
}

// EventHeaders returns the headers of events of type t. A test holds them to what is written.
func EventHeaders(t events.Type) []HeaderInfo {
	all := []HeaderInfo{
		{Name: headerSpecVersion, Doc: "Version of CloudEvents.", Values: []string{specVersion}},
		{Name: headerType, Doc: "Type of the event, and version of its schema.", Values: []string{eventType(t)}},
		{Name: headerSource, Doc: "Account and bot: /accounts/{account_id}/bots/{bot_id}, or without the bot where the event has none.", Format: "uri-reference"},
		{Name: headerID, Doc: "event_id. Equal ids mean equal events."},
		{Name: headerSubject, Doc: "entity_id: the same for all revisions of one thing."},
		{Name: headerTime, Doc: "event_time, UTC.", Format: "date-time"},
		{Name: headerRevision, Doc: "revision: 1 first, a further one for each change.", Pattern: "^[1-9][0-9]*$"},
		{Name: headerContentType, Doc: "Media type of the value.", Values: []string{contentType}},
		{Name: headerDataSchema, Doc: "Address of the schema. Only where kafka.dataschema is set.", Format: "uri", Optional: true},
		{
			Name: headerTraceparent, Doc: "The trace span in which the event was published. Only where kafka.traceparent is true.",
			Pattern: "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", Optional: true,
		},
	}
	if t == events.TypeFeedback {
		all = append(all, HeaderInfo{
			Name: headerSentiment, Doc: "sentiment. With a ce_revision above 1, any value but NEGATIVE is an all-clear on feedback-negative.",
			Values: []string{events.SentimentPositive, events.SentimentNegative, events.SentimentNeutral, events.SentimentUnknown, events.SentimentWithdrawn},
		})
	}
	return all
}
