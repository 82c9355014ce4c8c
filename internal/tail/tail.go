// Package tail shows events to a person at a terminal, as a consumer sees them: read from the topics, decoded by the schemas that the
// records name.
package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
)

// Options say what to show, and how.
type Options struct {
	Kafka    kafka.Config
	Registry kafka.RegistryConfig
	Log      *slog.Logger

	// Topics are names without the prefix: event types, feedback-negative, watermark, dead-letter. Empty means all event types.
	Topics []string
	Filter Filter
	// Since is the timestamp of the records to begin with.
	Since time.Time
	// Follow goes on when the end of the topics is reached.
	Follow bool
	// Count ends Run after so many records; 0 for no end.
	Count int

	JSON  bool // one object per record, with topic, partition and offset
	Color bool
	Width int // of a line, in characters; 0 for no bound
}

// Filter says which records to show. Empty fields let every record pass.
type Filter struct {
	Conversation string // id of a conversation, session or segment
	Agent        string // id, e-mail address or part of the name, in upper or lower case
	Sentiment    string // of feedback, in upper or lower case
	Bot          string // id
	Source       string // name of an account
}

// Topics returns the names that Options.Topics may have.
func Topics() []string {
	var names []string
	for _, t := range events.Types() {
		names = append(names, string(t))
	}
	return append(names, others...)
}

// others are the topics besides those of event types that a person reads.
var others = []string{"feedback-negative", string(events.TypeWatermark), string(events.TypeDeadLetter)}

var errEnough = errors.New("enough records were shown")

// Run writes a line for every record that passes the filter. It returns nil when ctx ends, when Count is reached, and, without Follow,
// at the end of the topics.
func Run(ctx context.Context, out io.Writer, o Options) error {
	client, err := kafka.Consumer(ctx, o.Kafka, o.Log)
	if err != nil {
		return err
	}
	decoder := kafkaread.NewDecoder(nil)
	if o.Registry.URL != "" {
		registry, err := kafka.NewRegistry(o.Registry, o.Log)
		if err != nil {
			return err
		}
		decoder = kafkaread.NewDecoder(registry.Client())
	}
	reader := kafkaread.NewReader(decoder, client...).Since(o.Since)
	read := reader.Each
	if o.Follow {
		read = reader.Follow
	}
	topics := o.topics()
	if len(o.Topics) == 0 && !o.Follow { // those of types that are switched off need not exist
		exist, err := reader.Topics(ctx, o.Kafka.TopicPrefix+".")
		if err != nil {
			return err
		}
		topics = slices.DeleteFunc(topics, func(name string) bool { return !slices.Contains(exist, name) })
	}
	shown := 0
	err = read(ctx, func(r *kafkaread.Record) error {
		if r.Value == nil || !o.Filter.passes(r.Value) {
			return nil
		}
		if err := o.write(out, r); err != nil {
			return err
		}
		if shown++; shown == o.Count {
			return errEnough
		}
		return nil
	}, topics...)
	if errors.Is(err, errEnough) || errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Validate returns what is wrong with the options; it does no I/O.
func (o *Options) Validate() error {
	for _, name := range o.Topics {
		if !slices.Contains(Topics(), name) {
			return fmt.Errorf("there is no topic %q; want one of %s", name, strings.Join(Topics(), ", "))
		}
	}
	return nil
}

// topics returns the full names of what is to be read.
func (o *Options) topics() []string {
	wanted := o.Topics
	if len(wanted) == 0 {
		wanted = Topics()[:len(events.Types())]
	}
	out := make([]string, len(wanted))
	for i, name := range wanted {
		out[i] = o.topic(name)
	}
	return out
}

// topic returns the full name of a topic. Those of events are named after types, and the others in the same way.
func (o *Options) topic(name string) string {
	return kafka.NewNames(o.Kafka.TopicPrefix).Event(events.Type(name))
}

func (f *Filter) passes(value map[string]any) bool {
	is := func(name, want string) bool { return want == "" || value[name] == want }
	agent, _ := value["agent"].(map[string]any)
	return is("bot_id", f.Bot) && is("source", f.Source) &&
		(is("conversation_id", f.Conversation) || is("session_id", f.Conversation) || is("segment_id", f.Conversation)) &&
		(f.Sentiment == "" || strings.EqualFold(text(value["sentiment"]), f.Sentiment)) &&
		(f.Agent == "" || strings.EqualFold(text(agent["agent_id"]), f.Agent) || strings.EqualFold(text(agent["email"]), f.Agent) ||
			strings.Contains(strings.ToLower(text(agent["name"])), strings.ToLower(f.Agent)))
}

func (o *Options) write(out io.Writer, r *kafkaread.Record) error {
	topic := strings.TrimPrefix(r.Topic, o.topic(""))
	if !o.JSON {
		line := Line(topic, r.Value)
		if o.Width > 0 {
			line = ShortLine(topic, r.Value, time.Now(), o.Width)
		}
		_, err := fmt.Fprintln(out, o.paint(line, r.Value))
		return err
	}
	return json.NewEncoder(out).Encode(struct {
		Topic     string         `json:"topic"`
		Partition int32          `json:"partition"`
		Offset    int64          `json:"offset"`
		Key       string         `json:"key"`
		Value     map[string]any `json:"value"`
	}{r.Topic, r.Partition, r.Offset, r.Key, r.Value})
}

// paint cuts a line to the width of the terminal, and colours what is bad and its all-clear.
func (o *Options) paint(line string, value map[string]any) string {
	const red, green, plain = "\x1b[31m", "\x1b[32m", "\x1b[0m"
	if r := []rune(line); o.Width > 0 && len(r) > o.Width {
		line = string(r[:o.Width-1]) + "…"
	}
	if !o.Color {
		return line
	}
	switch value["sentiment"] {
	case events.SentimentNegative:
		return red + line + plain
	case events.SentimentPositive, events.SentimentWithdrawn:
		return green + line + plain
	}
	return line
}
