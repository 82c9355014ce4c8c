package poll

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/bound"
	"agentassist-poller/internal/events"
	"agentassist-poller/internal/poll/timeline"
)

// A Job is the request for a backfill of a span: of time before reading began, or of time to be read once more. The owner of the account
// reads it with the priority class of backfills, within the account's budget. What is remembered as published is not published again.
type Job struct {
	ID        string            `json:"id"`
	Account   string            `json:"account"` // its configured name
	AccountID string            `json:"account_id"`
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Endpoints []events.Endpoint `json:"endpoints,omitempty"` // empty: all that are read
	Bots      []string          `json:"bots,omitempty"`      // names or ids; empty: all
	// Republish allows for time that was read and is no longer remembered. Its events say that they are a replay.
	Republish bool      `json:"republish,omitempty"`
	Requested time.Time `json:"requested"`
	// Cancelled is when somebody asked to end the job before it is done; zero if nobody has.
	Cancelled time.Time `json:"cancelled,omitzero"`
}

// JobState is the state of a job.
type JobState string

// The states. The last three are final.
const (
	JobAccepted  JobState = "accepted" // taken, and not begun
	JobRunning   JobState = "running"
	JobDone      JobState = "done"
	JobRefused   JobState = "refused"
	JobCancelled JobState = "cancelled" // what was read until then stays read
)

// Final reports whether the state never changes again.
func (s JobState) Final() bool { return s == JobDone || s == JobRefused || s == JobCancelled }

// JobProgress is the state of a job as the owner of the account publishes it.
type JobProgress struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"`
	State    JobState  `json:"state"`
	Reason   string    `json:"reason,omitempty"` // why it was refused
	Fraction float64   `json:"fraction"`         // of the time asked for, 0 to 1
	Requests int64     `json:"requests"`
	Events   int64     `json:"events"`
	Units    []JobUnit `json:"units,omitempty"`
	Updated  time.Time `json:"updated"`
}

// JobUnit is the part of a job that falls to one endpoint of one bot, or of the account.
type JobUnit struct {
	Endpoint events.Endpoint `json:"endpoint"`
	Bot      string          `json:"bot,omitempty"`
	Fraction float64         `json:"fraction"`
	Requests int64           `json:"requests"`
	Events   int64           `json:"events"`
	// Capped is how many seconds hold more rows than the API returns.
	Capped int64 `json:"capped_seconds,omitempty"`
}

const (
	jobVersion = 1
	// maxJobRange bounds what may be asked for at once.
	maxJobRange = 366 * timeline.Day
	maxJobBots  = 1000

	jobPrefix, jobProgressPrefix = "backfill/", "progress/"
)

// ErrJobVersion is wrapped by the errors about records that only a later release can read.
var ErrJobVersion = errors.New("written by a later release; run that one")

var jobID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// versioned is the form of a job or its progress on the topic.
type versioned[T any] struct {
	Version int `json:"version"`
	Body    T   `json:"body"`
}

// Encode returns the job as a record of the topic of jobs.
func (j *Job) Encode() (key, value []byte, err error) {
	if err := j.Validate(); err != nil {
		return nil, nil, err
	}
	value, err = encodeVersioned(j)
	return []byte(jobPrefix + j.ID), value, err
}

// Encode returns the progress as a record of the topic of jobs. What it says of units is left out from the end where it would be too
// much; the sums stay.
func (p *JobProgress) Encode() (key, value []byte, err error) {
	said := *p
	said.Reason = bound.Cut(said.Reason, bound.Reason)
	for {
		value, err = encodeVersioned(&said)
		if err == nil || len(said.Units) == 0 {
			return []byte(jobProgressPrefix + p.ID), value, err
		}
		said.Units = said.Units[:len(said.Units)/2]
	}
}

func encodeVersioned[T any](body T) ([]byte, error) {
	value, err := json.Marshal(versioned[T]{jobVersion, body})
	if err == nil && len(value) > bound.Job {
		err = fmt.Errorf("a record of %d bytes is too large", len(value))
	}
	if err != nil {
		return nil, fmt.Errorf("write record of a job: %w", err)
	}
	return value, nil
}

// JobRecord is what a record of the topic of jobs says. Both are nil for a record of another kind.
type JobRecord struct {
	ID       string
	Job      *Job
	Progress *JobProgress
}

// DecodeJobRecord reads a record of the topic of jobs. A nil value leaves both nil: the job is forgotten.
func DecodeJobRecord(key, value []byte) (r JobRecord, err error) {
	id, isJob := strings.CutPrefix(string(key), jobPrefix)
	isProgress := false
	if !isJob {
		id, isProgress = strings.CutPrefix(string(key), jobProgressPrefix)
	}
	if !isJob && !isProgress || !jobID.MatchString(id) {
		return r, nil
	}
	r.ID = id
	switch {
	case value == nil:
		return r, nil
	case isJob:
		r.Job, err = decodeVersioned[Job](value)
		if err == nil && r.Job.ID != id {
			err = errors.New("it has the key of another job")
		}
		if err == nil {
			err = r.Job.Validate()
		}
	default:
		r.Progress, err = decodeVersioned[JobProgress](value)
		if err == nil && r.Progress.ID != id {
			err = errors.New("it has the key of another job")
		}
	}
	if err != nil {
		return JobRecord{ID: id}, fmt.Errorf("read record %s of the topic of jobs: %w", key, err)
	}
	return r, nil
}

