// Package status says how a running poller is: what /status answers as JSON and the page at / shows to people.
//
// It only describes. The run loop fills it in, the HTTP server shows it, and neither knows the other. Names in the JSON
// are part of the contract; times are RFC 3339 in UTC, and null where there is none yet; durations are seconds.
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
	// Waiting has nothing to do or no budget to do it: before its first read, after a 429, while others are read.
	Waiting State = "waiting"
	// Failing retries something that does not work; its window does not advance.
	Failing State = "failing"
)

// Red reports whether a person should look.
func (s State) Red() bool { return s == Failing }

// Status is the whole of one process.
type Status struct {
	Version    string     `json:"version"`
	Now        time.Time  `json:"now"`
	Started    time.Time  `json:"started"`
	State      State      `json:"state"` // the worst of all endpoints, the delivery and the checkpoint
	Delivery   Delivery   `json:"delivery"`
	Checkpoint Checkpoint `json:"checkpoint"`
	Accounts   []Account  `json:"accounts"`
}

// Account is one configured account: one budget, one clock, some endpoints.
type Account struct {
	Name      string     `json:"name"`
	AccountID string     `json:"account_id"`
	Owner     *Owner     `json:"owner"` // null with delivery at-least-once, and before Kafka is there
	Budget    Budget     `json:"budget"`
	ClockSkew *Seconds   `json:"clock_skew_seconds"` // our clock less the API's; null until the API has been heard
	Endpoints []Endpoint `json:"endpoints"`
	Jobs      []Job      `json:"jobs,omitempty"` // backfills, the newest first
	// UnreadableEntities is how many stored entities could not be read since the start. They count as new: what was published of
	// them before is published again as revision 1.
	UnreadableEntities int64 `json:"unreadable_entities"`
}

// Job is a range of time that somebody asked for.
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
	// Step is what this instance is about: reading, or what comes before, such as taking over or replaying.
	Step      string `json:"step"`
	Partition int32  `json:"partition"`          // of the checkpoint topic
	Instance  string `json:"instance,omitempty"` // empty if nobody is known to
	Mine      bool   `json:"mine"`
	LastError *Error `json:"last_error"`
}

// Budget is how the requests of the last sliding minute were spent.
type Budget struct {
	Limit int    `json:"limit"` // in any 60 seconds
	Used  int    `json:"used"`
	Lanes []Lane `json:"lanes"`
	// BlockedUntil is when the API said it may be asked again (429); null if it did not.
	BlockedUntil *time.Time `json:"blocked_until"`
}

// Lane is one kind of work: new rows, the hot set, sweeps, backfills.
type Lane struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"` // guaranteed, 0 to 1
	Used  int     `json:"used"`
}

// Endpoint is one endpoint of one bot, or of the account where it runs once for all bots.
type Endpoint struct {
	Endpoint string `json:"endpoint"`
	BotName  string `json:"bot_name,omitempty"`
	BotID    string `json:"bot_id,omitempty"`
	State    State  `json:"state"`

	ReadThrough  *time.Time `json:"read_through"`   // everything up to here has been read at least once
	CompleteUpTo *time.Time `json:"complete_up_to"` // as the watermark says it
	Lag          *Seconds   `json:"lag_seconds"`    // now less read_through

	PollInterval       Seconds `json:"poll_interval_seconds"`        // configured: a floor
	PollIntervalActual Seconds `json:"poll_interval_actual_seconds"` // what the plan attains
	LongestLook        Seconds `json:"longest_look_seconds"`         // no two looks are further apart, nor have been

	Gaps   []Gap   `json:"gaps"`
	Sweeps []Sweep `json:"sweeps"`

	LastError *Error `json:"last_error"` // null while all is well

	Rows   int64            `json:"rows"`   // read since the start
	Events map[string]int64 `json:"events"` // published since the start, by type
}

// Gap is time that has not been read although time after it has.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// Sweep re-reads time that ended up to Within ago, for late edits.
type Sweep struct {
	Within Seconds  `json:"within_seconds"`
	Every  Seconds  `json:"every_seconds"`  // configured: a floor
	Actual Seconds  `json:"actual_seconds"` // what the plan attains: an edit that old is seen within this
	Age    *Seconds `json:"age_seconds"`    // since the oldest re-read in reach; null before the first
}

// Class says what an error asks of the person who sees it.
type Class string

// The classes.
const (
	ClassRetry     Class = "retry"     // nothing: it is expected to pass
	ClassWait      Class = "wait"      // nothing: the API said when it may be asked again
	ClassPermanent Class = "permanent" // to change what the hint names
	ClassShape     Class = "shape"     // to find out why the answer cannot be read: encryption, a proxy, another API
)

// Error is what goes wrong, in words for the person who must act.
type Error struct {
	Text  string    `json:"text"`
	Hint  string    `json:"hint,omitempty"` // what to do or to change
	Class Class     `json:"class"`
	Since time.Time `json:"since"`
	Count int       `json:"count"` // failures in a row
}

// After returns e as one more failure in the row of was, which may be nil and is not changed.
func (e Error) After(was *Error) *Error {
	if was != nil {
		e.Since, e.Count = was.Since, was.Count+1
	}
	return &e
}

// Delivery is the way to Kafka.
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

// Checkpoint is what is remembered.
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
