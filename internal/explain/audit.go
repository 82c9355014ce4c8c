package explain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"agentassist-poller/internal/events"
	"agentassist-poller/internal/kafka/kafkaread"
	"agentassist-poller/internal/poll"
	"agentassist-poller/internal/poll/timeline"
)

// AuditOptions say what to audit. Of Options, ID and Since have no meaning.
type AuditOptions struct {
	Options
	// From and To bound the time of the rows that are compared.
	From, To time.Time
	// Endpoints and Bots, by id, are those that are read; empty: all.
	Endpoints []events.Endpoint
	Bots      []string
	// RequestsPerMinute is how many requests an account gets in any minute.
	RequestsPerMinute int
	// Progress, if it is set, is told of each unit that was read.
	Progress func(Answer)
}

const (
	// MaxAudit bounds the span of one audit: the contents of all its events are in memory, about 2 kB an event.
	MaxAudit = 7 * timeline.Day
	// margin is the time before the span from which records are looked for: an event may be older than its row.
	margin = timeline.Day
	// settling is how long after its end a row may still change at any time.
	settling = 30 * time.Minute
)

// The states that only an audit finds.
const (
	Extra    State = "extra"    // published, and the API shows what it was read from without it
	Changing State = "changing" // the topics may catch up by themselves: it is not to be complete yet, or has changed since it was read
)

// audited is what an audit knows of an entity, and an explanation does not.
type audited struct {
	inSpan   bool            // a row in the span shows it
	shownBy  map[string]bool // endpoints, nil if none
	readAt   time.Time       // when it was last shown, by our clock
	settling bool            // a row that shows it is open, or ended a short while ago
	// The ids and the sentiment of the last revision.
	conversation, session, segment, sentiment string
	rated                                     string // what feedback is of, and who gives it; empty for others
}

// An AuditReport says how what is published of a span differs from what the API shows.
type AuditReport struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Answers say what of each unit was read.
	Answers []Answer `json:"api"`
	// Counts are entities by type and state. Those that nobody could compare are Unchecked.
	Counts map[events.Type]map[State]int `json:"counts"`
	// Differences are the entities that are missing, extra, different or changing, in the order of their types and event times.
	Differences []Difference `json:"differences"`
	// Backfills are the commands that have the poller read again what is missing or different.
	Backfills []string `json:"backfills"`
}

// A Difference is an entity that is not published as the API shows it.
type Difference struct {
	State        State       `json:"state"`
	Account      string      `json:"account"`
	Endpoint     string      `json:"endpoint"`
	Bot          string      `json:"bot_id,omitempty"`
	Type         events.Type `json:"type"`
	Entity       string      `json:"entity_id"`
	Conversation string      `json:"conversation_id,omitempty"`
	Time         time.Time   `json:"event_time"`
	Row          time.Time   `json:"row_time"`
	// Last is the last revision that is published, nil if there is none.
	Last *Revision `json:"last_revision"`
	Why  string    `json:"why"`
}

// An audit is one run.
type audit struct {
	*explanation
	options AuditOptions
	began   time.Time
	// rows are the ids of rows that were shown, of segments or conversations and their sessions, and whether they may still change.
	rows    map[events.Endpoint]map[string]bool
	byEnd   map[unitKey]bool     // units whose server selects rows by their end, as was seen
	dropped map[string]bool      // ids of rows that the configuration does not ask for
	whole   map[unitKey]bool     // units of which all rows of the span were read
	ratings map[string][]*Entity // feedback by what it is of
}