func decodeVersioned[T any](value []byte) (*T, error) {
	if len(value) > bound.Job {
		return nil, fmt.Errorf("it has %d bytes; want at most %d", len(value), bound.Job)
	}
	var v struct {
		Version int             `json:"version"`
		Body    json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return nil, err
	}
	if v.Version != jobVersion {
		return nil, fmt.Errorf("its version is %d, this program reads %d: %w", v.Version, jobVersion, ErrJobVersion)
	}
	body := new(T)
	if err := json.Unmarshal(v.Body, body); err != nil {
		return nil, err
	}
	return body, nil
}

// Validate returns what is wrong with the job by itself, without regard to the account.
func (j *Job) Validate() error {
	switch {
	case !jobID.MatchString(j.ID):
		return fmt.Errorf("job %.80q: its id must be of lower-case letters, digits and hyphens, at most 64", j.ID)
	case j.Account == "":
		return errors.New("it names no account")
	case j.From.IsZero() || j.To.IsZero() || !j.From.Before(j.To):
		return fmt.Errorf("from %s to %s: want an end after the beginning", j.From.Format(time.RFC3339), j.To.Format(time.RFC3339))
	case j.To.Sub(j.From) > maxJobRange:
		return fmt.Errorf("from %s to %s: want at most %d days at once", j.From.Format(time.RFC3339), j.To.Format(time.RFC3339), maxJobRange/timeline.Day)
	case len(j.Bots) > maxJobBots:
		return fmt.Errorf("it names %d bots; want at most %d, or none for all", len(j.Bots), maxJobBots)
	}
	for _, e := range j.Endpoints {
		if !e.Known() {
			return fmt.Errorf("%q is not an endpoint; want one of %s", e, joinNames(events.Endpoints()))
		}
	}
	return nil
}

func joinNames[T ~string](names []T) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}

// wants reports whether the job is for a unit.
func (j *Job) wants(u *unit) bool {
	if len(j.Endpoints) > 0 && !slices.Contains(j.Endpoints, u.Endpoint) {
		return false
	}
	return len(j.Bots) == 0 || u.Bot == "" || slices.Contains(j.Bots, u.Bot) || slices.Contains(j.Bots, u.botName)
}

// unitJob is the part of a job that one unit reads. It is recorded with the unit's progress, so that the next owner of the account
// continues it.
type unitJob struct {
	ID   string    `json:"id"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Left is what is still to be read, in order.
	Left     []jobSpan `json:"left,omitempty"`
	Requests int64     `json:"requests"`
	Events   int64     `json:"events"`
	Capped   int64     `json:"capped_seconds,omitempty"`
	Finished time.Time `json:"finished,omitzero"`
	// Cancelled is set if the job was finished before all of it was read.
	Cancelled bool `json:"cancelled,omitempty"`
}

// jobSpan is a part of what a job asks for.
type jobSpan struct {
	timeline.Span
	// Replay: it was read before and what it showed is no longer remembered.
	Replay bool `json:"replay,omitempty"`
}

// subtract removes what was read. Time to be replayed counts only if it was read as a replay.
func (j *unitJob) subtract(read timeline.Span, replay bool) (changed bool) {
	var left []jobSpan
	for _, s := range j.Left {
		cut := timeline.Span{From: timeline.Later(s.From, read.From), To: timeline.Earlier(s.To, read.To)}
		if s.Replay && !replay || !cut.From.Before(cut.To) {
			left = append(left, s)
			continue
		}
		changed = true
		if s.From.Before(cut.From) {
			left = append(left, jobSpan{timeline.Span{From: s.From, To: cut.From}, s.Replay})
		}
		if cut.To.Before(s.To) {
			left = append(left, jobSpan{timeline.Span{From: cut.To, To: s.To}, s.Replay})
		}
	}
	j.Left = left
	return changed
}

// at returns the part of what is left that t lies in, nil if there is none.
func (j *unitJob) at(t time.Time) *jobSpan {
	for i := range j.Left {
		if s := &j.Left[i]; !t.Before(s.From) && t.Before(s.To) {
			return s
		}
	}
	return nil
}

func (j *unitJob) fraction() float64 {
	var left time.Duration
	for _, s := range j.Left {
		left += s.To.Sub(s.From)
	}
	return 1 - left.Seconds()/j.To.Sub(j.From).Seconds()
}

// spansOf divides the range of a job by whether its events are remembered: what was read before reach no longer is.
func (u *unit) spansOf(from, to, reach time.Time) []jobSpan {
	reach = timeline.Later(reach, u.state.StoreLost)
	var forgotten []timeline.Span
	add := func(spans []timeline.ReadSpan) {
		for _, s := range spans {
			if !s.ReadAt.Before(reach) {
				continue
			}
			span := s.Span
			if u.Endpoint == events.Conversations { // read by the day: one pass shows all of it
				span = timeline.Span{From: u.DayOf(span.From), To: u.DayOf(span.To.Add(timeline.Day - 1))}
				span = timeline.Span{From: timeline.Later(span.From, from), To: timeline.Earlier(span.To, to)}
			}
			if n := len(forgotten); n > 0 && !span.From.After(forgotten[n-1].To) {
				forgotten[n-1].To = timeline.Later(forgotten[n-1].To, span.To)
				continue
			}
			forgotten = append(forgotten, span)
		}
	}
	add(u.past.ReadSpans(from, timeline.Earlier(to, u.Start)))
	add(u.Read.ReadSpans(timeline.Later(from, u.Start), to))
	var out []jobSpan
	for _, f := range forgotten {
		if from.Before(f.From) {
			out = append(out, jobSpan{Span: timeline.Span{From: from, To: f.From}})
		}
		out = append(out, jobSpan{f, true})
		from = f.To
	}
	if from.Before(to) {
		out = append(out, jobSpan{Span: timeline.Span{From: from, To: to}})
	}
	return out
}
