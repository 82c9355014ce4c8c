// Package events holds the event types that the poller publishes, what identifies them, and their Avro form.
//
// The schemas in schemas/*.avsc are the truth: the event structs, their content hashes and their merging are generated
// from them (go generate). The package knows nothing of HTTP, Kafka or the checkpoint.
package events

import (
	"math"
	"time"
)

// Agent is who served. It is the same record in every schema.
type Agent struct {
	AgentID *string `avro:"agent_id" json:"agent_id,omitempty" stored:"0" personal:"id"`
	Name    *string `avro:"name" json:"name,omitempty" stored:"1" personal:"name"`
	Email   *string `avro:"email" json:"email,omitempty" stored:"2" personal:"contact"`
}

// Queue is where a conversation waited. It is the same record in every schema.
type Queue struct {
	QueueID   *string `avro:"queue_id" json:"queue_id,omitempty" stored:"0"`
	QueueName *string `avro:"queue_name" json:"queue_name,omitempty" stored:"1"`
}

// Header is what every event carries before its type's own fields. Times are UTC with millisecond precision.
//
// Four tags make four decisions that do not depend on each other: avro names the field in the schema, json says what a dead
// letter shows of it, stored is its number in the checkpoint, for good, or - if an observation does not include it (see
// package revise), and personal is the class of personal data that it holds (see package privacy).
type Header struct {
	EventID        string     `avro:"event_id" json:"-" stored:"-"`
	EntityID       string     `avro:"entity_id" json:"entity_id" stored:"-"`
	Revision       int64      `avro:"revision" json:"-" stored:"-"`
	EventTime      time.Time  `avro:"event_time" json:"event_time" stored:"3"`
	EventTimeBasis string     `avro:"event_time_basis" json:"event_time_basis" stored:"4"`
	ChangedAfter   *time.Time `avro:"changed_after" json:"-" stored:"-"`
	ChangedBefore  time.Time  `avro:"changed_before" json:"-" stored:"-"`
	ObservedTime   time.Time  `avro:"observed_time" json:"-" stored:"-"`
	Late           bool       `avro:"late" json:"-" stored:"-"`
	Replay         bool       `avro:"replay" json:"-" stored:"-"`
	Endpoint       string     `avro:"endpoint" json:"-" stored:"-"`
	Source         string     `avro:"source" json:"-" stored:"-"`
	AccountID      string     `avro:"account_id" json:"account_id" stored:"-"`
	BotID          *string    `avro:"bot_id" json:"bot_id,omitempty" stored:"-"`
	ConversationID *string    `avro:"conversation_id" json:"conversation_id,omitempty" stored:"14"`
	SessionID      *string    `avro:"session_id" json:"session_id,omitempty" stored:"15"`
	SegmentID      *string    `avro:"segment_id" json:"segment_id,omitempty" stored:"16"`
	Channel        *string    `avro:"channel" json:"channel,omitempty" stored:"17"`
	Agent          *Agent     `avro:"agent" json:"agent,omitempty" stored:"18"`
	Queue          *Queue     `avro:"queue" json:"queue,omitempty" stored:"19"`
	SupersededBy   *string    `avro:"superseded_by" json:"-" stored:"-"`
}

// Event is one of the generated event structs, always by pointer.
type Event interface {
	// EventType returns the type.
	EventType() Type
	// Head returns the header, which the caller may change.
	Head() *Header
	// AppendContent appends to dst the upstream content that counts under a recipe, in a canonical form. Two observations of an
	// entity are the same version if and only if their content is equal.
	AppendContent(dst []byte, recipe int) []byte
}

// Observation is what one row shows of one entity. Package extract fills in the fields of the event's header that come from the row: entity,
// times, ids, agent, queue and channel. Whether the observation becomes an event is decided by package revise.
type Observation struct {
	Event    Event
	Endpoint Endpoint
	// Plain is Event as it was before personal data was concealed in it, nil if none was. Package revise sets it.
	Plain Event
	// Row is the time by which the endpoint selects the row.
	Row time.Time
	// Anchor leads the key under which a new entity is stored. Upstream may correct this time: then it only says where to look first.
	// It never changes if it comes from an id.
	Anchor time.Time
	// Shared entities are found wherever they are stored within Slack of Anchor: several rows, of one or more endpoints, show them, or
	// their time may change.
	Shared bool
	Slack  time.Duration
	// Merged entities are shown by a second endpoint as well: what each of the two shows is kept and merged.
	Merged bool
	// Home is the id of the entity next to which this one is stored: the one that its identity depends on, for example its segment. An
	// entity that is its own Home has others next to it. Home is empty if the anchor decides.
	Home string
	// Parent is the id of the row if several rows of the endpoint may show the entity: a run that spans segments, a request that two
	// documents list. Endpoint and Parent are the place that shows the entity. It is empty if only one row can.
	Parent string
	// Rank orders the places of one endpoint: the newest has the highest.
	Rank int64
	// Copy is 0 unless the page shows the row several times: then it is 0 in the copy that has progressed furthest, and rises.
	Copy int
	// Named is the id that the entity has if another person than the first speaks: the agent is part of it. It is empty if only one person
	// can speak, or if the row does not say who does.
	Named string
	// Group is an id that feedback has in common which one row shows and nothing else in it names. An observation whose entity has that id
	// stands for all feedback of the group that the row has shown and shows no more. It is empty for all else.
	Group string
	// Supersedes is the id of the entity that this one replaces, if that one was ever published: the bot-only session that gained a
	// conversation. It is empty if there is none.
	Supersedes string
}

// Anywhere is the Slack of an entity whose times may all change.
const Anywhere time.Duration = math.MaxInt64
