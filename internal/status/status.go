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
	// Waiting has not read yet, or must not: before its first read, and after a 429.
	Waiting State = "waiting"
	// Failing retries a request that fails; what it reads does not advance.
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
	Name      string     `json:"name"`
	AccountID string     `json:"account_id"`
	Owner     *Owner     `json:"owner"` // null with delivery at-least-once, and before Kafka is there
	Budget    Budget     `json:"budget"`
	ClockSkew *Seconds   `json:"clock_skew_seconds"` // our clock less the API's; null before the first answers
	Endpoints []Endpoint `json:"endpoints"`
	Jobs      []Job      `json:"jobs,omitempty"` // backfills, the newest first
	// UnreadableEntities is how many stored entities could not be read since the start. Each counts as new, so that it is published again
	// as revision 1.
	UnreadableEntities int64 `json:"unreadable_entities"`
}

// Job is the request for a backfill.
type Job struct {
	ID        string    `json:"id"`
	State     string    `json:"state"` // requested, accepted, running, done or refused
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

	ReadThrough  *time.Time `json:"read_through"`   // everything up to here has been read at least once
	CompleteUpTo *time.Time `json:"complete_up_to"` // as the watermark says it
	Lag          *Seconds   `json:"lag_seconds"`    // now less read_through

	PollInterval        Seconds `json:"poll_interval_seconds"`         // configured; the plan never undercuts it
	PollIntervalActual  Seconds `json:"poll_interval_actual_seconds"`  // what the budget allows
	LongestPollInterval Seconds `json:"longest_poll_interval_seconds"` // no two polls are further apart, nor have been since the start

	Gaps   []Gap   `json:"gaps"`
	Sweeps []Sweep `json:"sweeps"`

	LastError *Error `json:"last_error"` // null unless the last request failed

	Rows   int64            `json:"rows"`   // read since the start
	Events map[string]int64 `json:"events"` // published since the start, by type
}

// Gap is a span that was never read, although later time was.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// Sweep is a tier: time up to Within old is read again for late edits.
type Sweep struct {
	Within Seconds  `json:"within_seconds"`
	Every  Seconds  `json:"every_seconds"`  // configured; the plan never undercuts it
	Actual Seconds  `json:"actual_seconds"` // what the budget allows: an edit to something that old is published within this
	Age    *Seconds `json:"age_seconds"`    // since the last read of the time in the tier that was read longest ago; null before the first
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
	Text  string    `json:"text"`
	Hint  string    `json:"hint,omitempty"` // what to do or to change
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
