// Package explain answers why an event is there, or why it is not: it compares what the API shows of one conversation now with what is on
// the topics, and with how far the poller has read. An audit does the same for all that the API shows of a span.
//
// It asks the API a few times, which costs as many requests of the account's budget, and changes nothing.
package explain

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/kore"
	"agentassist-poller/internal/poll"
)

// Options say what to explain, and where to look.
type Options struct {
	// ID is that of a conversation, session, segment, entity or event.
	ID string
	// Accounts are those that may have it.
	Accounts []Account
	Kafka    kafka.Config
	Registry kafka.RegistryConfig
	Log      *slog.Logger
	// Since is the timestamp of the records from which the topics are read. The API is asked from then on too, where it finds a
	// conversation by its id.
	Since time.Time
	// Transport replaces the transport to the API; nil: the client's own.
	Transport http.RoundTripper
}

// An Account is one that is asked: what is read of it, and how.
type Account struct {
	Poll poll.Options
	API  kore.Config
}

// A Report is what was found of one conversation. It holds no text of the conversation itself.
type Report struct {
	ID string `json:"id"`
	// Conversation and Session are the ids that it was found to have.
	Conversation string `json:"conversation_id,omitempty"`
	Session      string `json:"session_id,omitempty"`
	// Answers say what the API shows now, an endpoint each.
	Answers []Answer `json:"api"`
	// Units are how far the endpoints are read that were asked.
	Units []Unit `json:"read"`
	// Entities are what is published or shown, in the order of their event times.
	Entities []*Entity `json:"events"`
	// DeadLetters are the records of the conversation that could not be read or published.
	DeadLetters []DeadLetter `json:"dead_letters"`
}

// An Entity is a thing of which events are, or should be, on the topics.
type Entity struct {
	ID   string      `json:"entity_id"`
	Type events.Type `json:"type"`
	// Time is the event_time, of the last revision if there is any.
	Time      time.Time  `json:"event_time"`
	Revisions []Revision `json:"revisions"`
	// State says how the last revision compares with what the API shows now, and Why what a person has to know of it.
	State State  `json:"state"`
	Why   string `json:"why,omitempty"`

	shown   events.Event // what the API shows now, nil if nothing
	content []byte       // of shown; nil if the API shows nothing
	by      events.Endpoint
	row     time.Time // by which the endpoint selects the row
	unit    unitKey
	audited // is set by an audit only
}

// State is how what is published compares with what the API shows.
type State string

// The states. Missing and Different may pass: what the API has shown only just now is not published yet.
const (
	Same      State = "same"
	Missing   State = "missing"   // shown, and not published
	Different State = "different" // shown with other content than that of the last revision
	NotShown  State = "not-shown" // published, and not in any answer
	Unchecked State = "unchecked" // no answer could show it
	Off       State = "off"       // shown, and not published because events of the type are not
)

// A Revision is an event on a topic.
type Revision struct {
	Revision  int64     `json:"revision"`
	EventID   string    `json:"event_id"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Published time.Time `json:"published"` // timestamp of the record
	// SupersededBy is the entity that replaces this one, if this is its last revision.
	SupersededBy string `json:"superseded_by,omitempty"`

	endpoint events.Endpoint
	observed time.Time // when the answer that showed it had come
}

// A DeadLetter is a record of the conversation on the topic of dead letters.
type DeadLetter struct {
	Stage     string    `json:"stage"`
	Reason    string    `json:"reason"`
	Endpoint  string    `json:"endpoint"`
	Entity    string    `json:"entity_id,omitempty"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Published time.Time `json:"published"`
}

// A Unit is how far an endpoint of a bot, or of the account, is read: its last watermark.
type Unit struct {
	Account      string     `json:"account"`
	Endpoint     string     `json:"endpoint"`
	Bot          string     `json:"bot_id,omitempty"`
	CompleteFrom *time.Time `json:"complete_from"`
	CompleteUpTo *time.Time `json:"complete_up_to"`
	ReadThrough  *time.Time `json:"read_through"`
	Gaps         []Gap      `json:"gaps,omitempty"`
}

// A Gap is time that was not read.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

type unitKey struct {
	account  string
	endpoint events.Endpoint
	bot      string // empty for the account
}

// Run looks for the conversation on the topics, asks the API for it, and compares. An endpoint that does not answer is part of the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	e, err := newExplanation(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := e.readTopics(ctx); err != nil {
		return nil, fmt.Errorf("read topics %s.*: %w", o.Kafka.TopicPrefix, err)
	}
	if err := e.ask(ctx); err != nil {
		return nil, err
	}
	for _, entity := range e.report.Entities {
		e.compare(entity)
	}
	slices.SortFunc(e.report.Entities, func(a, b *Entity) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID))
	})
	return e.report, ctx.Err()
}