// Audit reads from the API all rows of a span, makes events of them as a poller would that reads them for the first time, and compares
// these with the last revisions on the topics. It changes nothing. A unit that cannot be read is part of the report.
func Audit(ctx context.Context, o AuditOptions) (*AuditReport, error) {
	e, err := newExplanation(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	a := &audit{
		explanation: e, options: o, began: time.Now(),
		rows: map[events.Endpoint]map[string]bool{}, byEnd: map[unitKey]bool{}, whole: map[unitKey]bool{},
		dropped: map[string]bool{}, ratings: map[string][]*Entity{},
	}
	for i := range a.Accounts {
		if err := a.readAccount(ctx, &a.Accounts[i]); err != nil {
			return nil, err
		}
	}
	if err := a.readEvents(ctx); err != nil {
		return nil, fmt.Errorf("read topics %s.*: %w", o.Kafka.TopicPrefix, err)
	}
	return a.reportAll(), ctx.Err()
}

// readAccount reads the units of an account.
func (a *audit) readAccount(ctx context.Context, account *Account) error {
	client, err := a.client(account)
	if err != nil {
		return err
	}
	defer client.Close()
	r := a.newReader(account, client)
	for _, endpoint := range events.Endpoints() {
		_, on := account.Poll.Endpoints[endpoint]
		switch {
		case !on || len(a.options.Endpoints) > 0 && !slices.Contains(a.options.Endpoints, endpoint):
		case endpoint.PerAccount():
			r.readShared(ctx, endpoint)
		default:
			for _, bot := range a.bots(account) {
				r.readUnit(ctx, endpoint, bot)
			}
		}
	}
	return ctx.Err()
}

// bots returns the bots of an account that are audited.
func (a *audit) bots(account *Account) []poll.Bot {
	return slices.DeleteFunc(slices.Clone(account.Poll.Bots), func(b poll.Bot) bool {
		return len(a.options.Bots) > 0 && !slices.Contains(a.options.Bots, b.ID)
	})
}

// readEvents takes in what is published of what the API has shown, and what else has its time in the span.
func (a *audit) readEvents(ctx context.Context) error {
	err := a.reader.Since(a.options.From.Add(-margin)).Each(ctx, func(r *kafkaread.Record) error {
		if r.Topic == a.names.DeadLetter() {
			if a.byID[r.Field("entity_id")] != nil {
				a.take(r)
			}
			return nil
		}
		id := r.Field("entity_id")
		at, _ := r.Value["event_time"].(time.Time)
		if a.byID[id] == nil && (at.Before(a.options.From) || !at.Before(a.options.To) || !a.mine(r)) {
			return nil
		}
		a.take(r)
		known := a.byID[id]
		known.conversation, known.session, known.segment = r.Field("conversation_id"), r.Field("session_id"), r.Field("segment_id")
		known.sentiment = r.Field("sentiment")
		if target := r.Field("target_entity_id"); target != "" && known.Type == events.TypeFeedback {
			known.rated = rating(target, r.Field("given_by"))
		}
		return nil
	}, a.topics()...)
	if err != nil {
		return err
	}
	return a.reader.Each(ctx, a.takeWatermark, a.names.Watermark())
}

// mine reports whether an event is of an account and a bot that are audited.
func (a *audit) mine(r *kafkaread.Record) bool {
	bot := r.Field("bot_id")
	return slices.ContainsFunc(a.Accounts, func(k Account) bool { return k.Poll.Name == r.Field("source") }) &&
		(len(a.options.Bots) == 0 || bot == "" || slices.Contains(a.options.Bots, bot))
}

// reportAll judges every entity.
func (a *audit) reportAll() *AuditReport {
	out := &AuditReport{
		From: a.options.From, To: a.options.To, Answers: a.report.Answers, Counts: map[events.Type]map[State]int{},
		Differences: []Difference{}, Backfills: []string{},
	}
	for _, entity := range a.report.Entities {
		if entity.rated != "" {
			a.ratings[entity.rated] = append(a.ratings[entity.rated], entity)
		}
	}
	for _, entity := range a.report.Entities {
		if a.judge(entity); entity.State == "" {
			continue
		}
		if out.Counts[entity.Type] == nil {
			out.Counts[entity.Type] = map[State]int{}
		}
		out.Counts[entity.Type][entity.State]++
		switch entity.State {
		case Missing, Extra, Different, Changing:
			out.Differences = append(out.Differences, difference(entity))
		}
	}
	order := events.Types()
	slices.SortFunc(out.Differences, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(slices.Index(order, x.Type), slices.Index(order, y.Type)), x.Time.Compare(y.Time), cmp.Compare(x.Entity, y.Entity))
	})
	out.Backfills = a.backfills()
	return out
}

// judge says how what is published of an entity compares with what the API shows. The state is empty for what the audit is not about.
func (a *audit) judge(entity *Entity) {
	last := entity.last()
	switch {
	case last != nil && a.swapped(entity, last):
		entity.State = Same
	case last == nil && a.counted(entity):
	case entity.content == nil:
		a.judgeAbsent(entity, last)
	case !entity.inSpan || slices.Contains(a.account(entity.unit.account).Poll.Off, entity.Type):
	case last == nil:
		entity.State, entity.Why = Missing, a.missing(entity)
		if why := a.unfinished(entity); why != "" {
			entity.State, entity.Why = Changing, why
		}
	case entity.published(last):
		entity.State = Same
	case last.observed.After(entity.readAt):
		entity.State, entity.Why = Changing, "a later revision is published than the one that this audit has read"
	case slices.ContainsFunc(entity.Revisions, func(r Revision) bool { return !entity.shownBy[string(r.endpoint)] }):
		entity.State = Unchecked // another endpoint has said something about it, and its row was not read
	default:
		entity.State, entity.Why = Different, "the API shows other content than that of the last revision: it is read again "+a.nextRead(entity)
		if why := a.unfinished(entity); why != "" {
			entity.State, entity.Why = Changing, why
		}
	}
}

// Of several people who rate one thing, the one who was read first has the id that a single one would have. An audit may read them in
// another order than the poller did, so that feedback is compared with all that is said of the same thing.

// rating identifies what feedback is of, and in which role somebody gives it.
func rating(target, givenBy string) string { return target + " " + givenBy }

// swapped reports whether the last revision of feedback says what the API shows under the id of another person's.
func (a *audit) swapped(entity *Entity, last *Revision) bool {
	return slices.ContainsFunc(a.ratings[entity.rated], func(other *Entity) bool {
		return other != entity && other.content != nil && last.EventID == events.EventID(entity.ID, last.Revision, other.content)
	})
}

