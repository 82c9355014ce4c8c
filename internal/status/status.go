// Package status describes a running poller: what /status answers as JSON and the page at / shows.
//
// The accounts fill it in, the HTTP server shows it, and neither knows the other. Names in the JSON are part of the contract. Times are
// RFC 3339 in UTC, and null while there is none; durations are seconds.
package status

import (
	"strconv"
	"time"
)

// State is how an endpoint is.
type State string

// The states, from good to bad.
const (
	// OK reads and publishes as planned.
	OK State = "ok"
	// Waiting has not read yet, or must not: before its first read, while its account is taken over or paused, and after a 429.
	Waiting State = "waiting"
	// Failing retries what fails, a request or the delivery of what was read; what it reads does not advance.
	Failing State = "failing"
)

// Red reports whether an operator should act.
func (s State) Red() bool { return s == Failing }

// Status describes one process.
type Status struct {
	Version    string     `json:"version"`
	Now        time.Time  `json:"now"`
	Started    time.Time  `json:"started"`
	State      State      `json:"state"` // the worst of all endpoints, the delivery and the checkpoint; failing while there are problems
	Delivery   Delivery   `json:"delivery"`
	Checkpoint Checkpoint `json:"checkpoint"`
	// Problems are what is wrong with topics, rights, the schema registry or the group, and stops no account by itself.
	Problems []Error   `json:"problems"`
	Accounts []Account `json:"accounts"`
	// Others are the labels of metrics that had more values than get a series each.
	Others []OtherValues `json:"metrics_other,omitempty"`
}

// OtherValues are the values of a label that are counted as "other", because values beyond the first ones get no series.
type OtherValues struct {
	Metric string   `json:"metric"`
	Label  string   `json:"label"`
	Kept   int      `json:"kept"`   // values with a series
	Count  int64    `json:"count"`  // occurrences of all others
	Values []string `json:"values"` // the first of the others
}

// Account is one configured account: one budget, one clock, some endpoints.
type Account struct {
	Name      string   `json:"name"`
	AccountID string   `json:"account_id"`
	Read      bool     `json:"read"`   // whether this instance reads it now
	Owner     *Owner   `json:"owner"`  // null with delivery at-least-once, and before Kafka is there
	Paused    *Pause   `json:"paused"` // null unless somebody has paused it at this instance
	Budget    Budget   `json:"budget"`
	ClockSkew *Seconds `json:"clock_skew_seconds"` // our clock less the API's; null before the first answers
	// Endpoints are there from the start. While the account is not read they say why, with what is known from when it was read here last.
	// Where another instance reads the account, there are none.
	Endpoints []Endpoint `json:"endpoints"`
	Jobs      []Job      `json:"jobs,omitempty"` // backfills, the newest first
	// UnreadableEntities is how many stored entities could not be read since the account was taken over. Each counts as new, so that it is
	// published again as revision 1.
	UnreadableEntities int64 `json:"unreadable_entities"`
	// Contradictions has one entry for each kind of contradiction that the API has shown since the start. What is published follows a rule.
	Contradictions []Contradiction `json:"contradictions,omitempty"`
}

// Contradiction is a kind of disagreement between rows of the API: copies (a page shows a thing twice in one row, or a row twice),
// alternation (a row goes back and forth between contents), rows (two rows of an endpoint disagree), places (more rows show a thing than
// are kept apart).
type Contradiction struct {
	Kind     string `json:"kind"`
	Count    int64  `json:"count"`
	Endpoint string `json:"endpoint"` // of the first
	First    string `json:"first"`    // its ids
}

// Job is the request for a backfill.
type Job struct {
	ID        string    `json:"id"`
	State     string    `json:"state"` // requested, accepted, running, done, refused or cancelled
	Reason    string    `json:"reason,omitempty"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Republish bool      `json:"republish,omitempty"`
	Fraction  float64   `json:"fraction"` // 0 to 1
	Requests  int64     `json:"requests"`
	Events    int64     `json:"events"`
	Updated   time.Time `json:"updated"`
}

// Owner says which instance reads an account.
type Owner struct {
	// State is ok where this instance reads it, or another; waiting while this one takes it over; failing if it cannot.
	State State `json:"state"`
	// Step is what this instance does: reading, or what comes before it, such as taking over or replaying.
	Step      string `json:"step"`
	Partition int32  `json:"partition"`          // of the checkpoint topic
	Instance  string `json:"instance,omitempty"` // that reads it; empty if none is known
	Mine      bool   `json:"mine"`
	LastError *Error `json:"last_error"`
}

// Pause says that this instance sends no request for an account until somebody resumes it.
type Pause struct {
	Since    time.Time `json:"since"`
	InFlight int       `json:"in_flight"` // requests that were on their way, and whose answers are not published yet
}

// Budget is how the requests of the last sliding minute were spent.
type Budget struct {
	Limit           int             `json:"limit"` // in any 60 seconds
	Used            int             `json:"used"`
	PriorityClasses []PriorityClass `json:"priority_classes"`
	// BlockedUntil is when requests are sent again, because the API asked to wait (429); null if it did not. An hour is honoured at most.
	BlockedUntil *time.Time `json:"blocked_until"`
	// AskedUntil is how long the API asked to wait, if that is longer than BlockedUntil.
	AskedUntil *time.Time `json:"asked_until,omitempty"`
}

// PriorityClass is a kind of work with a guaranteed share of the budget: tail, hot, sweep or backfill.
type PriorityClass struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"` // guaranteed, 0 to 1
	Used  int     `json:"used"`
}