// newExplanation returns one that knows nothing yet.
func newExplanation(ctx context.Context, o Options) (*explanation, error) {
	client, err := kafka.Consumer(ctx, o.Kafka, o.Log)
	if err != nil {
		return nil, err
	}
	decoder := kafkaread.NewDecoder(nil)
	if o.Registry.URL != "" {
		registry, err := kafka.NewRegistry(o.Registry, o.Log)
		if err != nil {
			return nil, err
		}
		decoder = kafkaread.NewDecoder(registry.Client())
	}
	return &explanation{
		Options: o, names: kafka.NewNames(o.Kafka.TopicPrefix), reader: kafkaread.NewReader(decoder, client...),
		report: &Report{ID: o.ID, Answers: []Answer{}, Units: []Unit{}, Entities: []*Entity{}, DeadLetters: []DeadLetter{}},
		seen:   map[unitKey]bool{}, byID: map[string]*Entity{},
	}, nil
}

// Found reports whether anything is known of the id.
func (r *Report) Found() bool { return len(r.Entities)+len(r.DeadLetters) > 0 }

// Count returns how many entities are in a state.
func (r *Report) Count(s State) (n int) {
	for _, e := range r.Entities {
		if e.State == s {
			n++
		}
	}
	return n
}

// compare says how what is published of an entity compares with what the API shows.
func (e *explanation) compare(entity *Entity) {
	last := entity.last()
	switch {
	case entity.content == nil:
		entity.State, entity.Why = e.absence(entity, last)
	case last == nil && slices.Contains(e.account(entity.unit.account).Poll.Off, entity.Type):
		entity.State = Off
	case last == nil:
		entity.State, entity.Why = Missing, e.missing(entity)
	case entity.published(last):
		entity.State = Same
	default:
		entity.State, entity.Why = Different, "the API shows other content than that of the last revision: it is read again "+e.nextRead(entity)
	}
}

// last returns the last revision that is published, nil if there is none.
func (entity *Entity) last() *Revision {
	if n := len(entity.Revisions); n > 0 {
		return &entity.Revisions[n-1]
	}
	return nil
}

// published reports whether a revision has the content that the API shows.
func (entity *Entity) published(r *Revision) bool {
	return r.EventID == events.EventID(entity.ID, r.Revision, entity.content)
}

// absence says of a published entity why no answer shows it.
func (e *explanation) absence(entity *Entity, last *Revision) (State, string) {
	if last.SupersededBy != "" {
		return NotShown, "it was replaced by entity " + last.SupersededBy
	}
	for _, endpoint := range entity.Type.Endpoints() {
		for _, a := range e.report.Answers {
			if a.Endpoint == string(endpoint) && a.Rows > 0 && a.Whole {
				return NotShown, "the API shows the conversation without it now"
			}
		}
	}
	return Unchecked, "no answer shows what it was read from"
}

// missing says of an entity that the API shows why there is no event of it.
func (e *explanation) missing(entity *Entity) string {
	for _, d := range e.report.DeadLetters {
		if d.Entity == entity.ID {
			return "it is a dead letter: " + d.Reason
		}
	}
	u := e.unit(entity.unit)
	row := entity.row.UTC().Format(time.RFC3339)
	backfill := fmt.Sprintf("poller backfill --account %s --endpoint %s --from %s --to %s", entity.unit.account, entity.by,
		entity.row.UTC().Format(time.RFC3339), entity.row.Add(time.Second).UTC().Format(time.RFC3339))
	switch {
	case u == nil || u.ReadThrough == nil || u.CompleteFrom == nil:
		return fmt.Sprintf("%s has not been read yet, as far as its watermarks say", entity.by)
	case entity.row.Before(*u.CompleteFrom):
		return fmt.Sprintf("its row is of %s, and %s is read from %s on: %s", row, entity.by, u.CompleteFrom.UTC().Format(time.RFC3339), backfill)
	case !entity.row.Before(*u.ReadThrough):
		return fmt.Sprintf("its row is of %s, and %s has been read through %s so far", row, entity.by, u.ReadThrough.UTC().Format(time.RFC3339))
	}
	for _, g := range u.Gaps {
		if !entity.row.Before(g.From) && entity.row.Before(g.To) {
			return fmt.Sprintf("its row is in a gap of %s (%s): %s", entity.by, g.Reason, backfill)
		}
	}
	return "the API shows it later than when its time was read: it is read again " + e.nextRead(entity) + "; at once: " + backfill
}

// nextRead says how soon a change of a row as old as that of an entity is seen.
func (e *explanation) nextRead(entity *Entity) string {
	age := time.Since(entity.row)
	policy := e.account(entity.unit.account).Poll.Policy
	tiers := policy.Tiers
	if entity.by.Spec().Takes.Days {
		tiers = policy.ConversationTiers
	}
	for _, tier := range tiers {
		if age < tier.Within {
			return fmt.Sprintf("within %v if the budget allows (sweeps; /status has the actual age)", tier.Every)
		}
	}
	return "only by a backfill: it is older than all sweeps"
}

func (e *explanation) account(name string) *Account {
	i := slices.IndexFunc(e.Accounts, func(a Account) bool { return a.Poll.Name == name })
	return &e.Accounts[i]
}

func (e *explanation) unit(k unitKey) *Unit {
	for i, u := range e.report.Units {
		if u.Account == k.account && u.Endpoint == string(k.endpoint) && u.Bot == k.bot {
			return &e.report.Units[i]
		}
	}
	return nil
}