// counted reports whether feedback that the API shows is published under the id of another person's.
func (a *audit) counted(entity *Entity) bool {
	return slices.ContainsFunc(a.ratings[entity.rated], func(other *Entity) bool {
		last := other.last()
		return last != nil && last.EventID == events.EventID(other.ID, last.Revision, entity.content)
	})
}

// unfinished says why the topics may catch up with an entity by themselves, empty if they should have.
func (a *audit) unfinished(entity *Entity) string {
	u := a.unit(entity.unit)
	switch {
	case u != nil && u.CompleteFrom != nil && entity.row.Before(*u.CompleteFrom):
		return "" // that is what a backfill is for
	case u != nil && u.ReadThrough != nil && !entity.row.Before(*u.ReadThrough):
		return fmt.Sprintf("its row is of %s, and %s has been read through %s so far", clock(entity.row), entity.by, clock(*u.ReadThrough))
	case entity.settling:
		return unsettledRow
	}
	return ""
}

// judgeAbsent judges an entity that is published, and that the API has not shown.
func (a *audit) judgeAbsent(entity *Entity, last *Revision) {
	ids := []string{entity.conversation, entity.session}
	own := events.TypeConversation
	if last.endpoint == events.Interactions {
		ids, own = []string{entity.segment}, events.TypeSegment
	}
	parent, settling := false, false
	for _, id := range ids {
		open, shown := a.rows[last.endpoint][id]
		parent, settling = parent || shown && id != "", settling || open && id != ""
	}
	switch {
	case last.SupersededBy != "" || entity.sentiment == events.SentimentWithdrawn: // the topics say that it is gone
	case !a.whole[entity.unit] || slices.ContainsFunc(ids, func(id string) bool { return a.dropped[id] }):
	case !parent && (entity.Type != own || a.byEnd[entity.unit]): // its row is in another time, or is gone and counted itself
	case last.observed.After(a.began):
		entity.State, entity.Why = Changing, "it was published while this audit was reading"
	case settling:
		entity.State, entity.Why = Changing, unsettledRow
	case parent && entity.Type == events.TypeFeedback:
		entity.State, entity.Why = Extra, "it was taken back, which a revision says once its row is read again: "+a.nextRead(entity)
	case parent:
		entity.State, entity.Why = Extra, "the API shows what it was read from without it now"
	default:
		entity.State, entity.Why = Extra, "the API shows no such row between "+clock(a.options.From)+" and "+clock(a.options.To)+" now"
	}
}

// unsettledRow says of an entity that may change at any time why it differs.
const unsettledRow = "its row is open, or ended a short while ago, and is read again soon"

func difference(e *Entity) Difference {
	return Difference{
		State: e.State, Account: e.unit.account, Endpoint: string(e.by), Bot: e.unit.bot, Type: e.Type, Entity: e.ID,
		Conversation: e.conversation, Time: e.Time, Row: e.row, Why: e.Why, Last: e.last(),
	}
}

// backfills returns a command for each unit that something is missing of, or different: from the first to the last of the rows.
func (a *audit) backfills() []string {
	spans := map[unitKey]timeline.Span{}
	for _, e := range a.report.Entities {
		if e.State != Missing && e.State != Different {
			continue
		}
		from := e.row.UTC().Truncate(time.Second)
		span, known := spans[e.unit]
		if !known {
			span = timeline.Span{From: from, To: from}
		}
		spans[e.unit] = timeline.Span{From: timeline.Earlier(span.From, from), To: timeline.Later(span.To, from.Add(time.Second))}
	}
	out := []string{}
	for unit, span := range spans {
		text := fmt.Sprintf("poller backfill --account %s --endpoint %s", unit.account, unit.endpoint)
		if unit.bot != "" {
			text += " --bot " + unit.bot
		}
		out = append(out, fmt.Sprintf("%s --from %s --to %s", text, clock(span.From), clock(span.To)))
	}
	slices.Sort(out)
	return out
}

// Add adds the report on another account. The report may be empty.
func (r *AuditReport) Add(other *AuditReport) {
	r.From, r.To = other.From, other.To
	r.Answers, r.Differences = append(r.Answers, other.Answers...), append(r.Differences, other.Differences...)
	r.Backfills = append(r.Backfills, other.Backfills...)
	if r.Counts == nil {
		r.Counts = map[events.Type]map[State]int{}
	}
	for t, states := range other.Counts {
		if r.Counts[t] == nil {
			r.Counts[t] = map[State]int{}
		}
		for s, n := range states {
			r.Counts[t][s] += n
		}
	}
}

// Count returns how many entities are in a state.
func (r *AuditReport) Count(s State) (n int) {
	for _, states := range r.Counts {
		n += states[s]
	}
	return n
}

// Unread returns how many units could not be read whole.
func (r *AuditReport) Unread() (n int) {
	for _, a := range r.Answers {
		if !a.Whole {
			n++
		}
	}
	return n
}

// Requests returns how many requests were sent.
func (r *AuditReport) Requests() (n int) {
	for _, a := range r.Answers {
		n += a.Requests
	}
	return n
}