// Endpoint is one unit: an endpoint of one bot, or of the account if it is read once for all bots.
type Endpoint struct {
	Endpoint string `json:"endpoint"`
	BotName  string `json:"bot_name,omitempty"`
	BotID    string `json:"bot_id,omitempty"`
	State    State  `json:"state"`

	CompleteFrom *time.Time `json:"complete_from"`  // where the time begins that is read; null while nothing is known of the account
	ReadThrough  *time.Time `json:"read_through"`   // everything up to here has been read at least once
	CompleteUpTo *time.Time `json:"complete_up_to"` // as the watermark says it
	// Lag is how far behind new rows are read: now less the time up to which everything since reading began has been read. What is older
	// than that is FirstRead. It is null while nothing is known of the account.
	Lag *Seconds `json:"lag_seconds"`
	// FirstRead is the history that is yet to be read for the first time; null once it has been.
	FirstRead *FirstRead `json:"first_read,omitempty"`

	PollInterval        Seconds `json:"poll_interval_seconds"`         // configured; the plan never undercuts it
	PollIntervalActual  Seconds `json:"poll_interval_actual_seconds"`  // what the budget allows
	LongestPollInterval Seconds `json:"longest_poll_interval_seconds"` // no two polls are further apart, nor have been since the start
	PollBoundBy         string  `json:"poll_interval_bound_by,omitempty"`

	// Concurrency is how many requests the endpoint may have in flight at the same time, RequestTime how long one takes.
	Concurrency int     `json:"concurrency,omitempty"`
	RequestTime Seconds `json:"request_seconds,omitempty"`

	Gaps   []Gap   `json:"gaps"`
	Sweeps []Sweep `json:"sweeps"`
	// InWork are the passes that are under way.
	InWork []Pass `json:"in_work,omitempty"`
	// Unsettled are the spans over which passes end and conclude nothing, each with the reason.
	Unsettled []Gap `json:"unsettled,omitempty"`

	Waiting     *Wait      `json:"waiting"`      // why the endpoint waits; null unless state is waiting
	LastError   *Error     `json:"last_error"`   // null unless the last request failed, or passes conclude nothing
	LastFailing *time.Time `json:"last_failing"` // when state was failing last, since the start; null if it never was

	Rows int64 `json:"rows"` // read since the account was taken over
	// OtherBots is how many rows more were read and dropped, because their bots are not configured.
	OtherBots int64 `json:"other_bots_rows,omitempty"`
	// Filtered is how many rows more were read and dropped, because the endpoint's filter does not take them.
	Filtered int64 `json:"filtered_rows,omitempty"`
	// LeftOut are the selected fields, or filters, that requests are sent without because the API refuses them.
	LeftOut []string `json:"left_out,omitempty"`
	// Transcripts says whether the transcripts of conversations are fetched, where no messages are published.
	Transcripts string           `json:"transcripts,omitempty"`
	Events      map[string]int64 `json:"events"` // published since the account was taken over, by type
}

// FirstRead is time before reading began that is still being read for the first time. It is not a gap.
type FirstRead struct {
	From      time.Time `json:"from"`              // of what is left
	To        time.Time `json:"to"`                // of what is left
	Remaining Seconds   `json:"remaining_seconds"` // of time, not of work
}

// Up reports whether the endpoint is not failing, and was not within the last minute: as long as lies between two looks of a monitor.
func (e *Endpoint) Up(now time.Time) bool {
	return !e.State.Red() && (e.LastFailing == nil || now.Sub(*e.LastFailing) >= time.Minute)
}

// WaitReason is a reason to wait, of a few.
type WaitReason string

// The reasons.
const (
	WaitPaused     WaitReason = "paused"      // somebody paused the account
	WaitAccount    WaitReason = "account"     // the account is not read here yet
	WaitFirstRead  WaitReason = "first-read"  // nothing was read yet
	WaitRetryAfter WaitReason = "retry-after" // the API said when requests may be sent again
	WaitNoRows     WaitReason = "no-rows"     // there are no rows to find out by how the endpoint is to be read
)

// Wait says why an endpoint waits.
type Wait struct {
	Reason WaitReason `json:"reason"`
	Text   string     `json:"text"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until"` // when it is tried again; null if that depends on other work
}

// Pass is the reading of a span.
type Pass struct {
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	PriorityClass string    `json:"priority_class"`
}

// Gap is a span that was never read, although later time was, and that is not merely the history of a first read.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// NotReadYet is the reason of a gap that nothing keeps from being read.
const NotReadYet = "not read yet"

// Sweep is a tier: time up to Within old is read again for late edits.
type Sweep struct {
	Within Seconds `json:"within_seconds"`
	Every  Seconds `json:"every_seconds"`  // configured, or the longest that the edits that were seen ask for; the plan never undercuts it
	Actual Seconds `json:"actual_seconds"` // what the budget allows: an edit to something that old is published within this
	// BoundBy is what keeps Actual from being less: configured (Every), in-flight (concurrency, while a request takes as long as it does) or
	// budget (of requests a minute). It is empty before the first plan.
	BoundBy string   `json:"bound_by,omitempty"`
	Age     *Seconds `json:"age_seconds"` // since the last read of the time in the tier that was read longest ago; null before the first
}

// Class says what the operator should do about an error.
type Class string

// The classes.
const (
	ClassRetry     Class = "retry"     // nothing: it is retried, and expected to pass
	ClassWait      Class = "wait"      // nothing: the API said when requests may be sent again
	ClassPermanent Class = "permanent" // change what the hint names
	ClassShape     Class = "shape"     // find out why the answer cannot be read: encryption, a proxy, another API
)

// Error describes a failure, in words for the operator.
type Error struct {
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"` // what to do or to change
	// About names what fails where that is not what the error stands at: the schema registry, a topic, a group.
	About string    `json:"about,omitempty"`
	Class Class     `json:"class"`
	Since time.Time `json:"since"`
	Count int       `json:"count"` // failures in a row
}

// After returns e as the next failure in a row that began with was. was may be nil, and is not changed.
func (e Error) After(was *Error) *Error {
	if was != nil {
		e.Since, e.Count = was.Since, was.Count+1
	}
	return &e
}

// Delivery describes the delivery to Kafka.
type Delivery struct {
	State       State      `json:"state"`
	Mode        string     `json:"mode"` // at-least-once or exactly-once
	Brokers     []string   `json:"brokers"`
	Registry    string     `json:"registry,omitempty"` // its URL, without credentials
	Published   int64      `json:"published"`          // events since the start
	DeadLetters int64      `json:"dead_letters"`
	LastAck     *time.Time `json:"last_ack"`
	LastError   *Error     `json:"last_error"`
}

// Checkpoint describes the checkpoint file.
type Checkpoint struct {
	State     State  `json:"state"`
	Path      string `json:"path"`
	Bytes     int64  `json:"bytes"`
	Entities  int64  `json:"entities"`
	LastError *Error `json:"last_error"`
}

// Worst returns the worst state of all parts.
func (s *Status) Worst() State {
	worst := OK
	add := func(state State) {
		if rank(state) > rank(worst) {
			worst = state
		}
	}
	add(s.Delivery.State)
	add(s.Checkpoint.State)
	if len(s.Problems) > 0 {
		add(Failing)
	}
	for _, a := range s.Accounts {
		if a.Owner != nil {
			add(a.Owner.State)
		}
		for _, e := range a.Endpoints {
			add(e.State)
		}
	}
	return worst
}

func rank(s State) int {
	switch s {
	case Waiting:
		return 1
	case Failing:
		return 2
	}
	return 0
}

// Seconds is a duration that JSON shows as a number of seconds.
type Seconds time.Duration

// Of returns d as a pointer, for the fields that may be null.
func Of(d time.Duration) *Seconds {
	s := Seconds(d)
	return &s
}

// MarshalJSON writes seconds with at most three decimals.
func (s Seconds) MarshalJSON() ([]byte, error) {
	seconds := time.Duration(s).Round(time.Millisecond).Seconds()
	return strconv.AppendFloat(nil, seconds, 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	seconds, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return err
	}
	*s = Seconds(time.Duration(seconds * float64(time.Second)).Round(time.Millisecond))
	return nil
}
